import Cryptography
import Primitives
import Wire

/// The receiving side: every kind of packet.
extension Sessions {
    /// Takes one datagram, which is decrypted in place. Returns the message in it if it is for the core
    /// above; a reply becomes a `Completion`. Invalid packets are counted in `dropped` and otherwise ignored.
    public mutating func receive(
        _ datagram: UnsafeMutableRawBufferPointer, from source: Endpoint, turn: inout Turn,
        out: inout SessionOutput
    ) -> Incoming? {
        guard datagram.count >= Packet.transportSizeMin else { return drop(.truncated) }
        guard datagram.count <= DatagramSlab.datagramBytesMax else { return drop(.oversized) }
        guard let kind = PacketKind(rawValue: datagram[0]) else { return drop(.unknownKind) }
        guard datagram[1] == (kind == .versions ? 0 : Packet.version) else {
            if kind == .initiation { answerOtherVersion(datagram, source, turn.now, &out) }
            return drop(.wrongVersion)
        }
        guard datagram[2] | datagram[3] == 0 else { return drop(.malformed) }
        switch kind {
        case .transport:
            return receiveTransport(datagram, source, &turn, &out)
        case .initiation:
            return receiveInitiation(datagram, source, &turn, &out)
        case .response:
            receiveResponse(datagram, source, &turn, &out)
        case .cookie:
            receiveCookie(datagram, source, turn.now, &out)
        case .versions:
            receiveVersions(datagram, source, &out)
        }
        return nil
    }

    private mutating func drop(_ reason: DropReason) -> Incoming? {
        dropped.count(reason)
        return nil
    }

    // MARK: Initiation

    /// Checks from cheap to expensive: mac, budget or cookie, Noise, identity. Only then is anything stored,
    /// and only in the half-open ring.
    private mutating func receiveInitiation(
        _ packet: UnsafeMutableRawBufferPointer, _ source: Endpoint, _ turn: inout Turn,
        _ out: inout SessionOutput
    ) -> Incoming? {
        guard packet.count >= Packet.initiationSizeMin else { return drop(.truncated) }
        let mac1 = Mac16(UnsafeRawBufferPointer(packet), at: Packet.mac1Offset)
        guard Packet.mac1(packet, key: macKey) == mac1 else { return drop(.badMac) }
        guard source.isUnicast else { return drop(.wrongEndpoint) }
        guard cookies.admits(packet, source, turn.monotonic, &ratchet) else {
            let group = source.group(countsEndpoints: limits.countsEndpoints)
            cookies.demand(mac1, of: source, group, turn.monotonic, &ratchet, &out)
            return drop(.cookieRequired)
        }
        var noise = responderStart
        let message = packet.from(Packet.initiationNoiseOffset)
        guard let range = noise.readFirst(message) else { return drop(.badHandshake) }
        let payload = UnsafeMutableRawBufferPointer(rebasing: message[range])
        guard let (key, remoteNumber) = payload.readIdentity() else { return drop(.truncated) }
        guard key != publicKey else { return drop(.selfDial) }
        guard limits.carriesPlain || agreementKeys.key(key) == noise.remoteStatic else {
            return drop(.badIdentity)
        }
        let peer = PeerAddress(key: key, endpoint: source)

        let bytes = UnsafeRawBufferPointer(rebasing: payload[Packet.identitySize...])
        guard !bytes.isEmpty else {
            if let number = insertHalfOpen(peer, remoteNumber, noise, packet.count, &turn) {
                respond(nil, to: number, turn.now, &out)
            }
            return nil
        }
        do throws(WireError) {
            let header = try Envelope.header(of: bytes.bytes)
            if header.kind == DiscoveryMessage.Kind.callback.rawValue {
                // Nothing is answered or stored: the message has only its nonce.
                let message = try Envelope(decoding: bytes.bytes).message
                return Incoming(peer: peer, message: message, proven: false, envelopeBytes: bytes.count)
            }
            guard header.request != 0, header.reply == 0 else { return drop(.notIdempotent) }
            let envelope: Envelope
            do throws(WireError) {
                envelope = try Envelope(decoding: bytes.bytes)
            } catch {
                guard error == .unknownKind else { throw error }
                dropped.count(wire: error)
                if let number = insertHalfOpen(peer, remoteNumber, noise, packet.count, &turn) {
                    let answer = Envelope(reply: header.request, message: .unsupported(kind: header.kind))
                    respond(answer, to: number, turn.now, &out)
                }
                return nil
            }
            guard envelope.message.isIdempotent else { return drop(.notIdempotent) }
            guard let number = insertHalfOpen(peer, remoteNumber, noise, packet.count, &turn) else {
                return nil
            }
            let room = min(packet.count - Packet.responseSizeMin, WireLimits.envelopeSizeMax)
            let handle = ReplyHandle(
                association: number, request: envelope.request,
                messageBytesMax: max(0, room - Packet.envelopeHeaderMax))
            return Incoming(
                peer: peer, message: envelope.message, reply: handle, proven: false,
                envelopeBytes: bytes.count)
        } catch {
            dropped.count(wire: error)
            return nil
        }
    }

