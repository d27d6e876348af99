import Discovery
import PeerCore
import Primitives
import Testing
import Wire

@testable import Simulation

/// Whole meshes in which a third stands behind NATs: what each node says of its reachability is the truth.
@Suite struct ReachabilityTests {
    static let kinds: [NATKind] = [.fullCone, .restricted, .portRestricted, .symmetric]

    /// 24 nodes that nobody told their address; every third is behind a NAT. Tables of three a bucket, so that nodes
    /// have strangers.
    static func mesh(seed: UInt64, loss: Int = 0) -> Scenario {
        var scenario = Scenarios.mesh("reachability", "", seed: seed, nodes: 24)
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
        // Where everybody is known, everybody gets in.
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

    @Test("Every node says the truth after a few minutes", arguments: [1, 2, 3] as [UInt64])
    func truth(seed: UInt64) {
        let world = World(Self.mesh(seed: seed))
        world.run(until: .zero + .minutes(6))
        expectTruth(world, "seed \(seed)")
        for host in world.hosts {
            print(
                host.plan.name, host.plan.nat, host.process?.peer.ownReachability as Any,
                host.process?.peer.testedReachability as Any, host.traffic.datagramBytesSent)
        }
        #expect(world.violations.isEmpty)
    }
}
