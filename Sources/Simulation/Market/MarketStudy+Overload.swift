// More tasks than a market can do, for a while: how much it still does, and how soon it is itself again.

import Primitives

extension MarketStudy {
    /// Tasks at `times` × the capacity from `load.from` on for `overload`, then at half of it for `after`.
    public struct OverloadPlan: Sendable {
        public var market: Plan
        public var times = 3
        public var overload = Interval.seconds(60)
        public var after = Interval.seconds(90)

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
        /// Shares of the overload's tasks: not taken; and taken, and not ended in time.
        public var refusedShare = 0.0
        public var missedShare = 0.0
        /// Refused tasks: what they were told in seconds (nil: nothing), and after how many the market took a task that
        /// came later (nil: it took none), of the same asker and of any.
        public var retries: [(told: Double?, taken: Double?, takenOfAny: Double?)] = []
        /// From submission to the refusal.
        public var refusals = Distribution([])
        /// Completion by the second of submission after the overload's end, refused tasks with their deadline.
        public var completionsAfter: [[Int64]] = []
        /// After the overload's end, until the last task came that was refused or not ended in time, in nanoseconds.
        public var recovery: Int64 = 0
        /// What was taken during the overload and is not done at its end, as seconds of what all slots can do.
        public var backlog = 0.0
        /// Completion in the market at half load.
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
        let deadline = plan.load.deadline.nanoseconds
        let during = run.tasks.indices.filter { run.tasks[$0].submittedAt < until }
        let undelivered = during.filter { run.tasks[$0].end != .delivered }
        let refused = undelivered.filter { run.tasks[$0].endedAt - run.tasks[$0].submittedAt < deadline }
        result.refusedShare = Double(refused.count) / Double(max(1, during.count))
        result.missedShare = Double(undelivered.count - refused.count) / Double(max(1, during.count))
        result.refusals = Distribution(refused.map { run.tasks[$0].endedAt - run.tasks[$0].submittedAt })
        result.retries = retries(of: refused, run, plan)
        let last = run.tasks.filter { $0.submittedAt >= until && $0.end != .delivered }.map(\.submittedAt)
            .max()
        result.recovery = last.map { $0 - until } ?? 0
        result.backlog = backlog(run, plan, at: until)
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

    private static func retries(of refused: [Int], _ run: Run, _ plan: Plan) -> [(
        told: Double?, taken: Double?, takenOfAny: Double?
    )] {
        let planned = plan.tasks
        var byAsker = Array(repeating: [Int64](), count: plan.askers)
        for (task, record) in zip(planned, run.tasks) where record.end == .delivered {
            byAsker[task.asker].append(record.submittedAt)
        }
        byAsker = byAsker.map { $0.sorted() }
        let all = byAsker.joined().sorted()
        return refused.map { index in
            let record = run.tasks[index]
            return (
                record.retryAfter?.seconds, wait(from: record.endedAt, for: byAsker[planned[index].asker]),
                wait(from: record.endedAt, for: all)
            )
        }
    }

    /// Seconds from a time to the first of those that are not before it; nil: there is none.
    private static func wait(from time: Int64, for times: [Int64]) -> Double? {
        times[partition(times, time)...].first.map { Interval(nanoseconds: $0 - time).seconds }
    }

    /// Tokens of answers that were asked for before that time and come after it, by what all slots can do in a second.
    private static func backlog(_ run: Run, _ plan: Plan, at until: Int64) -> Double {
        var tokens = 0.0
        for (task, record) in zip(plan.tasks, run.tasks)
        where record.end == .delivered && record.submittedAt < until && record.endedAt > until {
            guard plan.sellers.indices.contains(Int(record.seller)) else { continue }
            let seconds = Interval(nanoseconds: record.endedAt - until).seconds
            let speed = Double(plan.sellers[Int(record.seller)].tokensPerSecond)
            tokens += min(Double(task.tokens), seconds * speed)
        }
        return tokens / (plan.capacity * Double(plan.meanTokens))
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
