import Cryptography
import Primitives
import Wire

/// Established sessions: how one begins, which one gives way, how packets leave on it, when it is renewed.
extension Sessions {
    /// Makes `number` an established session, the newest of its peer.
    mutating func establish(
        _ number: UInt32, _ turn: inout Turn, _ out: inout SessionOutput
    ) {
        guard let peer = associations[number]?.peer else { return }
        let group = peer.endpoint.group(countsEndpoints: limits.countsEndpoints)
        let alike = sessions(ofGroup: group)
        if alike.count >= limits.sessionsPerPrefix {
            removeSession(alike[turn.random.below(alike.count)], turn.now)
        } else if sessionCount >= limits.sessions, let victim = crowded(&turn.random) {
            removeSession(victim, turn.now)
        }
        associations[number]?.phase = .established
        associations[number]?.since = turn.monotonic
        let slot = UInt16(truncatingIfNeeded: number)
        byKey.insert(slot, peer.key.value.w0)
        byGroup.insert(slot, group)
        let list = sessions(with: peer.key)
        let sameAddress = list.filter { associations[$0]?.peer == peer }
        if sameAddress.count > Self.sessionsPerAddress, let oldest = sameAddress.last {
            removeSession(oldest, turn.now)
        } else if list.count > Self.sessionsPerKey, let oldest = list.last {
            removeSession(oldest, turn.now)
        }
        out.established.append(peer)
    }

    /// The established sessions with `key`, newest first.
    mutating func sessions(with key: PublicKey) -> [UInt32] {
        var found: [UInt32] = []
        var next = byKey.first(key.value.w0)
        while let slot = next {
            if associations[slot: slot]?.peer.key == key { found.append(associations.number(slot)) }
            next = byKey.next(after: slot)
        }
        return found
    }

    /// The established sessions whose endpoint is in `group`: at most `sessionsPerPrefix`.
    mutating func sessions(ofGroup group: UInt64) -> [UInt32] {
        var found: [UInt32] = []
        var next = byGroup.first(group)
        while let slot = next {
            if let endpoint = associations[slot: slot]?.peer.endpoint,
                endpoint.group(countsEndpoints: limits.countsEndpoints) == group
            {
                found.append(associations.number(slot))
            }
            next = byGroup.next(after: slot)
        }
        return found
    }

    /// Crossed opens leave two; the older one still receives.
    static let sessionsPerAddress = 2
    static let sessionsPerKey = 4
    /// Draws for a victim: with eight, a prefix that has one session in a hundred is hardly ever hit.
    private static let evictionDraws = 8

    /// Of some sessions drawn at random, one whose prefix has the most: a flood from few networks evicts its
    /// own sessions.
    private mutating func crowded(_ random: inout SeededRandom) -> UInt32? {
        var best: (number: UInt32, count: Int)?
        var draws = 0
        while draws < Self.evictionDraws || (best == nil && draws < 16 * Self.evictionDraws) {
            draws += 1
            guard let number = associations.draw(&random), let found = associations[number],
                found.phase == .established
            else { continue }
            let count = sessions(
                ofGroup: found.peer.endpoint.group(countsEndpoints: limits.countsEndpoints)
            ).count
            if count > best?.count ?? 0 { best = (number, count) }
        }
        return best?.number
    }

    private mutating func removeSession(_ number: UInt32, _ now: Now) {
        guard let peer = associations.remove(number)?.peer else { return }
        contacted.note(peer.endpoint, now.monotonic)
        let slot = UInt16(truncatingIfNeeded: number)
        byKey.remove(slot, peer.key.value.w0)
        byGroup.remove(slot, peer.endpoint.group(countsEndpoints: limits.countsEndpoints))
    }

    /// After this many packets, the next use opens a new session.
    private static let rekeyPackets: UInt64 = 1 << 40
    /// The initiator renews first, so that both ends don't do it at the same moment.
    private static let responderPatience = Interval.minutes(1)

    enum Transmission {
        case sent
        /// Our own outgoing buffer had no room.
        case slabFull
        /// It is too large for a datagram, or its session is gone.
        case impossible
    }

    /// Seals `envelope` on an established session; nil makes an empty packet, which only confirms the
    /// session.
    @discardableResult
    mutating func transmit(_ envelope: Envelope?, on number: UInt32, _ now: Now, _ out: inout SessionOutput)
        -> Transmission
    {
        // Copies only what is needed, without reference counting.
        guard
            let (peer, keys, remoteNumber, counter, since, isInitiator) = associations[number].map({
                ($0.peer, $0.keys, $0.remoteNumber, $0.sendCounter, $0.since, $0.isInitiator)
            }), limits.carriesPlain || keys != nil
        else { return .impossible }
        scratch.recycle()
        envelope?.encode(into: &scratch, paddedTo: envelope?.message.envelopeSizeMin ?? 0)
        guard scratch.count <= WireLimits.envelopeSizeMax else {
            dropped.count(.messageTooLarge)
            return .impossible
        }
        associations[number]?.sendCounter += 1
        let isSent = scratch.withUnsafeBytes { plain in
            let size = Packet.transportSealedOffset + plain.count + Aead.tagSize
            return out.datagrams.append(size, to: peer.endpoint) { packet in
                Packet.writeHeader(packet, .transport)
                packet.storeBytes(of: remoteNumber.littleEndian, toByteOffset: 4, as: UInt32.self)
                packet.storeBytes(of: counter.littleEndian, toByteOffset: 8, as: UInt64.self)
                let sealed = packet.from(Packet.transportSealedOffset)
                sealed.copyMemory(from: plain)
                if let keys {
                    Aead.seal(sealed, count: plain.count, key: keys.value.send, counter: counter)
                }
            }
        }
        let lifetime = limits.rekeyAfter + (isInitiator ? .zero : Self.responderPatience)
        let old = since + lifetime < now.monotonic || counter >= Self.rekeyPackets
        if old, openings[peer] == nil {
            _ = open(peer, tries: 1, timeout: limits.timeoutMax, riding: nil, now, &out)
        }
        return isSent ? .sent : .slabFull
    }
}
