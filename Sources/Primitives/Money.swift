/// An amount of money in micro-credits: a cost, a sum of costs, or a balance, which may be negative. Arithmetic
/// saturates, because costs come from the network. It doesn't mix with integers, so that no sum of amounts can trap.
/// Rates (micro-credits per million tokens) are integers: they are multiplied, never summed.
public struct Money: Hashable, Comparable, Sendable {
    public var microCredits: Int64
    public init(microCredits: Int64) { self.microCredits = microCredits }
    public static let zero = Money(microCredits: 0)

    public static func < (a: Money, b: Money) -> Bool { a.microCredits < b.microCredits }
    public static func + (a: Money, b: Money) -> Money {
        let (sum, overflow) = a.microCredits.addingReportingOverflow(b.microCredits)
        return Money(microCredits: overflow ? (b.microCredits > 0 ? .max : .min) : sum)
    }
    public static func - (a: Money, b: Money) -> Money {
        let (difference, overflow) = a.microCredits.subtractingReportingOverflow(b.microCredits)
        return Money(microCredits: overflow ? (b.microCredits < 0 ? .max : .min) : difference)
    }
    public static func += (a: inout Money, b: Money) { a = a + b }
    public static func -= (a: inout Money, b: Money) { a = a - b }
    public static prefix func - (a: Money) -> Money { .zero - a }

    /// Without the sign.
    public var magnitude: Money { self < .zero ? -self : self }
}

/// The number of micro-credits, as documents have it.
extension Money: CustomStringConvertible, Codable {
    public var description: String { String(microCredits) }
    public init(from decoder: any Decoder) throws { microCredits = try Int64(from: decoder) }
    public func encode(to encoder: any Encoder) throws { try microCredits.encode(to: encoder) }
}
