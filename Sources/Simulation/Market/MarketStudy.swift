// The market alone, compared with schedulers on the same tasks: how long clients wait, and how many are
// refused.
//
// One setting (sellers with slots and speeds, askers, links, a load) is drawn from a seed and then served
// several times: by the shipping auctions (`MarketCarrier`), which know nothing of each other, and by
// baselines (`Baseline`) in a queueing model. All get the same tasks at the same times over links with the
// same latencies, so that their results are paired.
//
// Discovery, gossip and sessions are left out: each asker has the offers from the start. What is left is
// cheap enough for thousands of nodes and days of virtual time.

import Market
import Primitives
import Wire

public enum MarketStudy {
    public struct Plan: Sendable {
        public var seed: UInt64 = 1
        public var sellers: [ServePlan]
        public var askers: Int
        /// Its askers are numbered from 0; its models are those that the sellers serve.
        public var load: LoadPlan
        public var network = NetworkPlan()
        /// Offers that each asker knows, drawn at random; nil: all.
        public var offersKnown: Int?
        public var parameters = MarketParameters()
        /// Time between two deltas of an answer. A bidder predicts from them when a slot will be free: longer
        /// steps make its prediction coarse, shorter ones cost events.
        public var deltaEvery = Interval.milliseconds(100)
        /// How old an announced load may be (`Baseline.leastLoaded`).
        public var staleness = Interval.seconds(60)
        /// Tasks count in the results if they are submitted from `warmUp` on, until `countedFor` later. Before, an
        /// empty market fills, and at the end it empties.
        public var warmUp = Interval.zero
        public var countedFor = Interval.minutes(7 * 24 * 60)
        /// Each asker has paid each seller for `tasksBefore` tasks. Otherwise all are strangers to one another at first,
        /// whom sellers lend half of their slots and askers an eighth of their tasks.
        public var isAcquainted = false
        static let tasksBefore = 8

        public init(sellers: [ServePlan], askers: Int, load: LoadPlan) {
            self.sellers = sellers
            self.askers = askers
            self.load = load
            network.jitter = .zero
        }
    }

    /// The outcome of one task; times in nanoseconds since the start.
    public struct TaskRecord: Sendable {
        public enum End: UInt8, Sendable { case delivered, refused, failed }
        public var submittedAt: Int64 = 0
        public var awardedAt: Int64?
        public var firstByteAt: Int64?
        public var endedAt: Int64 = 0
        public var end: End?
        /// The index of the seller that delivered it.
        public var seller: Int32 = -1
        /// Micro-credits.
        public var cost = Money.zero
        /// When to come back, as a refused client was told.
        public var retryAfter: Interval?
    }

    /// The result of serving all tasks once.
    public struct Run: Sendable {
        public var policy: String
        public var tasks: [TaskRecord] = []
        public var events = 0
        /// Calls for bids, or what a scheduler sends or asks instead.
        public var messages = 0
        /// Submission times that count.
        public var counted: Range<Int64>
        public var virtualTime = Interval.zero
        public var digest = TraceDigest()
        /// By node, the sellers first; micro-credits.
        public var balances: [Money] = []
        /// What nodes still held when nothing ran any more; empty if all is in order.
        public var leaks: [String] = []

        /// Delivered tasks: time from submission to the end, the award and the first byte.
        public var completions: Distribution { delivered { $0.endedAt - $0.submittedAt } }
        public var awards: Distribution { delivered { task in task.awardedAt.map { $0 - task.submittedAt } } }
        public var firstBytes: Distribution {
            delivered { task in task.firstByteAt.map { $0 - task.submittedAt } }
        }

        init(_ policy: String, _ plan: Plan) {
            self.policy = policy
            let from = plan.load.from + plan.warmUp
            counted = from.nanoseconds..<(from + plan.countedFor).nanoseconds
        }

        private func delivered(_ time: (TaskRecord) -> Int64?) -> Distribution {
            Distribution(countedTasks.compactMap { $0.end == .delivered ? time($0) : nil })
        }

        public var countedTasks: [TaskRecord] { tasks.filter { counted.contains($0.submittedAt) } }

        /// Of the tasks that count.
        public var refusedShare: Double {
            let tasks = countedTasks
            return Double(tasks.count { $0.end != .delivered }) / Double(max(1, tasks.count))
        }

