import Cryptography
import Primitives
import Sessions
import Wire

/// `Sessions` with tables so small that every bound is reached, four adversaries, and an owner that asks and
/// answers as the program says. Afterwards time advances until every request has its one completion.
func fuzzSession(_ bytes: [UInt8]) {
    var world = SessionWorld()
    var input = FuzzInput(bytes)
    world.play(&input)
    world.finish()
}

package struct SessionWorld {
    private static let mesh = MeshIdentity(name: "fuzz")
    private static let identity = Identity(seed: Bytes32(7, 7, 7, 7))
    private static let limits: SessionLimits = {
        var limits = SessionLimits()
        limits.sessions = 6
        limits.sessionsPerPrefix = 4
        limits.halfOpen = 6
        limits.halfOpenPerPrefix = 4
        limits.openings = 3
        limits.requests = 12
        limits.waitingPerPeer = 3
        limits.sendsPerPeer = 2
        limits.handshakesPerSecond = 20
        limits.versionAnswersPerSecond = 2
        return limits
    }()
    /// A world at its start: making the keys each time would halve the speed.
    private static let fresh = Sessions(
        identity: identity, mesh: mesh, entropy: Bytes32(8, 8, 8, 8), limits: limits)
    private static let attackers = Attackers(victim: identity.publicKey, mesh: mesh)

    private var sessions = fresh
    private var attackers = attackers
    private var out = SessionOutput(datagramsMax: 64)
    private var turn = Turn(
        now: Now(monotonic: .zero + .seconds(1_000), wall: WallTime(milliseconds: 1_700_000_000_000)),
        random: SeededRandom(seed: 1))
    private var owed: Set<RequestToken> = []
    private var asked: RequestToken = 0
    private var handles: [ReplyHandle] = []
    package private(set) var ledger = PathLedger()

    package init() {}

    package mutating func play(_ input: inout FuzzInput) {
        var steps = 0
        while !input.isAtEnd, steps < 512 {
            steps += 1
            step(&input)
            drain()
        }
    }

    private func maker(_ index: Int) -> MessageMaker {
        MessageMaker(
            author: attackers.all[index].identity, endpoint: attackers.all[index].endpoint,
            victim: Self.identity.publicKey, model: "m", wall: turn.wall)
    }

    private mutating func step(_ input: inout FuzzInput) {
        let choice = input.byte()
        let index = Int(choice >> 6) & 3
        let maker = maker(index)
        let peer = attackers.all[index].address
        switch choice & 7 {
        case 0: ask(maker.message(&input), peer)
        case 1:
            sessions.send(maker.message(&input), to: peer, turn: &turn, out: &out)
        case 2:
            guard !handles.isEmpty else { return }
            let handle = handles.remove(at: input.choice(handles.count))
            sessions.reply(maker.message(&input), to: handle, turn: &turn, out: &out)
        case 3:
            // The right key at a wrong address, or the other way round.
            var wrong = peer
            if input.flag() {
                wrong.endpoint.port &+= 1
            } else {
                wrong.key = PublicKey(Bytes32(input.number(), 0, 0, 1))
            }
            ask(.discovery(.ping(contact: nil)), wrong)
        case 4: advance(&input)
        default:
            guard let packet = attackers.packet(&input, maker) else { return }
            receive(packet)
        }
    }

    private mutating func ask(_ message: Message, _ peer: PeerAddress) {
        asked.rawValue += 1
        owed.insert(asked)
        sessions.request(message, to: peer, owner: .peer(asked), turn: &turn, out: &out)
    }

    private mutating func receive(_ packet: Attackers.Packet) {
        ledger.received(packet.bytes.count, from: packet.source)
        var bytes = packet.bytes
        let incoming = bytes.withUnsafeMutableBytes {
            sessions.receive($0, from: packet.source, turn: &turn, out: &out)
        }
        guard let incoming else { return }
        precondition(
            incoming.peer.endpoint == packet.source, "a message from another place than it came from")
        if let handle = incoming.reply, handles.count < 16 { handles.append(handle) }
    }

    private mutating func advance(_ input: inout FuzzInput) {
        let step = Interval.milliseconds(Int64(input.byte()) << Int64(input.choice(17)))
        let target = turn.monotonic + step
        var ticks = 0
        while ticks < 64, case let due = sessions.nextDeadline(), due <= target {
            ticks += 1
            turn.now.monotonic = max(turn.monotonic, due)
            sessions.tick(turn: &turn, out: &out)
            precondition(sessions.nextDeadline() > turn.monotonic, "a tick left something due")
            drain()
        }
        turn.now.monotonic = target
        turn.now.wall =
            input.choice(8) == 1
            ? WallTime(milliseconds: Int64(bitPattern: input.number())) : turn.wall + step
        sessions.tick(turn: &turn, out: &out)
    }

    private mutating func drain() {
        for peer in out.established { ledger.proved(peer.endpoint) }
        for completion in out.completions {
            guard case .peer(let token) = completion.owner else { continue }
            precondition(owed.remove(token) != nil, "request \(token) ended twice")
        }
        var sent: [(bytes: [UInt8], to: Endpoint)] = []
        for index in 0..<out.datagrams.count {
            out.datagrams.withDatagram(index) { bytes, endpoint in sent.append((Array(bytes), endpoint)) }
        }
        out.removeAll()
        for (bytes, endpoint) in sent {
            precondition(bytes.count <= DatagramSlab.datagramBytesMax, "a datagram of \(bytes.count) bytes")
            ledger.sent(bytes.count, kind: bytes[0], to: endpoint)
            attackers.take(bytes, at: endpoint)
        }
        precondition(sessions.sessionCount <= Self.limits.sessions, "\(sessions.sessionCount) sessions")
    }

    /// Nothing arrives any more: every request must end in time, and then nothing is due.
    package mutating func finish() {
        for _ in 0..<256 {
            let due = sessions.nextDeadline()
            guard due != .never else { break }
            turn.now.monotonic = max(turn.monotonic, due)
            sessions.tick(turn: &turn, out: &out)
            drain()
        }
        precondition(owed.isEmpty, "\(owed.count) requests have no end")
        precondition(sessions.nextDeadline() == .never, "something stays due")
    }
}
