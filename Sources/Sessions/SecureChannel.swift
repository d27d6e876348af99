import Cryptography
import Primitives
import Wire

/// Noise IK over one byte stream, then records. A value without timers: bytes in, bytes and frames out.
/// Protocol/sessions.md, “Channels”, is the specification.
///
///     dialler    5 u8 ‖ version u8 ‖ 0 u16 ‖ mac1 16 ‖ Noise message 1 (128: payload is the Ed25519 key)
///     acceptor   6 u8 ‖ version u8 ‖ 0 u16 ‖ Noise message 2 (80: the same)
///     records    length u16 ‖ that many sealed bytes: 16 … 16,400
///
/// It buffers at most one partial record of received bytes.
struct SecureChannel: Sendable {
    static let recordSizeMax = 16_400
    private static let helloKind: UInt8 = 5
    private static let answerKind: UInt8 = 6
    private static let macOffset = 4
    private static let helloNoiseOffset = 20
    private static let payloadSize = 32
    private static let helloSize =
        helloNoiseOffset + NoiseIK.firstPayloadOffset + payloadSize + NoiseIK.tagSize
    private static let answerNoiseOffset = 4
    private static let answerSize =
        answerNoiseOffset + NoiseIK.secondPayloadOffset + payloadSize + NoiseIK.tagSize

    private enum State: Sendable {
        case awaitingHello, awaitingAnswer
        /// Keys are agreed; the acceptor has no proof yet that this is not a replay.
        case unconfirmed
        case open
        case broken
    }

    /// The results of received bytes.
    enum Event {
        /// Send these bytes at once.
        case write([UInt8])
        /// The handshake is complete and confirmed.
        case opened(PublicKey)
        case frame(Frame)
        /// Nothing more will come; close the channel.
        case broken(ChannelFailure)
    }

    private var state: State
    private var noise: NoiseIK
    private let own: PublicKey
    private let macKey: Secret32
    /// The peer's key: known to the dialler, learnt by the acceptor.
    private(set) var peer: PublicKey?
    private var sendKey = Secret32(.zero)
    private var receiveKey = Secret32(.zero)
    private var sendCounter: UInt64 = 0
    private var receiveCounter: UInt64 = 0
    private var partial: [UInt8] = []

    /// Makes the acceptor's end. `macKey` is its own.
    init(acceptor own: PublicKey, keyPair: NoiseIK.KeyPair, start: NoiseSymmetricState, macKey: Secret32) {
        state = .awaitingHello
        self.own = own
        self.macKey = macKey
        noise = NoiseIK(responder: keyPair, start: start)
    }

    /// Makes the dialler's end, and the bytes that it sends first. Returns nil when the peer's key is
    /// invalid. `macKey` is the peer's.
    static func dialler(
        _ own: PublicKey, keyPair: NoiseIK.KeyPair, start: NoiseSymmetricState, to peer: PublicKey,
        macKey: Secret32,
        ephemeral: Secret32
    ) -> (channel: SecureChannel, hello: [UInt8])? {
        guard let remoteStatic = peer.agreementKey else { return nil }
        var channel = SecureChannel(acceptor: own, keyPair: keyPair, start: start, macKey: macKey)
        channel.noise = NoiseIK(initiator: keyPair, to: remoteStatic, start: start)
        channel.peer = peer
        channel.state = .awaitingAnswer
        var hello = [UInt8](repeating: 0, count: helloSize)
        let written = hello.withUnsafeMutableBytes { packet in
            packet[0] = helloKind
            packet[1] = Packet.version
            let message = packet.from(helloNoiseOffset)
            own.value.store(into: message.from(NoiseIK.firstPayloadOffset))
            guard channel.noise.writeFirst(message, payloadCount: payloadSize, ephemeral: ephemeral) else {
                return false
            }
            mac(packet, macKey).store(into: packet, at: macOffset)
            return true
        }
        return written ? (channel, hello) : nil
    }

    var isOpen: Bool {
        switch state {
        case .open: true
        case .awaitingHello, .awaitingAnswer, .unconfirmed, .broken: false
        }
    }

    /// Takes bytes that the carrier delivered. The ratchet provides the acceptor's ephemeral key.
    mutating func receive(_ bytes: UnsafeRawBufferPointer, ratchet: inout KeyRatchet, _ events: inout [Event])
    {
        var rest = bytes
        while !rest.isEmpty {
            guard let needed = sizeNeeded() else { return }
            let taken = min(needed - partial.count, rest.count)
            partial.append(contentsOf: rest[..<taken])
            rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
            if partial.count == needed { complete(&ratchet, &events) }
        }
    }

    /// The total size of the unit being received, as far as it is known. Nil when nothing more is received,
    /// or when the record's length is invalid.
    private func sizeNeeded() -> Int? {
        switch state {
        case .awaitingHello: return Self.helloSize
        case .awaitingAnswer: return Self.answerSize
        case .broken: return nil
        case .unconfirmed, .open:
            guard partial.count >= 2 else { return 2 }
            let length = Int(partial[0]) | Int(partial[1]) << 8
            return length >= Aead.tagSize && length <= Self.recordSizeMax ? 2 + length : nil
        }
    }

