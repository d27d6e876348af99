import Cryptography
import DequeModule
import Primitives
import Wire

/// Encrypted datagram associations with other nodes: Noise IK handshakes, transport packets with a replay
/// window, requests with their timeouts and single retry. Protocol/sessions.md is the specification.
///
/// What to know before changing it:
/// - The first handshake message is assumed replayed: it changes nothing but the half-open ring. The first
///   authentic transport packet makes the session (at the initiator: the response, which answers its fresh
///   ephemeral key).
/// - A session serves one endpoint. A node that moved or restarted is reached again by the retry of a
///   request, which is a first message.
/// - A request that no session can carry rides in message 1 when it is idempotent; otherwise it waits for the
///   response.
/// - Everything is bounded (`SessionLimits`), and everything follows from the entropy and the inputs.
public struct Sessions: Sendable {
    enum Timer: Hashable, Sendable {
        /// A request sent on a session.
        case request(UInt32)
        case opening(PeerAddress)
    }

    public internal(set) var dropped = DropCounters()

    let publicKey: PublicKey
    let mesh: MeshIdentity
    private let shared: Shared<SessionLimits>
    var limits: SessionLimits { _read { yield shared.value } }
    let keyPair: NoiseIK.KeyPair
    let noiseStart: NoiseSymmetricState
    let responderStart: NoiseIK
    let macKey: Secret32
    var ratchet: KeyRatchet
    var cookies: CookieJar
    var versionAnswers: TokenBucket
    var agreementKeys = AgreementKeyCache()

    var associations: SlotTable<Association>
    /// Established sessions by key, the newest confirmed first: at most two for one endpoint, four in all.
    var byKey: SlotChains
    /// Established sessions by the address group of their endpoint.
    var byGroup: SlotChains
    public var sessionCount: Int { byKey.count }
    var halfOpen: [UInt32: HalfOpen] = [:]
    var halfOpenOrder = Deque<UInt32>()
    var halfOpenGroups = GroupIndex()
    var openings: [PeerAddress: Opening] = [:]
    /// The opening that a cookie is for, by the first half of its initiation's mac1.
    var openingByMac: [UInt64: PeerAddress] = [:]
    var pending: [UInt32: PendingRequest] = [:]
    /// Requests that wait for an opening.
    var waitingCount = 0
    /// When this node last stood still or lost datagrams of its own.
    private var disturbedAt: MonotonicTime?
    var lastRequest: UInt32
    var timers = DeadlineQueue<Timer>()
    var contacted = ContactedAddresses()
    var scratch: [UInt8] = []

    public init(identity: Identity, mesh: MeshIdentity, entropy: Bytes32, limits: SessionLimits = .init()) {
        publicKey = identity.publicKey
        self.mesh = mesh
        shared = Shared(limits)
        keyPair = NoiseIK.KeyPair(secret: identity.agreementSecret)
        noiseStart = NoiseSymmetricState(
            protocolName: NoiseIK.protocolName, prologue: Packet.prologue("starling datagram", mesh: mesh),
            isPlain: limits.carriesPlain)
        responderStart = NoiseIK(responder: keyPair, start: noiseStart)
        macKey = Packet.macKey(receiver: publicKey, mesh: mesh)
        ratchet = KeyRatchet(entropy: entropy, purpose: "starling sessions")
        let first = ratchet.next()
        lastRequest = UInt32(truncatingIfNeeded: first.w0)
        associations = SlotTable(
            capacity: limits.sessions + limits.halfOpen + 2 * limits.openings,
            firstGeneration: UInt16(truncatingIfNeeded: first.w1))
        byKey = SlotChains(secret: first.w2)
        byGroup = SlotChains(secret: first.w3)
        cookies = CookieJar(
            secret: ratchet.next(), key: Packet.cookieKey(receiver: publicKey, mesh: mesh),
            limits: limits)
        versionAnswers = TokenBucket(
            rate: limits.versionAnswersPerSecond, burst: limits.versionAnswersPerSecond)
    }

    /// Tables with their sizes and bounds, for checkers.
    public var tables: [(name: String, count: Int, bound: Int)] {
        [
            ("sessions", sessionCount, limits.sessions), ("half_open", halfOpen.count, limits.halfOpen),
            ("openings", openings.count, limits.openings), ("requests", pending.count, limits.requests),
        ]
    }

    // MARK: What the core asks for

    /// Sends `message` and waits for its answer. Exactly one `Completion` follows, at once when a bound is
    /// reached or the address can't be one.
    public mutating func request(
        _ message: Message, to peer: PeerAddress, owner: RequestOwner, turn: inout Turn,
        out: inout SessionOutput
    ) {
        guard canSend(to: peer) else {
            return out.completions.append(Completion(owner: owner, peer: peer, result: .unanswered))
        }
        guard pending.count < limits.requests else {
            dropped.count(.overBudget)
            return out.completions.append(Completion(owner: owner, peer: peer, result: .notAsked))
        }
        repeat { lastRequest &+= 1 } while lastRequest == 0 || pending[lastRequest] != nil
        let id = lastRequest
        pending[id] = PendingRequest(
            owner: owner, peer: peer, message: message, startedAt: turn.monotonic, sentAt: turn.monotonic)
        if let session = session(to: peer) {
            sendRequest(id, on: session, turn.now, &out)
        } else {
            awaitOpening(id, peer, tries: 2, timeout: limits.timeoutStart, turn.now, &out)
        }
    }

