import Cryptography
import Primitives
import Wire

/// Encrypted streams to other nodes, one task at a time on each: dialling, accepting, pooling, back-pressure,
/// timers.
///
/// **Which end may begin a task on an idle channel:** only the one that dialled it, so that no two tasks can
/// begin at once. This serves both directions of dialling: an auctioneer that dialled a worker sends OPEN, a
/// worker that dialled an auctioneer sends HELLO. The other end learns of a new use by its first frame. The
/// dialler also closes idle channels first; the acceptor waits half as long again.
public struct Channels: Sendable {
    private enum Phase: Sendable {
        case dialling, handshaking
        /// Carrying a task.
        case busy
        case idle
    }

    /// OPEN makes the acceptor the worker. HELLO makes it the auctioneer, which then opens that task and no
    /// other.
    private enum Begun: Sendable { case opened, greeted(TaskID) }

    private struct Entry: Sendable {
        var phase: Phase
        let isInbound: Bool
        let endpoint: Endpoint
        /// The peer that a dialler wants; an acceptor learns it in the handshake.
        var peer: PublicKey?
        var secure: SecureChannel?
        var queuedBytes = 0
        /// Only for a dialler: how it began the last task here, which the acceptor answers.
        var begun: Begun?

        /// Whether the owner must be told of its end: not for an idle channel, nor for a stranger's
        /// handshake.
        var isOwed: Bool {
            switch phase {
            case .dialling, .busy: true
            case .handshaking: !isInbound
            case .idle: false
            }
        }
    }

    private let publicKey: PublicKey
    private let mesh: MeshIdentity
    private let limits: ChannelLimits
    private let keyPair: NoiseIK.KeyPair
    private let noiseStart: NoiseSymmetricState
    private let macKey: Secret32
    private var ratchet: KeyRatchet
    private var entries: [ChannelID: Entry] = [:]
    /// Idle channels that we dialled, by peer; the last is the most recently used.
    private var pool: [PublicKey: [ChannelID]] = [:]
    private var pooledCount = 0
    private var handshaking = 0
    private var handshakingGroups = GroupIndex()
    private var timers = DeadlineQueue<ChannelID>()
    private var lastID: UInt64 = 0

    public init(identity: Identity, mesh: MeshIdentity, entropy: Bytes32, limits: ChannelLimits = .init()) {
        publicKey = identity.publicKey
        self.mesh = mesh
        self.limits = limits
        keyPair = NoiseIK.KeyPair(secret: identity.agreementSecret)
        noiseStart = NoiseSymmetricState(
            protocolName: NoiseIK.protocolName, prologue: Packet.prologue("starling channel", mesh: mesh))
        macKey = Packet.macKey(receiver: publicKey, mesh: mesh)
        ratchet = KeyRatchet(entropy: entropy, purpose: "starling channels")
    }

    public var count: Int { entries.count }
    /// Tables with their sizes and bounds, for checkers.
    public var tables: [(name: String, count: Int, bound: Int)] {
        [("channels", entries.count, limits.channels), ("handshaking", handshaking, limits.handshaking)]
    }

    // MARK: For the market

    /// Returns an idle channel that we dialled to that peer, or a new one. `.opened` or `.failed` follows,
    /// perhaps at once.
    public mutating func open(to peer: PeerAddress, turn: inout Turn, out: inout [ChannelAction]) -> ChannelID
    {
        if let pooled = pool[peer.key]?.last, entries[pooled]?.endpoint == peer.endpoint {
            leavePool(pooled)
            entries[pooled]?.phase = .busy
            timers.cancel(pooled)
            out.append(.opened(pooled, peer: peer.key, inbound: false))
            return pooled
        }
        return dial(peer, turn: &turn, out: &out)
    }

    /// Returns a new channel, whatever the pool holds. `.opened` or `.failed` follows, perhaps at once.
    public mutating func dial(_ peer: PeerAddress, turn: inout Turn, out: inout [ChannelAction]) -> ChannelID
    {
        lastID += 1
        let id = ChannelID(rawValue: lastID)
        guard peer.key != publicKey else {
            out.append(.failed(id, .selfDial))
            return id
        }
        guard entries.count < limits.channels, peer.endpoint.isUnicast else {
            out.append(.failed(id, .limit))
            return id
        }
        entries[id] = Entry(phase: .dialling, isInbound: false, endpoint: peer.endpoint, peer: peer.key)
        timers.set(id, at: turn.monotonic + limits.handshakeMax)
        out.append(.dial(id, peer.endpoint))
        return id
    }

