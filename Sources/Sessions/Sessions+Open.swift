import Cryptography
import Primitives
import Wire

/// The initiator's side: opening sessions, retrying, and sending what waited for them.
extension Sessions {
    /// Puts request `id` into message 1 of an opening to its peer, or lets it wait for one.
    mutating func awaitOpening(
        _ id: UInt32, _ peer: PeerAddress, tries: Int, timeout: Interval, _ now: Now,
        _ out: inout SessionOutput
    ) {
        if let waiting = openings[peer]?.waiting.count {
            guard waiting < limits.waitingPerPeer || waitingCount < limits.waitingInAll else {
                dropped.count(.overBudget)
                return finish(id, .notAsked, &out)
            }
            return wait(id, for: peer)
        }
        let rides = pending[id]?.message.isIdempotent == true
        guard open(peer, tries: tries, timeout: timeout, riding: rides ? id : nil, now, &out) else {
            // Otherwise it is the peer's key that can't be used.
            return finish(id, openings.count < limits.openings ? .unanswered : .notAsked, &out)
        }
        if !rides { wait(id, for: peer) }
    }

    private mutating func wait(_ id: UInt32, for peer: PeerAddress) {
        openings[peer]?.waiting.append(id)
        waitingCount += 1
    }

    /// Begins an opening. Returns false when the key is invalid or a bound is reached.
    mutating func open(
        _ peer: PeerAddress, tries: Int, timeout: Interval, riding: UInt32?, _ now: Now,
        _ out: inout SessionOutput
    ) -> Bool {
        guard openings.count < limits.openings else {
            dropped.count(.overBudget)
            return false
        }
        guard let remoteStatic = limits.carriesPlain ? .zero : agreementKeys.key(peer.key) else {
            dropped.count(.badIdentity)
            return false
        }
        openings[peer] = Opening(
            macKey: Packet.macKey(receiver: peer.key, mesh: mesh), remoteStatic: remoteStatic,
            triesLeft: tries,
            timeout: timeout, riding: riding)
        tryOpening(peer, now, &out)
        return true
    }

    /// Sends message 1 with a fresh ephemeral key and sets the timer. If nothing can be sent, the timer ends
    /// the attempt.
    private mutating func tryOpening(_ peer: PeerAddress, _ now: Now, _ out: inout SessionOutput) {
        guard var opening = openings[peer] else { return }
        opening.triesLeft -= 1
        if let attempt = initiate(peer, opening, now, &out) {
            opening.attempts.append(attempt)
            openingByMac[attempt.mac1.low] = peer
        }
        timers.set(.opening(peer), at: now.monotonic + opening.timeout)
        opening.timeout = min(opening.timeout * 2, limits.timeoutMax)
        openings[peer] = opening
    }

    private mutating func initiate(
        _ peer: PeerAddress, _ opening: Opening, _ now: Now, _ out: inout SessionOutput
    ) -> Opening.Attempt? {
        let association = Association(peer: peer, phase: .opening, role: .initiator, since: now.monotonic)
        guard let number = associations.insert(association) else {
            dropped.count(.overBudget)
            return nil
        }
        scratch.recycle()
        if let id = opening.riding, let message = pending[id]?.message {
            Envelope(request: id, message: message).encode(
                into: &scratch, paddedTo: message.firstEnvelopeSize)
        }
        let payloadCount = Packet.identitySize + scratch.count
        let size = Packet.initiationNoiseOffset + NoiseIK.firstPayloadOffset + payloadCount + NoiseIK.tagSize
        var noise = NoiseIK(initiator: keyPair, to: opening.remoteStatic, start: noiseStart)
        let ephemeral = Secret32(ratchet.next())
        var mac1 = Mac16(low: 0, high: 0)
        var written = false
        let own = publicKey
        let sent =
            size <= DatagramSlab.datagramBytesMax
            && scratch.withUnsafeBytes { envelope in
                out.datagrams.append(size, to: peer.endpoint) { packet in
                    Packet.writeHeader(packet, .initiation)
                    let message = packet.from(Packet.initiationNoiseOffset)
                    message.from(NoiseIK.firstPayloadOffset).writeIdentity(own, number, envelope)
                    written = noise.writeFirst(message, payloadCount: payloadCount, ephemeral: ephemeral)
                    mac1 = Packet.mac1(packet, key: opening.macKey)
                    mac1.store(into: packet, at: Packet.mac1Offset)
                    if let cookie = opening.cookie {
                        Packet.mac2(packet, cookie: cookie).store(into: packet, at: Packet.mac2Offset)
                    }
                }
            }
        guard sent, written else {
            associations.remove(number)
            return nil
        }
        contacted.note(peer.endpoint, now.monotonic)
        return Opening.Attempt(number: number, noise: noise, sentAt: now.monotonic, mac1: mac1)
    }

