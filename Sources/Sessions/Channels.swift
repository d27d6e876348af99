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
///
/// **When a channel is busy:** while a machine of this node owns it, and not longer. The machine that dialled
/// owns it from `opened` to `release`; an accepted one is `claim`ed when a frame has made it a task's. So a
/// stranger's frames keep nothing open. What isn't busy may be closed for a newcomer (`Channels+Room`).
public struct Channels: Sendable {
    enum Phase: Sendable {
        case dialling, handshaking
        /// Owned by a machine.
        case busy
        case idle
    }

    /// OPEN makes the acceptor the worker. HELLO makes it the auctioneer, which then opens that task and no
    /// other.
    enum Begun: Sendable { case opened, greeted(TaskID) }

    struct Entry: Sendable {
        var phase: Phase
        let isInbound: Bool
        let endpoint: Endpoint
        /// The peer that a dialler wants; an acceptor learns it in the handshake.
        var peer: PublicKey?
        var secure: SecureChannel?
        var queuedBytes = 0
        /// When the carrier last took something of a long queue (`limits.longQueue`).
        var takenAt = MonotonicTime.zero
        /// Only for a dialler: how it began the last task here, which the acceptor answers.
        var begun: Begun?
        /// Its index among the spare channels, if it is one.
        var sparePlace: Int?

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
    let limits: ChannelLimits
    private let keyPair: NoiseIK.KeyPair
    private let noiseStart: NoiseSymmetricState
    private let macKey: Secret32
    private var ratchet: KeyRatchet
    var entries: [ChannelID: Entry] = [:]
    /// Idle channels that we dialled, by peer; the last is the most recently used.
    var pool: [PublicKey: [ChannelID]] = [:]
    var pooledCount = 0
    var inbound = 0
    var handshaking = 0
    /// Accepted channels by source: those whose handshake isn't complete, and idle ones.
    var handshakingGroups = GroupIndex()
    var idleGroups = GroupIndex()
    /// Idle accepted channels by the first word of the peer's key.
    var idleKeys = GroupIndex()
    /// All channels that may be closed for a newcomer, in no order.
    var spares: [ChannelID] = []
    var queuedInAll = 0
    /// Channels with a long queue, in no order.
    var slow: [ChannelID] = []
    var timers = DeadlineQueue<ChannelID>()
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
        [
            ("channels", entries.count, limits.channels), ("accepted", inbound, limits.accepted),
            ("handshaking", handshaking, limits.handshaking),
            // Handshakes are never refused for their own bytes.
            ("queued", queuedInAll, limits.queuedInAll + 256 * limits.channels),
        ]
    }

    // MARK: For the market

