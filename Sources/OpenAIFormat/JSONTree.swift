/// A JSON value that writes back what it read: numbers keep their digits and objects their order, which
/// Foundation's JSON types don't preserve. For documents that are inspected and passed on, once per request.
public enum JSONTree: Hashable, Sendable {
    case null
    case bool(Bool)
    /// The digits as they were written.
    case number(String)
    case string(String)
    case array([JSONTree])
    case object([Member])

    /// One key of an object with its value.
    public struct Member: Hashable, Sendable {
        public var key: String
        public var value: JSONTree
        public init(_ key: String, _ value: JSONTree) {
            self.key = key
            self.value = value
        }
    }

    /// Values of one document, each of which takes some 60 bytes. A prompt of token ids has as many as the model's context.
    static let valuesMax = 1 << 19

    /// Parses one document of UTF-8. Nesting is limited to 64, and the number of its values to `valuesMax`. An object that repeats a key is refused,
    /// because two readers could then see two different requests.
    public init(parsing bytes: [UInt8]) throws(JSONError) {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw .notUTF8 }
        var cursor = JSONCursor(bytes)
        var left = Self.valuesMax
        self = try Self.value(&cursor, depth: 0, &left)
        try cursor.end()
    }

    private static func value(
        _ cursor: inout JSONCursor, depth: Int, _ left: inout Int
    ) throws(JSONError) -> JSONTree {
        guard depth < JSONCursor.depthMax else { throw .tooDeep }
        guard left > 0 else { throw .tooMany }
        left -= 1
        var first = true
        switch cursor.peek() {
        case UInt8(ascii: "{"):
            cursor.advance(1)
            var members: [Member] = []
            var keys: Set<String> = []
            while let key = try cursor.nextKey(&first) {
                guard keys.insert(key).inserted else { throw .duplicateKey }
                members.append(Member(key, try value(&cursor, depth: depth + 1, &left)))
            }
            return .object(members)
        case UInt8(ascii: "["):
            cursor.advance(1)
            var elements: [JSONTree] = []
            while try cursor.nextElement(&first) {
                elements.append(try value(&cursor, depth: depth + 1, &left))
            }
            return .array(elements)
        case UInt8(ascii: "\""):
            var text: [UInt8] = []
            try cursor.string(into: &text)
            return .string(String(decoding: text, as: UTF8.self))
        case UInt8(ascii: "t") where cursor.isNext("true"):
            cursor.advance(4)
            return .bool(true)
        case UInt8(ascii: "f") where cursor.isNext("false"):
            cursor.advance(5)
            return .bool(false)
        case UInt8(ascii: "n") where cursor.isNext("null"):
            cursor.advance(4)
            return .null
        default: return .number(try number(&cursor))
        }
    }

    private static func number(_ cursor: inout JSONCursor) throws(JSONError) -> String {
        let start = cursor.index
        var end = start
        while end < cursor.bytes.count, JSONCursor.isNumber(cursor.bytes[end]) { end += 1 }
        let digits = cursor.bytes[start..<end]
        guard isNumber(digits) else { throw .malformed(at: start) }
        cursor.advance(end - start)
        return String(decoding: digits, as: UTF8.self)
    }

    /// RFC 8259's grammar: [-] int [frac] [exp].
    private static func isNumber(_ digits: ArraySlice<UInt8>) -> Bool {
        var rest = digits
        func isDigit(_ byte: UInt8?) -> Bool { byte.map { $0 >= 0x30 && $0 <= 0x39 } ?? false }
        func takeDigits() -> Bool {
            guard isDigit(rest.first) else { return false }
            rest = rest.drop(while: isDigit)
            return true
        }
        if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        if rest.first == UInt8(ascii: "0") {
            rest.removeFirst()
        } else if !takeDigits() {
            return false
        }
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            guard takeDigits() else { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest.removeFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
            guard takeDigits() else { return false }
        }
        return rest.isEmpty
    }

    // MARK: Reading

    /// The value of an object's member; nil for other kinds.
    public subscript(key: String) -> JSONTree? { members?.first { $0.key == key }?.value }
    public var members: [Member]? { if case .object(let members) = self { members } else { nil } }
    public var elements: [JSONTree]? { if case .array(let elements) = self { elements } else { nil } }
    public var text: String? { if case .string(let text) = self { text } else { nil } }
    public var flag: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    public var isNull: Bool { self == .null }
    /// A whole number, clamped to 0 … 2^53; nil for other kinds.
    public var whole: UInt64? {
        guard case .number(let digits) = self, let value = Double(digits), value.isFinite,
            value == value.rounded()
        else { return nil }
        return UInt64(max(0, min(value, 9_007_199_254_740_992)))
    }
    public var real: Double? { if case .number(let digits) = self { Double(digits) } else { nil } }

    // MARK: Writing

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        write(to: &out)
        return out
    }

    public func write(to out: inout [UInt8]) {
        switch self {
        case .null: out += "null".utf8
        case .bool(let flag): out += (flag ? "true" : "false").utf8
        case .number(let digits): out += digits.utf8
        case .string(let text): Self.write(text, to: &out)
        case .array(let elements):
            out.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                element.write(to: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .object(let members):
            out.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                Self.write(member.key, to: &out)
                out.append(UInt8(ascii: ":"))
                member.value.write(to: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
            case 0x0A: out += "\\n".utf8
            case 0x0D: out += "\\r".utf8
            case 0x09: out += "\\t".utf8
            case 0..<0x20, 0x7F:
                let hex = Array("0123456789abcdef".utf8)
                out += "\\u00".utf8
                out += [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            default: out.append(byte)
            }
        }
        out.append(UInt8(ascii: "\""))
    }
}
