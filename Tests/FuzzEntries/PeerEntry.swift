import Cryptography
import Market
import PeerCore
import Primitives
import Sessions
import Wire

/// A whole node that serves one model and asks for tasks itself, among four adversaries: datagrams, channels,
/// jobs, clients and time, in the order of the program.
func fuzzPeer(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    var world = PeerWorld(&input)
    world.play(&input)
    world.finish()
}

package struct PeerWorld: ~Copyable {
    package static let mesh = MeshIdentity(name: "fuzz")
    package static let identity = Identity(seed: Bytes32(7, 7, 7, 7))
    package static let place = Endpoint(ipv4: 0x2d63_0001, port: 7827)
    private static let model = "wren-m"
    private static let attackers = Attackers(victim: identity.publicKey, mesh: mesh)

    private var peer: Peer
    private var attackers = attackers
    private var now = Now(monotonic: .zero + .seconds(1_000), wall: WallTime(milliseconds: 1_700_000_000_000))
    private var effects: [Effect] = []
    package private(set) var ledger = PathLedger()
    /// Names of the effects that occurred, to measure how deep a program gets.
    package private(set) var reached: Set<String> = []

    private struct End {
        var id: ChannelID
        var far: AdversaryChannel
        var dialledByUs: Bool
    }
    private var ends: [End] = []
    private var jobs: [JobID] = []
    /// Our client's tasks that have not ended, and all its tasks.
    private var running: Set<TaskID> = []
    private var tasks: [TaskID] = []

    package init(_ input: inout FuzzInput) {
        let style = input.byte()
        var settings = PeerSettings(
            mesh: Self.mesh, name: "victim", endpoints: style & 1 == 0 ? [Self.place] : [],
            reachability: style & 2 == 0 ? .direct : .outbound,
            profile: style & 4 == 0 ? .internet : .loopback,
            bootstrap: style & 8 == 0 ? [] : [Self.attackers.all[0].address])
        if style & 16 != 0 {
            settings.sessions.sessions = 4
            settings.sessions.halfOpen = 3
            settings.sessions.openings = 2
            settings.sessions.requests = 6
            settings.sessions.waitingPerPeer = 2
            settings.channels.channels = 3
        }
        if style & 32 != 0 { settings.sessions.handshakesPerSecond = 2 }
        peer = Peer(
            identity: Self.identity, settings: settings, entropy: Bytes32(1, 2, 3, 4),
            seed: Bytes32(5, 6, 7, 8),
            now: now)
        peer.serve(
            [
                ServedModel(
                    model: Self.model, price: Price(input: 1, cachedInput: 1, output: 2), slots: 2,
                    context: 4_096,
                    features: .chat, continues: true, digest: nil, quantization: "q8",
                    speed: Speed(firstTokenMilliseconds: 10, millitokensPerSecond: 60_000))
            ], now: now)
    }

    package mutating func play(_ input: inout FuzzInput) {
        var steps = 0
        drain()
        while !input.isAtEnd, steps < 512 {
            steps += 1
            step(&input)
            drain()
        }
    }

    private func maker(_ index: Int) -> MessageMaker {
        MessageMaker(
            author: attackers.all[index].identity, endpoint: attackers.all[index].endpoint,
            victim: Self.identity.publicKey, model: Self.model, tasks: tasks.suffix(3), wall: now.wall)
    }

    private mutating func step(_ input: inout FuzzInput) {
        let choice = input.byte()
        let index = Int(choice >> 6) & 3
        switch choice & 15 {
        case 0, 1: advance(&input)
        case 2: submit(&input)
        case 3:
            guard !tasks.isEmpty else { return }
            let task = tasks[input.choice(tasks.count)]
            if input.flag() {
                peer.cancel(task, now: now)
            } else {
                peer.consumed(task, bytes: input.number(), now: now)
            }
        case 4: accept(index)
        case 5:
            guard let end = pick(&input) else { return }
            if end.dialledByUs { return peer.channelConnected(end.id, now: now) }
            if !end.far.isOpen { deliver(end.id, change(end) { $0.hello() }, &input) }
        case 6:
            let maker = maker(index)
            guard let end = pick(&input) else { return }
            let plain = maker.frame(&input).encoded()
            deliver(end.id, change(end) { $0.record(plain) }, &input)
        case 7:
            guard let end = pick(&input) else { return }
            let plain = input.bytes()
            deliver(end.id, change(end) { $0.record(plain) }, &input)
        case 8:
            guard let end = pick(&input) else { return }
            switch input.choice(3) {
            case 0: deliver(end.id, input.bytes(), &input)
            case 1: peer.channelClosed(end.id, now: now)
            default: peer.channelWritten(end.id, bytes: Int(input.byte()) << 6, now: now)
            }
        case 9: job(&input)
        case 10:
            switch input.choice(8) {
            case 0: peer.wasStalled(for: .milliseconds(Int64(input.byte()) << 4), now: now)
            case 1: peer.leave(now: now)
            case 2: peer.handOver(now: now)
            default: break
            }
        default:
            let maker = maker(index)
            guard let packet = attackers.packet(&input, maker) else { return }
            ledger.received(packet.bytes.count, from: packet.source)
            if packet.proves { ledger.proved(packet.source) }
            var bytes = packet.bytes
            bytes.withUnsafeMutableBytes { peer.receive($0, from: packet.source, now: now) }
        }
    }

    // MARK: Single steps, for tests

    package mutating func begin() { drain() }

    package func message(_ index: Int, _ input: inout FuzzInput) -> Message { maker(index).message(&input) }

    /// An initiation of one adversary, from its own address or from a spoofed one.
    package mutating func initiate(_ index: Int, _ envelope: [UInt8], moved: Bool = false) {
        receive(attackers.all[index].initiation(envelope), index, moved: moved)
    }

    package mutating func initiate(_ index: Int, _ envelope: [UInt8], version: UInt8) {
        var packet = attackers.all[index].initiation(envelope)
        packet[1] = version
        receive(attackers.all[index].macked(packet), index, moved: false)
    }

    package mutating func wait(_ time: Interval) {
        now.monotonic = now.monotonic + time
        now.wall = now.wall + time
        tick()
    }

    /// Proves an adversary by an empty transport packet.
    package mutating func confirm(_ index: Int) {
        guard let packet = attackers.all[index].transport([]) else { return }
        ledger.proved(attackers.all[index].endpoint)
        receive(packet, index, moved: false)
    }

    package mutating func send(_ index: Int, _ plain: [UInt8], moved: Bool) {
        guard let packet = attackers.all[index].transport(plain) else { return }
        receive(packet, index, moved: moved)
    }

    /// Answers the victim's last request, if there is one.
    package mutating func answer(_ index: Int, _ message: Message) {
        guard let asked = attackers.all[index].takeRequest(0) else { return }
        send(index, Envelope(reply: asked.request, message: message).encoded(), moved: false)
    }

    private mutating func receive(_ packet: [UInt8], _ index: Int, moved: Bool) {
        var bytes = packet
        var source = attackers.all[index].endpoint
        if moved { source.port &+= 1 }
        ledger.received(bytes.count, from: source)
        bytes.withUnsafeMutableBytes { peer.receive($0, from: source, now: now) }
        drain()
    }

    // MARK: Steps

    private mutating func advance(_ input: inout FuzzInput) {
        let step = Interval.milliseconds(Int64(input.byte()) << Int64(input.choice(15)))
        let target = now.monotonic + step
        var ticks = 0
        while ticks < 32, case let due = peer.nextDeadline(), due <= target {
            ticks += 1
            now.monotonic = max(now.monotonic, due)
            tick()
        }
        now.monotonic = target
        now.wall =
            input.choice(8) == 1 ? WallTime(milliseconds: Int64(bitPattern: input.number())) : now.wall + step
        tick()
    }

    private mutating func tick() {
        peer.tick(now: now)
        let next = peer.nextDeadline()
        precondition(next > now.monotonic, "a tick at \(now.monotonic) left something due at \(next)")
        drain()
    }

    private mutating func submit(_ input: inout FuzzInput) {
        guard running.count < 4 else { return }
        var request = TaskRequest(
            kind: TaskKind(rawValue: UInt32(input.choice(4))) ?? .chat,
            model: input.choice(8) == 1 ? "x" : Self.model,
            body: input.bytes(), tokensIn: input.number32(), tokensOutEstimate: input.number32(),
            tokensOutMax: input.flag() ? input.number32() : nil, resumable: input.flag(),
            deadline: .milliseconds(Int64(input.byte()) << 8))
        if input.flag() { request.preferences.ignore = [Self.identity.publicKey] }
        let task = peer.submit(request, now: now)
        running.insert(task)
        tasks.append(task)
        if tasks.count > 8 { tasks.removeFirst() }
    }

    private mutating func accept(_ index: Int) {
        let attacker = attackers.all[index]
        guard let id = peer.channelAccepted(from: attacker.endpoint, now: now) else { return }
        ends.append(
            End(
                id: id,
                far: AdversaryChannel(attacker.identity, victim: Self.identity.publicKey, mesh: Self.mesh),
                dialledByUs: false))
        if ends.count > 16 { peer.channelClosed(ends.removeFirst().id, now: now) }
    }

    private func pick(_ input: inout FuzzInput) -> End? {
        ends.isEmpty ? nil : ends[input.choice(ends.count)]
    }

    private mutating func change(_ end: End, _ body: (inout AdversaryChannel) -> [UInt8]) -> [UInt8] {
        guard let index = ends.firstIndex(where: { $0.id == end.id }) else { return [] }
        return body(&ends[index].far)
    }

    private mutating func deliver(_ id: ChannelID, _ bytes: [UInt8], _ input: inout FuzzInput) {
        let piece = input.flag() ? max(1, Int(input.byte())) : max(1, bytes.count)
        var rest = bytes[...]
        while !rest.isEmpty {
            Array(rest.prefix(piece)).withUnsafeBytes { peer.channelReceived(id, $0, now: now) }
            rest = rest.dropFirst(piece)
        }
    }

    private mutating func job(_ input: inout FuzzInput) {
        guard !jobs.isEmpty else { return }
        let id = jobs[input.choice(jobs.count)]
        switch input.choice(4) {
        case 0: peer.job(id, .phase(Phase(rawValue: UInt32(input.choice(5))) ?? .queued), now: now)
        case 1: peer.job(id, .finished(Finish(reason: "stop", completionTokens: input.number32())), now: now)
        case 2:
            peer.job(id, .failed(Fail(code: "x", message: "y", anotherMaySucceed: input.flag())), now: now)
        default: peer.job(id, .produced(text: input.bytes(), tokens: input.number32(), extra: []), now: now)
        }
    }

    // MARK: Effects

    private mutating func drain() {
        defer { precondition(peer.strayChannels == 0, "a channel is busy without a task") }
        var turns = 0
        while !peer.datagrams.isEmpty || peer.hasEffects {
            turns += 1
            precondition(turns < 1_000, "the peer never comes to rest")
            var sent: [(bytes: [UInt8], to: Endpoint)] = []
            for index in 0..<peer.datagrams.count {
                peer.datagrams.withDatagram(index) { bytes, endpoint in sent.append((Array(bytes), endpoint))
                }
            }
            peer.clearDatagrams()
            for (bytes, endpoint) in sent {
                precondition(
                    bytes.count <= DatagramSlab.datagramBytesMax, "a datagram of \(bytes.count) bytes")
                ledger.sent(bytes.count, kind: bytes[0], to: endpoint)
                attackers.take(bytes, at: endpoint)
            }
            var taken: [Effect] = []
            peer.takeEffects(into: &taken)
            for effect in taken { perform(effect) }
        }
    }

    private mutating func perform(_ effect: Effect) {
        reached.insert(Self.name(effect))
        switch effect {
        case .dial(let id, let endpoint):
            guard let index = attackers.at(endpoint) else { return peer.channelClosed(id, now: now) }
            let identity = attackers.all[index].identity
            ends.append(
                End(
                    id: id, far: AdversaryChannel(identity, victim: Self.identity.publicKey, mesh: Self.mesh),
                    dialledByUs: true))
        case .write(let id, let bytes):
            guard let index = ends.firstIndex(where: { $0.id == id }) else { return }
            if ends[index].dialledByUs {
                if let answer = ends[index].far.answer(bytes) {
                    answer.withUnsafeBytes { peer.channelReceived(id, $0, now: now) }
                }
            } else {
                ends[index].far.answered(bytes)
            }
        case .closeChannel(let id): ends.removeAll { $0.id == id }
        case .startJob(let job):
            precondition(!jobs.contains(job.id), "job \(job.id.rawValue) starts twice")
            jobs.append(job.id)
            precondition(jobs.count <= 64, "\(jobs.count) jobs")
        case .cancelJob(let id): jobs.removeAll { $0 == id }
        case .pauseJob, .resumeJob: break
        case .client(let task, let event):
            switch event {
            case .finished, .failed, .quoted:
                precondition(running.remove(task) != nil, "task \(task) ended twice")
            case .awarded, .delta, .progress, .restarted:
                precondition(running.contains(task), "task \(task) goes on after its end")
            }
        case .sendApart(let datagram, let endpoint):
            precondition(datagram.count <= 1_200, "\(datagram.count) bytes to \(endpoint)")
        case .keep, .keepSequence, .keepSeller, .keepBuyer, .log, .left: break
        }
    }

    /// Every task must end by its deadline, and time must advance without a stall.
    package mutating func finish() {
        let end = now.monotonic + .seconds(120)
        var ticks = 0
        while !running.isEmpty, ticks < 2_000, case let due = peer.nextDeadline(), due <= end {
            ticks += 1
            now.monotonic = max(now.monotonic, due)
            now.wall = now.wall + .milliseconds(10)
            tick()
        }
        precondition(running.isEmpty || ticks == 2_000, "\(running.count) tasks have no end")
    }

    private static func name(_ effect: Effect) -> String {
        switch effect {
        case .sendApart: "call back"
        case .dial: "dial"
        case .write: "write"
        case .closeChannel: "close channel"
        case .startJob: "start job"
        case .cancelJob: "cancel job"
        case .pauseJob: "pause job"
        case .resumeJob: "resume job"
        case .client(_, .awarded): "awarded"
        case .client(_, .delta): "delta"
        case .client(_, .progress): "progress"
        case .client(_, .restarted): "restarted"
        case .client(_, .quoted): "quoted"
        case .client(_, .finished): "finished"
        case .client(_, .failed): "failed"
        case .keep: "receipt"
        case .keepSequence: "sequence"
        case .keepSeller: "seller"
        case .keepBuyer: "buyer"
        case .log(.admitted): "admitted"
        case .log: "log"
        case .left: "left"
        }
    }
}

/// The names of the effects that a program causes in a whole node.
public func effectsReached(_ program: [UInt8]) -> Set<String> {
    var input = FuzzInput(program)
    var world = PeerWorld(&input)
    world.play(&input)
    return world.reached
}
