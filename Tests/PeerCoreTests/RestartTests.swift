import Cryptography
import Market
import Primitives
import TestSupport
import Testing
import Wire

@testable import PeerCore

/// Sellers whose process is restarted under the same key at the same address.
@Suite struct RestartTests {
    static let model = RendezvousTests.model
    static let sellers = 0..<3

    /// Nodes 0, 1 and 2 sell, and everybody joins by them.
    static func mesh(_ count: Int) -> PeerMesh {
        var mesh = PeerMesh()
        for index in 0..<count {
            mesh.add { settings in
                settings.bootstrap = sellers.filter { $0 != index }.map(PeerMesh.address)
                if sellers.contains(index) { settings.models = [model] }
            }
        }
        for seller in sellers { serve(seller, in: &mesh) }
        mesh.run(for: .seconds(20))
        return mesh
    }

    static func serve(_ index: Int, in mesh: inout PeerMesh) {
        mesh.act(index) { $0.serve([RendezvousTests.served()], now: $1) }
    }

    /// (Node, seller) pairs of nodes that don't hold what the seller stated last.
    static func missing(_ mesh: PeerMesh) -> Int {
        var missing = 0
        for seller in sellers {
            let key = Identity.ofNode(seller).publicKey
            let newest = mesh.nodes[seller].settings.offerSequences.first { $0.model == model }?.sequence
            for node in mesh.nodes where !node.isDown {
                let held = node.peer.offers(model: model).first { $0.record.publicKey == key }
                if held?.record.sequence != newest { missing += 1 }
            }
        }
        return missing
    }

    @Test(arguments: [false, true])
    func sellersRestartedEveryFewSecondsAreHeldByEveryNodeInTheirNewestVersionWithinTwoSeconds(
        leaves: Bool
    ) {
        var mesh = Self.mesh(12)
        #expect(Self.missing(mesh) == 0)
        for round in 1...12 {
            for seller in Self.sellers {
                if leaves {
                    mesh.act(seller) { $0.leave(now: $1) }
                } else {
                    mesh.nodes[seller].isDown = true
                }
            }
            mesh.run(for: .milliseconds(400))
            for seller in Self.sellers { mesh.restart(seller, anchors: mesh.nodes[seller].peer.anchors) }
            // Their model servers need a moment.
            mesh.run(for: .milliseconds(600))
            for seller in Self.sellers { Self.serve(seller, in: &mesh) }
            mesh.run(for: .seconds(2))
            #expect(Self.missing(mesh) == 0, "in round \(round)")
        }
        for node in mesh.nodes[Self.sellers.upperBound...] {
            #expect(node.peer.dropped.first { $0.name == "rate_limited" } == nil)
        }
    }

    /// Its contacts have sessions with it that it has forgotten, and it saved none of them.
    @Test func aKilledNodeWithoutBootstrapAddressesIsBackInTheMeshOnceSomebodyAsksIt() {
        var mesh = PeerMesh()
        for index in 0..<8 { mesh.add { if index == 0 { $0.models = [Self.model] } } }
        Self.serve(0, in: &mesh)
        mesh.run(for: .seconds(20))
        mesh.nodes[0].isDown = true
        mesh.run(for: .milliseconds(300))
        mesh.restart(0)
        Self.serve(0, in: &mesh)
        mesh.run(for: .milliseconds(100))
        #expect(mesh.nodes[0].peer.contacts.isEmpty)
        mesh.act(5) { _ = $0.submit(RendezvousTests.task(), now: $1) }
        mesh.run(for: .seconds(3))
        #expect(mesh.nodes[0].peer.contacts.count == 7)
        let newest = mesh.nodes[0].settings.offerSequences.first?.sequence
        for node in mesh.nodes {
            #expect(node.peer.offers(model: Self.model).map(\.record.sequence) == [newest])
        }
    }

    /// It stood still while it was called. Its offer is fresh, so nothing of the market's comes from it for a minute.
    @Test func anyAnswerEndsASellersSilence() {
        var mesh = Self.mesh(8)
        mesh.run(for: .seconds(10))
        for seller in Self.sellers { mesh.nodes[seller].isDown = true }
        mesh.act(5) { _ = $0.submit(RendezvousTests.task(), now: $1) }
        mesh.run(for: .seconds(3))
        let keys = Self.sellers.map { Identity.ofNode($0).publicKey }
        #expect(keys.contains { mesh.nodes[5].peer.experience(of: $0)?.isSilent == true })
        for seller in Self.sellers { mesh.nodes[seller].isDown = false }
        mesh.run(for: .seconds(10))
        #expect(keys.allSatisfy { mesh.nodes[5].peer.experience(of: $0)?.isSilent != true })
    }

    @Test func aTaskForAModelWhoseSellersJustLeftWaitsForThemToReturn() {
        var mesh = Self.mesh(8)
        for seller in Self.sellers { mesh.act(seller) { $0.leave(now: $1) } }
        mesh.run(for: .seconds(2))
        #expect(mesh.nodes[5].peer.offers(model: Self.model).isEmpty)
        mesh.act(5) { _ = $0.submit(RendezvousTests.task(), now: $1) }
        mesh.run(for: .milliseconds(1_200))
        #expect(mesh.nodes[5].peer.outstanding.tasks == 1)
        mesh.restart(1, anchors: mesh.nodes[1].peer.anchors)
        Self.serve(1, in: &mesh)
        mesh.run(for: .seconds(1))
        #expect(mesh.nodes[5].dialled == [PeerMesh.endpoint(1)])
    }

    @Test func aTaskForAModelThatWasSoldAMomentAgoIsToldToRetryForOneThatNeverWasThereIsNone() {
        var mesh = Self.mesh(8)
        for seller in Self.sellers { mesh.act(seller) { $0.leave(now: $1) } }
        mesh.run(for: .minutes(5))
        // However many ask, none of them waits for longer than one.
        for _ in 0..<5 {
            mesh.act(5) { _ = $0.submit(RendezvousTests.task(), now: $1) }
            mesh.run(for: .milliseconds(800))
        }
        mesh.run(for: .seconds(3))
        mesh.act(5) { _ = $0.submit(RendezvousTests.task("none"), now: $1) }
        mesh.run(for: .seconds(3))
        let failures = mesh.nodes[5].events.compactMap { event -> TaskFailure? in
            if case .failed(let failure) = event { failure } else { nil }
        }
        #expect(failures.prefix(5).map(\.reason) == Array(repeating: .unreachable, count: 5))
        #expect(failures.prefix(5).allSatisfy { $0.retryAfter == .seconds(1) })
        #expect(failures.dropFirst(5).map(\.reason) == [.modelNotFound])
    }
}
