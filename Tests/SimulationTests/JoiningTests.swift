import PeerCore
import Primitives
import Testing
import Wire

@testable import Simulation

/// Nodes to which nobody mails offers, because they are in no table: what they know they have asked for.
@Suite struct JoiningTests {
    /// 24 nodes, of which 0 to 3 sell.
    private func mesh(seed: UInt64) -> Scenario {
        var scenario = Scenarios.mesh("joining", "", seed: seed, nodes: 24)
        scenario.carrier = .plain
        return scenario
    }

    private func lacking(_ world: World, _ host: Host) -> Int {
        let sellers = world.hosts.filter(\.isSelling).map(\.identity.publicKey)
        let held = Set(host.process?.peer.allOffers.map(\.record.publicKey) ?? [])
        return sellers.count { !held.contains($0) }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func aNodeBehindANATWhoseClockIsOffKnowsEveryOfferSecondsAfterARestart(seed: UInt64) {
        var scenario = mesh(seed: seed)
        for node in 20..<24 {
            scenario.nodes[node].nat = .portRestricted
            scenario.nodes[node].clockSkew = .minutes(node % 2 == 0 ? -2 : 3)
            scenario.events.append(PlannedEvent(at: .seconds(Int64(node)), .powerOff(node)))
            scenario.events.append(PlannedEvent(at: .seconds(Int64(node) + 5), .restart(node)))
        }
        let world = World(scenario)
        world.run(until: .zero + .seconds(35))
        for host in world.hosts[20...] {
            #expect(lacking(world, host) == 0, "\(host.plan.name) lacks offers, seed \(seed)")
        }
    }

    /// Nodes 2 and 3 sell and start at once; the other sellers follow from the third second on.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func aSellerWithoutInboundConnectionsLearnsOfThoseThatStartAfterIt(seed: UInt64) {
        var scenario = mesh(seed: seed)
        let sold = scenario.nodes[2].serves
        for node in 0..<12 { scenario.nodes[node].serves = node < 2 ? [] : sold }
        for node in 4..<12 { scenario.nodes[node].startsAt = .milliseconds(2_500 + 300 * Int64(node - 4)) }
        for node in 2..<4 { scenario.nodes[node].acceptsInbound = false }
        let world = World(scenario)
        world.run(until: .zero + .seconds(20))
        for host in world.hosts {
            #expect(lacking(world, host) == 0, "\(host.plan.name) lacks offers, seed \(seed)")
        }
    }
}
