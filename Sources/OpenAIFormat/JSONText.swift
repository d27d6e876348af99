// Hand-written JSON, for output that is produced once per token: an encoder costs some 10 µs a chunk, this
// well under 1 µs.

/// Appends JSON to bytes.
public enum JSONText {
    private static let hex = Array("0123456789abcdef".utf8)

    /// Appends `text` as the inside of a JSON string. Invalid UTF-8 is replaced by U+FFFD, because the text
    /// comes from strangers. Line ends are escaped, so that the result fits in a server-sent event.
    public static func appendEscaped(_ text: [UInt8], to out: inout [UInt8]) {
        if text.contains(where: { $0 >= 0x80 }), String(validating: text, as: UTF8.self) == nil {
            return appendEscaped(Array(String(decoding: text, as: UTF8.self).utf8), to: &out)
        }
        var run = 0
        for index in text.indices {
            let byte = text[index]
            guard byte < 0x20 || byte == 0x22 || byte == 0x5C || byte == 0x7F else { continue }
            out.append(contentsOf: text[run..<index])
            run = index + 1
            switch byte {
            case 0x22: out.append(contentsOf: [0x5C, 0x22])
            case 0x5C: out.append(contentsOf: [0x5C, 0x5C])
            case 0x0A: out.append(contentsOf: [0x5C, UInt8(ascii: "n")])
            case 0x0D: out.append(contentsOf: [0x5C, UInt8(ascii: "r")])
            case 0x09: out.append(contentsOf: [0x5C, UInt8(ascii: "t")])
            default:
                out.append(contentsOf: "\\u00".utf8)
                out.append(hex[Int(byte >> 4)])
                out.append(hex[Int(byte & 15)])
            }
        }
        out.append(contentsOf: text[run...])
    }
}

/// Amounts of money as people and clients read them.
public enum Credits {
    /// Micro-credits as credits, exact and without trailing zeros: 46 is `0.000046`, 2 000 000 is `2`.
    public static func text(_ microcredits: Int64) -> String { decimal(microcredits, atLeast: 0) }

    /// Micro-credits per million tokens as credits per million, with two decimals, or more if needed.
    public static func rate(_ microcredits: Int64) -> String { decimal(microcredits, atLeast: 2) }

    private static func decimal(_ microcredits: Int64, atLeast decimals: Int) -> String {
        let magnitude = microcredits.magnitude
        var (fraction, places) = (magnitude % 1_000_000, 6)
        while places > decimals, fraction % 10 == 0 { (fraction, places) = (fraction / 10, places - 1) }
        let whole = (microcredits < 0 ? "-" : "") + "\(magnitude / 1_000_000)"
        if places == 0 { return whole }
        let digits = String(fraction)
        return whole + "." + String(repeating: "0", count: places - digits.utf8.count) + digits
    }

    /// Credits as micro-credits, rounded; nil when negative, not a number or over 10^9 credits.
    public static func microcredits(_ credits: Double) -> Int64? {
        guard credits.isFinite, credits >= 0, credits <= 1e9 else { return nil }
        return Int64((credits * 1e6).rounded())
    }
}
