import Cryptography
import Market
import Primitives
import TestSupport
import Testing
import Wire

@testable import PeerCore

/// A key that was copied, and runs twice.
@Suite struct OwnKeyTests {
    private func mesh(twinSells: Bool) -> PeerMesh {
        var mesh = RestartTests.mesh(8)
        mesh.run(for: .seconds(30))
        mesh.add(key: 1) { settings in
            settings.bootstrap = [PeerMesh.address(0), PeerMesh.address(2)]
            if twinSells { settings.models = [RestartTests.model] }
        }
        if twinSells { RestartTests.serve(8, in: &mesh) }
        mesh.run(for: .minutes(5))
        return mesh
    }

    @Test func twoSellersWithOneKeyNoticeEachOther() {
        let mesh = mesh(twinSells: true)
        #expect(mesh.nodes[1].peer.ownKeyUse?.endpoint == PeerMesh.endpoint(8))
        #expect(mesh.nodes[8].peer.ownKeyUse?.endpoint == PeerMesh.endpoint(1))
        #expect(mesh.nodes[2].peer.ownKeyUse == nil)
    }

    @Test func aNodeLearnsFromItsContactsThatAnotherAsksUnderItsKey() {
        let mesh = mesh(twinSells: false)
        #expect(
            mesh.nodes[1].peer.ownKeyUse?.endpoint == PeerMesh.endpoint(8)
                || mesh.nodes[8].peer.ownKeyUse?.endpoint == PeerMesh.endpoint(1))
    }

    @Test func whatAnEarlierRunSignedIsNoOtherNode() {
        var mesh = RestartTests.mesh(8)
        for _ in 0..<6 {
            mesh.nodes[1].isDown = true
            mesh.run(for: .seconds(1))
            mesh.restart(1, anchors: mesh.nodes[1].peer.anchors)
            RestartTests.serve(1, in: &mesh)
            mesh.run(for: .seconds(40))
            #expect(mesh.nodes[1].peer.ownKeyUse == nil)
        }
    }
}
