/// A rate limit: `rate` tokens a second, at most `burst` saved up. Integer arithmetic. A huge first gap and a
/// clock that stands still are both harmless.
public struct TokenBucket: Sendable {
    private let nanosecondsPerToken: Int64
    private let capacity: Int64
    private var full: MonotonicTime

    /// `rate` and `burst` are at least 1.
    public init(rate: Int, burst: Int) {
        nanosecondsPerToken = 1_000_000_000 / Int64(max(1, rate))
        capacity = (Interval(nanoseconds: nanosecondsPerToken) * Int64(max(1, burst))).nanoseconds
        full = .zero
    }

    /// One token per `interval` (at least a nanosecond), for rates below one a second.
    public init(every interval: Interval, burst: Int) {
        nanosecondsPerToken = max(1, interval.nanoseconds)
        capacity = (Interval(nanoseconds: nanosecondsPerToken) * Int64(max(1, burst))).nanoseconds
        full = .zero
    }

    /// Whether `count` tokens are available, without taking any: for a check that precedes an expensive one.
    public func has(_ count: Int = 1, _ now: MonotonicTime) -> Bool {
        let next = max(full, now) + Interval(nanoseconds: nanosecondsPerToken) * Int64(max(1, count))
        return (next - now).nanoseconds <= capacity
    }

    /// When the next token is available; not in the future if there is one already.
    public var nextToken: MonotonicTime {
        full + Interval(nanoseconds: nanosecondsPerToken - capacity)
    }

    /// Takes one token if available, and returns whether it was. (The generic cell rate algorithm, ITU-T
    /// I.371.)
    public mutating func take(_ now: MonotonicTime) -> Bool {
        let start = max(full, now)
        let next = start + Interval(nanoseconds: nanosecondsPerToken)
        guard (next - now).nanoseconds <= capacity else { return false }
        full = next
        return true
    }

    /// Gives back a token that was taken.
    public mutating func giveBack() {
        full = max(.zero, full + Interval(nanoseconds: -nanosecondsPerToken))
    }
}
