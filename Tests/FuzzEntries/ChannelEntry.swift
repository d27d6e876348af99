import Cryptography
import Primitives
import Sessions
import Wire

/// `Channels` with small bounds: connections in both directions, honest handshakes and garbage, records with any
/// plaintext, in pieces of any size.
func fuzzChannel(_ bytes: [UInt8]) {
    var world = ChannelWorld()
    var input = FuzzInput(bytes)
    var steps = 0
    while !input.isAtEnd, steps < 512 {
        steps += 1
        world.step(&input)
    }
    world.finish()
}

private struct ChannelWorld {
    private static let mesh = MeshIdentity(name: "fuzz")
    private static let identity = Identity(seed: Bytes32(7, 7, 7, 7))
    private static let others = (0..<3).map { Identity(seed: Bytes32(UInt64($0), 5, 5, 5)) }
    private static let limits: ChannelLimits = {
        var limits = ChannelLimits()
        limits.channels = 8
        limits.handshaking = 4
        limits.handshakingPerPrefix = 2
        limits.queuedBytes = 1 << 12
        limits.accepted = 6
        limits.idlePerKey = 3
        limits.idlePerGroup = 4
        limits.queuedInAll = 1 << 13
        return limits
    }()
    private static let fresh = Channels(
        identity: identity, mesh: mesh, entropy: Bytes32(9, 9, 9, 9), limits: limits)

    private struct End {
        var id: ChannelID
        var far: AdversaryChannel
        var dialledByUs: Bool
        var isOpen = false
    }

    private var channels = fresh
    private var actions: [ChannelAction] = []
    private var ends: [End] = []
    private var turn = Turn(
        now: Now(monotonic: .zero + .seconds(1_000), wall: WallTime(milliseconds: 0)),
        random: SeededRandom(seed: 1))

    mutating func step(_ input: inout FuzzInput) {
        let choice = input.byte()
        let who = Self.others[Int(choice >> 6) % 3]
        let place = Endpoint(ipv4: 0x2d00_0001 + UInt32(choice >> 5) << 8, port: 7827)
        switch choice & 15 {
        case 0, 1:
            guard let id = channels.accept(from: place, turn: &turn, out: &actions) else { break }
            ends.append(
                End(
                    id: id, far: AdversaryChannel(who, victim: Self.identity.publicKey, mesh: Self.mesh),
                    dialledByUs: false))
        case 2:
            let id = channels.open(
                to: PeerAddress(key: who.publicKey, endpoint: place), turn: &turn, out: &actions)
            if !ends.contains(where: { $0.id == id }) {
                ends.append(
                    End(
                        id: id, far: AdversaryChannel(who, victim: Self.identity.publicKey, mesh: Self.mesh),
                        dialledByUs: true))
            }
        case 3: if let end = pick(&input) { channels.connected(end.id, turn: &turn, out: &actions) }
        case 4, 5: if let end = pick(&input) { deliver(end.id, change(end) { $0.hello() }, &input) }
        case 6, 7:
            if let end = pick(&input) {
                let plain = input.bytes()
                deliver(end.id, change(end) { $0.record(plain) }, &input)
            }
        case 8:
            let maker = MessageMaker(
                author: who, endpoint: place, victim: Self.identity.publicKey, model: "m", wall: turn.wall)
            if let end = pick(&input) {
                let plain = maker.frame(&input).encoded()
                deliver(end.id, change(end) { $0.record(plain) }, &input)
            }
        case 9: if let end = pick(&input) { deliver(end.id, input.manyBytes(), &input) }
        case 10:
            if let end = pick(&input) {
                if input.flag() { channels.claim(end.id) }
                channels.release(end.id, turn: &turn, out: &actions)
            }
        case 11: if let end = pick(&input) { channels.closed(end.id, turn: &turn, out: &actions) }
        case 12:
            if let end = pick(&input) {
                channels.written(end.id, bytes: Int(input.byte()) << 4, now: turn.monotonic)
            }
        case 13:
            let frame = Frame(
                task: TaskID(high: 1, low: 2), attempt: 1, body: .bodyPart(Array(repeating: 7, count: 500)))
            if let end = pick(&input) { channels.send(frame, on: end.id, turn: &turn, out: &actions) }
        case 14:
            guard let end = pick(&input) else { break }
            if input.flag() {
                channels.claim(end.id)
            } else {
                channels.close(end.id, out: &actions)
            }
        default:
            turn.now.monotonic =
                turn.monotonic + .milliseconds(Int64(input.byte()) << Int64(input.choice(12)))
            channels.tick(turn: &turn, out: &actions)
            precondition(channels.nextDeadline() > turn.monotonic, "a tick left something due")
        }
        settle()
    }

    /// One end, which the channels may have forgotten.
    private func pick(_ input: inout FuzzInput) -> End? {
        ends.isEmpty ? nil : ends[input.choice(ends.count)]
    }

    private mutating func change(_ end: End, _ body: (inout AdversaryChannel) -> [UInt8]) -> [UInt8] {
        guard let index = ends.firstIndex(where: { $0.id == end.id }) else { return [] }
        return body(&ends[index].far)
    }

    /// Delivers the bytes whole or in pieces.
    private mutating func deliver(_ id: ChannelID, _ bytes: [UInt8], _ input: inout FuzzInput) {
        let piece = input.flag() ? max(1, Int(input.byte())) : bytes.count
        var rest = bytes[...]
        while !rest.isEmpty {
            Array(rest.prefix(piece)).withUnsafeBytes {
                channels.received(id, $0, turn: &turn, out: &actions)
            }
            rest = rest.dropFirst(piece)
        }
    }

    private mutating func settle() {
        var turns = 0
        while !actions.isEmpty, turns < 64 {
            turns += 1
            let taken = actions
            actions = []
            for action in taken { perform(action) }
        }
        for (name, count, bound) in channels.tables {
            precondition(count <= bound, "\(name): \(count), at most \(bound)")
        }
        if ends.count > 32 { ends.removeFirst(ends.count - 32) }
    }

    private mutating func perform(_ action: ChannelAction) {
        switch action {
        case .dial: break
        case .write(let id, let bytes):
            guard let index = ends.firstIndex(where: { $0.id == id }) else { return }
            if ends[index].dialledByUs {
                if let answer = ends[index].far.answer(bytes) {
                    answer.withUnsafeBytes { channels.received(id, $0, turn: &turn, out: &actions) }
                }
            } else {
                ends[index].far.answered(bytes)
            }
        case .opened(let id, let peer, _):
            guard let index = ends.firstIndex(where: { $0.id == id }) else { return }
            precondition(ends[index].far.isOpen, "opened towards \(peer), who never shook hands")
            ends[index].isOpen = true
        case .frame(let id, let peer, _):
            guard let index = ends.firstIndex(where: { $0.id == id }) else { return }
            precondition(ends[index].isOpen, "a frame of \(peer) on a channel that is not open")
        case .close(let id), .failed(let id, _): ends.removeAll { $0.id == id }
        }
    }

    /// After every timer has run, only channels that are in use remain.
    mutating func finish() {
        for _ in 0..<64 {
            let due = channels.nextDeadline()
            guard due != .never else { break }
            turn.now.monotonic = max(turn.monotonic, due)
            channels.tick(turn: &turn, out: &actions)
            settle()
        }
        precondition(channels.nextDeadline() == .never, "something stays due")
    }
}
