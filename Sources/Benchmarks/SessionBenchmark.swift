import Cryptography
import Discovery
import PeerCore
import Primitives
import Sessions
import Wire

/// Datagrams without sockets: what one core could do if the kernel cost nothing.
struct SessionBenchmark {
    private static let batch = 32

    let seconds: Double

    private let asker = Identity(seed: Bytes32(1, 1, 1, 1))
    private let answerer = Identity(seed: Bytes32(2, 2, 2, 2))
    private let mesh = MeshIdentity(name: "bench")

    private var limits: SessionLimits {
        var limits = SessionLimits()
        limits.countsEndpoints = true
        return limits
    }

    init(seconds: Double) { self.seconds = seconds }

    private func sessions(_ identity: Identity, _ entropy: UInt64) -> Sessions {
        Sessions(identity: identity, mesh: mesh, entropy: Bytes32(entropy, 0, 0, 0), limits: limits)
    }

    private func address(_ identity: Identity, _ port: Int) -> PeerAddress {
        PeerAddress(key: identity.publicKey, endpoint: .loopback(UInt16(port)))
    }

    private func now(_ step: Int) -> Now {
        Now(
            monotonic: MonotonicTime(nanoseconds: 1_000_000_000) + .milliseconds(Int64(step) * 100),
            wall: WallTime(milliseconds: 1_800_000_000_000 + Int64(step) * 100))
    }

    func run(_ report: inout BenchmarkReport) throws {
        try handshakes(&report)
        wrongMacs(&report)
        try pings(&report)
    }

    // MARK: Handshakes

    /// Opens sessions to one node whose key is known, always from new endpoints, 32 at a time, and times each
    /// stage separately. A PING rides along, as on first contact.
    private func handshakes(_ report: inout BenchmarkReport) throws {
        var (a, b) = (sessions(asker, 1), sessions(answerer, 2))
        var turn = Turn(now: now(1), random: SeededRandom(seed: 1))
        var (outA, outB) = (SessionOutput(), SessionOutput())
        var (initiator, responder): ([Double], [Double]) = ([], [])
        let end = Stopwatch.processCPU() + seconds
        var step = 0
        while Stopwatch.processCPU() < end || step < 10 {
            step += 1
            turn.now = now(step)
            let ports = (0..<Self.batch).map { 1_024 + (step * Self.batch + $0) % 60_000 }
            outA.removeAll()
            outB.removeAll()
            let opening = Stopwatch.each(Self.batch) {
                for port in ports {
                    a.request(
                        .discovery(.ping(contact: nil)), to: address(answerer, port), owner: .peer(0),
                        turn: &turn, out: &outA)
                }
            }
            var first = Mailbag(outA.datagrams)
            let answering = Stopwatch.each(Self.batch) {
                first.forEach { index, bytes in
                    answer(&b, bytes, from: .loopback(UInt16(ports[index])), &turn, &outB)
                }
            }
            var second = Mailbag(outB.datagrams)
            outA.removeAll()
            let reading = Stopwatch.each(Self.batch) {
                second.forEach { index, bytes in
                    _ = a.receive(
                        bytes, from: .loopback(UInt16(ports[index])), turn: &turn, out: &outA)
                }
            }
            guard outA.completions.count == Self.batch, outA.datagrams.count == Self.batch else {
                throw BenchmarkError(
                    "\(outA.completions.count) of \(Self.batch) handshakes were completed; dropped: \(b.dropped) \(a.dropped)"
                )
            }
            // The initiator's empty first transport packet, which confirms the responder's session, is in
            // `outA` already.
            var third = Mailbag(outA.datagrams)
            outB.removeAll()
            let confirming = Stopwatch.each(Self.batch) {
                third.forEach { index, bytes in
                    _ = b.receive(
                        bytes, from: .loopback(UInt16(ports[index])), turn: &turn, out: &outB)
                }
            }
            guard outB.established.count == Self.batch else {
                throw BenchmarkError("sessions were not confirmed: \(b.dropped)")
            }
            initiator.append(opening + reading)
            responder.append(answering + confirming)
        }
        report.add("handshake_initiator_us", median(initiator) / 1_000)
        report.add("handshake_responder_us", median(responder) / 1_000)
    }

    private func answer(
        _ sessions: inout Sessions, _ bytes: UnsafeMutableRawBufferPointer, from source: Endpoint,
        _ turn: inout Turn, _ out: inout SessionOutput
    ) {
        guard let incoming = sessions.receive(bytes, from: source, turn: &turn, out: &out),
            let handle = incoming.reply
        else { return }
        sessions.reply(.discovery(.pong(contact: nil, observed: source)), to: handle, turn: &turn, out: &out)
    }

