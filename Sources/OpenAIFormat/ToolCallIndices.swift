/// Gives each tool call of a stream an index of its own. Some servers write every call at index 0, and tell calls apart by
/// `id` alone, or by a new name after the arguments; clients join the pieces of one index, and would make one call of two.
struct ToolCallIndices: Sendable {
    private struct Call {
        var stated: UInt64
        var id: String
        var told: Int
        var hasArguments = false
    }

    /// By the index of the choice, in the order of their beginnings.
    private var calls: [UInt64: [Call]] = [:]

    /// The choices with new indices where two calls share one; the very same if none do. Calls beyond
    /// `ChoicesContent.callsMax`, which no worker may send, keep theirs.
    mutating func renumber(_ choices: [JSONTree]) -> [JSONTree] {
        choices.map { choice in
            guard let pieces = choice["delta"]?["tool_calls"]?.elements else { return choice }
            let index = choice["index"]?.whole ?? 0
            return choice.replacing("delta") { delta in
                delta.replacing("tool_calls") { _ in .array(pieces.map { renumber($0, of: index) }) }
            }
        }
    }

    private mutating func renumber(_ piece: JSONTree, of choice: UInt64) -> JSONTree {
        guard let members = piece.members else { return piece }
        let function = piece["function"]
        let told = index(
            piece["index"]?.whole ?? 0, piece["id"]?.text ?? "", of: choice,
            begins: function?["name"]?.text?.isEmpty == false)
        if function?["arguments"]?.text?.isEmpty == false,
            let call = calls[choice]?.firstIndex(where: { $0.told == told })
        {
            calls[choice]?[call].hasArguments = true
        }
        let number = JSONTree.number(String(told))
        guard piece["index"] != number else { return piece }
        return .object([.init("index", number)] + members.filter { $0.key != "index" })
    }

    /// A piece belongs to the last call at its stated index, unless it names another id, or a function where that call has
    /// arguments.
    private mutating func index(
        _ stated: UInt64, _ id: String, of choice: UInt64, begins: Bool
    ) -> Int {
        var known = calls[choice] ?? []
        if let same = known.lastIndex(where: {
            id.isEmpty ? $0.stated == stated : $0.id == id && $0.stated == stated
        }), !id.isEmpty || !begins || !known[same].hasArguments {
            return known[same].told
        }
        // Its id came after its first piece.
        if !id.isEmpty, let nameless = known.lastIndex(where: { $0.stated == stated && $0.id.isEmpty }) {
            known[nameless].id = id
            calls[choice] = known
            return known[nameless].told
        }
        guard known.count < ChoicesContent.callsMax else { return Int(clamping: stated) }
        let taken = Set(known.map(\.told))
        var told = Int(clamping: stated)
        if taken.contains(told) { told = (taken.max() ?? -1) + 1 }
        known.append(Call(stated: stated, id: id, told: told))
        calls[choice] = known
        return told
    }
}

extension JSONTree {
    /// An object with one member's value changed.
    func replacing(_ key: String, by change: (JSONTree) -> JSONTree) -> JSONTree {
        guard let members else { return self }
        return .object(members.map { $0.key == key ? .init(key, change($0.value)) : $0 })
    }
}
