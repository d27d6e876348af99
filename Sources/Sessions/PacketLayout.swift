import Cryptography
import Primitives

/// The layout of the five packet kinds, and the mac that is checked before anything else.
/// Protocol/sessions.md is the specification; integers are little-endian.
///
///     every packet  kind u8 ‖ version u8 ‖ 0 u16
///     initiation    … ‖ mac1 16 ‖ mac2 16 ‖ Noise message 1
///     response      … ‖ receiver u32 ‖ Noise message 2
///     cookie        … ‖ mac1 of the initiation 16 ‖ nonce 24 ‖ sealed cookie 48
///     transport     … ‖ receiver u32 ‖ counter u64 ‖ sealed envelope
///     versions      kind u8 ‖ 0 u8 ‖ 0 u16 ‖ mac1 of the initiation 16 ‖ count u8 ‖ versions, zeros 11
package enum PacketKind: UInt8 {
    case initiation = 1
    case response, cookie, transport
    // 5 and 6 open a channel (SecureChannel).
    case versions = 7
}

package enum Packet {
    package static let version: UInt8 = 1
    package static let headerSize = 4
    package static let mac1Offset = 4
    package static let mac2Offset = 20
    package static let initiationNoiseOffset = 36
    package static let responseNoiseOffset = 8
    package static let transportSealedOffset = 16
    /// Key and number that precede the envelope in both handshake payloads.
    package static let identitySize = 32 + 4
    package static let initiationSizeMin =
        initiationNoiseOffset + NoiseIK.firstPayloadOffset + identitySize + Aead.tagSize
    package static let responseSizeMin =
        responseNoiseOffset + NoiseIK.secondPayloadOffset + identitySize + Aead.tagSize
    package static let transportSizeMin = transportSealedOffset + Aead.tagSize
    package static let versionsSize = headerSize + 16 + 1 + versionsMax
    package static let versionsMax = 11
    package static let cookieSize = headerSize + 16 + LongNonceAead.nonceSize + 32 + Aead.tagSize
    /// How much of Noise message 1 the macs cover; the rest is its payload, which Noise authenticates.
    package static let macCoverMax = 144
    /// The most bytes that request and reply numbers take at the front of an envelope.
    package static let envelopeHeaderMax = 12

    package static func writeHeader(_ packet: UnsafeMutableRawBufferPointer, _ kind: PacketKind) {
        packet[0] = kind.rawValue
        packet[1] = version
        packet[2] = 0
        packet[3] = 0
    }

    package static func word(_ packet: UnsafeMutableRawBufferPointer, at offset: Int) -> UInt32 {
        UInt32(littleEndian: packet.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    package static func counter(_ packet: UnsafeMutableRawBufferPointer) -> UInt64 {
        UInt64(littleEndian: packet.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    /// The key of mac1 for packets to `receiver`.
    package static func macKey(receiver: PublicKey, mesh: MeshIdentity) -> Secret32 {
        Secret32(Blake2b.hash(domain: "starling mac1", receiver.value.bytes, mesh.secret.bytes))
    }

    /// The key under which `receiver` seals its cookies.
    package static func cookieKey(receiver: PublicKey, mesh: MeshIdentity) -> Secret32 {
        Secret32(Blake2b.hash(domain: "starling cookie", receiver.value.bytes, mesh.secret.bytes))
    }

    /// Covers the header and the beginning of Noise message 1.
    package static func mac1(_ packet: UnsafeMutableRawBufferPointer, key: Secret32) -> Mac16 {
        Blake2b.mac16(key: key, UnsafeRawBufferPointer(rebasing: packet[..<headerSize]), covered(packet))
    }

    /// Covers the header, mac1 and the beginning of Noise message 1.
    package static func mac2(_ packet: UnsafeMutableRawBufferPointer, cookie: Secret32) -> Mac16 {
        Blake2b.mac16(key: cookie, UnsafeRawBufferPointer(rebasing: packet[..<mac2Offset]), covered(packet))
    }

    private static func covered(_ packet: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
        let end = min(packet.count, initiationNoiseOffset + macCoverMax)
        return UnsafeRawBufferPointer(rebasing: packet[initiationNoiseOffset..<end])
    }

    /// Mixed into every handshake by both ends, so that versions, meshes and carriers can't be confused.
    package static func prologue(_ carrier: StaticString, mesh: MeshIdentity) -> [UInt8] {
        let name = Array(mesh.name.utf8)
        return carrier.withUTF8Buffer { Array($0) } + [0, version, UInt8(name.count)] + name
            + mesh.secret.bytes
    }
}
