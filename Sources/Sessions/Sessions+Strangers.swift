import Cryptography
import Primitives
import Wire

/// For the test of reachability (Protocol/discovery.md): which senders are strangers to us, and a datagram
/// outside any session.
extension Sessions {
    /// A first message that carries `message` and expects no answer. It is sent from a separate port, so that
    /// it meets no NAT mapping that the receiver has opened for us. Nothing is stored for it. Returns nil
    /// when the key is invalid.
    public mutating func detached(_ message: Message, to key: PublicKey) -> [UInt8]? {
        guard key != publicKey, let remoteStatic = limits.carriesPlain ? .zero : agreementKeys.key(key) else {
            return nil
        }
        let envelope = Envelope(message: message).encoded(paddedTo: message.firstEnvelopeSize)
        let payloadCount = Packet.identitySize + envelope.count
        let size = Packet.initiationNoiseOffset + NoiseIK.firstPayloadOffset + payloadCount + NoiseIK.tagSize
        guard size <= DatagramSlab.datagramBytesMax else { return nil }
        var noise = NoiseIK(initiator: keyPair, to: remoteStatic, start: noiseStart)
        let ephemeral = Secret32(ratchet.next())
        let own = publicKey
        let macKey = Packet.macKey(receiver: key, mesh: mesh)
        var bytes = [UInt8](repeating: 0, count: size)
        let isWritten = bytes.withUnsafeMutableBytes { packet in
            Packet.writeHeader(packet, .initiation)
            let noiseMessage = packet.from(Packet.initiationNoiseOffset)
            envelope.withUnsafeBytes {
                // There is no association, so the number has no meaning.
                noiseMessage.from(NoiseIK.firstPayloadOffset).writeIdentity(own, 0, $0)
            }
            guard noise.writeFirst(noiseMessage, payloadCount: payloadCount, ephemeral: ephemeral) else {
                return false
            }
            Packet.mac1(packet, key: macKey).store(into: packet, at: Packet.mac1Offset)
            return true
        }
        return isWritten ? bytes : nil
    }

    /// How familiar `endpoint` is. Walks the sessions, so don't call it per packet.
    public mutating func familiarity(with endpoint: Endpoint, now: Now) -> AddressFamiliarity {
        guard isFamiliar(endpoint, now) else { return .stranger }
        let isExact =
            contacted.contains(endpoint)
            || associations.numbers.contains { associations[$0]?.peer.endpoint == endpoint }
        return isExact ? .endpoint : .network
    }

    /// Whether we sent something to that network lately, or have a session there.
    mutating func isFamiliar(_ endpoint: Endpoint, _ now: Now) -> Bool {
        !sessions(ofGroup: endpoint.group(countsEndpoints: limits.countsEndpoints)).isEmpty
            || contacted.covers(endpoint, now.monotonic)
    }
}
