// The built-in scenarios, by name: used by tests, and by `starling sim NAME`.

import Primitives
import Wire

public enum Scenarios {
    /// The sizes that `starling sim` can vary.
    public struct Size: Sendable {
        public var nodes: Int?
        public var tasks: Int?
        public var loss: Chance?
        public var kills: Int?
        public init(nodes: Int? = nil, tasks: Int? = nil, loss: Chance? = nil, kills: Int? = nil) {
            self.nodes = nodes
            self.tasks = tasks
            self.loss = loss
            self.kills = kills
        }
    }

    private struct Entry: Sendable {
        var name: String
        var summary: String
        var build: @Sendable (inout Scenario, Size) -> Void
        var nodes: Int
        var tasks: Int
    }

    public static var names: [(name: String, summary: String)] { entries.map { ($0.name, $0.summary) } }

    /// The scenario of that name; nil if there is none.
    public static func named(_ name: String, seed: UInt64, size: Size = Size()) -> Scenario? {
        guard let entry = entries.first(where: { $0.name == name }) else { return nil }
        let nodes = max(2, size.nodes ?? entry.nodes)
        var scenario = mesh(entry.name, entry.summary, seed: seed, nodes: nodes)
        if let loss = size.loss { scenario.network.loss = loss }
        // The same load per node at any size.
        let every = Interval.microseconds(max(100, 4_000_000 / Int64(nodes)))
        scenario.load = [load(tasks: size.tasks ?? entry.tasks, from: .seconds(6), every: every)]
        entry.build(&scenario, size)
        if let loss = size.loss { scenario.network.loss = loss }
        for index in 0..<(size.kills ?? 0) {
            let span = (scenario.load.first?.every ?? .zero) * Int64(scenario.load.first?.tasks ?? 0)
            let from = scenario.load.first?.from ?? .seconds(6)
            scenario.events.append(
                PlannedEvent(at: from + span * Int64(index + 1) / Int64((size.kills ?? 0) + 1), .killBusy))
        }
        return scenario
    }

