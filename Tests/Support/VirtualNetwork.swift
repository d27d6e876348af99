import HeapModule
import Primitives

/// Several machines in virtual time: each has one alarm, and what they send takes its time or is lost. What happens at one
/// moment happens in the order in which it was planned, so that a run depends on nothing but its seed.
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
    /// How long something takes from the first machine to the second.
    package var latency: (Int, Int, inout SeededRandom) -> Interval
    /// Of a thousand things sent so many are lost.
    package var lossPerMille = 0
    /// Whether anything gets from the first machine to the second.
    package var isLinked: (Int, Int) -> Bool = { _, _ in true }
    package var random: SeededRandom

    /// The heap holds numbers of slots, so that sifting moves no events.
    private var planned = Heap<Planned>()
    private var sequence: UInt64 = 0
    private var slots: [Happening?] = []
    private var freeSlots: [Int] = []
    /// By machine, when it is to be woken; one entry of the heap each that counts.
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

    /// Plans `event` for `time`, or for now when that is past.
    package mutating func plan(_ event: Event, at time: MonotonicTime) { plan(.event(event), at: time) }

    package mutating func plan(_ event: Event, after interval: Interval) { plan(event, at: now + interval) }

    /// Plans the arrival of `event`; false when it is lost on its way.
    @discardableResult
    package mutating func send(_ event: Event, from sender: Int, to receiver: Int) -> Bool {
        guard passes(sender, receiver) else { return false }
        plan(event, after: latency(sender, receiver, &random))
        return true
    }

    /// Whether something sent now would arrive: draws whether it is lost.
    package mutating func passes(_ sender: Int, _ receiver: Int) -> Bool {
        let isLost = lossPerMille > 0 && random.chance(lossPerMille, in: 1_000)
        return !isLost && isLinked(sender, receiver)
    }

    /// Wakes `machine` at its deadline. An earlier alarm that is set already stands: the machine is asked again then.
    package mutating func wake(_ machine: Int, at deadline: MonotonicTime) {
        while alarms.count <= machine { alarms.append(.never) }
        guard deadline < alarms[machine] else { return }
        alarms[machine] = deadline
        plan(.alarm(machine), at: deadline)
    }

    /// Forgets the alarm of a machine that is started again.
    package mutating func forgetAlarm(of machine: Int) {
        if machine < alarms.count { alarms[machine] = .never }
    }

    /// The next that happens by `end`, at its moment; after the last, nil at `end`.
    package mutating func next(until end: MonotonicTime) -> Happening? {
        while let first = planned.min, first.time <= end {
            planned.removeMin()
            now = max(now, first.time)
            guard let happening = slots[first.slot] else { continue }
            slots[first.slot] = nil
            freeSlots.append(first.slot)
            if case .alarm(let machine) = happening {
                // One that was overtaken by an earlier one, or forgotten.
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

/// A digest of what happened in a run, in its order: two runs took the same course when theirs are equal (FNV-1a by words).
package struct CourseDigest: Equatable {
    package private(set) var value: UInt64 = 14_695_981_039_346_656_037
    package init() {}
    package mutating func mix(_ word: UInt64) { value = (value ^ word) &* 1_099_511_628_211 }
}
