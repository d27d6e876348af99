// The baselines' queueing model: each seller serves its tasks in the order in which it got them, as many at a
// time as it has slots, and never fails. A task is assigned once, when it is submitted.
//
// Each task pays the round trips of an auction: a call and its bid, then award and prompt, 3 × one way in
// total before it can start; its text takes one way back. A queue has no bound: a task that ends after its
// deadline has had its slot, and counts as failed.

import Primitives

struct BaselineSchedule {
    private struct Seller {
        /// When each slot is free.
        var free: [Int64]
        /// End times of its tasks; past ones are dropped over time.
        var ends: [Int64] = []
        /// What it announced last, and when it will again.
        var announced = 0
        var announcesAt: Int64

        /// Tasks with it now, waiting or running.
        mutating func load(at now: Int64) -> Int {
            ends.removeAll { $0 <= now }
            return ends.count
        }
    }

    private enum Event: BitwiseCopyable {
        case submit(task: Int32)
        /// A task ended: its asker learns the seller's load one way later.
        case ended(seller: Int32, asker: Int32)
        case heard(seller: Int32, asker: Int32, load: Int32)
    }

    private let plan: MarketStudy.Plan
    private let policy: Baseline
    private let tasks: [PlannedTask]
    private let links: LinkModel
    private var sellers: [Seller] = []
    private var random: SeededRandom
    private var queue = TimedQueue<Event>()
    /// Loads as each asker believes them, by asker and seller (`jsq`).
    private var estimates: [[Int32]] = []
    private var run: MarketStudy.Run
    /// What a rule believes of the tasks that it finds with a seller, of whose lengths it knows nothing.
    private let meanTokens: Int

    init(_ plan: MarketStudy.Plan, _ policy: Baseline) {
        self.plan = plan
        self.policy = policy
        tasks = plan.tasks
        links = plan.links
        random = plan.generator(100 + UInt64(Baseline.allCases.firstIndex(of: policy) ?? 0))
        run = MarketStudy.Run(policy.rawValue, plan)
        meanTokens = plan.meanTokens
        run.tasks = Array(repeating: MarketStudy.TaskRecord(), count: tasks.count)
        let period = max(1, plan.staleness.nanoseconds)
        for seller in plan.sellers {
            sellers.append(
                Seller(
                    free: Array(repeating: 0, count: max(1, seller.slots)),
                    announcesAt: Int64(random.below(Int(period)))))
        }
        if policy == .jsq {
            estimates = Array(
                repeating: Array(repeating: 0, count: sellers.count), count: plan.askers)
        }
        for (index, task) in tasks.enumerated() {
            if let at = task.at { queue.push(.submit(task: Int32(index)), at: at) }
        }
    }

    mutating func serve() -> MarketStudy.Run {
        while let entry = queue.pop() {
            run.events += 1
            switch entry.event {
            case .submit(let task): submit(Int(task), at: entry.time)
            case .ended(let seller, let asker):
                let load = Int32(sellers[Int(seller)].load(at: entry.time))
                let way = links.latency(plan.sellers.count + Int(asker), Int(seller))
                queue.push(.heard(seller: seller, asker: asker, load: load), at: entry.time + way)
            case .heard(let seller, let asker, let load): estimates[Int(asker)][Int(seller)] = load
            }
            run.virtualTime = Interval(nanoseconds: entry.time)
        }
        return run
    }

    private mutating func submit(_ index: Int, at now: Int64) {
        let task = tasks[index]
        let place = choose(task, now)
        let way = links.latency(plan.sellers.count + task.asker, place)
        let (slot, start) = start(place, now + 3 * way)
        let end = start + plan.sellers[place].service(tokens: task.tokens)
        sellers[place].free[slot] = end
        sellers[place].ends.append(end)
        if policy == .jsq {
            estimates[task.asker][place] += 1
            let load = Int32(sellers[place].load(at: now))
            queue.push(.heard(seller: Int32(place), asker: Int32(task.asker), load: load), at: now + 4 * way)
            queue.push(.ended(seller: Int32(place), asker: Int32(task.asker)), at: end)
        }
        record(index, place, now, start: start, end: end, way: way)
    }

