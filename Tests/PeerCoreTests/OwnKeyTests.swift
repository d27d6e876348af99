import Cryptography
import Market
import Primitives
import TestSupport
import Testing
import Wire

@testable import PeerCore

/// A key that was copied, and runs twice.
@Suite struct OwnKeyTests {
    /// Nine nodes; 0, 1 and 2 sell, and the last has the key of `original`.
    private func mesh(original: Int = 1, twinSells: Bool) -> PeerMesh {
        var mesh = RestartTests.mesh(8)
        mesh.run(for: .seconds(30))
        mesh.add(key: original) { settings in
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

    /// 1 sells, 5 doesn't.
    @Test(arguments: [1, 5]) func aNodeAndACopyThatOnlyAsksLearnOfEachOther(original: Int) {
        let mesh = mesh(original: original, twinSells: false)
        #expect(mesh.nodes[original].peer.ownKeyUse?.endpoint == PeerMesh.endpoint(8))
        #expect(mesh.nodes[8].peer.ownKeyUse?.endpoint == PeerMesh.endpoint(original))
        #expect(mesh.nodes[2].peer.ownKeyUse == nil)
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
