import Primitives
import TestSupport
import Testing

@testable import PeerCore

@Suite struct CatalogueTests {
    @Test func aModelWhoseSellersHaveDiedIsNotListedLongBeforeItsOffersExpire() {
        var mesh = RestartTests.mesh(12)
        let model = RestartTests.model
        let asker = mesh.nodes[11]
        func providers() -> Int? { asker.peer.catalogue.first { $0.name == model }?.providers }
        #expect(providers() == 3)
        mesh.nodes[0].isDown = true
        mesh.run(for: .seconds(40))
        #expect(providers() == 2 && asker.peer.offers(model: model).count == 3)
        mesh.nodes[1].isDown = true
        mesh.nodes[2].isDown = true
        mesh.run(for: .seconds(40))
        #expect(providers() == nil && asker.peer.offers(model: model).count >= 2)
        mesh.restart(1)
        RestartTests.serve(1, in: &mesh)
        mesh.run(for: .seconds(90))
        #expect(providers() == 1)
    }
}
