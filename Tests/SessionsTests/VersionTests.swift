import Cryptography
import Primitives
import Testing
import Wire

@testable import Sessions

/// Protocol/sessions.md, "Versions": two nodes that can't talk report why.
@Suite struct VersionTests {
    private let stranger = Endpoint(ipv4: 0xc000_0201, port: 999)

    /// Node 0's initiation to node 1, as a node of `version` would send it.
    private func initiation(_ version: UInt8, goodMac: Bool = true) -> [UInt8] {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        var packet = net.log[0].bytes
        packet[1] = version
        let key = Packet.macKey(receiver: net.nodes[1].identity.publicKey, mesh: MeshIdentity(name: "test"))
        packet.withUnsafeMutableBytes { if goodMac { Packet.mac1($0, key: key).store(into: $0, at: 4) } }
        return packet
    }

    private func versions(_ mac1: ArraySlice<UInt8>, _ named: [UInt8]) -> [UInt8] {
        let tail = [UInt8(named.count)] + named
        return [7, 0, 0, 0] + Array(mac1) + tail + [UInt8](repeating: 0, count: 12 - tail.count)
    }

    @Test(
        "An initiation of another version is answered with ours, in fewer bytes, and leaves nothing behind",
        arguments: [0, 2, 255] as [UInt8])
    func answered(_ version: UInt8) {
        let net = Net()
        let packet = initiation(version)
        net.inject(packet, into: 1, from: stranger)
        #expect(net.log.map(\.bytes) == [versions(packet[4..<20], [1])] && net.log[0].to == stranger)
        #expect(net.log[0].bytes.count == 32 && packet.count >= 168)
        #expect(net.nodes[1].sessions.dropped[.wrongVersion] == 1)
        #expect(net.nodes[1].sessions.associations.count == 0)
    }

    @Test(
        "A node without our key gets no answer, nor do other kinds, short packets, or an eleventh in a second"
    )
    func silence() {
        let net = Net()
        net.inject(initiation(2, goodMac: false), into: 1, from: stranger)
        for kind in [2, 3, 4, 7] as [UInt8] {
            var packet = initiation(2)
            packet[0] = kind
            net.inject(packet, into: 1, from: stranger)
        }
        net.inject(Array(initiation(2).prefix(167)), into: 1, from: stranger)
        net.inject(initiation(2), into: 1, from: Endpoint(ipv4: 0xe000_0001, port: 5))
        #expect(net.log.isEmpty)
        for _ in 0..<100 { net.inject(initiation(2), into: 1, from: stranger) }
        #expect(net.log.count == 10)
    }

    @Test("The advice is reported once, from the right address, and the opening continues regardless")
    func advice() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        let mac1 = net.log[0].bytes[4..<20]
        let place = net.nodes[1].endpoint
        net.inject(versions(mac1, [2, 3]), into: 0, from: stranger)
        net.inject(versions(mac1.dropLast() + [mac1[19] ^ 1], [2]), into: 0, from: place)
        for bad in [[], [1], [1, 2], [3, 2], [2, 2]] as [[UInt8]] {
            net.inject(versions(mac1, bad), into: 0, from: place)
        }
        #expect(net.nodes[0].advice.isEmpty)
        net.inject(versions(mac1, [2, 3]), into: 0, from: place)
        net.inject(versions(mac1, [2, 3]), into: 0, from: place)
        #expect(net.nodes[0].advice == [VersionAdvice(peer: net.nodes[1].address, versions: [2, 3])])
        #expect(net.nodes[0].sessions.dropped.total == 8 && net.nodes[0].completions.isEmpty)
        net.run()
        #expect(net.nodes[0].completions.first?.answer != nil)
    }

    @Test("An answer is never answered: two nodes can't be made to talk for ever")
    func noLoop() {
        let net = Net()
        net.inject(versions(initiation(2)[4..<20], [2]), into: 0, from: net.nodes[1].endpoint)
        net.inject([7, 9, 0, 0] + [UInt8](repeating: 0, count: 28), into: 0, from: net.nodes[1].endpoint)
        #expect(net.log.isEmpty && net.nodes[0].sessions.dropped.total == 2)
    }
}
