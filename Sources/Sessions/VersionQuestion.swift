import Cryptography
import Primitives

/// Finds out why a node doesn't answer: an initiation of a wire version that there will never be, which every node of
/// this key and secret answers by naming its own versions (see `Sessions+Versions`). The mesh's name isn't in it: a node
/// that answers it, and no other initiation, has another name.
public struct VersionQuestion: Sendable {
    public let bytes: [UInt8]
    private let mac: Mac16

    /// - Parameter noise: random, so that answers to other questions don't fit.
    public init(to key: PublicKey, of mesh: MeshIdentity, noise: Bytes32) {
        var packet = [UInt8](repeating: 0, count: Packet.initiationSizeMin)
        packet.replaceSubrange(
            Packet.initiationNoiseOffset..<Packet.initiationNoiseOffset + 32, with: noise.bytes)
        mac = packet.withUnsafeMutableBytes { packet in
            Packet.writeHeader(packet, .initiation)
            packet[1] = .max
            let mac = Packet.mac1(packet, key: Packet.macKey(receiver: key, mesh: mesh))
            mac.store(into: packet, at: Packet.mac1Offset)
            return mac
        }
        bytes = packet
    }

    public func isAnswered(by datagram: [UInt8]) -> Bool {
        datagram.count == Packet.versionsSize && datagram[0] == PacketKind.versions.rawValue
            && datagram.withUnsafeBytes { Mac16($0, at: Packet.headerSize) } == mac
    }
}
