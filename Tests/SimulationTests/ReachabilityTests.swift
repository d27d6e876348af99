import Discovery
import PeerCore
import Primitives
import Testing
import Wire

@testable import Simulation

/// Whole meshes in which a third of the nodes is behind NATs: each node states the truth about its
/// reachability.
@Suite struct ReachabilityTests {
    static let kinds: [NATKind] = [.fullCone, .restricted, .portRestricted, .symmetric]

    /// Nodes without a configured address; every third is behind a NAT.
    static func mesh(seed: UInt64, nodes: Int = 24, loss: Int = 0) -> Scenario {
        var scenario = Scenarios.mesh("reachability", "", seed: seed, nodes: nodes)
        for index in scenario.nodes.indices {
            scenario.nodes[index].learnsAddress = true
            if index % 3 == 2 { scenario.nodes[index].nat = kinds[index / 3 % kinds.count] }
        }
        scenario.network.loss = .percent(loss)
        return scenario
    }

    static func truth(_ kind: NATKind) -> [Reachability] {
        switch kind {
        case .none: [.direct]
        // Its mapping is open while it has contacts; connections don't come in.
        case .fullCone: [.datagrams]
        // Where all nodes are known, all of them get in.
        case .restricted: [.datagrams, .outbound]
        case .portRestricted, .symmetric: [.outbound]
        }
    }

    private func expectTruth(_ world: World, _ comment: String) {
        for host in world.hosts {
            guard let peer = host.process?.peer.ownReachability else { continue }
            #expect(
                Self.truth(host.plan.nat).contains(peer),
                "\(comment): \(host.plan.name), \(host.plan.nat), says \(peer)")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func everyNodeSaysTheTruthAfterAFewMinutes(seed: UInt64) {
        let world = World(Self.mesh(seed: seed))
        world.run(until: .zero + .minutes(6))
        expectTruth(world, "seed \(seed)")
        #expect(world.violations.isEmpty)
    }

    private func bytesSent(_ world: World) -> Int {
        world.hosts.reduce(0) {
            $0 + $1.traffic.datagramBytesSent + $1.traffic.datagramsSent * Upkeep.headerBytes
        }
    }

    @Test func neitherLossNorAnHourChangesTheTruthAndARestingNodeSends64BytesASecondAtMost() {
        var scenario = Self.mesh(seed: 4, loss: 5)
        // Offers have their own upkeep.
        for index in scenario.nodes.indices { scenario.nodes[index].serves = [] }
        let world = World(scenario)
        world.run(until: .zero + .minutes(6))
        expectTruth(world, "soon")
        world.run(until: .zero + .minutes(20))
        let before = bytesSent(world)
        for minute in [40, 60] as [Int64] {
            world.run(until: .zero + .minutes(minute))
            expectTruth(world, "after \(minute) minutes")
        }
        let rate = (bytesSent(world) - before) / (40 * 60 * world.hosts.count)
        print("bytes per second and node with tests of reachability: \(rate)")
        #expect(rate <= 64)
        #expect(world.violations.isEmpty)
    }

    @Test(arguments: [6, 7] as [UInt64])
    func case13CallersThatOnlySayThatTheyCallChangeNobodysMind(seed: UInt64) {
        let world = World(Self.mesh(seed: seed))
        for index in [4, 7, 13] { world.hosts[index].callsNobody = true }
        for minute in [3, 8] as [Int64] {
            world.run(until: .zero + .minutes(minute))
            expectTruth(world, "seed \(seed), minute \(minute)")
        }
    }

    @Test func whereANodeHasStrangersANATThatFiltersByAddressShows() {
        var scenario = Self.mesh(seed: 9, nodes: 240)
        scenario.carrier = .plain
        let world = World(scenario)
        world.run(until: .zero + .seconds(75))
        expectTruth(world, "240 nodes")
        let restricted = world.hosts.filter { $0.plan.nat == .restricted }
        let outbound = restricted.count { $0.process?.peer.ownReachability == .outbound }
        #expect(outbound * 2 >= restricted.count, "\(outbound) of \(restricted.count)")
    }
}
