// More tasks than a market can do, for a while: how much it still does, and how soon it is itself again.

import Primitives

extension MarketStudy {
    /// Tasks at `times` × the capacity from `load.from` on for `overload`, then at half of it for `after`.
    public struct OverloadPlan: Sendable {
        public var market: Plan
        public var times = 3
        public var overload = Interval.seconds(60)
        public var after = Interval.seconds(60)

        public init(_ market: Plan) { self.market = market }

        /// The same market with the overload, or at half its capacity throughout.
        func plan(isOverloaded: Bool) -> Plan {
            var plan = market
            let period = overload + after
            let parts = 60
            let during = Int(overload.nanoseconds / (period.nanoseconds / Int64(parts)))
            let shares = (0..<parts).map { part in
                isOverloaded && part < during ? times * 1_000_000 : 500_000
            }
            plan.load.curve = RateCurve(period: period, shares: shares)
            plan.load.every = plan.gap(percent: 100)
            let before = overload.seconds * (isOverloaded ? Double(times) : 0.5)
            plan.load.tasks = Int((before + after.seconds / 2) * plan.capacity)
            return plan
        }
    }

    public struct OverloadResult: Sendable {
        /// Tokens of answers that ended in time while the overload lasted, less its first sixth, when queues and slots
        /// fill, as a share of what all slots can do.
        public var goodput = 0.0
        public var refusedShare = 0.0
        /// Refused tasks: what they were told in seconds (nil: nothing), and after how many the market took a task
        /// like it that came later (nil: it took none).
        public var retries: [(told: Double?, taken: Double?)] = []
        /// From submission to the refusal.
        public var refusals = Distribution([])
        /// Completion by the second of submission after the overload's end, refused tasks with their deadline.
        public var completionsAfter: [[Int64]] = []
        /// Mean completion of the market at half load.
        public var normal: [Int64] = []
        public var leaks = 0
        public var events = 0
    }

    public static func overload(_ overload: OverloadPlan) -> OverloadResult {
        let plan = overload.plan(isOverloaded: true)
        let run = auction(plan)
        let calm = auction(overload.plan(isOverloaded: false))
        var result = OverloadResult()
        let from = plan.load.from.nanoseconds
        let until = from + overload.overload.nanoseconds
        let filled = from + overload.overload.nanoseconds / 6
        let planned = plan.tasks
        var tokens = 0
        for (task, record) in zip(planned, run.tasks) where record.end == .delivered {
            if record.endedAt >= filled && record.endedAt < until { tokens += task.tokens }
        }
        let seconds = Interval(nanoseconds: until - filled).seconds
        result.goodput = Double(tokens) / (seconds * plan.capacity * Double(plan.meanTokens))
        let during = run.tasks.filter { $0.submittedAt < until }
        let refused = during.filter { $0.end != .delivered }
        result.refusedShare = Double(refused.count) / Double(max(1, during.count))
        result.refusals = Distribution(refused.map { $0.endedAt - $0.submittedAt })
        let taken = run.tasks.filter { $0.end == .delivered }.map(\.submittedAt).sorted()
        for record in refused {
            let next = taken[partition(taken, record.endedAt)...].first
            result.retries.append(
                (record.retryAfter?.seconds, next.map { Interval(nanoseconds: $0 - record.endedAt).seconds }))
        }
        result.completionsAfter = Array(repeating: [], count: Int(overload.after.seconds))
        for record in run.tasks where record.submittedAt >= until {
            let second = Int((record.submittedAt - until) / 1_000_000_000)
            guard result.completionsAfter.indices.contains(second) else { continue }
            result.completionsAfter[second].append(completion(record, plan))
        }
        result.normal = calm.tasks.map { completion($0, plan) }
        result.leaks = run.leaks.count + calm.leaks.count
        result.events = run.events + calm.events
        return result
    }

    private static func completion(_ record: TaskRecord, _ plan: Plan) -> Int64 {
        record.end == .delivered ? record.endedAt - record.submittedAt : plan.load.deadline.nanoseconds
    }

    /// The index of the first value that is at least `least`.
    private static func partition(_ sorted: [Int64], _ least: Int64) -> Int {
        var (low, high) = (0, sorted.count)
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] < least { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