    mutating func openingTimedOut(_ peer: PeerAddress, _ now: Now, _ out: inout SessionOutput) {
        guard let opening = openings[peer] else { return }
        if opening.triesLeft > 0 {
            for id in opening.requests { pending[id]?.tries = 2 }
            tryOpening(peer, now, &out)
        } else {
            closeOpening(peer)
            for id in opening.requests {
                pending[id]?.wasSent = !opening.attempts.isEmpty
                expire(id, &out)
            }
        }
    }

    /// Removes the opening and all its attempts except the association `kept`.
    @discardableResult
    mutating func closeOpening(_ peer: PeerAddress, keeping kept: UInt32? = nil) -> Opening? {
        guard let opening = openings.removeValue(forKey: peer) else { return nil }
        openings.releaseIfEmpty()
        waitingCount -= opening.waiting.count
        timers.cancel(.opening(peer))
        for attempt in opening.attempts {
            openingByMac[attempt.mac1.low] = nil
            openingByMac.releaseIfEmpty()
            if attempt.number != kept { associations.remove(attempt.number) }
        }
        return opening
    }

    /// A response: the responder has proven its key and endpoint, and that it is answering now.
    mutating func receiveResponse(
        _ packet: UnsafeMutableRawBufferPointer, _ source: Endpoint, _ turn: inout Turn,
        _ out: inout SessionOutput
    ) {
        guard packet.count >= Packet.responseSizeMin else { return dropped.count(.truncated) }
        let number = Packet.word(packet, at: 4)
        guard let association = associations[number], association.phase == .opening,
            let attempt = openings[association.peer]?.attempts.first(where: { $0.number == number })
        else { return dropped.count(.noSession) }
        guard association.peer.endpoint == source else { return dropped.count(.wrongEndpoint) }
        var noise = attempt.noise
        let message = packet.from(Packet.responseNoiseOffset)
        guard let range = noise.readSecond(message) else { return dropped.count(.badHandshake) }
        let payload = UnsafeMutableRawBufferPointer(rebasing: message[range])
        guard let (key, remoteNumber) = payload.readIdentity() else { return dropped.count(.truncated) }
        guard key == association.peer.key else { return dropped.count(.badIdentity) }

        let keys = noise.split()
        if !limits.carriesPlain {
            associations[number]?.keys = Shared(SessionKeys(send: keys.initiator, receive: keys.responder))
        }
        associations[number]?.remoteNumber = remoteNumber
        associations[number]?.roundTrip.sample(turn.monotonic - attempt.sentAt)
        let opening = closeOpening(association.peer, keeping: number)
        establish(number, &turn, &out)

        let envelope = UnsafeRawBufferPointer(rebasing: payload[Packet.identitySize...])
        if !envelope.isEmpty { receiveRidingReply(envelope, opening?.riding, attempt.sentAt, turn.now, &out) }
        guard let opening, !release(opening, on: number, turn.now, &out) else { return }
        transmit(nil, on: number, turn.now, &out)
    }

    private mutating func receiveRidingReply(
        _ bytes: UnsafeRawBufferPointer, _ riding: UInt32?, _ sentAt: MonotonicTime, _ now: Now,
        _ out: inout SessionOutput
    ) {
        do throws(WireError) {
            let envelope = try Envelope(decoding: bytes.bytes)
            guard let riding, envelope.reply == riding, pending[riding] != nil else {
                return dropped.count(.unknownReply)
            }
            finish(riding, .answered(envelope.message, roundTrip: now.monotonic - sentAt), &out)
        } catch {
            dropped.count(wire: error)
        }
    }

