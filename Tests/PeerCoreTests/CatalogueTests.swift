import Cryptography
import Primitives
import TestSupport
import Testing

@testable import PeerCore

@Suite struct CatalogueTests {
    @Test func aModelWhoseSellersHaveDiedIsNotListedThoughItsOffersAreHeld() {
        var mesh = PeerMesh()
        for index in 0..<6 {
            mesh.add { settings in
                settings.bootstrap = RestartTests.sellers.filter { $0 != index }.map(PeerMesh.address)
                if RestartTests.sellers.contains(index) { settings.models = [RestartTests.model] }
                // Else an old contact is probed after ten minutes, if no question is asked of it.
                settings.discovery.livenessMin = .seconds(10)
                settings.discovery.livenessMax = .seconds(10)
            }
        }
        for seller in RestartTests.sellers { RestartTests.serve(seller, in: &mesh) }
        mesh.run(for: .seconds(20))
        let asker = mesh.nodes[5]
        func providers() -> Int? {
            asker.peer.catalogue(now: mesh.now).first { $0.name == RestartTests.model }?.providers
        }
        #expect(providers() == 3)
        mesh.nodes[0].isDown = true
        mesh.run(for: .seconds(40))
        #expect(providers() == 2 && asker.peer.offers(model: RestartTests.model).count == 3)
        mesh.nodes[1].isDown = true
        mesh.nodes[2].isDown = true
        mesh.run(for: .seconds(40))
        #expect(providers() == nil && asker.peer.offers(model: RestartTests.model).count == 3)
    }

    @Test func aNodeThatAsksAndProbesNobodyStillMissesTheirRefreshes() {
        var mesh = PeerMesh()
        for index in 0..<6 {
            mesh.add { settings in
                settings.bootstrap = RestartTests.sellers.filter { $0 != index }.map(PeerMesh.address)
                if RestartTests.sellers.contains(index) { settings.models = [RestartTests.model] }
                settings.discovery.livenessMin = .seconds(3_600)
                settings.discovery.livenessMax = .seconds(3_600)
            }
        }
        for seller in RestartTests.sellers { RestartTests.serve(seller, in: &mesh) }
        let asker = mesh.nodes[5]
        for _ in 0..<20 {
            mesh.run(for: .seconds(10))
            #expect(asker.peer.catalogue(now: mesh.now).first?.providers == 3)
        }
        for seller in RestartTests.sellers { mesh.nodes[seller].isDown = true }
        var isListed = true
        for _ in 0..<18 where isListed {
            mesh.run(for: .seconds(10))
            isListed = !asker.peer.catalogue(now: mesh.now).isEmpty
        }
        #expect(!isListed && !asker.peer.offers(model: RestartTests.model).isEmpty)
    }
}
