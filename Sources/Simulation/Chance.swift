/// A probability in parts per million, so that draws are integers and equal on every machine.
public struct Chance: Hashable, Sendable, CustomStringConvertible {
    public var perMillion: Int

    public init(perMillion: Int) { self.perMillion = max(0, min(perMillion, 1_000_000)) }
    public static let never = Chance(perMillion: 0)
    public static func percent(_ n: Int) -> Chance { Chance(perMillion: n * 10_000) }

    public var description: String {
        let whole = perMillion / 10_000
        let rest = perMillion % 10_000
        guard rest > 0 else { return "\(whole)%" }
        var digits = String(10_000 + rest).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(whole).\(digits)%"
    }
}
