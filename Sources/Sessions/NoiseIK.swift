import Cryptography
import Primitives

/// The handshake Noise_IK_25519_ChaChaPoly_BLAKE2b, complete and pure: bytes in place, the ephemeral key as
/// an argument. (The Noise Protocol Framework, revision 34; noiseprotocol.org.)
///
///     IK:  ← s   …   → e, es, s, ss   ← e, ee, se
///
/// A value: process a message that may be forged on a copy. Deviation from the framework: a Diffie-Hellman
/// result of zero, which a key of small order produces, is a failure.
package struct NoiseIK: Sendable {
    package static let protocolName = "Noise_IK_25519_ChaChaPoly_BLAKE2b"
    /// Offset of the payload in the first message: after the ephemeral key and the encrypted static one.
    package static let firstPayloadOffset = 32 + 48
    package static let secondPayloadOffset = 32
    package static let tagSize = Aead.tagSize

    private enum Phase { case start, first, done }

    private var phase = Phase.start
    private var symmetric: NoiseSymmetricState
    private let localStatic: KeyPair
    private var localEphemeral = Secret32(.zero)
    private var remoteEphemeral = Bytes32.zero
    /// Known to the initiator; the responder learns it from the first message.
    private(set) var remoteStatic = Bytes32.zero

    /// An X25519 key pair.
    package struct KeyPair: Sendable {
        let secret: Secret32
        let publicKey: Bytes32
        package init(secret: Secret32) {
            self.secret = secret
            publicKey = Agreement.publicKey(of: secret)
        }
    }

    /// `start` has already mixed in the prologue, which is the same for every handshake of a mesh.
    package init(initiator localStatic: KeyPair, to remoteStatic: Bytes32, start: NoiseSymmetricState) {
        self.localStatic = localStatic
        self.remoteStatic = remoteStatic
        symmetric = start
        symmetric.mixHash(remoteStatic)
    }

    package init(responder localStatic: KeyPair, start: NoiseSymmetricState) {
        self.localStatic = localStatic
        symmetric = start
        symmetric.mixHash(localStatic.publicKey)
    }

    /// Initiator, first message. `buffer` has `payloadCount` bytes of payload at offset 80 and is 96 bytes
    /// longer than the payload.
    package mutating func writeFirst(
        _ buffer: UnsafeMutableRawBufferPointer, payloadCount: Int, ephemeral: Secret32
    ) -> Bool {
        precondition(phase == .start && buffer.count == Self.firstPayloadOffset + payloadCount + Self.tagSize)
        if symmetric.isPlain {
            localStatic.publicKey.store(into: part(buffer, 32, 48))
            phase = .first
            return true
        }
        writeEphemeral(buffer, ephemeral)
        guard symmetric.mixKey(Agreement.shared(localEphemeral, remoteStatic)) else { return false }
        localStatic.publicKey.store(into: part(buffer, 32, 48))
        symmetric.encryptAndHash(part(buffer, 32, 48), count: 32)
        guard symmetric.mixKey(Agreement.shared(localStatic.secret, remoteStatic)) else { return false }
        symmetric.encryptAndHash(part(buffer, 80, payloadCount + Self.tagSize), count: payloadCount)
        phase = .first
        return true
    }

    /// Responder, first message, decrypted in place. Returns the range of the payload, or nil. Costs two
    /// Diffie-Hellman operations for a valid message, one for a message that was made without our public key.
    package mutating func readFirst(_ buffer: UnsafeMutableRawBufferPointer) -> Range<Int>? {
        precondition(phase == .start)
        guard buffer.count >= Self.firstPayloadOffset + Self.tagSize else { return nil }
        if symmetric.isPlain {
            phase = .first
            return 80..<buffer.count - Self.tagSize
        }
        readEphemeral(buffer)
        guard symmetric.mixKey(Agreement.shared(localStatic.secret, remoteEphemeral)),
            symmetric.decryptAndHash(part(buffer, 32, 48)) != nil,
            let sender = Bytes32(UnsafeRawBufferPointer(part(buffer, 32, 32)))
        else { return nil }
        remoteStatic = sender
        guard symmetric.mixKey(Agreement.shared(localStatic.secret, remoteStatic)),
            let count = symmetric.decryptAndHash(part(buffer, 80, buffer.count - 80))
        else { return nil }
        phase = .first
        return 80..<80 + count
    }

    /// Responder, second message. `payloadCount` bytes of payload are at offset 32.
    package mutating func writeSecond(
        _ buffer: UnsafeMutableRawBufferPointer, payloadCount: Int, ephemeral: Secret32
    ) -> Bool {
        precondition(
            phase == .first && buffer.count == Self.secondPayloadOffset + payloadCount + Self.tagSize)
        if symmetric.isPlain {
            phase = .done
            return true
        }
        writeEphemeral(buffer, ephemeral)
        guard symmetric.mixKey(Agreement.shared(localEphemeral, remoteEphemeral)),
            symmetric.mixKey(Agreement.shared(localEphemeral, remoteStatic))
        else { return false }
        symmetric.encryptAndHash(part(buffer, 32, payloadCount + Self.tagSize), count: payloadCount)
        phase = .done
        return true
    }

    /// Initiator, second message, decrypted in place.
    package mutating func readSecond(_ buffer: UnsafeMutableRawBufferPointer) -> Range<Int>? {
        precondition(phase == .first)
        guard buffer.count >= Self.secondPayloadOffset + Self.tagSize else { return nil }
        if symmetric.isPlain {
            phase = .done
            return 32..<buffer.count - Self.tagSize
        }
        readEphemeral(buffer)
        guard symmetric.mixKey(Agreement.shared(localEphemeral, remoteEphemeral)),
            symmetric.mixKey(Agreement.shared(localStatic.secret, remoteEphemeral)),
            let count = symmetric.decryptAndHash(part(buffer, 32, buffer.count - 32))
        else { return nil }
        phase = .done
        return 32..<32 + count
    }

    /// The keys of the transport phase: the initiator sends with the first, the responder with the second.
    package func split() -> (initiator: Secret32, responder: Secret32) {
        precondition(phase == .done)
        return symmetric.isPlain ? (Secret32(.zero), Secret32(.zero)) : symmetric.split()
    }

    var handshakeHash: Hash64 { symmetric.hash }

    private mutating func writeEphemeral(_ buffer: UnsafeMutableRawBufferPointer, _ secret: Secret32) {
        localEphemeral = secret
        let publicKey = Agreement.publicKey(of: secret)
        publicKey.store(into: buffer)
        symmetric.mixHash(publicKey)
    }

    private mutating func readEphemeral(_ buffer: UnsafeMutableRawBufferPointer) {
        remoteEphemeral = Secret32(copying: UnsafeRawBufferPointer(buffer)).value
        symmetric.mixHash(remoteEphemeral)
    }

    private func part(_ buffer: UnsafeMutableRawBufferPointer, _ offset: Int, _ count: Int)
        -> UnsafeMutableRawBufferPointer
    {
        UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<offset + count])
    }
}