        /// The most tasks that one seller delivered, as a multiple of what each of `sellers` has on average.
        public func shareMax(of sellers: Int) -> Double {
            var counts = Array(repeating: 0, count: sellers)
            let delivered = countedTasks.filter {
                $0.end == .delivered && counts.indices.contains(Int($0.seller))
            }
            for task in delivered { counts[Int(task.seller)] += 1 }
            return Double(counts.max() ?? 0) * Double(sellers) / Double(max(1, delivered.count))
        }
    }

    /// Serves the plan's tasks by auctions.
    public static func auction(_ plan: Plan) -> Run { MarketCarrier(plan).serve() }

    /// Serves the plan's tasks by a scheduler's rule.
    public static func run(_ policy: Baseline, _ plan: Plan) -> Run {
        var schedule = BaselineSchedule(plan, policy)
        return schedule.serve()
    }
}

extension MarketStudy.Plan {
    /// Sellers with `slots` slots each and `speeds` in turn, loaded with `percent` of their total capacity.
    public static func skewed(
        sellers: Int, askers: Int, percent: Int, tasks: Int, seed: UInt64,
        speeds: [Int] = [15, 30, 60, 120, 240], slots: Int = 4, tokens: ClosedRange<Int> = 20...200,
        lengths: Lengths = .uniform
    ) -> MarketStudy.Plan {
        let serves = (0..<sellers).map { index -> ServePlan in
            var serve = ServePlan(
                model: "wren-m", slots: slots, tokensPerSecond: speeds[index % speeds.count])
            // The longest answer fits.
            serve.context = max(serve.context, UInt32(clamping: 2 * tokens.upperBound))
            return serve
        }
        var load = LoadPlan(tasks: tasks, from: .seconds(1), every: .zero, models: ["wren-m"])
        load.arrivals = .poisson
        load.tokensMin = tokens.lowerBound
        load.tokensMax = tokens.upperBound
        load.lengths = lengths
        load.deadline = .minutes(10)
        var plan = MarketStudy.Plan(sellers: serves, askers: askers, load: load)
        plan.seed = seed
        plan.load.every = plan.gap(percent: percent)
        return plan
    }

    /// The mean length of 65,536 drawn answers: fewer would state a heavy tail wrongly.
    public var meanTokens: Int {
        var random = SeededRandom(seed: 4_096)
        let drawn = (0..<65_536).reduce(0) { sum, _ in
            sum + load.lengths.draw(load.tokensMin, load.tokensMax, &random)
        }
        return max(1, drawn / 65_536)
    }

    /// Tasks that all slots together end in a second.
    public var capacity: Double {
        let tokens = meanTokens
        return sellers.reduce(0.0) { sum, seller in
            sum + Double(seller.slots) / Interval(nanoseconds: seller.service(tokens: tokens)).seconds
        }
    }

    /// The mean gap between tasks that keeps this share of all slots busy.
    public func gap(percent: Int) -> Interval {
        Interval(nanoseconds: Int64(1e11 / (capacity * Double(max(1, percent)))))
    }

    /// Sends what lies between the deltas of an answer as rarely as the deltas themselves: progress and receipts cost
    /// events and signatures, and decide nothing where no seller fails and every buyer pays.
    public mutating func coarsen(deltaEvery: Interval) {
        self.deltaEvery = deltaEvery
        parameters.progressInterval = max(parameters.progressInterval, deltaEvery * 2)
        parameters.stallMin = max(parameters.stallMin, deltaEvery * 6)
        parameters.newcomersQuietMax = max(parameters.newcomersQuietMax, deltaEvery * 6)
        parameters.receiptInterval = load.deadline
        parameters.unpaidTokens = .max
    }

    func generator(_ purpose: UInt64) -> SeededRandom {
        SeededRandom(seed: Bytes32(seed, 0x6d61_726b_6574, purpose, 0))
    }

    /// The same links and tasks for every policy; nodes are numbered with the sellers first.
    var links: LinkModel { LinkModel(plan: network, regions: [], random: generator(1)) }
    var tasks: [PlannedTask] {
        var random = generator(2)
        return load.draw(load.askers.isEmpty ? Array(0..<askers) : load.askers, &random)
    }
}

extension ServePlan {
    /// Nanoseconds from a job's start to its last token, as a scripted backend takes them.
    func service(tokens: Int) -> Int64 {
        firstToken.nanoseconds + Int64(max(0, tokens - 1)) * (1_000_000_000 / Int64(tokensPerSecond))
    }
}
