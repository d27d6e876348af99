// An embedding's answer, rebuilt from the worker's: we take only the vectors and write the rest. OpenAI's
// Python package asks for base64 by default while backends return floats, so either form is converted into
// the other.

/// The response to `/v1/embeddings`.
public enum EmbeddingAnswer {
    /// Returns nil when the worker's JSON is not a list of embeddings.
    public static func body(_ json: [UInt8], model: String, base64: Bool, usage: Usage) -> [UInt8]? {
        guard let tree = try? JSONTree(parsing: json), let entries = (tree["data"] ?? tree).elements else {
            return nil
        }
        var data: [JSONTree] = []
        for (position, entry) in entries.enumerated() {
            guard let given = entry["embedding"], let vector = vector(given, base64: base64) else {
                return nil
            }
            data.append(
                .object([
                    .init("object", .string("embedding")),
                    .init("index", .number(String(entry["index"]?.whole ?? UInt64(position)))),
                    .init("embedding", vector),
                ]))
        }
        return JSONTree.object([
            .init("object", .string("list")), .init("data", .array(data)), .init("model", .string(model)),
            .init("usage", usage.json), .init("starling", usage.starling),
        ]).bytes
    }

    private static func vector(_ given: JSONTree, base64: Bool) -> JSONTree? {
        if let text = given.text {
            if base64 { return given }
            guard let bytes = Base64.decode(text), bytes.count % 4 == 0 else { return nil }
            var floats: [JSONTree] = []
            for start in stride(from: 0, to: bytes.count, by: 4) {
                let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) }
                let float = Float(bitPattern: bits)
                guard float.isFinite else { return nil }
                floats.append(.number("\(float)"))
            }
            return .array(floats)
        }
        // Some servers return one vector per token position; a list of one holds the vector itself.
        let nested = given.elements?.first?.elements
        guard let elements = nested != nil && given.elements?.count == 1 ? nested : given.elements else {
            return nil
        }
        var bytes: [UInt8] = []
        for element in elements {
            guard let real = element.real, real.isFinite else { return nil }
            let bits = Float(real).bitPattern
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: bits >> shift)) }
        }
        return base64 ? .string(Base64.encode(bytes)) : .array(elements)
    }
}

/// RFC 4648 §4, with padding.
enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            for position in 0..<4 {
                out.append(
                    position <= group.count
                        ? alphabet[Int(bits >> UInt32(18 - 6 * position) & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    static func decode(_ text: String) -> [UInt8]? {
        var digits = Array(text.utf8)
        guard digits.count % 4 == 0 else { return nil }
        while digits.last == UInt8(ascii: "="), digits.count % 4 != 2 { digits.removeLast() }
        var out: [UInt8] = []
        var bits: UInt32 = 0
        var held = 0
        for digit in digits {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = digit - 65
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = digit - 71
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit + 4
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            held += 6
            if held >= 8 {
                held -= 8
                out.append(UInt8(truncatingIfNeeded: bits >> UInt32(held)))
            }
        }
        return out
    }
}
