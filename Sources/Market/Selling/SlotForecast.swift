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
    /// When each slot is free once all are done that wait before a new task of this node, of a buyer that is known, and of any;
    /// and each of those that strangers may use, after the strangers that wait. Ascending.
    private var own: [MonotonicTime]
    private var known: [MonotonicTime]
    private var all: [MonotonicTime]
    private var strangers: [MonotonicTime]
    /// When each place gets its slot.
    private(set) var starts: [SlotQueue.Ticket: MonotonicTime] = [:]

    /// - Parameters:
    ///   - strangerSlots: of the slots, how many strangers may use.
    ///   - busy: when the slots that are taken are likely to be free.
    ///   - waiting: in order, with how long each is likely to use a slot.
    init(
        slots: Int, strangerSlots: Int, busy: [(until: MonotonicTime, isStranger: Bool)],
        waiting: [(ticket: SlotQueue.Ticket, uses: Interval)], anyFree: MonotonicTime,
        strangersFree: MonotonicTime, _ now: MonotonicTime
    ) {
        madeAt = now
        self.anyFree = anyFree
        self.strangersFree = strangersFree
        func lane(_ slots: Int, _ busy: [MonotonicTime]) -> [MonotonicTime] {
            (busy.map { max($0, now) } + Array(repeating: now, count: max(0, slots - busy.count))).sorted()
        }
        own = lane(slots, busy.map(\.until))
        known = own
        all = own
        strangers = strangerSlots == 0 ? [] : lane(strangerSlots, busy.filter(\.isStranger).map(\.until))
        for place in waiting { join(place.ticket, uses: place.uses, delaysKnown: place.ticket.at <= now) }
    }

    /// When a new call of this rank would get a slot; nil: never.
    func next(_ rank: SlotQueue.Rank) -> MonotonicTime? {
        switch rank {
        case .own: return own.first
        case .known: return known.first
        case .stranger:
            guard let any = all.first, let lent = strangers.first else { return nil }
            return max(any, lent)
        }
    }

    /// Another has joined the queue, or taken a slot.
    mutating func add(_ ticket: SlotQueue.Ticket, uses: Interval) {
        join(ticket, uses: uses, delaysKnown: ticket.rank != .stranger)
    }

    private mutating func join(_ ticket: SlotQueue.Ticket, uses: Interval, delaysKnown: Bool) {
        guard let start = ticket.rank == .known ? all.first : next(ticket.rank) else { return }
        starts[ticket] = start
        if ticket.rank == .stranger, let lent = strangers.first {
            Self.take(&strangers, start - lent + uses)
            // One that has to wait for a stranger's slot is passed over by others.
            guard all.first == start else { return }
        }
        if ticket.rank == .own { Self.take(&own, uses) }
        if delaysKnown { Self.take(&known, uses) }
        Self.take(&all, uses)
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