    /// Returns false and sends nothing when the channel isn't open, the frame is too long, or too much is
    /// queued.
    @discardableResult
    public mutating func send(_ frame: Frame, on id: ChannelID, turn: inout Turn, out: inout [ChannelAction])
        -> Bool
    {
        guard let queued = entries[id]?.queuedBytes, queued < limits.queuedBytes,
            let record = entries[id]?.secure?.record(frame)
        else { return false }
        if entries[id]?.isInbound == false {
            switch frame.body {
            case .open: entries[id]?.begun = .opened
            case .hello: entries[id]?.begun = .greeted(frame.task)
            case .bodyPart, .delta, .progress, .finish, .fail, .cancel, .window, .receipt: break
            }
        }
        entries[id]?.queuedBytes += record.count
        out.append(.write(id, record))
        return true
    }

    /// The channel's task is done: the channel is idle, and goes back to the pool if we dialled it.
    public mutating func release(_ id: ChannelID, turn: inout Turn, out: inout [ChannelAction]) {
        guard let entry = entries[id] else { return }
        switch entry.phase {
        case .idle: return
        case .dialling, .handshaking: return end(id, nil, &out)
        case .busy: break
        }
        entries[id]?.phase = .idle
        if entry.isInbound {
            timers.set(id, at: turn.monotonic + limits.idleMax + limits.idleMax / 2)
            return
        }
        guard let peer = entry.peer else { return }
        pool[peer, default: []].append(id)
        pooledCount += 1
        timers.set(id, at: turn.monotonic + limits.idleMax)
        let allowed = pooledCount > limits.idleInAll ? limits.idlePerPeerCrowded : limits.idlePerPeer
        if let all = pool[peer], all.count > allowed, let oldest = all.first {
            end(oldest, nil, &out)
        }
    }

    /// Ends the channel without any event.
    public mutating func close(_ id: ChannelID, out: inout [ChannelAction]) { end(id, nil, &out) }

    /// Bytes given to the carrier that it has not yet taken.
    func queuedBytes(on id: ChannelID) -> Int { entries[id]?.queuedBytes ?? 0 }

    func peer(of id: ChannelID) -> PublicKey? { entries[id]?.peer }

    /// The other end's address; an acceptor sees the ephemeral port of the dialler.
    public func endpoint(of id: ChannelID) -> Endpoint? { entries[id]?.endpoint }

    // MARK: For the shell

    /// Accepts a stranger's connection; nil over the limits: the shell closes it.
    public mutating func accept(from endpoint: Endpoint, turn: inout Turn, out: inout [ChannelAction])
        -> ChannelID?
    {
        let group = endpoint.group(countsEndpoints: limits.countsEndpoints)
        guard entries.count < limits.channels, handshaking < limits.handshaking,
            handshakingGroups.count(group) < limits.handshakingPerPrefix
        else { return nil }
        lastID += 1
        let id = ChannelID(rawValue: lastID)
        var entry = Entry(phase: .handshaking, isInbound: true, endpoint: endpoint)
        entry.secure = SecureChannel(acceptor: publicKey, keyPair: keyPair, start: noiseStart, macKey: macKey)
        entries[id] = entry
        handshaking += 1
        handshakingGroups.insert(UInt32(truncatingIfNeeded: id.rawValue), group)
        timers.set(id, at: turn.monotonic + limits.handshakeMax)
        return id
    }

    /// The carrier that `.dial` asked for is connected.
    public mutating func connected(_ id: ChannelID, turn: inout Turn, out: inout [ChannelAction]) {
        guard let entry = entries[id], entry.phase == .dialling, let peer = entry.peer else { return }
        let dialled = SecureChannel.dialler(
            publicKey, keyPair: keyPair, start: noiseStart, to: peer,
            macKey: Packet.macKey(receiver: peer, mesh: mesh), ephemeral: Secret32(ratchet.next()))
        guard let dialled else { return end(id, .badHandshake, &out) }
        entries[id]?.phase = .handshaking
        entries[id]?.secure = dialled.channel
        write(id, dialled.hello, &out)
    }

