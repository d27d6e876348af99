import Cryptography
import Primitives
import Wire

/// Established sessions: how one begins, which gives way, what leaves on it, when it is renewed.
extension Sessions {
    /// Makes `number` an established session, the newest of its peer.
    mutating func establish(
        _ number: UInt32, _ now: Now, _ random: inout SeededRandom, _ out: inout SessionOutput
    ) {
        guard let peer = associations[number]?.peer else { return }
        let group = peer.endpoint.group(countsEndpoints: limits.countsEndpoints)
        if sessionGroups.count(group) >= limits.sessionsPerPrefix {
            if let victim = sessionGroups.draw(group, &random) { removeSession(victim, now) }
        } else if sessionCount >= limits.sessions, let victim = crowded(&random) {
            removeSession(victim, now)
        }
        associations[number]?.phase = .established
        associations[number]?.since = now.monotonic
        sessionCount += 1
        sessionGroups.insert(number, group)
        var list = byKey[peer.key] ?? []
        list.insert(number, at: 0)
        let sameAddress = list.filter { associations[$0]?.peer == peer }
        byKey[peer.key] = list
        if sameAddress.count > Self.sessionsPerAddress, let oldest = sameAddress.last {
            removeSession(oldest, now)
        } else if list.count > Self.sessionsPerKey, let oldest = list.last {
            removeSession(oldest, now)
        }
        out.established.append(peer)
    }

    /// Crossed opens leave two; the older one still receives.
    static let sessionsPerAddress = 2
    static let sessionsPerKey = 4
    /// Draws until a victim is chosen: with eight, one crowded prefix in a hundred is hardly ever spared.
    private static let evictionDraws = 8

    /// Of some sessions drawn at random, one whose prefix has the most: a flood from few networks evicts itself.
    private mutating func crowded(_ random: inout SeededRandom) -> UInt32? {
        var best: (number: UInt32, count: Int)?
        var draws = 0
        while draws < Self.evictionDraws || (best == nil && draws < 16 * Self.evictionDraws) {
            draws += 1
            guard let number = associations.draw(&random), let found = associations[number],
                found.phase == .established
            else { continue }
            let count = sessionGroups.count(
                found.peer.endpoint.group(countsEndpoints: limits.countsEndpoints))
            if count > best?.count ?? 0 { best = (number, count) }
        }
        return best?.number
    }

    private mutating func removeSession(_ number: UInt32, _ now: Now) {
        guard let association = associations.remove(number) else { return }
        contacted.note(association.peer.endpoint, now.monotonic)
        sessionCount -= 1
        let peer = association.peer
        sessionGroups.remove(number, peer.endpoint.group(countsEndpoints: limits.countsEndpoints))
        byKey[peer.key]?.removeAll { $0 == number }
        if byKey[peer.key]?.isEmpty == true { byKey[peer.key] = nil }
    }

    /// Use after this many packets opens a fresh session.
    private static let rekeyPackets: UInt64 = 1 << 40
    /// The initiator renews first, so that both ends don't do it at the same moment.
    private static let responderPatience = Interval.minutes(1)

    /// Seals `envelope` (nil: an empty packet, which only confirms the session) on an established session; false when
    /// it is too large.
    @discardableResult
    mutating func transmit(_ envelope: Envelope?, on number: UInt32, _ now: Now, _ out: inout SessionOutput)
        -> Bool
    {
        guard let session = associations[number] else { return false }
        scratch.removeAll(keepingCapacity: true)
        envelope?.encode(into: &scratch, paddedTo: envelope?.message.envelopeSizeMin ?? 0)
        guard scratch.count <= WireLimits.envelopeSizeMax else {
            dropped.count(.messageTooLarge)
            return false
        }
        associations[number]?.sendCounter += 1
        scratch.withUnsafeBytes { plain in
            let size = Packet.transportSealedOffset + plain.count + Aead.tagSize
            out.datagrams.append(size, to: session.peer.endpoint) { packet in
                Packet.writeHeader(packet, .transport)
                packet.storeBytes(of: session.remoteNumber.littleEndian, toByteOffset: 4, as: UInt32.self)
                packet.storeBytes(of: session.sendCounter.littleEndian, toByteOffset: 8, as: UInt64.self)
                let sealed = packet.from(Packet.transportSealedOffset)
                sealed.copyMemory(from: plain)
                guard !limits.carriesPlain else { return }
                Aead.seal(sealed, count: plain.count, key: session.sendKey, counter: session.sendCounter)
            }
        }
        let lifetime = limits.rekeyAfter + (session.isInitiator ? .zero : Self.responderPatience)
        let old = session.since + lifetime < now.monotonic || session.sendCounter >= Self.rekeyPackets
        if old, openings[session.peer] == nil {
            _ = open(session.peer, tries: 1, timeout: limits.timeoutMax, riding: nil, now, &out)
        }
        return true
    }
}
