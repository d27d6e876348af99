import DequeModule
import Primitives

/// Limits what others make us do for their reachability tests, per network and in total, over the last ten
/// minutes. A sliding window rather than a table of buckets: exact, bounded by the total, and empty when
/// idle.
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