    /// Returns an idle channel that we dialled to that peer, or a new one. `.opened` or `.failed` follows,
    /// perhaps at once.
    public mutating func open(to peer: PeerAddress, turn: inout Turn, out: inout [ChannelAction]) -> ChannelID
    {
        if let pooled = pool[peer.key]?.last, entries[pooled]?.endpoint == peer.endpoint {
            leaveIdle(pooled)
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
        guard peer.endpoint.isUnicast, hasRoomToDial(&turn, &out) else {
            out.append(.failed(id, .limit))
            return id
        }
        entries[id] = Entry(phase: .dialling, isInbound: false, endpoint: peer.endpoint, peer: peer.key)
        timers.set(id, at: turn.monotonic + limits.handshakeMax)
        out.append(.dial(id, peer.endpoint))
        return id
    }

    /// Returns false and sends nothing when the channel isn't open, the frame is too long, or too much is
    /// queued, on this channel or on all. The stream then lacks a frame: `abandon` the channel.
    @discardableResult
    public mutating func send(_ frame: Frame, on id: ChannelID, turn: inout Turn, out: inout [ChannelAction])
        -> Bool
    {
        guard let queued = entries[id]?.queuedBytes, queued < limits.queuedBytes,
            let record = entries[id]?.secure?.record(frame)
        else { return false }
        if queuedInAll + record.count > limits.queuedInAll {
            guard makeRoom(for: record.count, of: id, &out) else { return false }
        }
        if entries[id]?.isInbound == false {
            switch frame.body {
            case .open: entries[id]?.begun = .opened
            case .hello: entries[id]?.begun = .greeted(frame.task)
            case .bodyPart, .delta, .progress, .finish, .fail, .cancel, .window, .receipt: break
            }
        }
        write(id, record, turn.monotonic, &out)
        return true
    }

    /// A machine owns the accepted channel from now on, until `release` or its end.
    public mutating func claim(_ id: ChannelID) {
        guard let entry = entries[id], entry.isInbound, entry.phase == .idle else { return }
        leaveIdle(id)
        entries[id]?.phase = .busy
        timers.cancel(id)
    }

    /// No machine owns the channel any more: it is idle, and goes back to the pool if we dialled it.
    public mutating func release(_ id: ChannelID, turn: inout Turn, out: inout [ChannelAction]) {
        guard let entry = entries[id] else { return }
        switch entry.phase {
        case .idle: return
        case .dialling, .handshaking: return end(id, nil, &out)
        case .busy: break
        }
        if entry.isInbound { becomeIdle(id, &turn, &out) } else { becomePooled(id, turn.monotonic, &out) }
    }

    /// Ends the channel without any event.
    public mutating func close(_ id: ChannelID, out: inout [ChannelAction]) { end(id, nil, &out) }

    /// Ends a channel whose frame our own bounds refused: `.failed` with `.limit` follows.
    public mutating func abandon(_ id: ChannelID, out: inout [ChannelAction]) { end(id, .limit, &out) }

    /// Bytes given to the carrier that it has not yet taken.
    func queuedBytes(on id: ChannelID) -> Int { entries[id]?.queuedBytes ?? 0 }

    func peer(of id: ChannelID) -> PublicKey? { entries[id]?.peer }

    /// The id of which an index keeps the last 32 bits: the latest such one.
    func whole(_ number: UInt32) -> ChannelID {
        let id = lastID & ~0xffff_ffff | UInt64(number)
        return ChannelID(rawValue: id > lastID ? id &- 1 << 32 : id)
    }

    /// Accepted channels that a machine has claimed, in no order. For checkers.
    public var claimed: [ChannelID] {
        entries.filter { $0.value.isInbound && $0.value.phase == .busy }.map(\.key)
    }

    /// The other end's address; an acceptor sees the ephemeral port of the dialler.
    public func endpoint(of id: ChannelID) -> Endpoint? { entries[id]?.endpoint }

    // MARK: For the shell

    /// Accepts a stranger's connection; nil over the limits: the shell closes it.
    public mutating func accept(from endpoint: Endpoint, turn: inout Turn, out: inout [ChannelAction])
        -> ChannelID?
    {
        let group = endpoint.group(countsEndpoints: limits.countsEndpoints)
        guard handshakingGroups.count(group) < limits.handshakingPerPrefix,
            hasRoomToAccept(&turn, &out)
        else { return nil }
        lastID += 1
        let id = ChannelID(rawValue: lastID)
        var entry = Entry(phase: .handshaking, isInbound: true, endpoint: endpoint)
        entry.secure = SecureChannel(acceptor: publicKey, keyPair: keyPair, start: noiseStart, macKey: macKey)
        entries[id] = entry
        inbound += 1
        handshaking += 1
        handshakingGroups.insert(UInt32(truncatingIfNeeded: id.rawValue), group)
        becomeSpare(id)
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
        write(id, dialled.hello, turn.monotonic, &out)
    }

    /// Bytes from the carrier, in order.
    public mutating func received(
        _ id: ChannelID, _ bytes: UnsafeRawBufferPointer, turn: inout Turn, out: inout [ChannelAction]
    ) {
        guard entries[id]?.secure != nil else { return }
        var events: [SecureChannel.Event] = []
        entries[id]?.secure?.receive(bytes, ratchet: &ratchet, &events)
        for event in events { handle(event, id, &turn, &out) }
    }

    /// The carrier is gone, or could not be connected; `limit`: for want of something of ours.
    public mutating func closed(
        _ id: ChannelID, _ reason: ChannelFailure = .closed, turn: inout Turn, out: inout [ChannelAction]
    ) {
        guard let entry = remove(id) else { return }
        if entry.isOwed { out.append(.failed(id, reason)) }
    }

    /// The carrier has taken `bytes` of what `.write` gave it.
    public mutating func written(_ id: ChannelID, bytes: Int, now: MonotonicTime) {
        guard let queued = entries[id]?.queuedBytes else { return }
        let taken = min(max(0, bytes), queued)
        entries[id]?.queuedBytes = queued - taken
        queuedInAll -= taken
        guard queued >= limits.longQueue, taken > 0 else { return }
        entries[id]?.takenAt = now
        if queued - taken < limits.longQueue { leaveSlow(id) }
    }

    public mutating func nextDeadline() -> MonotonicTime { timers.next() }

    public mutating func tick(turn: inout Turn, out: inout [ChannelAction]) {
        while let id = timers.popDue(turn.monotonic) { end(id, .timeout, &out) }
    }

    // MARK: Inside

    private mutating func handle(
        _ event: SecureChannel.Event, _ id: ChannelID, _ turn: inout Turn, _ out: inout [ChannelAction]
    ) {
        guard let entry = entries[id] else { return }
        switch event {
        case .write(let bytes):
            write(id, bytes, turn.monotonic, &out)
        case .opened(let peer):
            entries[id]?.peer = peer
            if entry.isInbound {
                leaveHandshake(id, entry)
                becomeIdle(id, &turn, &out)
            } else {
                entries[id]?.phase = .busy
                timers.cancel(id)
            }
            out.append(.opened(id, peer: peer, inbound: entry.isInbound))
        case .frame(let frame):
            guard let peer = entry.peer else { return }
            guard entry.isInbound || !Self.begins(frame, entry.begun) else {
                return end(id, .wrongDirection, &out)
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

    private mutating func write(
        _ id: ChannelID, _ bytes: [UInt8], _ now: MonotonicTime, _ out: inout [ChannelAction]
    ) {
        guard let queued = entries[id]?.queuedBytes else { return }
        entries[id]?.queuedBytes = queued + bytes.count
        queuedInAll += bytes.count
        if queued < limits.longQueue, queued + bytes.count >= limits.longQueue {
            entries[id]?.takenAt = now
            slow.append(id)
        }
        out.append(.write(id, bytes))
    }

    mutating func end(_ id: ChannelID, _ reason: ChannelFailure?, _ out: inout [ChannelAction]) {
        guard let entry = remove(id) else { return }
        out.append(.close(id))
        if let reason, entry.isOwed { out.append(.failed(id, reason)) }
    }

    private mutating func remove(_ id: ChannelID) -> Entry? {
        guard let entry = entries[id] else { return nil }
        if entry.isInbound { inbound -= 1 }
        leaveHandshake(id, entry)
        leaveIdle(id)
        timers.cancel(id)
        queuedInAll -= entry.queuedBytes
        if entry.queuedBytes >= limits.longQueue { leaveSlow(id) }
        defer { entries.releaseIfEmpty() }
        return entries.removeValue(forKey: id)
    }
}