    /// Bytes from the carrier, in order.
    public mutating func received(
        _ id: ChannelID, _ bytes: UnsafeRawBufferPointer, turn: inout Turn, out: inout [ChannelAction]
    ) {
        guard entries[id]?.secure != nil else { return }
        var events: [SecureChannel.Event] = []
        entries[id]?.secure?.receive(bytes, ratchet: &ratchet, &events)
        for event in events { handle(event, id, turn.now, &out) }
    }

    /// The carrier is gone, or could not be connected; `limit`: for want of something of ours.
    public mutating func closed(
        _ id: ChannelID, _ reason: ChannelFailure = .closed, turn: inout Turn, out: inout [ChannelAction]
    ) {
        guard let entry = remove(id) else { return }
        if entry.isOwed { out.append(.failed(id, reason)) }
    }

    /// The carrier has taken `bytes` of what `.write` gave it.
    public mutating func written(_ id: ChannelID, bytes: Int) {
        guard let queued = entries[id]?.queuedBytes else { return }
        entries[id]?.queuedBytes = max(0, queued - bytes)
    }

    public mutating func nextDeadline() -> MonotonicTime { timers.next() }

    public mutating func tick(turn: inout Turn, out: inout [ChannelAction]) {
        while let id = timers.popDue(turn.monotonic) { end(id, .timeout, &out) }
    }

    // MARK: Inside

    private mutating func handle(
        _ event: SecureChannel.Event, _ id: ChannelID, _ now: Now, _ out: inout [ChannelAction]
    ) {
        guard let entry = entries[id] else { return }
        switch event {
        case .write(let bytes):
            write(id, bytes, &out)
        case .opened(let peer):
            leaveHandshake(id, entry)
            entries[id]?.peer = peer
            entries[id]?.phase = .busy
            // An acceptor's channel is in use once a frame arrives; until then it counts as idle.
            if entry.isInbound {
                timers.set(id, at: now.monotonic + limits.idleMax + limits.idleMax / 2)
            } else {
                timers.cancel(id)
            }
            out.append(.opened(id, peer: peer, inbound: entry.isInbound))
        case .frame(let frame):
            guard let peer = entry.peer else { return }
            guard entry.isInbound || !Self.begins(frame, entry.begun) else {
                return end(id, .wrongDirection, &out)
            }
            if entry.isInbound, entry.phase == .idle || entry.phase == .busy {
                entries[id]?.phase = .busy
                timers.cancel(id)
            }
            out.append(.frame(id, peer, frame))
        case .broken(let reason):
            end(id, reason, &out)
        }
    }

    /// Whether `frame` begins a task of the acceptor's own.
    private static func begins(_ frame: Frame, _ begun: Begun?) -> Bool {
        switch (frame.body, begun) {
        case (.hello, _): true
        case (.open, .greeted(let task)): frame.task != task
        case (.open, _): true
        case (.bodyPart, _), (.delta, _), (.progress, _), (.finish, _), (.fail, _), (.cancel, _),
            (.window, _),
            (.receipt, _):
            false
        }
    }

    private mutating func write(_ id: ChannelID, _ bytes: [UInt8], _ out: inout [ChannelAction]) {
        entries[id]?.queuedBytes += bytes.count
        out.append(.write(id, bytes))
    }

    private mutating func end(_ id: ChannelID, _ reason: ChannelFailure?, _ out: inout [ChannelAction]) {
        guard let entry = remove(id) else { return }
        out.append(.close(id))
        if let reason, entry.isOwed { out.append(.failed(id, reason)) }
    }

    private mutating func remove(_ id: ChannelID) -> Entry? {
        guard let entry = entries[id] else { return nil }
        leaveHandshake(id, entry)
        leavePool(id)
        timers.cancel(id)
        defer { entries.releaseIfEmpty() }
        return entries.removeValue(forKey: id)
    }

    private mutating func leaveHandshake(_ id: ChannelID, _ entry: Entry) {
        guard entry.isInbound, entry.phase == .handshaking else { return }
        handshaking -= 1
        handshakingGroups.remove(
            UInt32(truncatingIfNeeded: id.rawValue),
            entry.endpoint.group(countsEndpoints: limits.countsEndpoints))
    }

    private mutating func leavePool(_ id: ChannelID) {
        guard let peer = entries[id]?.peer, let position = pool[peer]?.firstIndex(of: id) else { return }
        pool[peer]?.remove(at: position)
        pooledCount -= 1
        if pool[peer]?.isEmpty == true { pool[peer] = nil }
    }
}
