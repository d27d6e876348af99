import Cryptography
import Primitives
import Testing
import Wire

@testable import Sessions

/// What Sessions provides for the reachability test: which peers are strangers, and a datagram outside any
/// session.
@Suite struct StrangerTests {
    @Test("A callback arrives once, is not answered, and leaves nothing behind at either end")
    func callback() throws {
        let network = Net()
        let receiver = network.nodes[1].address
        let made = network.nodes[0].sessions.detached(.discovery(.callback(nonce: 7)), to: receiver.key)
        var bytes = try #require(made)
        #expect(bytes.count <= 200)
        let source = Endpoint(ipv4: 0x0900_0001, port: 40_000)
        var out = SessionOutput()
        var turn = turn(at: network.now)
        let incoming = bytes.withUnsafeMutableBytes {
            network.nodes[1].sessions.receive($0, from: source, turn: &turn, out: &out)
        }
        #expect(incoming?.message == .discovery(.callback(nonce: 7)) && incoming?.proven == false)
        #expect(incoming?.peer.key == network.nodes[0].address.key && incoming?.peer.endpoint == source)
        #expect(incoming?.reply == nil && out.datagrams.isEmpty)
        #expect(network.nodes[1].sessions.tables.allSatisfy { $0.count == 0 })
        #expect(network.nodes[0].sessions.tables.allSatisfy { $0.count == 0 })
    }

    @Test("A stranger comes from a network to which nothing was sent for ten to fifteen minutes")
    func familiarity() {
        var addresses = ContactedAddresses()
        let endpoint = Endpoint(ipv4: 0x0900_0001, port: 7_827)
        let neighbour = Endpoint(ipv4: 0x0900_0002, port: 1)
        var now = MonotonicTime.zero + .seconds(1)
        let before = addresses.covers(endpoint, now)
        addresses.note(endpoint, now)
        let after = addresses.covers(neighbour, now)
        #expect(!before && after && addresses.contains(endpoint) && !addresses.contains(neighbour))
        now = now + .minutes(10)
        let atTheEnd = addresses.covers(endpoint, now)
        now = now + .minutes(5)
        let later = addresses.covers(endpoint, now)
        #expect(atTheEnd && !later && !addresses.contains(endpoint))
        // When the table is full, every address counts as known.
        for number in 0...ContactedAddresses.capacity {
            addresses.note(Endpoint(ipv4: 0x0b00_0001 + UInt32(number) << 8, port: 1), now)
        }
        let doubtful = addresses.covers(endpoint, now)
        let certain = addresses.covers(endpoint, now + .minutes(15))
        #expect(doubtful && !certain)
    }

    @Test("A peer that opens a session uninvited is reported as a stranger, unless we wrote to it first")
    func uninvited() {
        let network = Net()
        network.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        network.run()
        #expect(network.nodes[1].strangers == [network.nodes[0].endpoint])
        #expect(network.nodes[0].strangers.isEmpty)
        // The same node from elsewhere in its network is not a stranger.
        let now = moment(network.now)
        let elsewhere = Endpoint(high: 0, low: network.nodes[0].endpoint.low, port: 9)
        let stranger = Endpoint(ipv4: 0x0900_0001, port: 1)
        let familiar = [network.nodes[0].endpoint, elsewhere, stranger].map {
            network.nodes[1].sessions.familiarity(with: $0, now: now)
        }
        #expect(familiar == [.endpoint, .network, .stranger])
    }

    @Test("A question for a callback is padded to pay for what it makes others send")
    func padding() {
        let network = Net()
        network.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        network.run()
        network.log.removeAll()
        network.request(
            .discovery(.callbackRequest(CallbackRequest(nonce: 9, port: 7_827, channel: true))), from: 0,
            to: 1)
        network.run(.milliseconds(1))
        #expect(network.log.first.map { $0.bytes.count >= 352 + 32 } == true)
    }
}
