import Cryptography
import Primitives

/// Where things lie in the four packet kinds, and the mac that is checked before anything else.
/// Protocol/sessions.md is the specification; integers are little-endian.
///
///     every packet  kind u8 ‖ version u8 ‖ 0 u16
///     initiation    … ‖ mac1 16 ‖ mac2 16 ‖ Noise message 1
///     response      … ‖ receiver u32 ‖ Noise message 2
///     cookie        … ‖ mac1 of the initiation 16 ‖ nonce 24 ‖ sealed cookie 48
///     transport     … ‖ receiver u32 ‖ counter u64 ‖ sealed envelope
enum PacketKind: UInt8 {
    case initiation = 1
    case response, cookie, transport
    // 5 and 6 open a channel (SecureChannel).
}

enum Packet {
    static let version: UInt8 = 1
    static let headerSize = 4
    static let mac1Offset = 4
    static let mac2Offset = 20
    static let initiationNoiseOffset = 36
    static let responseNoiseOffset = 8
    static let transportSealedOffset = 16
    /// Key and index in front of the envelope of both handshake payloads.
    static let identitySize = 32 + 4
    static let initiationSizeMin =
        initiationNoiseOffset + NoiseIK.firstPayloadOffset + identitySize + Aead.tagSize
    static let responseSizeMin =
        responseNoiseOffset + NoiseIK.secondPayloadOffset + identitySize + Aead.tagSize
    static let transportSizeMin = transportSealedOffset + Aead.tagSize
    static let cookieSize = headerSize + 16 + LongNonceAead.nonceSize + 32 + Aead.tagSize
    /// How much of Noise message 1 the macs cover; the rest is its payload, which Noise authenticates.
    static let macCoverMax = 144
    /// Request and reply numbers at the front of an envelope take at most this.
    static let envelopeHeaderMax = 12

    static func writeHeader(_ packet: UnsafeMutableRawBufferPointer, _ kind: PacketKind) {
        packet[0] = kind.rawValue
        packet[1] = version
        packet[2] = 0
        packet[3] = 0
    }

    static func word(_ packet: UnsafeMutableRawBufferPointer, at offset: Int) -> UInt32 {
        UInt32(littleEndian: packet.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    static func counter(_ packet: UnsafeMutableRawBufferPointer) -> UInt64 {
        UInt64(littleEndian: packet.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    /// The key of mac1 for packets to `receiver`.
    static func macKey(receiver: PublicKey, mesh: MeshIdentity) -> Secret32 {
        Secret32(Blake2b.hash(domain: "starling mac1", receiver.value.bytes, mesh.secret.bytes))
    }

    /// The key under which `receiver` seals its cookies.
    static func cookieKey(receiver: PublicKey, mesh: MeshIdentity) -> Secret32 {
        Secret32(Blake2b.hash(domain: "starling cookie", receiver.value.bytes, mesh.secret.bytes))
    }

    /// Over header and the leading part of Noise message 1.
    static func mac1(_ packet: UnsafeMutableRawBufferPointer, key: Secret32) -> Mac16 {
        Blake2b.mac16(key: key, UnsafeRawBufferPointer(rebasing: packet[..<headerSize]), covered(packet))
    }

    /// Over header, mac1 and the leading part of Noise message 1.
    static func mac2(_ packet: UnsafeMutableRawBufferPointer, cookie: Secret32) -> Mac16 {
        Blake2b.mac16(key: cookie, UnsafeRawBufferPointer(rebasing: packet[..<mac2Offset]), covered(packet))
    }

    private static func covered(_ packet: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
        let end = min(packet.count, initiationNoiseOffset + macCoverMax)
        return UnsafeRawBufferPointer(rebasing: packet[initiationNoiseOffset..<end])
    }

    /// What both ends mix into a handshake before it begins, so that versions, meshes and carriers don't mix.
    static func prologue(_ carrier: StaticString, mesh: MeshIdentity) -> [UInt8] {
        let name = Array(mesh.name.utf8)
        return carrier.withUTF8Buffer { Array($0) } + [0, version, UInt8(name.count)] + name
            + mesh.secret.bytes
    }
}