    /// Sends `message` without expecting an answer; opens a session first if there is none. It may be lost.
    public mutating func send(
        _ message: Message, to peer: PeerAddress, turn: inout Turn,
        out: inout SessionOutput
    ) {
        guard canSend(to: peer) else { return }
        let envelope = Envelope(message: message)
        if let session = session(to: peer) {
            transmit(envelope, on: session, turn.now, &out)
        } else if openings[peer] != nil
            || open(peer, tries: 2, timeout: limits.timeoutStart, riding: nil, turn.now, &out)
        {
            guard (openings[peer]?.sends.count ?? 0) < limits.sendsPerPeer else {
                dropped.count(.overBudget)
                return
            }
            openings[peer]?.sends.append(envelope)
        }
    }

    /// Answers a request.
    public mutating func reply(
        _ message: Message, to handle: ReplyHandle, turn: inout Turn, out: inout SessionOutput
    ) {
        let envelope = Envelope(reply: handle.request, message: message)
        guard let phase = associations[handle.association]?.phase else {
            dropped.count(.replyLate)
            return
        }
        switch phase {
        case .answering: respond(envelope, to: handle.association, turn.now, &out)
        case .established: transmit(envelope, on: handle.association, turn.now, &out)
        case .opening, .halfOpen: dropped.count(.replyLate)
        }
    }

    // MARK: Time

    /// When `tick` must be called at the latest.
    public mutating func nextDeadline() -> MonotonicTime { timers.next() }

    /// Handles what is due. Early and late calls are harmless.
    public mutating func tick(turn: inout Turn, out: inout SessionOutput) {
        while let timer = timers.popDue(turn.monotonic) {
            switch timer {
            case .request(let id): requestTimedOut(id, turn.now, &out)
            case .opening(let peer): openingTimedOut(peer, turn.now, &out)
            }
        }
    }

    // MARK: Queries

    // Queries of the indexes are `mutating`: otherwise each call would copy the whole machine.

    public mutating func hasSession(to peer: PeerAddress) -> Bool { session(to: peer) != nil }

    /// Whether a session with that peer is being opened: a request to it waits for that and sends nothing more
    /// until the peer has proven itself.
    public func isOpening(to peer: PeerAddress) -> Bool { openings[peer] != nil }

    /// The endpoint of the newest session with that key.
    public func endpoint(of key: PublicKey) -> Endpoint? {
        var copy = self
        return copy.sessions(with: key).first.flatMap { associations[$0]?.peer.endpoint }
    }

    /// The smoothed round trip to `peer`, once measured.
    func roundTrip(to peer: PeerAddress) -> Interval? {
        var copy = self
        return copy.session(to: peer).flatMap { associations[$0]?.roundTrip.smoothed }
    }

    /// The newest confirmed session with that key at that endpoint.
    mutating func session(to peer: PeerAddress) -> UInt32? {
        var next = byKey.first(peer.key.value.w0)
        while let slot = next {
            if associations[slot: slot]?.peer == peer { return associations.number(slot) }
            next = byKey.next(after: slot)
        }
        return nil
    }

    private mutating func canSend(to peer: PeerAddress) -> Bool {
        if peer.key == publicKey { dropped.count(.selfDial) }
        return peer.key != publicKey && peer.endpoint.isUnicast
    }

    // MARK: Requests

    /// This node stood still, or its socket dropped datagrams: silence of peers that were asked before `now`
    /// proves nothing.
    public mutating func wasDisturbed(_ now: MonotonicTime) { disturbedAt = now }

    /// Ends a request to which nothing came.
    mutating func expire(_ id: UInt32, _ out: inout SessionOutput) {
        guard let request = pending[id] else { return }
        let isDoubtful = disturbedAt.map { $0 >= request.startedAt } ?? false
        finish(id, request.wasSent && !isDoubtful ? .unanswered : .notAsked, &out)
    }

    mutating func finish(_ id: UInt32, _ result: Completion.Result, _ out: inout SessionOutput) {
        guard let request = pending.removeValue(forKey: id) else { return }
        pending.releaseIfEmpty()
        timers.cancel(.request(id))
        out.completions.append(Completion(owner: request.owner, peer: request.peer, result: result))
    }

    mutating func sendRequest(_ id: UInt32, on number: UInt32, _ now: Now, _ out: inout SessionOutput) {
        guard var request = pending[id] else { return }
        request.sentAt = now.monotonic
        request.session = number
        pending[id] = request
        switch transmit(Envelope(request: id, message: request.message), on: number, now, &out) {
        case .sent: pending[id]?.wasSent = true
        case .slabFull: pending[id]?.wasSent = false
        case .impossible: return finish(id, .notAsked, &out)
        }
        let patience = associations[number]?.roundTrip.timeout(limits) ?? limits.timeoutStart
        timers.set(.request(id), at: min(now.monotonic + patience, request.startedAt + limits.requestMax))
    }

    /// The one retry is a first message, unless the peer has opened a newer session meanwhile.
    private mutating func requestTimedOut(_ id: UInt32, _ now: Now, _ out: inout SessionOutput) {
        guard let request = pending[id] else { return }
        guard request.tries == 1, now.monotonic < request.startedAt + limits.requestMax else {
            return expire(id, &out)
        }
        pending[id]?.tries = 2
        let used = request.session.flatMap { associations[$0] }
        if let newest = session(to: request.peer), newest != request.session {
            sendRequest(id, on: newest, now, &out)
        } else {
            let patience = (used?.roundTrip.timeout(limits) ?? limits.timeoutStart) * 2
            let timeout = min(max(patience, limits.timeoutStart), limits.timeoutMax)
            awaitOpening(id, request.peer, tries: 1, timeout: timeout, now, &out)
        }
    }
}