    /// Sends on `number` what waited for it. Returns false when nothing did.
    @discardableResult
    private mutating func release(
        _ opening: Opening, on number: UInt32, _ now: Now, _ out: inout SessionOutput
    ) -> Bool {
        var sentAny = false
        for id in opening.requests where pending[id] != nil {
            sendRequest(id, on: number, now, &out)
            sentAny = true
        }
        for envelope in opening.sends {
            transmit(envelope, on: number, now, &out)
            sentAny = true
        }
        return sentAny
    }

    /// The peer has opened a session while we were opening one: messages that wait can use it. The request in
    /// message 1 stays: its answer is on the way.
    mutating func releaseWaiting(
        _ peer: PeerAddress, on number: UInt32, _ now: Now, _ out: inout SessionOutput
    ) {
        guard var opening = openings[peer] else { return }
        var released = opening
        released.riding = nil
        waitingCount -= opening.waiting.count
        opening.waiting.removeAll()
        opening.sends.removeAll()
        openings[peer] = opening
        release(released, on: number, now, &out)
    }

    /// A cookie for one of our initiations: repeats it at once with the cookie, once per opening.
    mutating func receiveCookie(
        _ packet: UnsafeMutableRawBufferPointer, _ source: Endpoint, _ now: Now, _ out: inout SessionOutput
    ) {
        guard packet.count == Packet.cookieSize else { return dropped.count(.truncated) }
        let mac1 = Mac16(UnsafeRawBufferPointer(packet), at: Packet.headerSize)
        guard let peer = openingByMac[mac1.low], let opening = openings[peer], opening.cookie == nil,
            opening.attempts.contains(where: { $0.mac1 == mac1 })
        else { return dropped.count(.noSession) }
        guard peer.endpoint == source else { return dropped.count(.wrongEndpoint) }
        guard let cookie = CookieJar.open(packet, key: Packet.cookieKey(receiver: peer.key, mesh: mesh))
        else {
            return dropped.count(.badCookie)
        }
        openings[peer]?.cookie = cookie
        openings[peer]?.triesLeft += 1
        tryOpening(peer, now, &out)
    }
}

extension Opening {
    var requests: [UInt32] { (riding.map { [$0] } ?? []) + waiting }
}

extension Message {
    /// Whether it may travel in a first handshake message, which anyone can replay.
    var isIdempotent: Bool {
        switch self {
        case .discovery(let message):
            switch message {
            case .ping, .find, .get, .callback: true
            case .pong, .found, .register, .registered, .providers, .callbackRequest, .callbackOrder,
                .callbackAnswer:
                false
            }
        case .gossip, .market, .unsupported: false
        }
    }

    /// The size to which the envelope of a first message is padded: the size of the largest reply's envelope
    /// (428 bytes for a pong, 1,100 for found and providers) less the 76 bytes by which an initiation's other
    /// parts exceed a response's.
    var firstEnvelopeSize: Int {
        switch self {
        case .discovery(.find), .discovery(.get):
            WireLimits.envelopeSizeMax - (Packet.initiationSizeMin - Packet.responseSizeMin)
        case .discovery(.callback): 0
        default: 352
        }
    }

    /// The size to which its envelope is padded in a session: what it makes others send must not be larger.
    var envelopeSizeMin: Int {
        switch self {
        case .discovery(.callbackRequest), .discovery(.callbackOrder): WireLimits.callbackEnvelopeMin
        default: 0
        }
    }
}

extension UnsafeMutableRawBufferPointer {
    /// The part from `offset` on.
    package func from(_ offset: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: self[offset...])
    }

    /// Writes the payload of a handshake message: key ‖ number ‖ envelope.
    package func writeIdentity(_ key: PublicKey, _ number: UInt32, _ envelope: UnsafeRawBufferPointer) {
        key.value.store(into: self)
        storeBytes(of: number.littleEndian, toByteOffset: 32, as: UInt32.self)
        from(Packet.identitySize).copyMemory(from: envelope)
    }

    package func readIdentity() -> (PublicKey, UInt32)? {
        guard count >= Packet.identitySize else { return nil }
        return (PublicKey(Secret32(copying: UnsafeRawBufferPointer(self)).value), Packet.word(self, at: 32))
    }
}