    private static let entries: [Entry] = [
        Entry(
            name: "market", summary: "A mesh joins, gossips and runs tasks under 2 % loss.",
            build: { scenario, _ in
                scenario.network.loss = .percent(2)
                scenario.network.duplication = Chance(perMillion: 2_000)
                scenario.network.reordering = .percent(1)
                scenario.expect.deliveredPercentMin = 99
            }, nodes: 200, tasks: 1_000),
        Entry(
            name: "kill-midstream",
            summary: "Workers are killed while they answer.",
            build: { scenario, _ in
                scenario.load[0].tokensMin = 60
                scenario.load[0].tokensMax = 120
                scenario.load[0].every = .milliseconds(250)
                for index in 0..<4 {
                    scenario.events.append(
                        PlannedEvent(at: .milliseconds(7_000 + 1_500 * Int64(index)), .killBusy))
                }
                scenario.expect.deliveredPercentMin = 100
                scenario.expect.failoverGapMax = .milliseconds(2_500)
            }, nodes: 40, tasks: 40),
        Entry(
            name: "freeze-midstream", summary: "Workers are frozen while they answer, and thawed.",
            build: { scenario, _ in
                scenario.load[0].tokensMin = 60
                scenario.load[0].tokensMax = 120
                scenario.load[0].every = .milliseconds(250)
                // The last is thawed 6 s after the last event.
                scenario.calm = .seconds(8)
                for index in 0..<4 {
                    scenario.events.append(
                        PlannedEvent(
                            at: .milliseconds(7_000 + 2_500 * Int64(index)), .freezeBusy(.seconds(6))))
                }
                scenario.expect.deliveredPercentMin = 100
                scenario.expect.failoverGapMax = .milliseconds(2_500)
            }, nodes: 40, tasks: 40),
        Entry(
            name: "power-cut", summary: "Machines vanish without notice, and come back.",
            build: { scenario, _ in
                scenario.load[0].tokensMin = 60
                scenario.load[0].tokensMax = 120
                scenario.load[0].every = .milliseconds(400)
                scenario.load[0].askers = scenario.nodes.indices.filter { scenario.nodes[$0].serves.isEmpty }
                for index in 1..<min(5, scenario.nodes.count) {
                    scenario.events.append(
                        PlannedEvent(at: .milliseconds(7_000 + 300 * Int64(index)), .powerOff(index)))
                    scenario.events.append(
                        PlannedEvent(at: .milliseconds(20_000 + 300 * Int64(index)), .restart(index)))
                }
                scenario.calm = .seconds(10)
                scenario.expect.deliveredPercentMin = 100
            }, nodes: 40, tasks: 60),
        Entry(
            name: "cancel", summary: "Clients hang up in every phase; backends stop.",
            build: { scenario, _ in
                scenario.load[0].tokensMin = 20
                scenario.load[0].tokensMax = 120
                scenario.load[0].hangUp = .percent(80)
                scenario.load[0].hangUpWithin = .seconds(2)
                scenario.load[0].every = .milliseconds(150)
                var early = scenario.load[0]
                early.hangUpWithin = .milliseconds(250)
                scenario.load.append(early)
                scenario.expect.cancelWithin = .milliseconds(200)
            }, nodes: 40, tasks: 100),
        Entry(
            name: "leave", summary: "Sellers leave; a second later no node lists them.",
            build: { scenario, _ in
                for index in 0..<4 {
                    scenario.events.append(
                        PlannedEvent(at: .milliseconds(8_000 + 700 * Int64(index)), .leave(index + 1)))
                }
                scenario.load[0].every = .milliseconds(100)
                scenario.expect.leaveWithin = .seconds(1)
                scenario.expect.deliveredPercentMin = 100
            }, nodes: 60, tasks: 60),
        Entry(
            name: "restarts",
            summary: "Sellers are killed or leave, and are back at once, every few seconds.",
            build: { scenario, _ in
                let sellers = scenario.nodes.indices.filter { !scenario.nodes[$0].serves.isEmpty && $0 > 1 }
                for (place, seller) in sellers.prefix(4).enumerated() {
                    // The third and fourth leave in order, which may take as long as their answers get.
                    let (isLeaving, pause): (Bool, Int64) = place > 1 ? (true, 6_000) : (false, 300)
                    for round in 0..<(isLeaving ? 6 : 12) {
                        let at = 8_000 + Int64(round) * (isLeaving ? 9_000 : 4_500) + 900 * Int64(place)
                        scenario.events.append(
                            PlannedEvent(at: .milliseconds(at), isLeaving ? .leave(seller) : .kill(seller)))
                        scenario.events.append(PlannedEvent(at: .milliseconds(at + pause), .restart(seller)))
                    }
                }
                scenario.load[0].every = .milliseconds(250)
                scenario.calm = .seconds(5)
                scenario.expect.returnWithin = .seconds(2)
                scenario.expect.deliveredPercentMin = 100
            }, nodes: 30, tasks: 200),
        Entry(
            name: "dead-node",
            summary: "A killed seller costs each asker one call at most.",
            build: { scenario, _ in
                let sellers = scenario.nodes.indices.filter { !scenario.nodes[$0].serves.isEmpty }
                scenario.load[0].askers = scenario.nodes.indices.filter { scenario.nodes[$0].serves.isEmpty }
                scenario.load[0].every = .milliseconds(400)
                scenario.load[0].arrivals = .even
                // Enough room for all tasks at the surviving seller.
                for index in sellers { scenario.nodes[index].serves[0].slots = 6 }
                for index in sellers.dropFirst().prefix(2) {
                    scenario.events.append(
                        PlannedEvent(at: .milliseconds(8_100 + Int64(index)), .kill(index)))
                }
                scenario.expect.silentCallsMax = 1
                scenario.expect.deliveredPercentMin = 100
            }, nodes: 16, tasks: 120),
        Entry(
            name: "partition",
            summary:
                "A third of the mesh is cut off for half a minute.",
            build: { scenario, _ in
                let cut = scenario.nodes.indices.filter { $0 % 3 == 0 }
                scenario.events = [
                    PlannedEvent(at: .seconds(10), .partition(cut)), PlannedEvent(at: .seconds(40), .heal),
                ]
                scenario.load[0].every = .milliseconds(500)
                scenario.calm = .seconds(90)
                scenario.expect.deliveredPercentMin = 95
            }, nodes: 30, tasks: 120),
        Entry(
            name: "clock-1970", summary: "A seller and an asker live in 1970.",
            build: { scenario, _ in
                scenario.nodes[1].clockSkew = World.skewTo1970
                scenario.nodes[scenario.nodes.count - 1].clockSkew = World.skewTo1970
                scenario.nodes[2].clockSkew = .seconds(20)
                scenario.nodes[3].clockSkew = .seconds(-20)
                // Only the seller with the wrong clock has it, and only the asker with the wrong clock asks
                // for it.
                guard scenario.nodes.count >= 16, scenario.nodes[1].serves.count == 1 else { return }
                scenario.nodes[1].serves[0].model = "wren-s"
                var from1970 = scenario.load[0]
                from1970.askers = [scenario.nodes.count - 1]
                from1970.every = .milliseconds(300)
                scenario.load[0].models = ["wren-s"]
                scenario.load[0].every = .milliseconds(600)
                scenario.load.append(from1970)
                scenario.expect.deliveredPercentMin = 100
            }, nodes: 40, tasks: 20),
        Entry(
            name: "backends", summary: "Backends fail, hang and die; tasks fail over.",
            build: { scenario, _ in
                for index in scenario.nodes.indices where !scenario.nodes[index].serves.isEmpty {
                    if index % 3 == 1 {
                        scenario.nodes[index].serves[0].failure = BackendFailurePlan(
                            .error, oneIn: 3, afterTokens: 5)
                    }
                    if index % 3 == 2 {
                        scenario.nodes[index].serves[0].failure = BackendFailurePlan(
                            .hang, oneIn: 6, afterTokens: 8)
                    }
                }
                scenario.load[0].every = .milliseconds(100)
                scenario.events = [
                    PlannedEvent(at: .seconds(8), .backendDown(0)),
                    PlannedEvent(at: .seconds(12), .backendUp(0)),
                ]
                scenario.expect.deliveredPercentMin = 90
            }, nodes: 40, tasks: 100),
        Entry(
            name: "spoof", summary: "Handshakes are replayed from forged addresses.",
            build: { scenario, _ in
                scenario.events = [
                    PlannedEvent(at: .seconds(7), .spoof(20)), PlannedEvent(at: .seconds(9), .spoof(20)),
                ]
            }, nodes: 30, tasks: 40),
        Entry(
            name: "behind-nat", summary: "Sellers that accept no connections dial their buyers.",
            build: { scenario, _ in
                for index in scenario.nodes.indices where !scenario.nodes[index].serves.isEmpty && index > 0 {
                    scenario.nodes[index].acceptsInbound = false
                }
                // Two ends that accept no connections can't trade.
                scenario.load[0].askers = scenario.nodes.indices.filter { scenario.nodes[$0].acceptsInbound }
                scenario.load[0].every = .milliseconds(150)
                scenario.expect.deliveredPercentMin = 100
            }, nodes: 20, tasks: 60),
        Entry(
            name: "slow-readers",
            summary: "Clients that read slowly slow their workers down.",
            build: { scenario, _ in
                scenario.load[0].readsBytesPerSecond = 30_000
                scenario.load[0].tokensMin = 40_000
                scenario.load[0].tokensMax = 60_000
                scenario.load[0].every = .milliseconds(400)
                scenario.load[0].deadline = .seconds(240)
                for index in scenario.nodes.indices where !scenario.nodes[index].serves.isEmpty {
                    scenario.nodes[index].serves[0].tokensPerSecond = 20_000
                    scenario.nodes[index].serves[0].context = 100_000
                    scenario.nodes[index].serves[0].slots = 8
                }
                scenario.expect.pausesMin = 1
                scenario.expect.deliveredPercentMin = 100
            }, nodes: 12, tasks: 12),
    ]

