import DequeModule
import Primitives

/// How far an answer is paid that has ended.
enum Payment: Sendable {
    /// It runs, or nobody owes anything for it.
    case open
    /// Its final receipt may still come; until then what is missing of its price is taken from what its buyer paid.
    /// `lineBroke`: its channel closed, and receipts acknowledge at least half of it.
    case awaited(SlotShares.Charge, lineBroke: Bool)
    case settled
    /// What was taken for it is given back if its final receipt comes.
    case unpaid(SlotShares.Charge)

    /// What is taken for it now.
    var charge: SlotShares.Charge? {
        switch self {
        case .open, .settled: nil
        case .awaited(let charge, _), .unpaid(let charge): charge
        }
    }
}

/// Attempts whose answers have ended and whose final receipts are awaited, in the order of their ends.
struct AwaitedReceipts: Sendable {
    private var queue = Deque<(key: SlotKey, until: MonotonicTime)>()
    let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { queue.count }
    var nextDeadline: MonotonicTime { queue.first?.until ?? .never }

    /// Adds an attempt; returns one that must not be awaited any longer, where there are too many.
    mutating func add(_ key: SlotKey, until: MonotonicTime) -> SlotKey? {
        queue.append((key, until))
        return queue.count > capacity ? queue.popFirst()?.key : nil
    }

    /// The next attempt whose time is over.
    mutating func popDue(_ now: MonotonicTime) -> SlotKey? {
        nextDeadline <= now ? queue.popFirst()?.key : nil
    }
}
