// Which of a scenario's nodes misbehave, drawn by its seed.

import Primitives
import Simulation
import Testnet

extension ScenarioFile {
    /// Adds the nodes and events of `byzantine`.
    func turn(_ scenario: inout Scenario, _ random: inout SeededRandom) {
        var turned: Set<Int> = []
        for byzantine in byzantine {
            switch byzantine.behaviour {
            case .spoof:
                scenario.events.append(PlannedEvent(at: byzantine.from, .spoof(max(1, count(byzantine)))))
            case .ground: addGround(byzantine, &scenario)
            case .drop, .lie, .flood, .replay:
                for place in drawn(byzantine, scenario, turned, &random) {
                    turned.insert(place)
                    scenario.events.append(PlannedEvent(at: byzantine.from, fault(byzantine, place)))
                }
            }
        }
    }

    private func count(_ byzantine: Byzantine) -> Int {
        byzantine.share.map { testnet.nodes.count * $0 / 1_000_000 } ?? byzantine.count
    }

    private func fault(_ byzantine: Byzantine, _ place: Int) -> Fault {
        switch byzantine.behaviour {
        case .drop: .fallSilent(place)
        case .flood:
            .turn(place, .flood(perSecond: byzantine.rate, victims: places(byzantine.victims)))
        case .replay: .turn(place, .replay(perSecond: byzantine.rate))
        case .lie, .ground, .spoof: .turn(place, .lie)
        }
    }

    /// Drawn from nodes without a NAT, because an attacker's program knows nothing of NATs. The first two are
    /// spared unless they are named, because the others join by them.
    private func drawn(
        _ byzantine: Byzantine, _ scenario: Scenario, _ turned: Set<Int>, _ random: inout SeededRandom
    ) -> [Int] {
        let named =
            byzantine.nodes.isEmpty
            ? Array(testnet.nodes.indices.dropFirst(TestnetFile.entryNodes)) : places(byzantine.nodes)
        var left = named.filter {
            !turned.contains($0) && (byzantine.behaviour == .drop || scenario.nodes[$0].nat == .none)
        }
        return (0..<min(count(byzantine), left.count)).map { _ in
            left.remove(at: random.below(left.count))
        }
    }

    private func addGround(_ byzantine: Byzantine, _ scenario: inout Scenario) {
        for number in 1...byzantine.count {
            let index = scenario.nodes.count
            var plan = Simulation.NodePlan(name: "ground\(number)")
            plan.groundNear = byzantine.near
            plan.startsAt = byzantine.from
            plan.region = region(index)
            scenario.nodes.append(plan)
            scenario.events.append(PlannedEvent(at: byzantine.from, .turn(index, .lie)))
        }
    }
}
