import Cryptography
import Primitives
import Sessions
import Wire

/// A node that follows the outer forms of the protocol, so that it is let in, and puts anything inside: used
/// by the fuzzer and by hostile tests. It has one victim, at most one session with it, and no timers.
package struct Adversary {
    package let identity: Identity
    package let endpoint: Endpoint
    package let victim: PublicKey
    private let mesh: MeshIdentity
    private let keyPair: NoiseIK.KeyPair
    private let start: NoiseSymmetricState
    private var ratchet: KeyRatchet

    private struct Link {
        var sendKey: Secret32
        var receiveKey: Secret32
        var remoteNumber: UInt32
        var counter: UInt64 = 0
    }
    /// Our number in every handshake, which the victim puts into its packets.
    private static let number: UInt32 = 0x0102_0304
    private static let heardMax = 16
    private var opening: NoiseIK?
    private var answering: (noise: NoiseIK, number: UInt32)?
    private var link: Link?
    /// The victim's unanswered requests, latest last.
    package private(set) var requests: [Envelope] = []
    /// The envelope in the victim's initiation.
    package private(set) var riding: Envelope?
    /// The victim's answers, latest last.
    package private(set) var replies: [Envelope] = []
    /// mac1 of the victim's last initiation to us, which a cookie must name.
    package private(set) var heardMac: [UInt8] = []

    package init(_ seed: UInt64, at endpoint: Endpoint, victim: PublicKey, mesh: MeshIdentity) {
        identity = Identity(seed: Bytes32(seed, 0, 0xbad, 0))
        self.endpoint = endpoint
        self.victim = victim
        self.mesh = mesh
        keyPair = NoiseIK.KeyPair(secret: identity.agreementSecret)
        start = NoiseSymmetricState(
            protocolName: NoiseIK.protocolName, prologue: Packet.prologue("starling datagram", mesh: mesh))
        ratchet = KeyRatchet(entropy: Bytes32(seed, 1, 0xbad, 0), purpose: "adversary")
    }

    package var address: PeerAddress { PeerAddress(key: identity.publicKey, endpoint: endpoint) }
    package var hasLink: Bool { link != nil }
    package var canRespond: Bool { answering != nil }

    // MARK: Packets

    /// Message 1 with these bytes as its envelope, in a packet of at most 1,200. `key` is the identity that
    /// we claim.
    package mutating func initiation(_ envelope: [UInt8], claiming key: PublicKey? = nil) -> [UInt8] {
        guard let remote = victim.agreementKey else { return [] }
        let room = DatagramSlab.datagramBytesMax - Packet.initiationSizeMin
        let envelope = envelope.prefix(room)
        let payload = Packet.identitySize + envelope.count
        var packet = [UInt8](repeating: 0, count: Packet.initiationSizeMin + envelope.count)
        var noise = NoiseIK(initiator: keyPair, to: remote, start: start)
        let ephemeral = Secret32(ratchet.next())
        packet.withUnsafeMutableBytes { bytes in
            Packet.writeHeader(bytes, .initiation)
            let message = bytes.from(Packet.initiationNoiseOffset)
            Array(envelope).withUnsafeBytes {
                message.from(NoiseIK.firstPayloadOffset).writeIdentity(
                    key ?? identity.publicKey, Self.number, $0)
            }
            _ = noise.writeFirst(message, payloadCount: payload, ephemeral: ephemeral)
        }
        opening = noise
        return macked(packet)
    }

    /// The same bytes with a valid mac: for initiations with garbage inside.
    package func macked(_ packet: [UInt8]) -> [UInt8] {
        guard packet.count >= Packet.initiationSizeMin else { return packet }
        var packet = packet
        packet.withUnsafeMutableBytes {
            Packet.mac1($0, key: Packet.macKey(receiver: victim, mesh: mesh)).store(
                into: $0, at: Packet.mac1Offset)
        }
        return packet
    }

    /// Message 2 to the victim's last initiation. Afterwards both sides have a session.
    package mutating func response(_ envelope: [UInt8], claiming key: PublicKey? = nil) -> [UInt8]? {
        guard var noise = answering?.noise, let remoteNumber = answering?.number else { return nil }
        let room = DatagramSlab.datagramBytesMax - Packet.responseSizeMin
        let envelope = Array(envelope.prefix(room))
        let payload = Packet.identitySize + envelope.count
        var packet = [UInt8](repeating: 0, count: Packet.responseSizeMin + envelope.count)
        let ephemeral = Secret32(ratchet.next())
        let written = packet.withUnsafeMutableBytes { bytes in
            Packet.writeHeader(bytes, .response)
            bytes.storeBytes(of: remoteNumber.littleEndian, toByteOffset: 4, as: UInt32.self)
            let message = bytes.from(Packet.responseNoiseOffset)
            envelope.withUnsafeBytes {
                message.from(NoiseIK.secondPayloadOffset).writeIdentity(
                    key ?? identity.publicKey, Self.number, $0)
            }
            return noise.writeSecond(message, payloadCount: payload, ephemeral: ephemeral)
        }
        answering = nil
        guard written else { return nil }
        let keys = noise.split()
        link = Link(sendKey: keys.responder, receiveKey: keys.initiator, remoteNumber: remoteNumber)
        return packet
    }

    /// A transport packet with these bytes as plaintext.
    package mutating func transport(_ plain: [UInt8], counter: UInt64? = nil) -> [UInt8]? {
        guard let link else { return nil }
        let size = Packet.transportSizeMin
        let plain = plain.prefix(DatagramSlab.datagramBytesMax - size)
        var packet = [UInt8](repeating: 0, count: size + plain.count)
        let number = counter ?? link.counter
        if counter == nil { self.link?.counter += 1 }
        packet.withUnsafeMutableBytes { bytes in
            Packet.writeHeader(bytes, .transport)
            bytes.storeBytes(of: link.remoteNumber.littleEndian, toByteOffset: 4, as: UInt32.self)
            bytes.storeBytes(of: number.littleEndian, toByteOffset: 8, as: UInt64.self)
            let sealed = bytes.from(Packet.transportSealedOffset)
            sealed.copyBytes(from: plain)
            Aead.seal(sealed, count: plain.count, key: link.sendKey, counter: number)
        }
        return packet
    }

    // MARK: Packets of the victim

    package mutating func receive(_ datagram: [UInt8]) {
        guard datagram.count >= Packet.transportSizeMin, let kind = PacketKind(rawValue: datagram[0]) else {
            return
        }
        var datagram = datagram
        datagram.withUnsafeMutableBytes { packet in
            switch kind {
            case .initiation: receiveInitiation(packet)
            case .response: receiveResponse(packet)
            case .transport: receiveTransport(packet)
            case .cookie, .versions: break
            }
        }
    }

    private mutating func receiveInitiation(_ packet: UnsafeMutableRawBufferPointer) {
        heardMac = Array(packet[Packet.mac1Offset..<Packet.mac2Offset])
        var noise = NoiseIK(responder: keyPair, start: start)
        let message = packet.from(Packet.initiationNoiseOffset)
        guard let range = noise.readFirst(message) else { return }
        let payload = UnsafeMutableRawBufferPointer(rebasing: message[range])
        guard let (_, number) = payload.readIdentity() else { return }
        answering = (noise, number)
        riding = nil
        let rest = Array(payload[Packet.identitySize...])
        if let envelope = try? Envelope(decoding: rest) {
            riding = envelope
            note(envelope)
        }
    }

    private mutating func receiveResponse(_ packet: UnsafeMutableRawBufferPointer) {
        guard var noise = opening, Packet.word(packet, at: 4) == Self.number else { return }
        let message = packet.from(Packet.responseNoiseOffset)
        guard let range = noise.readSecond(message) else { return }
        let payload = UnsafeMutableRawBufferPointer(rebasing: message[range])
        guard let (_, number) = payload.readIdentity() else { return }
        let keys = noise.split()
        opening = nil
        link = Link(sendKey: keys.initiator, receiveKey: keys.responder, remoteNumber: number)
        if let envelope = try? Envelope(decoding: Array(payload[Packet.identitySize...])) { note(envelope) }
    }

    private mutating func receiveTransport(_ packet: UnsafeMutableRawBufferPointer) {
        guard let link, Packet.word(packet, at: 4) == Self.number else { return }
        let sealed = packet.from(Packet.transportSealedOffset)
        guard let count = Aead.open(sealed, key: link.receiveKey, counter: Packet.counter(packet)) else {
            return
        }
        if let envelope = try? Envelope(decoding: Array(sealed[..<count])) { note(envelope) }
    }

    private mutating func note(_ envelope: Envelope) {
        if envelope.request != 0 {
            if requests.count >= Self.heardMax { requests.removeFirst() }
            requests.append(envelope)
        }
        if envelope.reply != 0 {
            if replies.count >= Self.heardMax { replies.removeFirst() }
            replies.append(envelope)
        }
    }

    /// Removes and returns the `index`-th latest request, to answer it.
    package mutating func takeRequest(_ index: Int) -> Envelope? {
        guard !requests.isEmpty else { return nil }
        return requests.remove(at: requests.count - 1 - index % requests.count)
    }
}
