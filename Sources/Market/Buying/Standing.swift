import Primitives

/// What a seller has shown that it can do, against what it does for this node now. The buyer's side of what `SlotShares`
/// is for sellers: a key has one task at a time, and one more for each that it finished since it last lost one.
enum Standing: Int, Comparable, Sendable {
    /// It has finished tasks of ours, more than it answers now.
    case room
    /// It has finished tasks of ours, and answers as many now as that allows.
    case full
    /// It never finished one, and may have one.
    case newcomer
    /// It never finished one, and it, or such sellers together, have all that they get.
    case unproven

    static func < (a: Standing, b: Standing) -> Bool { a.rawValue < b.rawValue }
}

/// A bid as it competes. A price is only a claim, and keys cost nothing: were it for the score alone, the cheapest bid of a
/// fresh key would win all tasks of a burst, and each would wait until it is moved.
struct Contender {
    let index: Int
    /// Place in the client's order, which comes before everything else.
    let rank: Int
    let standing: Standing
    let score: UInt64
    let completion: Interval
    let arrival: Int

    /// The winner: of the sellers that finished tasks the best, those with room first; or a newcomer with a better score;
    /// where none of these is, the best. nil: there are none.
    static func winner(of contenders: [Contender]) -> Contender? {
        guard let rank = contenders.map(\.rank).min() else { return nil }
        let first = contenders.filter { $0.rank == rank }
        let newcomer = first.filter { $0.standing == .newcomer }.min(by: precedes)
        let met = first.filter { $0.standing <= .full }.min {
            $0.standing == $1.standing ? precedes($0, $1) : $0.standing < $1.standing
        }
        guard let met else { return first.min(by: precedes) }
        return newcomer.map { precedes($0, met) ? $0 : met } ?? met
    }

    /// By score, then the shorter completion, then the bid that came first.
    private static func precedes(_ a: Contender, _ b: Contender) -> Bool {
        (a.score, a.completion.nanoseconds, a.arrival) < (b.score, b.completion.nanoseconds, b.arrival)
    }
}

/// All sellers that never finished a task here, together. Keys cost nothing, so a bound on each of them would not bound
/// a liar with many.
struct Newcomers: Sendable {
    private let parameters: MarketParameters
    /// Assignments that run, of all sellers and of these.
    private var assigned = 0
    private var inFlight = 0
    private var lossesInRow = 0
    private var lostAt: MonotonicTime?

    init(_ parameters: MarketParameters) { self.parameters = parameters }

    /// Whether one of them may get a task that a seller which finished some would do.
    func haveRoom(_ now: MonotonicTime) -> Bool {
        if let lostAt, now < lostAt + pause { return false }
        return inFlight < max(1, assigned * parameters.newcomersPercent / 100)
    }

    private var pause: Interval {
        let doublings = Int64(min(max(0, lossesInRow - 1), 16))
        return min(parameters.suspensionMin * (1 << doublings), parameters.suspensionMax)
    }

    mutating func awarded(isMet: Bool) {
        assigned += 1
        if !isMet { inFlight += 1 }
    }

    mutating func ended(isMet: Bool) {
        assigned = max(0, assigned - 1)
        if !isMet { inFlight = max(0, inFlight - 1) }
    }

    mutating func finished() { lossesInRow = 0 }

    /// Losses within a pause are one event: what ran together may fail together.
    mutating func lost(_ now: MonotonicTime) {
        if let lostAt, now < lostAt + pause { return }
        lossesInRow += 1
        lostAt = now
    }
}
