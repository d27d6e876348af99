// Converts a scenario file into the simulator's plan.

import NodeConfiguration
import Primitives
import Simulation
import Testnet
import Wire

extension ScenarioFile {
    /// The most nodes that can be simulated.
    static let simulatedNodesMax = 200_000

    func plan(name: String, seed: UInt64) throws(ConfigurationError) -> Scenario {
        try check(Report.measureNames)
        var scenario = Scenario(
            name: name, summary: about, seed: seed, nodes: nodePlans(seed), network: NetworkPlan(links))
        for load in load {
            var plan = LoadPlan(
                tasks: load.count, from: load.from, every: Interval(nanoseconds: Int64(1e9 / load.rate)),
                models: [load.model])
            plan.take(load.shape)
            plan.askers = askers(load)
            plan.tokensMin = load.tokens.lowerBound
            plan.tokensMax = load.tokens.upperBound
            plan.deadline = load.deadline
            scenario.load.append(plan)
        }
        for probes in lookups + searches {
            scenario.probes.append(
                ProbePlan(
                    probes.model.map { .search(model: $0) } ?? .lookup, count: probes.count,
                    from: probes.from, every: Interval(nanoseconds: Int64(1e9 / probes.rate))))
        }
        for event in events { scenario.events += planned(event) }
        var random = SeededRandom(seed: Bytes32(seed, 0x636875726e, 0, 0))
        if let churn { scenario.events += planned(churn, &random) }
        turn(&scenario, &random)
        scenario.events.sort { $0.at < $1.at }
        if let calm { scenario.calm = calm }
        if let limit { scenario.timeLimit = limit }
        for threshold in expect {
            switch threshold.measure {
            case "silent_calls": scenario.expect.silentCallsMax = .max
            case "convergence" where threshold.bound > 30:
                scenario.expect.offersWithin = .seconds(Int64(min(threshold.bound, 86_400)))
            default: break
            }
        }
        return scenario
    }

    /// Throws unless every threshold names one of `measures`.
    func check(_ measures: [String]) throws(ConfigurationError) {
        for threshold in expect where !measures.contains(threshold.measure) {
            throw ConfigurationError(
                file: testnet.path, line: threshold.line,
                problem: "nothing here measures `\(threshold.measure)`",
                fix: Nearest.match(threshold.measure, in: measures).map { "did you mean \($0)?" }
                    ?? "one of \(measures.joined(separator: ", "))")
        }
    }

    /// Indices of the nodes that a load asks.
    func askers(_ load: Load) -> [Int] {
        if !load.via.isEmpty { return places(load.via) }
        let idle = testnet.nodes.indices.filter { testnet.nodes[$0].sale == nil }
        return idle.isEmpty ? Array(testnet.nodes.indices) : idle
    }

    private func nodePlans(_ seed: UInt64) -> [Simulation.NodePlan] {
        let count = testnet.nodes.count
        let nats = drawnNATs(seed)
        var clockRandom = SeededRandom(seed: Bytes32(seed, 0x636c_6f63_6b73, 0, 0))
        return testnet.nodes.enumerated().map { index, node in
            var plan = Simulation.NodePlan(name: node.name, bootstrap: [0, 1].filter { $0 < count })
            // The first two find each other before the others start.
            plan.startsAt =
                index < 2
                ? .milliseconds(Int64(index))
                : .milliseconds(100) + startsWithin * Int64(index) / Int64(count)
            plan.clockSkew = clockSkew(index, node, &clockRandom)
            plan.nat = NATKind(rawValue: (node.nat ?? nats[index] ?? .none).rawValue) ?? .none
            plan.learnsAddress = node.learnsAddress
            plan.acceptsInbound = node.inbound
            plan.region = region(index)
            if let sale = node.sale {
                var serve = ServePlan(model: sale.model)
                serve.price = Price(
                    input: sale.inputPrice, cachedInput: sale.cachedInputPrice, output: sale.outputPrice)
                serve.slots = sale.slots
                if sale.speed > 0 { serve.tokensPerSecond = sale.speed }
                plan.serves = [serve]
            }
            return plan
        }
    }

    /// The NATs that `links.nat` draws, by node. The nodes by which all join are spared, and nodes that state
    /// a NAT themselves keep it.
    private func drawnNATs(_ seed: UInt64) -> [Int: TestnetFile.NAT] {
        var random = SeededRandom(seed: Bytes32(seed, 0x6e61_7473, 0, 0))
        var places = testnet.nodes.indices.dropFirst(TestnetFile.entryNodes).filter {
            testnet.nodes[$0].nat == nil
        }
        var drawn: [Int: TestnetFile.NAT] = [:]
        for (kind, share) in links?.nat ?? [] {
            for _ in 0..<testnet.nodes.count * share / 1_000_000 where !places.isEmpty {
                let index = random.below(places.count)
                drawn[places[index]] = kind
                places.swapAt(index, places.count - 1)
                places.removeLast()
            }
        }
        return drawn
    }

