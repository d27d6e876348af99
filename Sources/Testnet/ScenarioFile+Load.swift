// How a load is distributed over time, answer lengths and conversations, and how that is read from the file.

import NodeConfiguration
import Primitives

extension ScenarioFile {
    /// What a load can state besides its model, count and rate. Only virtual time supports more than the
    /// defaults.
    public struct LoadShape: Sendable {
        /// When tasks arrive: at equal gaps with the askers in turn, at exponential gaps with random askers,
        /// or at gaps uniform up to twice the mean.
        public enum Arrivals: String, Sendable, CaseIterable { case even, poisson, scattered }
        /// How the answers' token counts are distributed within the range of `tokens`.
        public enum Lengths: String, Sendable, CaseIterable { case uniform, exponential, pareto }

        public var arrivals = Arrivals.even
        public var lengths = Lengths.uniform
        /// For `exponential`: the mean number of tokens above the range's lower end.
        public var mean = 100
        /// For `pareto`: the shape × 1000.
        public var milliTail = 1_100
        /// Multiples of the rate for the equal parts of `period`, in millionths; empty: the rate is constant.
        public var curve: [Int] = []
        public var period = Interval.minutes(24 * 60)
        /// Tokens of a prompt; 0: those of the request's own few bytes.
        public var promptTokens = 0
        /// Tasks per conversation; nil: no conversations.
        public var turns: ClosedRange<Int>?
        /// Mean time from the end of an answer to the next question.
        public var think = Interval.seconds(10)

        static let keys = [
            "arrivals", "lengths", "mean", "tail", "curve", "period", "prompt_tokens", "turns", "think",
        ]

        /// The first key that processes can't play, as the error message names it.
        public var simulatedOnly: String? {
            if arrivals != .even { return "`load.arrivals: \(arrivals.rawValue)`" }
            if lengths != .uniform { return "`load.lengths: \(lengths.rawValue)`" }
            if !curve.isEmpty { return "`load.curve`" }
            if promptTokens > 0 { return "`load.prompt_tokens`" }
            return turns == nil ? nil : "`load.turns`"
        }
    }

    static func shape(_ reader: YAMLReader) throws(ConfigurationError) -> LoadShape {
        var shape = LoadShape()
        shape.arrivals = try reader.choice("arrivals", as: LoadShape.Arrivals.self) ?? shape.arrivals
        shape.lengths = try reader.choice("lengths", as: LoadShape.Lengths.self) ?? shape.lengths
        try need("mean", when: shape.lengths == .exponential, "`lengths: exponential`", reader)
        try need("tail", when: shape.lengths == .pareto, "`lengths: pareto`", reader)
        shape.mean = try reader.integer("mean", in: 1...100_000) ?? shape.mean
        if let tail = try reader.number("tail", in: 0.1...10) {
            shape.milliTail = Int((tail * 1_000).rounded())
        }
        for item in try reader.list("curve") {
            guard let text = item.text, let share = Double(text), (0...1_000).contains(share) else {
                throw item.failure(
                    "`\(item.path)` is no share of the rate", fix: "give a number, such as 0.3 or 1.5")
            }
            shape.curve.append(Int((share * 1_000_000).rounded()))
        }
        let curve = reader.child("curve")
        guard shape.curve.count <= 1_440, shape.curve.isEmpty || shape.curve.contains(where: { $0 > 0 })
        else {
            throw curve.failure(
                "`\(curve.path)` has \(shape.curve.count) parts, none above 0 or too many",
                fix: "1 to 1440 shares of the rate, one of them above 0")
        }
        try need("period", when: !shape.curve.isEmpty, "`curve`", reader)
        shape.period = try reader.interval("period") ?? shape.period
        guard shape.period >= .milliseconds(1) else {
            throw reader.child("period").failure("`period` is no time", fix: "such as 24 h or 10 min")
        }
        shape.promptTokens = try reader.integer("prompt_tokens", in: 1...100_000) ?? 0
        shape.turns = try reader.integerRange("turns", in: 1...1_000)
        try need("think", when: shape.turns != nil, "`turns`", reader)
        shape.think = try reader.interval("think") ?? shape.think
        return shape
    }

    /// Throws if `key` is given where it has no effect.
    private static func need(_ key: String, when isMeant: Bool, _ other: String, _ reader: YAMLReader)
        throws(ConfigurationError)
    {
        let child = reader.child(key)
        guard isMeant || child.isAbsent else {
            throw child.failure("`\(child.path)` goes with \(other)", fix: "add \(other) or leave it out")
        }
    }
}
