/// Converts between credits as people write them and micro-credits as the protocol has them.
public enum MicroCredits {
    /// Parses credits with at most six decimals, up to a thousand million: `2.00` is 2 000 000; nil
    /// otherwise.
    public static func parse(_ text: some StringProtocol) -> Int64? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, let whole = Int64(first.isEmpty ? "0" : first),
            (0...1_000_000_000).contains(whole),
            !text.isEmpty, text != "."
        else { return nil }
        var micro: Int64 = 0
        if parts.count == 2 {
            guard parts[1].count <= 6, parts[1].utf8.allSatisfy({ (48...57).contains($0) }) else {
                return nil
            }
            micro = Int64(parts[1] + String(repeating: "0", count: 6 - parts[1].count)) ?? 0
        }
        return whole * 1_000_000 + micro
    }

    /// `2.00` for 2 000 000: at least two decimals, and as many as the amount needs.
    public static func text(_ amount: Int64) -> String {
        let magnitude = amount.magnitude
        var decimals = String(magnitude % 1_000_000)
        decimals = String(repeating: "0", count: 6 - decimals.count) + decimals
        while decimals.count > 2, decimals.hasSuffix("0") { decimals.removeLast() }
        return "\(amount < 0 ? "-" : "")\(magnitude / 1_000_000).\(decimals)"
    }
}
