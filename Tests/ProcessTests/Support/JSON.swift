import Foundation

/// A JSON value to inspect. A missing member is `.null`, so that an expectation fails instead of the test.
enum JSON: Hashable, Sendable, Decodable, CustomStringConvertible {
    case null, bool(Bool), number(Double), string(String), array([JSON]), object([String: JSON])

    init(parsing text: String) { self.init(parsing: Data(text.utf8)) }

    init(parsing data: Data) { self = (try? JSONDecoder().decode(JSON.self, from: data)) ?? .null }

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let flag = try? value.decode(Bool.self) {
            self = .bool(flag)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .string(text)
        } else if let list = try? value.decode([JSON].self) {
            self = .array(list)
        } else if let map = try? value.decode([String: JSON].self) {
            self = .object(map)
        } else {
            self = .null
        }
    }

    subscript(key: String) -> JSON { if case .object(let map) = self { map[key] ?? .null } else { .null } }
    subscript(index: Int) -> JSON {
        if case .array(let list) = self, list.indices.contains(index) { list[index] } else { .null }
    }
    var list: [JSON] { if case .array(let list) = self { list } else { [] } }
    var keys: Set<String> { if case .object(let map) = self { Set(map.keys) } else { [] } }
    var text: String? { if case .string(let text) = self { text } else { nil } }
    var number: Double? { if case .number(let number) = self { number } else { nil } }
    var int: Int? { number.map { Int($0) } }
    var flag: Bool? { if case .bool(let flag) = self { flag } else { nil } }

    var description: String {
        switch self {
        case .null: "null"
        case .bool(let flag): "\(flag)"
        case .number(let number): number == number.rounded() ? "\(Int(number))" : "\(number)"
        case .string(let text): "\"\(text)\""
        case .array(let list): "[\(list.map(\.description).joined(separator: ", "))]"
        case .object(let map):
            "{\(map.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", "))}"
        }
    }
}
