import DequeModule
import Primitives

/// Limits what others make us do for their tests of reachability: of one network, and in all, over the last ten
/// minutes. A window rather than a table of buckets: exact, bounded by what is allowed in all, and empty when idle.
struct CallbackBudget: Sendable {
    static let window = Interval.minutes(10)
    private let perGroup: Int
    private let total: Int
    private var recent: Deque<(group: Endpoint, time: MonotonicTime)> = []

    init(perGroup: Int, total: Int) {
        self.perGroup = perGroup
        self.total = total
    }

    mutating func take(_ group: Endpoint, now: MonotonicTime) -> Bool {
        while let first = recent.first, now - first.time >= Self.window { recent.removeFirst() }
        guard recent.count < total, recent.count(where: { $0.group == group }) < perGroup else {
            return false
        }
        recent.append((group, now))
        return true
    }
}
