import Cryptography
import Market
import Primitives
import TestSupport
import Testing
import Wire

@testable import PeerCore

/// What a node's own bounds do is no fault of the nodes that it wanted to ask.
@Suite struct BurstTests {
    /// A seller with 256 slots, and a buyer that knows it by its offer alone.
    private func mesh() -> PeerMesh {
        var mesh = PeerMesh()
        for _ in 0..<2 { mesh.add { $0.bootstrap = [] } }
        mesh.act(0) { peer, now in
            var model = RendezvousTests.served()
            model.slots = 256
            peer.serve([model], now: now)
        }
        let offers = mesh.nodes[0].peer.offers(model: RendezvousTests.model).map(\.signed)
        mesh.act(1) { peer, now in
            peer.turn.now = now
            _ = peer.gossip.handle(
                .offerMail(offers), from: PeerMesh.address(7), proven: true, turn: &peer.turn,
                out: &peer.gossipActions)
            peer.settle()
        }
        return mesh
    }

    @Test(arguments: [200, 1_000])
    func aBurstToASellerWithoutASessionIsAskedInFullAndTheSellerIsNotBlamed(_ tasks: Int) {
        var mesh = mesh()
        mesh.act(1) { peer, now in
            for _ in 0..<tasks { _ = peer.submit(RendezvousTests.task(), now: now) }
        }
        mesh.run(for: .milliseconds(200))
        let buyer = mesh.nodes[1]
        let seller = Identity.ofNode(0).publicKey
        for transcript in buyer.peer.transcripts(prefix: "", limit: tasks) {
            for bid in transcript.bids {
                #expect(bid.outcome != .notAsked && bid.outcome != .silent, "\(bid.outcome)")
            }
        }
        #expect(buyer.peer.sessions.dropped[.overBudget] == 0)
        #expect(buyer.peer.experience(of: seller)?.isSilent == false)
        for case .failed(let failure) in buyer.events {
            #expect(failure.reason == .busy, "\(failure.message)")
        }
    }

    @Test func aCallThatOurBudgetForStrangersKeepsBackWaitsAndIsMade() {
        var mesh = mesh()
        mesh.act(1) { peer, now in
            peer.turn.now = now
            let seller = PeerMesh.address(0)
            while peer.discovery.mayAsk(seller, now: now) {}
            _ = peer.submit(RendezvousTests.task(), now: now)
        }
        mesh.run(for: .milliseconds(100))
        let seller = Identity.ofNode(0).publicKey
        let task = mesh.nodes[1].peer.transcripts(prefix: "")[0].task
        #expect(mesh.nodes[1].peer.transcript(task)?.bids.map(\.outcome) == [.notAsked])
        #expect(mesh.nodes[1].peer.experience(of: seller)?.isSilent != true)
        mesh.run(for: .seconds(2))
        #expect(mesh.nodes[1].peer.experience(of: seller)?.won ?? 0 > 0)
    }
}
