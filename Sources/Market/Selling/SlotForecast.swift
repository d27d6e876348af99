import Primitives
import Wire

/// When the slots of a model are likely to be free, by what runs and what waits: each slot goes to the next in the queue.
/// It looks at all slots and places, therefore it is made at most once in `age`, whatever is asked; what joins meanwhile
/// is added.
struct SlotForecast: Sendable {
    static let age = Interval.milliseconds(10)

    let madeAt: MonotonicTime
    /// When one of the slots is likely to be free, and one of those that strangers use.
    let anyFree: MonotonicTime
    let strangersFree: MonotonicTime
    /// For a new call of each rank: when each slot is free once all before it are done; ascending.
    private var free: [[MonotonicTime]] = []
    /// When each place gets its slot.
    private(set) var starts: [SlotQueue.Ticket: MonotonicTime] = [:]

    /// - Parameters:
    ///   - busy: when the slots that are taken are likely to be free.
    ///   - waiting: in order, with how long each is likely to use a slot.
    init(
        slots: Int, busy: [MonotonicTime], waiting: [(ticket: SlotQueue.Ticket, uses: Interval)],
        anyFree: MonotonicTime, strangersFree: MonotonicTime, _ now: MonotonicTime
    ) {
        madeAt = now
        self.anyFree = anyFree
        self.strangersFree = strangersFree
        var free = busy.map { max($0, now) } + Array(repeating: now, count: max(0, slots - busy.count))
        free.sort()
        var next = 0
        for rank in SlotQueue.Rank.allCases {
            while next < waiting.count, waiting[next].ticket.at <= SlotQueue.turn(rank, now) {
                starts[waiting[next].ticket] = free.first
                Self.take(&free, waiting[next].uses)
                next += 1
            }
            self.free.append(free)
        }
    }

    /// When a new call of this rank would get a slot; nil: there are none.
    func next(_ rank: SlotQueue.Rank) -> MonotonicTime? { free[Int(rank.rawValue)].first }

    /// Another has joined the queue, or taken a slot.
    mutating func add(_ ticket: SlotQueue.Ticket, uses: Interval) {
        starts[ticket] = next(ticket.rank)
        for rank in Int(ticket.rank.rawValue)..<free.count { Self.take(&free[rank], uses) }
    }

    /// The slot that is free first is used for so long.
    private static func take(_ free: inout [MonotonicTime], _ uses: Interval) {
        guard let first = free.first else { return }
        let until = first + uses
        var (low, high) = (1, free.count)
        while low < high {
            let middle = (low + high) / 2
            if free[middle] < until { low = middle + 1 } else { high = middle }
        }
        free.insert(until, at: low)
        free.removeFirst()
    }
}