    private func wrongMacs(_ report: inout BenchmarkReport) {
        var (a, b) = (sessions(asker, 3), sessions(answerer, 4))
        var turn = Turn(now: now(1), random: SeededRandom(seed: 1))
        var (outA, outB) = (SessionOutput(), SessionOutput())
        let to = address(answerer, 7_000)
        a.request(
            .discovery(.ping(contact: nil)), to: to, owner: .peer(0), turn: &turn, out: &outA
        )
        var bag = Mailbag(outA.datagrams)
        var costs: [Double] = []
        bag.forEach { _, bytes in
            bytes[4] ^= 1
            let from = Endpoint.loopback(7_001)
            let end = Stopwatch.processCPU() + seconds
            while Stopwatch.processCPU() < end {
                costs.append(
                    Stopwatch.each(4_000) {
                        for _ in 0..<4_000 {
                            let incoming = b.receive(bytes, from: from, turn: &turn, out: &outB)
                            blackHole(incoming == nil)
                        }
                    })
            }
        }
        report.add("wrong_mac_us", median(costs) / 1_000)
    }

    // MARK: PING

    /// On an established session: answered by `Sessions` alone, and by a whole `Peer`.
    private func pings(_ report: inout BenchmarkReport) throws {
        var responder = sessions(answerer, 5)
        var turn = Turn(now: now(0), random: SeededRandom(seed: 2))
        var out = SessionOutput()
        let bySessions = try pingRate { bytes, source, now in
            turn.now = now
            answer(&responder, bytes, from: source, &turn, &out)
        } drain: {
            defer { out.removeAll() }
            return Mailbag(out.datagrams)
        }
        report.add("ping_sessions_per_s", 1e9 / bySessions)

        var settings = PeerSettings(
            mesh: mesh, endpoints: [.loopback(7_000)], reachability: .direct, profile: .loopback)
        settings.sessions = limits
        var peer = Peer(
            identity: answerer, settings: settings, entropy: Bytes32(6, 0, 0, 0), seed: Bytes32(7, 0, 0, 0),
            now: now(0))
        var effects: [Effect] = []
        let byPeer = try pingRate { bytes, source, now in
            peer.receive(bytes, from: source, now: now)
        } drain: {
            peer.takeEffects(into: &effects)
            defer { peer.clearDatagrams() }
            return Mailbag(peer.datagrams)
        }
        report.add("ping_peer_per_s", 1e9 / byPeer)
    }

    /// Nanoseconds to open, parse and answer one PING. `drain` is not timed.
    private func pingRate(
        _ receive: (UnsafeMutableRawBufferPointer, Endpoint, Now) -> Void, drain: () -> Mailbag
    ) throws -> Double {
        var a = sessions(asker, 8)
        var turn = Turn(now: now(0), random: SeededRandom(seed: 3))
        var out = SessionOutput()
        let to = address(answerer, 7_000)
        let from = Endpoint.loopback(7_001)
        var costs: [Double] = []
        var step = 0
        let end = Stopwatch.processCPU() + seconds
        while Stopwatch.processCPU() < end || step < 10 {
            step += 1
            // Spaced by a millisecond, so that none of the peer's own timers fall due during the measurement.
            let now = Now(
                monotonic: MonotonicTime(nanoseconds: 1_000_000_000 + Int64(step) * 1_000_000),
                wall: WallTime(milliseconds: 1_800_000_000_000 + Int64(step)))
            turn.now = now
            let count = step == 1 ? 1 : Self.batch
            out.removeAll()
            for _ in 0..<count {
                a.request(
                    .discovery(.ping(contact: nil)), to: to, owner: .peer(0), turn: &turn,
                    out: &out)
            }
            var questions = Mailbag(out.datagrams, to: to.endpoint)
            let cost = Stopwatch.each(count) { questions.forEach { _, bytes in receive(bytes, from, now) } }
            if step > 2 { costs.append(cost) }
            var answers = drain()
            out.removeAll()
            var answered = 0
            answers.forEach { _, bytes in
                _ = a.receive(bytes, from: to.endpoint, turn: &turn, out: &out)
            }
            answered = out.completions.count
            guard answered == count else {
                throw BenchmarkError("\(answered) of \(count) pings were answered")
            }
        }
        return median(costs)
    }
}

/// Datagrams in flight: a copy, because they are opened in place.
struct Mailbag {
    private var bytes: [UInt8]
    private var ranges: [Range<Int>]

    /// The datagrams for `endpoint`; nil means all.
    init(_ slab: DatagramSlab, to endpoint: Endpoint? = nil) {
        bytes = slab.bytes
        ranges = slab.entries.filter { endpoint == nil || $0.endpoint == endpoint }.map(\.range)
    }

    mutating func forEach(_ body: (Int, UnsafeMutableRawBufferPointer) -> Void) {
        bytes.withUnsafeMutableBytes { buffer in
            for (index, range) in ranges.enumerated() {
                body(index, UnsafeMutableRawBufferPointer(rebasing: buffer[range]))
            }
        }
    }
}