    private mutating func insertHalfOpen(
        _ peer: PeerAddress, _ remoteNumber: UInt32, _ noise: NoiseIK, _ datagramBytes: Int,
        _ turn: inout Turn
    ) -> UInt32? {
        let group = peer.endpoint.group(countsEndpoints: limits.countsEndpoints)
        while let oldest = halfOpenOrder.first {
            let dead = associations[oldest].map { $0.since + limits.halfOpenMax < turn.monotonic } ?? true
            guard halfOpen[oldest] == nil || dead else { break }
            halfOpenOrder.removeFirst()
            removeHalfOpen(oldest)
        }
        if halfOpenGroups.count(group) >= limits.halfOpenPerPrefix,
            let victim = halfOpenGroups.draw(group, &turn.random)
        {
            removeHalfOpen(victim)
        }
        while halfOpen.count >= limits.halfOpen || halfOpenOrder.count >= 2 * limits.halfOpen {
            guard let oldest = halfOpenOrder.popFirst() else { break }
            removeHalfOpen(oldest)
        }
        var association = Association(peer: peer, phase: .answering, role: .responder, since: turn.monotonic)
        association.remoteNumber = remoteNumber
        if !isFamiliar(peer.endpoint, turn.now) { association.role = .uninvited }
        guard let number = associations.insert(association) else {
            dropped.count(.overBudget)
            return nil
        }
        halfOpen[number] = HalfOpen(noise: Shared(noise), datagramBytes: datagramBytes)
        halfOpenOrder.append(number)
        halfOpenGroups.insert(number, group)
        return number
    }

    private mutating func removeHalfOpen(_ number: UInt32) {
        guard halfOpen.removeValue(forKey: number) != nil, let association = associations.remove(number)
        else { return }
        halfOpenGroups.remove(
            number, association.peer.endpoint.group(countsEndpoints: limits.countsEndpoints))
    }

    /// Sends message 2, with the answer to the request in message 1. Never longer than message 1.
    mutating func respond(_ envelope: Envelope?, to number: UInt32, _ now: Now, _ out: inout SessionOutput) {
        guard let entry = halfOpen[number], var noise = entry.noise?.value,
            let association = associations[number]
        else {
            return dropped.count(.replyLate)
        }
        scratch.recycle()
        envelope?.encode(into: &scratch)
        let payloadCount = Packet.identitySize + scratch.count
        let size = Packet.responseNoiseOffset + NoiseIK.secondPayloadOffset + payloadCount + NoiseIK.tagSize
        guard size <= min(entry.datagramBytes, DatagramSlab.datagramBytesMax) else {
            return dropped.count(.replyTooLarge)
        }
        let own = publicKey
        let ephemeral = Secret32(ratchet.next())
        var written = false
        let sent = scratch.withUnsafeBytes { envelope in
            out.datagrams.append(size, to: association.peer.endpoint) { packet in
                Packet.writeHeader(packet, .response)
                packet.storeBytes(of: association.remoteNumber.littleEndian, toByteOffset: 4, as: UInt32.self)
                let message = packet.from(Packet.responseNoiseOffset)
                message.from(NoiseIK.secondPayloadOffset).writeIdentity(own, number, envelope)
                written = noise.writeSecond(message, payloadCount: payloadCount, ephemeral: ephemeral)
            }
        }
        guard sent, written else { return }
        let keys = noise.split()
        if !limits.carriesPlain {
            associations[number]?.keys = Shared(SessionKeys(send: keys.responder, receive: keys.initiator))
        }
        associations[number]?.phase = .halfOpen
        halfOpen[number]?.noise = nil
    }