    private mutating func complete(_ ratchet: inout KeyRatchet, _ events: inout [Event]) {
        switch state {
        case .awaitingHello:
            readHello(Secret32(ratchet.next()), &events)
        case .awaitingAnswer:
            readAnswer(&events)
        case .unconfirmed, .open:
            if partial.count == 2 {
                // Only the length has arrived: the rest of the record follows, if the length is valid.
                if sizeNeeded() == nil { fail(.badRecord, &events) }
                return
            }
            readRecord(&events)
        case .broken:
            break
        }
        partial.removeAll(keepingCapacity: isOpen)
    }

    private mutating func fail(_ reason: ChannelFailure, _ events: inout [Event]) {
        state = .broken
        partial = []
        events.append(.broken(reason))
    }

    // MARK: Handshake

    private static func mac(_ hello: UnsafeMutableRawBufferPointer, _ key: Secret32) -> Mac16 {
        Blake2b.mac16(
            key: key, UnsafeRawBufferPointer(rebasing: hello[..<macOffset]),
            UnsafeRawBufferPointer(rebasing: hello[helloNoiseOffset...]))
    }

    private mutating func readHello(_ ephemeral: Secret32, _ events: inout [Event]) {
        var key: PublicKey?
        let macKey = macKey
        let payload: [UInt8]? = partial.withUnsafeMutableBytes { packet in
            guard packet[0] == Self.helloKind, packet[1] == Packet.version, packet[2] | packet[3] == 0,
                Self.mac(packet, macKey) == Mac16(UnsafeRawBufferPointer(packet), at: Self.macOffset),
                let range = noise.readFirst(packet.from(Self.helloNoiseOffset))
            else { return nil }
            return Array(packet.from(Self.helloNoiseOffset)[range])
        }
        if let payload { key = Bytes32(payload).map(PublicKey.init) }
        guard let key, key.agreementKey == noise.remoteStatic else { return fail(.badHandshake, &events) }
        guard key != own else { return fail(.selfDial, &events) }
        peer = key
        var answer = [UInt8](repeating: 0, count: Self.answerSize)
        let written = answer.withUnsafeMutableBytes { packet in
            packet[0] = Self.answerKind
            packet[1] = Packet.version
            let message = packet.from(Self.answerNoiseOffset)
            own.value.store(into: message.from(NoiseIK.secondPayloadOffset))
            return noise.writeSecond(message, payloadCount: Self.payloadSize, ephemeral: ephemeral)
        }
        guard written else { return fail(.badHandshake, &events) }
        let keys = noise.split()
        sendKey = keys.responder
        receiveKey = keys.initiator
        state = .unconfirmed
        events.append(.write(answer))
    }

    private mutating func readAnswer(_ events: inout [Event]) {
        let payload: [UInt8]? = partial.withUnsafeMutableBytes { packet in
            guard packet[0] == Self.answerKind, packet[1] == Packet.version, packet[2] | packet[3] == 0,
                let range = noise.readSecond(packet.from(Self.answerNoiseOffset))
            else { return nil }
            return Array(packet.from(Self.answerNoiseOffset)[range])
        }
        guard let peer, let payload, Bytes32(payload) == peer.value else {
            return fail(.badHandshake, &events)
        }
        let keys = noise.split()
        sendKey = keys.initiator
        receiveKey = keys.responder
        state = .open
        // An empty record proves to the acceptor that our hello was not a replay.
        events.append(.write(seal([])))
        events.append(.opened(peer))
    }

    // MARK: Records

    /// The record that carries `frame`. Nil when it is too long or the channel isn't open.
    mutating func record(_ frame: Frame) -> [UInt8]? {
        guard isOpen else { return nil }
        let plain = frame.encoded()
        guard plain.count <= WireLimits.frameSizeMax else { return nil }
        return seal(plain)
    }

    private mutating func seal(_ plain: [UInt8]) -> [UInt8] {
        let length = plain.count + Aead.tagSize
        var record = [UInt8]()
        record.reserveCapacity(2 + length)
        record.append(UInt8(truncatingIfNeeded: length))
        record.append(UInt8(truncatingIfNeeded: length >> 8))
        record += plain
        record.append(contentsOf: repeatElement(0, count: Aead.tagSize))
        record.withUnsafeMutableBytes {
            Aead.seal($0.from(2), count: plain.count, key: sendKey, counter: sendCounter)
        }
        sendCounter += 1
        return record
    }

    private mutating func readRecord(_ events: inout [Event]) {
        let counter = receiveCounter
        let key = receiveKey
        let count = partial.withUnsafeMutableBytes { Aead.open($0.from(2), key: key, counter: counter) }
        guard let count else { return fail(.badRecord, &events) }
        receiveCounter += 1
        if !isOpen, let peer {
            state = .open
            events.append(.opened(peer))
        }
        guard count > 0 else { return }
        do throws(WireError) {
            events.append(.frame(try Frame(decoding: partial.span.bytes.extracting(2..<2 + count))))
        } catch {
            // A body of a later version is ignored, as in proto3.
            if error != .unknownKind { fail(.badRecord, &events) }
        }
    }
}