/// Noise's SymmetricState with its CipherState (§5.1, §5.2).
package struct NoiseSymmetricState: Sendable {
    private(set) var hash: Hash64
    private var chainingKey: Hash64
    private var key = Secret32(.zero)
    private var counter: UInt64 = 0
    private var hasKey = false
    /// Nothing is hashed, agreed or sealed: see `SessionLimits.carriesPlain`.
    let isPlain: Bool

    package init(protocolName: String, prologue: [UInt8], isPlain: Bool = false) {
        self.isPlain = isPlain
        let name = Array(protocolName.utf8)
        precondition(name.count <= 64, "a longer name would have to be hashed")
        hash = Hash64(padding: name)
        chainingKey = hash
        prologue.withUnsafeBytes { mixHash($0) }
    }

    mutating func mixHash(_ data: UnsafeRawBufferPointer) {
        if isPlain { return }
        hash = hash.withBytes { Blake2b.hash64($0, data) }
    }

    mutating func mixHash(_ key: Bytes32) { Secret32(key).withBytes { mixHash($0) } }

    /// Returns false, and does nothing, without a shared secret.
    mutating func mixKey(_ shared: Secret32?) -> Bool {
        guard let shared else { return false }
        let (next, cipher) = shared.withBytes { Blake2b.hkdf(chainingKey, $0) }
        chainingKey = next
        key = cipher.leading
        counter = 0
        hasKey = true
        return true
    }

    /// Encrypts the first `count` bytes of `buffer`, which is 16 bytes longer.
    mutating func encryptAndHash(_ buffer: UnsafeMutableRawBufferPointer, count: Int) {
        precondition(hasKey && buffer.count == count + Aead.tagSize)
        hash.withBytes { Aead.seal(buffer, count: count, key: key, counter: counter, associated: $0) }
        counter += 1
        mixHash(UnsafeRawBufferPointer(buffer))
    }

    mutating func decryptAndHash(_ buffer: UnsafeMutableRawBufferPointer) -> Int? {
        precondition(hasKey)
        let next = hash.withBytes { Blake2b.hash64($0, UnsafeRawBufferPointer(buffer)) }
        guard let count = hash.withBytes({ Aead.open(buffer, key: key, counter: counter, associated: $0) })
        else { return nil }
        counter += 1
        hash = next
        return count
    }

    func split() -> (Secret32, Secret32) {
        let (first, second) = Blake2b.hkdf(chainingKey, UnsafeRawBufferPointer(start: nil, count: 0))
        return (first.leading, second.leading)
    }
}
