import Primitives

/// A seller that passed the filters.
struct Eligible: Sendable {
    var candidate: Candidate
    var millitrust: UInt32
    var belief: SpeedBelief
    /// Place in the client's `order`; sellers outside it share the last.
    var rank: Int
    /// It has answered this node before, or has a session with it: it exists, which an offer alone does not show.
    var isKnown: Bool
    /// Tasks of this node that it won and finished.
    var finished: Int
    /// Tasks of this node that it is answering now, and calls that it declined in a row.
    var inFlight = 0
    var declines = 0
    /// Expected, by its offer and what is known of it; lower is better.
    var expected = ScoringBasis.Result()
    /// For drawing; see `Sampling`.
    var weight: UInt64

    /// It can do what it offers, which an answer does not show either.
    var isMet: Bool { finished > 0 }
}

/// Draws the sellers that are asked: the client's `order` first, then without replacement, weighted by free capacity and
/// expected score, with one place kept for a newcomer and one for a seller that this node has met. Never simply the
/// best: every buyer's favourite would be overloaded. Sellers that this node has not met get at most half of the places
/// while there are others, and without any it has met, those that never answered: an offer costs nothing, and thousands of
/// invented ones at the best price would keep every auction waiting for answers that never come.
enum Sampling {
    /// Weights have 2^20 steps. A session, which saves a handshake, counts four times.
    private static let scale: UInt64 = 1 << 20
    private static let sessionFactor: UInt64 = 4
    /// Slots that count: those of a seller that never finished a task here are a mere claim.
    private static let (slotsMetMax, slotsClaimedMax): (Int64, Int64) = (64, 8)
    /// Each decline in a row halves the weight, up to 1/64.
    private static let halvingsMax = 6

    /// Slots not taken by this node's own tasks × (best score ÷ score)⁴ ÷ 2^declines, at least 1. The power is as high as
    /// it is because scores count the queues that sellers stated last: a lower one asks slow sellers in vain.
    static func weight(
        score: UInt64, best: UInt64, slots: UInt32, inFlight: Int, hasSession: Bool, isMet: Bool,
        declines: Int
    ) -> UInt64 {
        let free = min(max(1, Int64(slots) - Int64(inFlight)), isMet ? slotsMetMax : slotsClaimedMax)
        let bounded = min(score, 1 << 40)
        let ratio = (min(best, bounded) + 1) * scale / (bounded + 1)
        let squared = ratio * ratio / scale
        let weight = squared * squared / scale * UInt64(free) * (hasSession ? sessionFactor : 1)
        return max(1, weight >> UInt64(min(max(0, declines), halvingsMax)))
    }

    static func choose(_ pool: [Eligible], most: Int, random: inout SeededRandom) -> [Eligible] {
        guard pool.count > most else { return pool }
        var chosen: [Eligible] = []
        var rest = pool
        // Few clients have an order, and a thousand offers take long to sort.
        if pool.contains(where: { $0.rank != .max }) {
            rest = pool.sorted { $0.rank < $1.rank }
            chosen = Array(rest.prefix { $0.rank != .max }.prefix(most))
            rest.removeFirst(chosen.count)
        }
        var total = rest.reduce(UInt64(0)) { $0 &+ $1.weight }
        let hasMet = rest.contains(where: \.isMet) || chosen.contains(where: \.isMet)
        let isStranger: (Eligible) -> Bool = { hasMet ? !$0.isMet : !$0.isKnown }
        var strangersLeft = most / 2
        var setAside: [Eligible] = []
        while chosen.count < most {
            if strangersLeft == 0, setAside.isEmpty, rest.contains(where: { !isStranger($0) }) {
                setAside = rest.filter(isStranger)
                rest.removeAll(where: isStranger)
                total = rest.reduce(UInt64(0)) { $0 &+ $1.weight }
            }
            if rest.isEmpty {
                guard !setAside.isEmpty else { break }
                rest = setAside
                setAside = []
                total = rest.reduce(UInt64(0)) { $0 &+ $1.weight }
            }
            let left = most - chosen.count
            let index: Int
            if left == 1, chosen.allSatisfy(\.isMet), let drawn = one(of: rest, isMet: false, &random) {
                index = drawn
            } else if left == 2, !chosen.contains(where: \.isMet),
                let drawn = one(of: rest, isMet: true, &random)
            {
                index = drawn
            } else {
                index = draw(rest, total, &random)
            }
            total &-= rest[index].weight
            if isStranger(rest[index]) { strangersLeft -= 1 }
            chosen.append(rest[index])
            rest.swapAt(index, rest.count - 1)
            rest.removeLast()
        }
        return chosen
    }

    /// One of them, by weight; nil: there are none.
    static func draw(_ pool: [Eligible], random: inout SeededRandom) -> Eligible? {
        let total = pool.reduce(UInt64(0)) { $0 &+ $1.weight }
        return pool.isEmpty ? nil : pool[draw(pool, total, &random)]
    }

    private static func one(of rest: [Eligible], isMet: Bool, _ random: inout SeededRandom) -> Int? {
        let suitable = rest.indices.filter { rest[$0].isMet == isMet }
        return suitable.isEmpty ? nil : suitable[random.below(suitable.count)]
    }

    private static func draw(_ rest: [Eligible], _ total: UInt64, _ random: inout SeededRandom) -> Int {
        var point = Int64(random.below(Int(clamping: max(1, total))))
        for index in rest.indices {
            point -= Int64(clamping: rest[index].weight)
            if point < 0 { return index }
        }
        return rest.count - 1
    }
}
