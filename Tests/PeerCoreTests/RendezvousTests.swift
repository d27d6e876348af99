import Cryptography
import Market
import Primitives
import Testing
import Wire

@testable import Discovery
@testable import PeerCore

@Suite struct RendezvousTests {
    static let model = "wren-m"

    static func served() -> ServedModel {
        ServedModel(
            model: model, price: Price(input: 1_000_000, cachedInput: 100_000, output: 2_000_000), slots: 2,
            context: 4_096, features: [.chat, .completion], continues: true, digest: nil,
            quantization: "q8_0",
            speed: Speed(
                firstTokenMilliseconds: 5, millitokensPerSecond: 60_000, coldFirstTokenMilliseconds: 0))
    }

    static func task(_ model: String = model) -> TaskRequest {
        TaskRequest(
            kind: .chat, model: model, body: Array("{}".utf8), features: [.chat], deadline: .seconds(20))
    }

    /// A mesh of small tables, in which offers spread to the seller's own contacts and no further.
    static func thinMesh(_ count: Int) -> PeerMesh {
        var mesh = PeerMesh()
        for _ in 0..<count {
            mesh.add { settings in
                settings.discovery.bucketSize = 3
                settings.gossip.rumourFanout = 0
                settings.gossip.joinPartners = 0
                settings.gossip.searchPartners = 0
                settings.gossip.exchangeEvery = .minutes(1_000)
            }
        }
        mesh.run(for: .seconds(5))
        return mesh
    }

    /// Two nodes that don't know each other.
    static func strangers(in mesh: PeerMesh) -> (seller: Int, asker: Int)? {
        for seller in mesh.nodes.indices {
            for asker in mesh.nodes.indices where asker != seller {
                let isKnown =
                    mesh.nodes[seller].peer.discovery.contact(of: PeerMesh.identity(asker).publicKey) != nil
                let knows =
                    mesh.nodes[asker].peer.discovery.contact(of: PeerMesh.identity(seller).publicKey) != nil
                if !isKnown, !knows { return (seller, asker) }
            }
        }
        return nil
    }

    @Test("A buyer that shares no table entry with a seller finds it through the topic's registrars")
    func found() throws {
        var mesh = Self.thinMesh(40)
        let (seller, asker) = try #require(Self.strangers(in: mesh))
        mesh.act(seller) { $0.serve([Self.served()], now: $1) }
        mesh.run(for: .seconds(10))
        #expect(mesh.nodes[seller].peer.registrars(Self.model, now: mesh.now) >= 5)
        #expect(mesh.nodes[asker].peer.offers(model: Self.model).isEmpty)
        mesh.act(asker) { _ = $0.submit(Self.task(), now: $1) }
        mesh.run(for: .milliseconds(600))
        #expect(mesh.nodes[asker].peer.offers(model: Self.model).count == 1)
        #expect(mesh.nodes[asker].dialled == [PeerMesh.endpoint(seller)])
    }

    @Test("The offers of a model in use stay in the offer book although their seller doesn't know us")
    func refreshed() throws {
        var mesh = Self.thinMesh(40)
        let (seller, asker) = try #require(Self.strangers(in: mesh))
        mesh.act(seller) { $0.serve([Self.served()], now: $1) }
        mesh.run(for: .seconds(10))
        mesh.act(asker) { _ = $0.submit(Self.task(), now: $1) }
        mesh.run(for: .minutes(8))
        #expect(mesh.nodes[asker].peer.offers(model: Self.model).count == 1)
    }

    @Test("A withdrawn model is no longer found, nor is a seller that left")
    func withdrawn() throws {
        var mesh = Self.thinMesh(40)
        let (seller, asker) = try #require(Self.strangers(in: mesh))
        mesh.act(seller) { $0.serve([Self.served()], now: $1) }
        mesh.run(for: .seconds(10))
        mesh.act(seller) { $0.serve([], now: $1) }
        mesh.run(for: .seconds(1))
        let held = mesh.nodes.map { $0.peer.discovery.registrar.count(TopicID(model: Self.model)) }
        #expect(held.allSatisfy { $0 == 0 })
        mesh.act(seller) { $0.serve([Self.served()], now: $1) }
        mesh.run(for: .seconds(10))
        mesh.act(seller) { $0.leave(now: $1) }
        mesh.run(for: .seconds(1))
        #expect(mesh.nodes.allSatisfy { $0.peer.discovery.registrar.count(TopicID(model: Self.model)) == 0 })
        mesh.act(asker) { _ = $0.submit(Self.task(), now: $1) }
        mesh.run(for: .seconds(4))
        #expect(mesh.nodes[asker].dialled.isEmpty)
    }

    @Test("A model that no node serves is reported within three seconds, however many tasks ask for it")
    func nobody() {
        var mesh = Self.thinMesh(40)
        for _ in 0..<5 { mesh.act(7) { _ = $0.submit(Self.task("none"), now: $1) } }
        mesh.run(for: .seconds(3))
        let failed = mesh.nodes[7].events.count { if case .failed = $0 { true } else { false } }
        #expect(failed == 5)
        #expect(mesh.nodes[7].peer.outstanding.tasks == 0)
    }

    @Test("Where no node answers, the search still ends")
    func silence() {
        var mesh = Self.thinMesh(40)
        for index in mesh.nodes.indices where index != 7 { mesh.nodes[index].isDown = true }
        mesh.act(7) { _ = $0.submit(Self.task("none"), now: $1) }
        mesh.run(for: .seconds(4))
        #expect(mesh.nodes[7].peer.outstanding.tasks == 0)
    }
}
