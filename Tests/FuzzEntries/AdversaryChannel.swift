import Cryptography
import Primitives
import Sessions
import Wire

/// The other end of a channel, which may send anything inside or outside of records.
struct AdversaryChannel {
    private static let helloNoiseOffset = 20
    private static let answerNoiseOffset = 4
    private let identity: Identity
    private let victim: PublicKey
    private let mesh: MeshIdentity
    private var noise: NoiseIK
    private var sendKey = Secret32(.zero)
    private var counter: UInt64 = 0
    private(set) var isOpen = false
    private var isAwaiting = false

    init(_ identity: Identity, victim: PublicKey, mesh: MeshIdentity) {
        self.identity = identity
        self.victim = victim
        self.mesh = mesh
        let keys = NoiseIK.KeyPair(secret: identity.agreementSecret)
        let start = NoiseSymmetricState(
            protocolName: NoiseIK.protocolName, prologue: Packet.prologue("starling channel", mesh: mesh))
        noise = NoiseIK(initiator: keys, to: victim.agreementKey ?? .zero, start: start)
    }

    /// A dialler's first 148 bytes.
    mutating func hello() -> [UInt8] {
        let start = NoiseSymmetricState(
            protocolName: NoiseIK.protocolName, prologue: Packet.prologue("starling channel", mesh: mesh))
        let keys = NoiseIK.KeyPair(secret: identity.agreementSecret)
        noise = NoiseIK(initiator: keys, to: victim.agreementKey ?? .zero, start: start)
        var hello = [UInt8](repeating: 0, count: Self.helloNoiseOffset + 80 + 32 + 16)
        let key = Packet.macKey(receiver: victim, mesh: mesh)
        hello.withUnsafeMutableBytes { packet in
            packet[0] = 5
            packet[1] = Packet.version
            let message = packet.from(Self.helloNoiseOffset)
            identity.publicKey.value.store(into: message.from(NoiseIK.firstPayloadOffset))
            _ = noise.writeFirst(message, payloadCount: 32, ephemeral: Secret32(Bytes32(3, 1, 4, 1)))
            let mac = Blake2b.mac16(
                key: key, UnsafeRawBufferPointer(rebasing: packet[..<4]),
                UnsafeRawBufferPointer(rebasing: packet[Self.helloNoiseOffset...]))
            mac.store(into: packet, at: 4)
        }
        isAwaiting = true
        return hello
    }

    /// The acceptor's answer to our hello.
    mutating func answered(_ bytes: [UInt8]) {
        guard !isOpen, isAwaiting, bytes.count >= Self.answerNoiseOffset + 32 + 32 + 16 else { return }
        isAwaiting = false
        var bytes = Array(bytes.prefix(Self.answerNoiseOffset + 32 + 32 + 16))
        let read = bytes.withUnsafeMutableBytes { noise.readSecond($0.from(Self.answerNoiseOffset)) }
        guard read != nil else { return }
        sendKey = noise.split().initiator
        isOpen = true
    }

    /// Our answer to the victim's hello, when it dialled us.
    mutating func answer(_ hello: [UInt8]) -> [UInt8]? {
        guard !isOpen, hello.count >= Self.helloNoiseOffset + 80 + 32 + 16 else { return nil }
        let start = NoiseSymmetricState(
            protocolName: NoiseIK.protocolName, prologue: Packet.prologue("starling channel", mesh: mesh))
        noise = NoiseIK(responder: .init(secret: identity.agreementSecret), start: start)
        var hello = Array(hello.prefix(Self.helloNoiseOffset + 80 + 32 + 16))
        guard hello.withUnsafeMutableBytes({ noise.readFirst($0.from(Self.helloNoiseOffset)) }) != nil else {
            return nil
        }
        var answer = [UInt8](repeating: 0, count: Self.answerNoiseOffset + 32 + 32 + 16)
        answer[0] = 6
        answer[1] = Packet.version
        let written = answer.withUnsafeMutableBytes { packet in
            let message = packet.from(Self.answerNoiseOffset)
            identity.publicKey.value.store(into: message.from(NoiseIK.secondPayloadOffset))
            return noise.writeSecond(message, payloadCount: 32, ephemeral: Secret32(Bytes32(2, 7, 1, 8)))
        }
        guard written else { return nil }
        sendKey = noise.split().responder
        isOpen = true
        return answer
    }

    mutating func record(_ plain: [UInt8]) -> [UInt8] {
        guard isOpen else { return [] }
        let length = plain.count + Aead.tagSize
        var record = [UInt8(truncatingIfNeeded: length), UInt8(truncatingIfNeeded: length >> 8)] + plain
        record += [UInt8](repeating: 0, count: Aead.tagSize)
        record.withUnsafeMutableBytes {
            Aead.seal($0.from(2), count: plain.count, key: sendKey, counter: counter)
        }
        counter += 1
        return record
    }
}