    private mutating func record(
        _ index: Int, _ place: Int, _ now: Int64, start: Int64, end: Int64, way: Int64
    ) {
        let task = tasks[index]
        let isLate = end + way - now > plan.load.deadline.nanoseconds
        var record = MarketStudy.TaskRecord()
        record.submittedAt = now
        record.awardedAt = start
        record.firstByteAt = start + plan.sellers[place].firstToken.nanoseconds + way
        record.endedAt = isLate ? now + plan.load.deadline.nanoseconds : end + way
        record.end = isLate ? .failed : .delivered
        record.seller = Int32(place)
        run.tasks[index] = record
        run.digest.mix(1, index, place)
        run.digest.mix(UInt64(bitPattern: end))
        if let next = task.next {
            queue.push(.submit(task: Int32(next)), at: record.endedAt + task.think)
        }
    }

    /// The slot that is free first, and when a task that arrives at `at` would start there.
    private func start(_ place: Int, _ at: Int64) -> (slot: Int, at: Int64) {
        let free = sellers[place].free
        var slot = 0
        for other in free.indices where free[other] < free[slot] { slot = other }
        return (slot, max(at, free[slot]))
    }

    // MARK: Choosing

    private mutating func choose(_ task: PlannedTask, _ now: Int64) -> Int {
        let count = sellers.count
        switch policy {
        case .random, .leastLoaded, .omniscient: break
        case .twoChoices: run.messages += 2
        // The seller's report of its load.
        case .jsq: run.messages += 1
        }
        switch policy {
        case .random: return random.below(count)
        case .twoChoices:
            let one = random.below(count)
            guard count > 1 else { return one }
            let other = (one + 1 + random.below(count - 1)) % count
            let first = ready(one, task, load: sellers[one].load(at: now), now)
            return ready(other, task, load: sellers[other].load(at: now), now) < first ? other : one
        case .leastLoaded:
            announce(now)
            return best(from: random.below(count)) { ready($0, task, load: $1.announced, now) }
        case .jsq:
            let estimates = estimates[task.asker]
            return best(from: random.below(count)) { place, _ in
                ready(place, task, load: Int(estimates[place]), now)
            }
        case .omniscient:
            return best(from: random.below(count)) { place, _ in
                let way = links.latency(plan.sellers.count + task.asker, place)
                return start(place, now + 3 * way).at + plan.sellers[place].service(tokens: task.tokens) + way
            }
        }
    }

    /// The seller with the lowest value; among equals the first from `from` on, which is random, because
    /// otherwise all askers would choose the same one.
    private func best(from: Int, _ value: (Int, Seller) -> Int64) -> Int {
        var best = (place: from, value: Int64.max)
        for step in 0..<sellers.count {
            let place = (from + step) % sellers.count
            let value = value(place, sellers[place])
            if value < best.value { best = (place, value) }
        }
        return best.place
    }

    /// When a task would be done at a seller that has `load` tasks of the mean length.
    private func ready(_ place: Int, _ task: PlannedTask, load: Int, _ now: Int64) -> Int64 {
        let seller = plan.sellers[place]
        let waiting = Int64(max(0, load - seller.slots + 1)) * seller.service(tokens: meanTokens)
        let way = links.latency(plan.sellers.count + task.asker, place)
        return now + 4 * way + waiting / Int64(max(1, seller.slots)) + seller.service(tokens: task.tokens)
    }

    /// Each seller announces its load once per period, at its own offset.
    private mutating func announce(_ now: Int64) {
        let period = max(1, plan.staleness.nanoseconds)
        for place in sellers.indices where sellers[place].announcesAt <= now {
            let missed = (now - sellers[place].announcesAt) / period
            let at = sellers[place].announcesAt + missed * period
            sellers[place].announced = sellers[place].ends.count { $0 > at }
            sellers[place].announcesAt = at + period
            sellers[place].ends.removeAll { $0 <= at }
        }
    }
}
