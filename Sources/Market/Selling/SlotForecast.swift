import Primitives
import Wire

/// When the slots of a model are likely to be free, by what runs and what waits: each goes to the next in the queue that may
/// have it, as in `SlotGate`. It looks at all slots and places, therefore it is made at most once in `age`, whatever is
/// asked; what joins meanwhile is added.
struct SlotForecast: Sendable {
    static let age = Interval.milliseconds(10)

    /// A task that waits, how long it is likely to use a slot, and when it is over in any case.
    typealias Place = (ticket: SlotQueue.Ticket, uses: Interval, deadlineAt: MonotonicTime)

    let madeAt: MonotonicTime
    /// When one of the slots is likely to be free, and one of those that strangers use.
    let anyFree: MonotonicTime
    let strangersFree: MonotonicTime
    /// Once all are done that wait before a new task of this node, of a buyer that is known, and of any.
    private var own: Lanes
    private var known: Lanes
    private var all: Lanes
    /// For how long those use all slots that will come after a stranger and go before it.
    private let overtaking: Interval
    /// When each place gets its slot.
    private(set) var starts: [SlotQueue.Ticket: MonotonicTime] = [:]

    /// - Parameters:
    ///   - strangerSlots: of the slots, how many strangers may use.
    ///   - busy: when the slots that are taken are likely to be free.
    ///   - waiting: in order.
    ///   - strangersDelay: how much later than they came strangers have their turn.
    init(
        slots: Int, strangerSlots: Int, busy: [(until: MonotonicTime, isStranger: Bool)],
        waiting: [Place], strangersDelay: Interval, anyFree: MonotonicTime, strangersFree: MonotonicTime,
        _ now: MonotonicTime
    ) {
        madeAt = now
        self.anyFree = anyFree
        self.strangersFree = strangersFree
        let free = Lanes(slots: slots, strangerSlots: strangerSlots, busy: busy, now)
        (own, known, all) = (free, free, free)
        _ = own.serve(waiting.filter { $0.ticket.rank == .own })
        _ = known.serve(waiting.filter { $0.ticket.at <= now })
        for (ticket, start) in all.serve(waiting) { starts[ticket] = start }
        // As much as in the time before.
        let wait = (all.start(isStranger: true) ?? now) - now
        let overtakers = waiting.filter {
            $0.ticket.rank != .stranger && now < $0.ticket.at + min(wait, strangersDelay)
        }
        overtaking = overtakers.reduce(Interval.zero) { $0 + $1.uses } / Int64(max(1, slots))
    }

    /// When a new call of this rank would get a slot; nil: never.
    func next(_ rank: SlotQueue.Rank) -> MonotonicTime? {
        switch rank {
        case .own: own.start(isStranger: false)
        case .known: known.start(isStranger: false)
        case .stranger: all.start(isStranger: true, after: overtaking)
        }
    }

    /// Another has joined the queue, or taken a slot.
    mutating func add(_ ticket: SlotQueue.Ticket, uses: Interval) {
        guard let start = next(ticket.rank) else { return }
        starts[ticket] = start
        let isStranger = ticket.rank == .stranger
        if ticket.rank == .own { _ = own.take(isStranger: false, uses) }
        if !isStranger { _ = known.take(isStranger: false, uses) }
        _ = all.take(isStranger: isStranger, uses)
    }
}

/// When each slot is free, and each of those that strangers may use; ascending.
private struct Lanes: Sendable {
    private var slots: [MonotonicTime]
    private var lent: [MonotonicTime]

    init(
        slots: Int, strangerSlots: Int, busy: [(until: MonotonicTime, isStranger: Bool)], _ now: MonotonicTime
    ) {
        // Where more are taken than there are, the first that end leave none.
        func lanes(_ count: Int, _ busy: [MonotonicTime]) -> [MonotonicTime] {
            let taken = busy.map { max($0, now) }.sorted()
            return Array(repeating: now, count: max(0, count - taken.count)) + taken.suffix(max(0, count))
        }
        self.slots = lanes(slots, busy.map(\.until))
        lent = lanes(strangerSlots, busy.filter(\.isStranger).map(\.until))
    }

    /// When the next task gets a slot, after others that use all of them for that time; nil: never.
    func start(isStranger: Bool, after others: Interval = .zero) -> MonotonicTime? {
        guard let any = slots.first.map({ $0 + others }) else { return nil }
        return isStranger ? lent.first.map { max(any, $0) } : any
    }

    mutating func take(isStranger: Bool, _ uses: Interval) -> MonotonicTime? {
        guard let start = start(isStranger: isStranger) else { return nil }
        // Of those that are free by then the last: others may use the rest until then.
        Self.replace(&slots, at: Self.index(in: slots, after: start) - 1, with: start + uses)
        if isStranger { Self.replace(&lent, at: 0, with: start + uses) }
        return start
    }

    /// Gives the slots to those that wait, in their order, strangers within their share; and returns when. One whose turn
    /// would come after its deadline has left by then.
    mutating func serve(_ waiting: [SlotForecast.Place]) -> [(SlotQueue.Ticket, MonotonicTime)] {
        var starts: [(SlotQueue.Ticket, MonotonicTime)] = []
        starts.reserveCapacity(waiting.count)
        var others = waiting[...].filter { $0.ticket.rank != .stranger }[...]
        var strangers = waiting[...].filter { $0.ticket.rank == .stranger }[...]
        while true {
            let other = others.isEmpty ? nil : start(isStranger: false)
            let stranger = strangers.isEmpty ? nil : start(isStranger: true)
            guard let first = other ?? stranger else { return starts }
            let isStranger: Bool
            if let other, let stranger, other == stranger, let a = others.first, let b = strangers.first {
                isStranger = b.ticket < a.ticket
            } else {
                // A stranger whose share is used is passed over.
                isStranger = other == nil || (stranger ?? first) < first
            }
            guard let next = isStranger ? strangers.popFirst() : others.popFirst(),
                let start = start(isStranger: isStranger)
            else { return starts }
            starts.append((next.ticket, start))
            if start < next.deadlineAt {
                _ = take(isStranger: isStranger, min(next.uses, next.deadlineAt - start))
            }
        }
    }

    /// The index of the first that is later.
    private static func index(in times: [MonotonicTime], after time: MonotonicTime) -> Int {
        var (low, high) = (0, times.count)
        while low < high {
            let middle = (low + high) / 2
            if times[middle] <= time { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func replace(
        _ times: inout [MonotonicTime], at index: Int, with time: MonotonicTime
    ) {
        times.remove(at: index)
        times.insert(time, at: Self.index(in: times, after: time))
    }
}
