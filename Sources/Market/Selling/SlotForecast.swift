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
    /// When each slot is free once all that wait before a new call are done, of this node's own and of others; ascending.
    private var free: (own: [MonotonicTime], others: [MonotonicTime])
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
        var own = free
        for place in waiting {
            if place.ticket.rank == .own { Self.take(&own, place.uses) }
            starts[place.ticket] = free.first
            Self.take(&free, place.uses)
        }
        self.free = (own, free)
    }

    /// When a new call of this rank would get a slot; nil: there are none.
    func next(_ rank: SlotQueue.Rank) -> MonotonicTime? { (rank == .own ? free.own : free.others).first }

    /// Another has joined the queue, or taken a slot.
    mutating func add(_ ticket: SlotQueue.Ticket, uses: Interval) {
        starts[ticket] = next(ticket.rank)
        if ticket.rank == .own { Self.take(&free.own, uses) }
        Self.take(&free.others, uses)
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
