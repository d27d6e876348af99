import Cryptography
import Primitives
import Sessions
import Wire

/// Four adversaries in two networks, and the packets that a fuzzer's program makes them send.
package struct Attackers {
    package struct Packet {
        package var bytes: [UInt8]
        package var source: Endpoint
        /// Whether its source is proven if the packet is accepted.
        package var proves = false
    }

    package var all: [Adversary]
    private var last: [UInt8] = []
    /// The sender of the last packet, if that packet proves its sender.
    private var lastProof: Int?
    /// Spoofed sources, at which there is no node.
    private static let spoofed = [
        Endpoint(ipv4: 0x0808_0808, port: 53), Endpoint(ipv4: 0xc633_6401, port: 7827), .loopback(9),
    ]

    package init(victim: PublicKey, mesh: MeshIdentity) {
        all = (0..<4).map { index in
            let place = Endpoint(ipv4: 0x2d00_0001 + UInt32(index / 2) << 16 + UInt32(index), port: 7827)
            return Adversary(UInt64(index), at: place, victim: victim, mesh: mesh)
        }
    }

    package func at(_ endpoint: Endpoint) -> Int? { all.firstIndex { $0.endpoint == endpoint } }

    /// The next packet of the program; nil when that step makes none.
    package mutating func packet(_ input: inout FuzzInput, _ maker: MessageMaker) -> Packet? {
        let step = input.byte()
        let index = Int(step >> 6) & 3
        var source = all[index].endpoint
        let made: [UInt8]?
        var proves = false
        switch step & 15 {
        case 0: made = input.manyBytes()
        case 1: made = all[index].macked(garbage(&input))
        case 2: made = all[index].initiation(input.bytes())
        case 3:
            made = all[index].initiation(request(&input, maker).encoded(paddedTo: input.flag() ? 1_024 : 352))
        case 4: made = all[index].initiation([])
        case 5, 6:
            made = all[index].transport(input.bytes())
            proves = true
        case 7, 8:
            made = all[index].transport(request(&input, maker).encoded())
            proves = true
        case 9, 10:
            let asked = all[index].takeRequest(Int(input.byte()))
            made = all[index].transport(
                Envelope(reply: asked?.request ?? input.number32(), message: maker.message(&input)).encoded())
            proves = true
        case 11, 12:
            let asked = input.choice(4) == 1 ? input.number32() : all[index].riding?.request ?? 0
            let message = maker.message(&input)
            made = all[index].response(
                asked == 0 ? input.bytes() : Envelope(reply: asked, message: message).encoded())
            proves = true
        case 13:
            made = spoilt(&input)
            proves = lastProof == index
        case 14:
            let counter = input.number()
            made = all[index].transport(request(&input, maker).encoded(), counter: counter)
            proves = true
        default:
            // A cookie or a list of versions for the victim's last initiation.
            let isCookie = input.flag()
            var packet: [UInt8] = [isCookie ? 3 : 7, isCookie ? 1 : 0, 0, 0] + all[index].heardMac
            packet += input.take(isCookie ? 72 : 12)
            packet += [UInt8](repeating: 0, count: max(0, (isCookie ? 92 : 32) - packet.count))
            made = packet
        }
        guard let made, !made.isEmpty else { return nil }
        if step & 0x30 == 0x30 {
            source = Self.spoofed[input.choice(Self.spoofed.count)]
            proves = false
        } else {
            last = made
            lastProof = proves ? index : nil
        }
        return Packet(bytes: made, source: source, proves: proves)
    }

    /// Delivers a datagram to the adversary at that endpoint, if there is one.
    package mutating func take(_ datagram: [UInt8], at endpoint: Endpoint) {
        if let index = at(endpoint) { all[index].receive(datagram) }
    }

    /// The last packet again: unchanged, cut, lengthened or with a flipped bit.
    private func spoilt(_ input: inout FuzzInput) -> [UInt8] {
        var packet = last
        switch input.choice(5) {
        case 0: break
        case 1: packet = Array(packet.prefix(Int(input.byte()) * 5))
        case 2: packet += input.bytes()
        case 3: if packet.count > 1 { packet[1] = input.byte() }
        default:
            let bit = (Int(input.byte()) << 8 | Int(input.byte())) % max(1, packet.count * 8)
            if !packet.isEmpty { packet[bit / 8] ^= 1 << UInt8(bit % 8) }
        }
        return input.flag() ? all[0].macked(packet) : packet
    }

    private func garbage(_ input: inout FuzzInput) -> [UInt8] {
        let version = input.byte()
        var packet: [UInt8] = [1, version & 1 == 0 ? 1 : version, 0, 0]
        packet += input.bytes()
        return packet + [UInt8](repeating: 0xa5, count: max(0, 168 + Int(input.byte()) * 4 - packet.count))
    }

    private func request(_ input: inout FuzzInput, _ maker: MessageMaker) -> Envelope {
        Envelope(request: input.choice(4) == 0 ? 0 : input.number32(), message: maker.message(&input))
    }
}
