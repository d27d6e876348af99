import Primitives

/// How long a task waits for sellers that can't answer now, and when it asks them again.
struct Patience: Sendable {
    private let began: MonotonicTime
    private var ends: MonotonicTime
    /// Waits since the task began, or since it lost a worker.
    private var waits: Int64 = 0

    init(_ parameters: MarketParameters, _ now: MonotonicTime) {
        began = now
        ends = now + parameters.patience
    }

    /// The time lost to dead sellers is not counted against busy ones.
    mutating func forgive(_ parameters: MarketParameters, _ now: MonotonicTime) {
        ends = max(ends, now + parameters.patience)
    }

    /// Nor is the time in which our own bounds kept us from asking, up to `ownBoundsPatience` in all.
    mutating func forgiveOwnBounds(_ parameters: MarketParameters, _ now: MonotonicTime) {
        ends = max(ends, min(now + parameters.patience, began + parameters.ownBoundsPatience))
    }

    mutating func renewAfterLoss(_ parameters: MarketParameters, _ now: MonotonicTime) {
        waits = 0
        ends = now + parameters.patienceAfterLoss
    }

    /// When to ask again, if the first seller may be free in `soonest`; nil if that is too late. `until`: how long it waits
    /// at least.
    ///
    /// The wait doubles, so that a full market is not asked without end. Its length is partly random, so that two
    /// buyers that met once do not meet again.
    mutating func nextTry(
        soonest: Interval, until: MonotonicTime? = nil, _ parameters: MarketParameters, _ turn: inout Turn
    ) -> MonotonicTime? {
        let now = turn.monotonic
        let ends = max(ends, until ?? ends)
        guard now + soonest < ends else { return nil }
        let backoff = min(parameters.retryMin * (1 << min(waits, 8)), parameters.retryMax)
        // A mere hold ends with its auction, long before its limit.
        let wait = soonest > parameters.holdMax ? soonest : backoff
        waits += 1
        return min(now + wait + turn.random.interval(.zero, backoff), ends)
    }
}
