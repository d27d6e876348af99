import HeapModule
import Primitives

/// Several machines in virtual time: each has one alarm, and its messages take their latency or are lost.
/// Events of one moment happen in the order in which they were planned, so that a run depends on nothing but
/// its seed.
///
/// A test's own world says what machines and messages are. It plans, and carries out what `next` hands it:
///
///     while let happening = network.next(until: end) {
///         switch happening {
///         case .alarm(let machine): …    // tick it
///         case .event(let event): …      // deliver it
///         }
///     }
package struct VirtualNetwork<Event> {
    package enum Happening {
        case alarm(Int)
        case event(Event)
    }

    private struct Planned: Comparable {
        var time: MonotonicTime
        var sequence: UInt64
        var slot: Int
        static func < (a: Planned, b: Planned) -> Bool { (a.time, a.sequence) < (b.time, b.sequence) }
    }

    package private(set) var now: MonotonicTime
    /// The latency from the first machine to the second.
    package var latency: (Int, Int, inout SeededRandom) -> Interval
    /// Of a thousand messages this many are lost.
    package var lossPerMille = 0
    /// Whether messages get from the first machine to the second at all.
    package var isLinked: (Int, Int) -> Bool = { _, _ in true }
    package var random: SeededRandom

    /// The heap holds slot numbers, so that sifting moves no events.
    private var planned = Heap<Planned>()
    private var sequence: UInt64 = 0
    private var slots: [Happening?] = []
    private var freeSlots: [Int] = []
    /// By machine, when to wake it; each has at most one heap entry that counts.
    private var alarms: [MonotonicTime] = []

    package init(
        seed: UInt64, start: MonotonicTime = .zero,
        latency: @escaping (Int, Int, inout SeededRandom) -> Interval
    ) {
        now = start
        random = SeededRandom(seed: seed)
        self.latency = latency
    }

    package init(seed: UInt64, start: MonotonicTime = .zero, latency: Interval) {
        self.init(seed: seed, start: start) { _, _, _ in latency }
    }

    package init(seed: UInt64, start: MonotonicTime = .zero, latency low: Interval, to high: Interval) {
        self.init(seed: seed, start: start) { _, _, random in random.interval(low, high) }
    }

    /// Plans `event` for `time`, or for now if that is past.
    package mutating func plan(_ event: Event, at time: MonotonicTime) { plan(.event(event), at: time) }

    package mutating func plan(_ event: Event, after interval: Interval) { plan(event, at: now + interval) }

    /// Plans the arrival of `event`; false if it is lost.
    @discardableResult
    package mutating func send(_ event: Event, from sender: Int, to receiver: Int) -> Bool {
        guard passes(sender, receiver) else { return false }
        plan(event, after: latency(sender, receiver, &random))
        return true
    }

    /// Whether a message sent now would arrive: draws whether it is lost.
    package mutating func passes(_ sender: Int, _ receiver: Int) -> Bool {
        let isLost = lossPerMille > 0 && random.chance(lossPerMille, in: 1_000)
        return !isLost && isLinked(sender, receiver)
    }

    /// Wakes `machine` at its deadline. An earlier alarm already set stands: the machine is asked again then.
    package mutating func wake(_ machine: Int, at deadline: MonotonicTime) {
        while alarms.count <= machine { alarms.append(.never) }
        guard deadline < alarms[machine] else { return }
        alarms[machine] = deadline
        plan(.alarm(machine), at: deadline)
    }

    /// Forgets the alarm of a machine that is restarted.
    package mutating func forgetAlarm(of machine: Int) {
        if machine < alarms.count { alarms[machine] = .never }
    }

    /// The next event by `end`, at its moment; after the last one, nil at `end`.
    package mutating func next(until end: MonotonicTime) -> Happening? {
        while let first = planned.min, first.time <= end {
            planned.removeMin()
            now = max(now, first.time)
            guard let happening = slots[first.slot] else { continue }
            slots[first.slot] = nil
            freeSlots.append(first.slot)
            if case .alarm(let machine) = happening {
                // Skip an alarm that an earlier one overtook, or that was forgotten.
                guard alarms[machine] <= now else { continue }
                alarms[machine] = .never
            }
            return happening
        }
        now = max(now, end)
        return nil
    }

    private mutating func plan(_ happening: Happening, at time: MonotonicTime) {
        sequence += 1
        let slot = freeSlots.popLast() ?? slots.count
        if slot == slots.count { slots.append(happening) } else { slots[slot] = happening }
        planned.insert(Planned(time: max(time, now), sequence: sequence, slot: slot))
    }
}

/// A digest of a run's events in order (FNV-1a by words): two runs took the same course if theirs are equal.
package struct CourseDigest: Equatable {
    package private(set) var value: UInt64 = 14_695_981_039_346_656_037
    package init() {}
    package mutating func mix(_ word: UInt64) { value = (value ^ word) &* 1_099_511_628_211 }
}
