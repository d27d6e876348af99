// What Foundation would do, whose library takes 8 MB in each process.

extension Double {
    /// Rounded to `decimals` places (at most 9), as in 12.50; `nan`, `inf` and what is too large for 64 bits as Swift
    /// writes it.
    public func text(decimals: Int) -> String {
        let scale = (0..<Swift.min(9, Swift.max(0, decimals))).reduce(1) { scale, _ in scale * 10 }
        let scaled = (magnitude * Double(scale)).rounded()
        guard let whole = UInt64(exactly: scaled) else { return "\(self)" }
        let (units, rest) = whole.quotientAndRemainder(dividingBy: UInt64(scale))
        let sign = self < 0 && whole > 0 ? "-" : ""
        guard scale > 1 else { return "\(sign)\(units)" }
        return "\(sign)\(units).\(String(String(UInt64(scale) + rest).dropFirst()))"
    }
}

extension StringProtocol {
    /// Without white space around it.
    public var trimmed: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }

    /// For a part of a URL: all but letters and digits of ASCII as `%2F`.
    public var percentEscaped: String {
        utf8.map { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: String(UnicodeScalar(byte))
            default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }

    /// Of a path, what is before its last `/`: empty for a bare name, `/` for a file of the root.
    public var parentPath: String {
        guard let slash = lastIndex(of: "/") else { return "" }
        return slash == startIndex ? "/" : String(self[..<slash])
    }

    /// Of a path, what is behind its last `/`.
    public var lastPathPart: String { String(self[(lastIndex(of: "/").map(index(after:)) ?? startIndex)...]) }
}
