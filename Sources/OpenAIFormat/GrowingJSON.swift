/// A JSON value that grows by the deltas merged into it, as OpenAI's SDKs merge them: text is appended,
/// objects are merged; list elements that carry an `index` are merged by it and others appended; anything else
/// replaces the old value.
///
/// A worker chooses the deltas, so a delta must cost what it adds. The values lie in one array and name each
/// other by their place there: nothing that was collected is searched or copied again.
struct GrowingJSON: Sendable {
    private typealias Place = Int

    private enum Value {
        /// As it was read, until something is merged into it.
        case read(JSONTree)
        case text(String)
        case list(List)
        case object(Object)
    }

    private struct List {
        var elements: [Place] = []
        var byIndex: [UInt64: Place] = [:]
    }

    private struct Object {
        var members: [(key: String, value: Place)] = []
        var byKey: [String: Place] = [:]
    }

    /// Keys whose text is a name: sent whole, perhaps repeatedly, but never in pieces.
    private static let namingKeys = ["id", "type", "role", "name"]

    private var values: [Value]
    /// Members and elements that were looked at, for tests: it must grow with the size of the deltas alone.
    private(set) var steps = 0

    init(_ tree: JSONTree) { values = [.read(tree)] }

    /// The whole value.
    var tree: JSONTree { tree(at: 0) }

    mutating func merge(_ delta: JSONTree) { merge(delta, at: 0) }

    private mutating func merge(_ delta: JSONTree, at place: Place) {
        steps += 1
        switch delta {
        case .null: return
        case .string(let more): append(more, at: place)
        case .object(let members): merge(members, at: place)
        case .array(let elements): merge(elements, at: place)
        case .bool, .number: values[place] = .read(delta)
        }
    }

    // Each of the following takes the value out of the array while it changes it, so that it is not copied.

    private mutating func append(_ more: String, at place: Place) {
        switch values[place] {
        case .text(var text), .read(.string(var text)):
            values[place] = .read(.null)
            text += more
            values[place] = .text(text)
        case .read, .list, .object: values[place] = .read(.string(more))
        }
    }

    private mutating func merge(_ delta: [JSONTree.Member], at place: Place) {
        guard var object = takeObject(at: place) else { return values[place] = .read(.object(delta)) }
        for member in delta {
            steps += 1
            if let found = object.byKey[member.key] {
                if Self.namingKeys.contains(member.key), !member.value.isNull {
                    values[found] = .read(member.value)
                } else {
                    merge(member.value, at: found)
                }
            } else {
                add(member, to: &object)
            }
        }
        values[place] = .object(object)
    }

    private mutating func merge(_ delta: [JSONTree], at place: Place) {
        guard var list = takeList(at: place) else { return values[place] = .read(.array(delta)) }
        for element in delta {
            steps += 1
            if let index = element["index"]?.whole, let found = list.byIndex[index] {
                merge(element, at: found)
            } else {
                add(element, to: &list)
            }
        }
        values[place] = .list(list)
    }

    /// Takes the object out of its place, which the caller fills again; nil if another kind of value is there.
    private mutating func takeObject(at place: Place) -> Object? {
        switch values[place] {
        case .object(let object):
            values[place] = .read(.null)
            return object
        case .read(.object(let members)):
            var object = Object()
            for member in members { add(member, to: &object) }
            return object
        case .read, .text, .list: return nil
        }
    }

    /// The same for a list.
    private mutating func takeList(at place: Place) -> List? {
        switch values[place] {
        case .list(let list):
            values[place] = .read(.null)
            return list
        case .read(.array(let elements)):
            var list = List()
            for element in elements { add(element, to: &list) }
            return list
        case .read, .text, .object: return nil
        }
    }

    private mutating func add(_ member: JSONTree.Member, to object: inout Object) {
        steps += 1
        object.byKey[member.key] = values.count
        object.members.append((member.key, values.count))
        values.append(.read(member.value))
    }

    private mutating func add(_ element: JSONTree, to list: inout List) {
        steps += 1
        if let index = element["index"]?.whole, list.byIndex[index] == nil {
            list.byIndex[index] = values.count
        }
        list.elements.append(values.count)
        values.append(.read(element))
    }

    /// Recursion is as deep as the deepest delta (`JSONCursor.depthMax`).
    private func tree(at place: Place) -> JSONTree {
        switch values[place] {
        case .read(let tree): tree
        case .text(let text): .string(text)
        case .list(let list): .array(list.elements.map { tree(at: $0) })
        case .object(let object): .object(object.members.map { .init($0.key, tree(at: $0.value)) })
        }
    }
}
