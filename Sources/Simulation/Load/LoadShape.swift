// How a load is distributed over time, answer lengths and conversation turns.

import Primitives

/// When a load's tasks arrive and which node each of them asks.
public enum Arrivals: String, Sendable, CaseIterable {
    /// Gaps uniform between zero and twice the mean, at random askers.
    case scattered
    /// Equal gaps, the askers in turn.
    case even
    /// Exponential gaps, as from independent clients, at random askers.
    case poisson
}

/// A rate that changes with the time of day: `period` is divided into equal parts, each with its own multiple
/// of the load's rate. It starts with the load and repeats.
public struct RateCurve: Sendable, Equatable {
    public static let partsMax = 1_440
    public static let periodMax = Interval.minutes(30 * 24 * 60)

    public let period: Interval
    /// The multiples, in millionths; at least one is positive.
    public let shares: [Int]

    public init(period: Interval, shares: [Int]) {
        precondition(
            (1...Self.partsMax).contains(shares.count) && shares.contains { $0 > 0 }
                && shares.allSatisfy { $0 >= 0 } && period >= .milliseconds(1) && period <= Self.periodMax,
            "a curve of \(shares.count) parts in \(period.nanoseconds) ns")
        self.period = period
        self.shares = shares
    }

    /// The time at which `gap` (at the load's own rate) has passed since `at`; both in nanoseconds since the
    /// load's start.
    func advance(_ at: Int64, by gap: Int64) -> Int64 {
        var at = at
        var left = Double(max(0, gap))
        let count = Int64(shares.count)
        while true {
            let into = at % period.nanoseconds
            let part = into * count / period.nanoseconds
            let end = ((part + 1) * period.nanoseconds + count - 1) / count
            let share = Double(shares[Int(part)]) / 1_000_000
            let room = Double(end - into) * share
            if left < room { return at + Int64(left / share) }
            left -= room
            at += end - into
        }
    }
}

/// How many tokens an answer has, within a load's range.
public enum Lengths: Sendable, Equatable {
    case uniform
    /// The minimum plus an exponential with this mean, cut off at the range's upper end.
    case exponential(mean: Int)
    /// Bounded Pareto with this shape × 1000. A smaller shape gives a heavier tail; traces of jobs show about
    /// 1,100.
    case pareto(milliShape: Int)

    func draw(_ least: Int, _ most: Int, _ random: inout SeededRandom) -> Int {
        let span = max(0, most - least)
        switch self {
        case .uniform:
            return least + random.below(span + 1)
        case .exponential(let mean):
            guard span > 0 else { return least }
            // Inverse of the distribution function, truncated to the range.
            let scale = Double(max(1, mean))
            let within = 1 - SteadyMath.exp(-min(700, Double(span) / scale))
            let length = -SteadyMath.ln(1 - (1 - random.positiveUnit()) * within) * scale
            return least + min(span, Int(length.rounded()))
        case .pareto(let milliShape):
            guard span > 0 else { return least }
            let shape = Double(max(1, milliShape)) / 1_000
            let low = Double(max(1, least))
            let ratio = SteadyMath.exp(shape * SteadyMath.ln(low / Double(most)))
            let u = 1 - (1 - random.positiveUnit()) * (1 - ratio)
            return min(most, max(least, Int(low * SteadyMath.exp(-SteadyMath.ln(u) / shape))))
        }
    }
}

/// A client that asks follow-up questions: each turn's prompt contains all earlier turns.
public struct ConversationPlan: Sendable, Equatable {
    /// Tasks per conversation.
    public var turns: ClosedRange<Int>
    /// From the end of an answer to the next question: exponential with this mean.
    public var think: Interval

    public init(turns: ClosedRange<Int>, think: Interval) {
        self.turns = turns
        self.think = think
    }
}

extension SeededRandom {
    /// In (0, 1], in steps of 2⁻⁵³.
    mutating func positiveUnit() -> Double { Double((next() >> 11) + 1) * 0x1p-53 }

    /// Exponential with this mean.
    mutating func exponential(_ mean: Int64) -> Int64 {
        Int64(-SteadyMath.ln(positiveUnit()) * Double(max(0, mean)))
    }
}
