// So that a document can be written down as it looks.

extension JSONTree: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral flag: Bool) { self = .bool(flag) }
    public init(integerLiteral number: Int) { self = .number(String(number)) }
    public init(stringLiteral text: String) { self = .string(text) }
    public init(arrayLiteral elements: JSONTree...) { self = .array(elements) }
    public init(dictionaryLiteral members: (String, JSONTree)...) {
        self = .object(members.map { Member($0, $1) })
    }

    public init(_ text: String?) { self = text.map { .string($0) } ?? .null }
    public init(_ number: (some BinaryInteger)?) { self = number.map { .number(String($0)) } ?? .null }
    /// Null also for what JSON has no number for.
    public init(_ number: Double) { self = number.isFinite ? .number(String(number)) : .null }

    /// Indented by two spaces a level, with the members in the order of their keys.
    public func pretty(indent: String = "") -> String {
        let inner = indent + "  "
        switch self {
        case .array(let elements) where !elements.isEmpty:
            let lines = elements.map { inner + $0.pretty(indent: inner) }
            return "[\n\(lines.joined(separator: ",\n"))\n\(indent)]"
        case .object(let members) where !members.isEmpty:
            let lines = members.sorted { $0.key < $1.key }.map {
                "\(inner)\(JSONTree.string($0.key).description) : \($0.value.pretty(indent: inner))"
            }
            return "{\n\(lines.joined(separator: ",\n"))\n\(indent)}"
        default: return description
        }
    }

    private var description: String { String(decoding: bytes, as: UTF8.self) }
}