    /// A node's own `clock_skew`, else a draw from `clocks`, else up to a second either way.
    private func clockSkew(
        _ index: Int, _ node: TestnetFile.NodePlan, _ random: inout SeededRandom
    ) -> Interval {
        guard let clocks else {
            return node.clockSkew ?? .milliseconds(Int64(index * 37 % 2_001) - 1_000)
        }
        let range = clocks.skew
        let drawn = range.lowerBound + random.interval(.zero, range.upperBound - range.lowerBound)
        let isStuck = random.chance(clocks.stuckIn1970, in: 1_000_000)
        return node.clockSkew ?? (isStuck ? World.skewTo1970 : drawn)
    }

    /// Spread by the golden ratio, so that each group has its share of each region.
    func region(_ index: Int) -> Int {
        var rest = index * 618_034 % 1_000_000
        for (place, region) in (links?.regions ?? []).enumerated() {
            if rest < region.share { return place }
            rest -= region.share
        }
        return 0
    }

    private func planned(_ event: Event) -> [PlannedEvent] {
        if event.nodes == ["busy"] {
            let fault: Fault = event.action == .kill ? .killBusy : .freezeBusy(event.lasts ?? .seconds(1))
            return [PlannedEvent(at: event.at, fault)]
        }
        let places = places(event.nodes)
        func each(_ fault: (Int) -> Fault) -> [PlannedEvent] {
            places.map { PlannedEvent(at: event.at, fault($0)) }
        }
        let end = event.lasts.map { event.at + $0 }
        switch event.action {
        case .kill: return each { .kill($0) }
        case .powerOff: return each { .powerOff($0) }
        case .freeze:
            return each { .freeze($0) }
                + (end.map { at in places.map { PlannedEvent(at: at, .thaw($0)) } } ?? [])
        case .thaw: return each { .thaw($0) }
        case .restart: return each { .restart($0) }
        case .stop: return each { .leave($0) }
        case .partition:
            return [PlannedEvent(at: event.at, .partition(places))]
                + (end.map { [PlannedEvent(at: $0, .heal)] } ?? [])
        case .heal: return [PlannedEvent(at: event.at, .heal)]
        }
    }

    /// Lives last a number of steps of 0.1 s, each step being the last with equal probability: an exponential
    /// distribution without a logarithm, whose result differs between machines.
    private func planned(_ churn: Churn, _ random: inout SeededRandom) -> [PlannedEvent] {
        let step = Interval.milliseconds(100)
        let oneIn = max(1, Int(churn.meanLife.nanoseconds / step.nanoseconds))
        var planned: [PlannedEvent] = []
        let nodes = churn.nodes.isEmpty ? Array(testnet.nodes.indices.dropFirst(2)) : places(churn.nodes)
        for node in nodes {
            var at = churn.from
            while true {
                repeat { at = at + step } while at < churn.until && !random.chance(1, in: oneIn)
                guard at < churn.until else { break }
                planned.append(PlannedEvent(at: at, random.chance(1, in: 2) ? .kill(node) : .powerOff(node)))
                at = at + churn.downtime
                planned.append(PlannedEvent(at: at, .restart(node)))
            }
        }
        return planned
    }
}

extension LoadPlan {
    mutating func take(_ shape: ScenarioFile.LoadShape) {
        arrivals = Arrivals(rawValue: shape.arrivals.rawValue) ?? .even
        lengths =
            switch shape.lengths {
            case .uniform: .uniform
            case .exponential: .exponential(mean: shape.mean)
            case .pareto: .pareto(milliShape: shape.milliTail)
            }
        if !shape.curve.isEmpty { curve = RateCurve(period: shape.period, shares: shape.curve) }
        promptTokens = shape.promptTokens
        conversation = shape.turns.map { ConversationPlan(turns: $0, think: shape.think) }
    }
}

extension NetworkPlan {
    init(_ links: ScenarioFile.Links?) {
        self.init()
        guard let links else { return }
        latencyMin = links.latency.lowerBound
        latencyMax = links.latency.upperBound
        jitter = links.jitter
        loss = Chance(perMillion: links.loss)
        duplication = Chance(perMillion: links.duplication)
        reordering = Chance(perMillion: links.reordering)
        regions = links.matrix
        natIdle = links.natIdle
    }
}

/// The outcome of a threshold.
struct Verdict {
    var threshold: ScenarioFile.Threshold
    /// nil when nothing was measured; the threshold then fails.
    var value: Double?
    var unit: String
    var holds: Bool { value.map(threshold.holds) ?? false }

    init(_ threshold: ScenarioFile.Threshold, _ measures: [Measure]) {
        self.threshold = threshold
        let measure = measures.first { $0.name == threshold.measure }
        value = measure?.value
        unit = measure?.unit ?? ""
    }

    var line: String {
        let measured =
            value.map { "is \(Report.decimal($0))\(unit.isEmpty ? "" : " \(unit)")" } ?? "was not measured"
        return "  \(holds ? "holds " : "MISSED")  \(threshold) (\(measured))"
    }

    static func json(_ verdicts: [Verdict]) -> String {
        "["
            + verdicts.map { verdict in
                "{\"expect\": \"\(verdict.threshold)\", \"value\": \(verdict.value.map(Report.decimal) ?? "null"), "
                    + "\"holds\": \(verdict.holds)}"
            }.joined(separator: ", ") + "]"
    }
}