    // MARK: Parts

    /// One node in five (at least three) sells, at different prices and speeds; all start within two seconds
    /// and join by the first two.
    public static func mesh(_ name: String, _ summary: String, seed: UInt64, nodes: Int) -> Scenario {
        let sellers = max(min(3, nodes), nodes / 5)
        let plans = (0..<nodes).map { index in
            var plan = NodePlan(name: "n\(index)", bootstrap: [0, 1])
            // The bootstrap nodes start first and find each other.
            plan.startsAt =
                index < 2
                ? .milliseconds(Int64(index)) : .milliseconds(100 + Int64(index) * 1_900 / Int64(nodes))
            plan.clockSkew = .milliseconds(Int64(index * 37 % 2_001) - 1_000)
            if index < sellers {
                var serve = ServePlan(model: "wren-m")
                serve.tokensPerSecond = [40, 60, 90, 120, 50][index % 5]
                serve.slots = 2 + index % 3
                serve.price.output = 300_000 + Int64(index * 7_919 % 300_000)
                plan.serves = [serve]
            }
            return plan
        }
        return Scenario(name: name, summary: summary, seed: seed, nodes: plans)
    }

    public static func load(tasks: Int, from: Interval, every: Interval) -> LoadPlan {
        LoadPlan(tasks: tasks, from: from, every: every, models: ["wren-m"])
    }
}
