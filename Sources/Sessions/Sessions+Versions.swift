import Cryptography
import Primitives

/// Two nodes without a common wire version can't communicate, but their operators should learn why: an
/// initiation of another version is answered by a packet that names ours. This packet belongs to no version
/// and never changes.
///
/// It is safe because little follows from it. It is sent only to senders that know our key and the mesh's
/// (mac1 is the same in all versions), is a fifth of the smallest initiation, and is rare. Its content is
/// unproven, and only becomes a line in a log.
extension Sessions {
    /// Every wire version that we speak, ascending.
    public static let versions: [UInt8] = [Packet.version]

    mutating func answerOtherVersion(
        _ packet: UnsafeMutableRawBufferPointer, _ source: Endpoint, _ now: Now, _ out: inout SessionOutput
    ) {
        guard packet.count >= Packet.initiationSizeMin, packet[2] | packet[3] == 0, source.isUnicast else {
            return
        }
        let mac1 = Mac16(UnsafeRawBufferPointer(packet), at: Packet.mac1Offset)
        guard Packet.mac1(packet, key: macKey) == mac1, versionAnswers.take(now.monotonic) else { return }
        out.datagrams.append(Packet.versionsSize, to: source) { answer in
            Packet.writeHeader(answer, .versions)
            answer[1] = 0
            mac1.store(into: answer, at: Packet.headerSize)
            answer[Packet.headerSize + 16] = UInt8(Self.versions.count)
            for (index, version) in Self.versions.enumerated() {
                answer[Packet.headerSize + 17 + index] = version
            }
        }
    }

    /// Reported once per opening; the opening continues as if nothing had come.
    mutating func receiveVersions(
        _ packet: UnsafeMutableRawBufferPointer, _ source: Endpoint, _ out: inout SessionOutput
    ) {
        guard packet.count == Packet.versionsSize else { return dropped.count(.truncated) }
        let mac1 = Mac16(UnsafeRawBufferPointer(packet), at: Packet.headerSize)
        guard let peer = openingByMac[mac1.low], let opening = openings[peer], !opening.wasAdvised,
            opening.attempts.contains(where: { $0.mac1 == mac1 })
        else { return dropped.count(.noSession) }
        guard peer.endpoint == source else { return dropped.count(.wrongEndpoint) }
        let count = Int(packet[Packet.headerSize + 16])
        guard (1...Packet.versionsMax).contains(count) else { return dropped.count(.malformed) }
        let named = packet.from(Packet.headerSize + 17)[..<count]
        let ascends = zip(named, named.dropFirst()).allSatisfy { $0 < $1 }
        guard ascends, !named.contains(Packet.version) else { return dropped.count(.malformed) }
        openings[peer]?.wasAdvised = true
        out.advice.append(VersionAdvice(peer: peer, versions: Array(named)))
    }
}