    // MARK: Transport

    private mutating func receiveTransport(
        _ packet: UnsafeMutableRawBufferPointer, _ source: Endpoint, _ turn: inout Turn,
        _ out: inout SessionOutput
    ) -> Incoming? {
        let number = Packet.word(packet, at: 4)
        // Copies only what is needed: with a second reference to the window, `accept` would have to copy it.
        guard
            let (phase, peer, keys, since) = associations[number].map({
                ($0.phase, $0.peer, $0.keys, $0.since)
            })
        else { return drop(.noSession) }
        switch phase {
        case .established: break
        case .halfOpen: guard since + limits.halfOpenMax >= turn.monotonic else { return drop(.noSession) }
        case .opening, .answering: return drop(.noSession)
        }
        guard peer.endpoint == source else { return drop(.wrongEndpoint) }
        let counter = Packet.counter(packet)
        guard associations[number]?.window.admits(counter) == true else { return drop(.replayed) }
        let sealed = packet.from(Packet.transportSealedOffset)
        guard
            let count = limits.carriesPlain
                ? sealed.count - Aead.tagSize
                : keys.flatMap({ Aead.open(sealed, key: $0.value.receive, counter: counter) })
        else { return drop(.badSeal) }
        associations[number]?.window.accept(counter)
        if phase == .halfOpen {
            halfOpen[number] = nil
            halfOpen.releaseIfEmpty()
            halfOpenGroups.remove(number, source.group(countsEndpoints: limits.countsEndpoints))
            if associations[number]?.isUninvited == true { out.strangers.append(source) }
            establish(number, &turn, &out)
            releaseWaiting(peer, on: number, turn.now, &out)
        }
        guard count > 0 else { return nil }
        return receiveEnvelope(
            UnsafeRawBufferPointer(rebasing: sealed[..<count]), peer, number, turn.now, &out)
    }

    private mutating func receiveEnvelope(
        _ bytes: UnsafeRawBufferPointer, _ peer: PeerAddress, _ number: UInt32, _ now: Now,
        _ out: inout SessionOutput
    ) -> Incoming? {
        do throws(WireError) {
            let envelope = try Envelope(decoding: bytes.bytes)
            guard envelope.reply == 0 else {
                receiveReply(envelope, peer, now, &out)
                return nil
            }
            let room = WireLimits.envelopeSizeMax - Packet.envelopeHeaderMax
            let handle = ReplyHandle(association: number, request: envelope.request, messageBytesMax: room)
            return Incoming(
                peer: peer, message: envelope.message, reply: envelope.request == 0 ? nil : handle,
                proven: true, envelopeBytes: bytes.count)
        } catch {
            dropped.count(wire: error)
            if error == .unknownKind, let header = try? Envelope.header(of: bytes.bytes), header.request != 0
            {
                transmit(
                    Envelope(reply: header.request, message: .unsupported(kind: header.kind)), on: number,
                    now, &out)
            }
            return nil
        }
    }

    /// A reply counts only from the key and the endpoint that were asked.
    private mutating func receiveReply(
        _ envelope: Envelope, _ peer: PeerAddress, _ now: Now, _ out: inout SessionOutput
    ) {
        guard let request = pending[envelope.reply], request.peer == peer, let session = request.session
        else {
            return dropped.count(.unknownReply)
        }
        let roundTrip = now.monotonic - request.sentAt
        // Karn's rule: after a retry it is unknown which one was answered.
        if request.tries == 1 { associations[session]?.roundTrip.sample(roundTrip) }
        finish(envelope.reply, .answered(envelope.message, roundTrip: roundTrip), &out)
    }
}

extension DropCounters {
    mutating func count(wire error: WireError) {
        switch error {
        case .badSignature: count(.badSignature)
        case .unknownKind: count(.unknownMessage)
        case .truncated, .trailingBytes, .malformed, .tooLarge, .missingField, .outOfRange: count(.malformed)
        }
    }
}
