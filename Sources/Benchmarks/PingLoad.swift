// PINGs to a node, or the same bytes to a bare echo server: answers per second of the answerer's CPU time.
// They are sealed before the clock starts, and answers are opened after it stops, so that sending costs the
// same in both cases.

import Cryptography
import Glibc
import PeerCore
import Primitives
import Sessions
import Wire

struct PingLoad {
    /// Datagrams in flight: enough that the answerer always finds a batch, and fewer than the kernel's buffer
    /// holds.
    private static let window = 128
    private static let slot = 2_048

    let target: Endpoint
    /// nil for an echo server.
    let key: PublicKey?
    /// The pid of the answerer.
    let pid: Int32
    let count: Int
    /// Bytes of a datagram, for an echo server.
    let size: Int

    func run() throws {
        let socket = try RawSocket(to: target)
        var session = try key.map { try Introduction(socket, PeerAddress(key: $0, endpoint: target)) }
        let slab =
            session?.seal(count) ?? (
                bytes: [UInt8](repeating: 7, count: size * 64),
                ranges: (0..<count).map {
                    let start = $0 % 64 * size; return start..<start + size
                }
            )
        var answers: [UInt8] = []
        var answerRanges: [Range<Int>] = []
        answers.reserveCapacity(count * 128)
        answerRanges.reserveCapacity(count)
        var buffer = [UInt8](repeating: 0, count: Self.slot * RawSocket.batchMax)
        var lengths: [Int] = []
        var sent = 0

        let cpu = Self.cpu(of: pid)
        let clock = SystemClockReading.now()
        slab.bytes.withUnsafeBytes { bytes in
            var lost = 0
            while answerRanges.count + lost < count {
                let free = min(count - sent, Self.window - (sent - answerRanges.count - lost))
                if free >= min(RawSocket.batchMax / 2, count - sent), free > 0 {
                    sent += socket.send(bytes, slab.ranges[sent..<sent + min(free, RawSocket.batchMax)])
                }
                // Whatever was not answered within a second is lost; continue with the rest.
                if !socket.wait(1_000) { lost = sent - answerRanges.count }
                buffer.withUnsafeMutableBytes { raw in
                    socket.receive(raw, slot: Self.slot, &lengths)
                    for (index, length) in lengths.enumerated() {
                        answerRanges.append(answers.count..<answers.count + length)
                        answers.append(contentsOf: raw[index * Self.slot..<index * Self.slot + length])
                    }
                }
            }
        }
        let seconds = SystemClockReading.now() - clock
        let used = Self.cpu(of: pid) - cpu
        let answered = session?.open(&answers, answerRanges) ?? answerRanges.count
        var report = BenchmarkReport()
        report.add("sent", Double(sent))
        report.add("answered", Double(answered))
        report.add("seconds", seconds)
        report.add("answerer_cpu_seconds", used)
        report.add("bytes_sent", Double(slab.ranges.first?.count ?? 0))
        report.add("bytes_answered", Double(answerRanges.last?.count ?? 0))
        say(report.json)
    }

    /// CPU seconds of a process, over all threads (clock_getcpuclockid(3)).
    static func cpu(of pid: Int32) -> Double {
        var time = timespec()
        clock_gettime(clockid_t(~pid << 3 | 2), &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

enum SystemClockReading {
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// An asker that the node has come to know, so that its PONGs are those of the steady state (without its
/// contact).
struct Introduction {
    private var sessions: Sessions
    private var turn = Turn(now: Self.now(), random: SeededRandom(seed: 1))
    private var out = SessionOutput(datagramsMax: .max)
    private let peer: PeerAddress

    init(_ socket: RawSocket, _ peer: PeerAddress) throws {
        self.peer = peer
        let identity = Identity(seed: SecureRandom.bytes32())
        var limits = SessionLimits()
        limits.requests = .max
        sessions = Sessions(
            identity: identity, mesh: MeshIdentity(name: "bench"), entropy: SecureRandom.bytes32(),
            limits: limits)
        let own = Endpoint.loopback(socket.port)
        let now = Self.now()
        let contact = Verified(
            signing: Contact(
                publicKey: identity.publicKey, endpoints: [own], reachability: .direct, sequence: 1,
                issuedAt: now.wall), with: identity
        ).signed
        var buffer = [UInt8](repeating: 0, count: 2_048 * RawSocket.batchMax)
        var lengths: [Int] = []
        var hasAnswered = false
        let end = now.monotonic + .seconds(5)
        var isFirst = true
        // Twice: the session of the first PING is not proven yet, so its contact is ignored.
        for _ in 0..<2 {
            turn.now = Self.now()
            sessions.request(
                .discovery(.ping(contact: contact)), to: peer, owner: .peer(0), turn: &turn,
                out: &out)
            Self.flush(&out, socket)
            while Self.now().monotonic < end, socket.wait(isFirst || !hasAnswered ? 500 : 100) {
                isFirst = false
                buffer.withUnsafeMutableBytes { raw in
                    socket.receive(raw, slot: 2_048, &lengths)
                    turn.now = Self.now()
                    for (index, length) in lengths.enumerated() {
                        let bytes = UnsafeMutableRawBufferPointer(
                            rebasing: raw[index * 2_048..<index * 2_048 + length])
                        let incoming = sessions.receive(
                            bytes, from: peer.endpoint, turn: &turn, out: &out)
                        guard let incoming, let reply = incoming.reply,
                            case .discovery(.ping) = incoming.message
                        else {
                            continue
                        }
                        hasAnswered = true
                        sessions.reply(
                            .discovery(.pong(contact: contact, observed: peer.endpoint)), to: reply,
                            turn: &turn,
                            out: &out)
                    }
                }
                Self.flush(&out, socket)
            }
        }
        guard hasAnswered else {
            throw BenchmarkError("the node at \(peer.endpoint) never asked back: \(sessions.dropped)")
        }
        out.removeAll()
    }

    private static func now() -> Now {
        Now(
            monotonic: MonotonicTime(nanoseconds: Int64(SystemClockReading.now() * 1e9)),
            wall: WallTime(milliseconds: Int64(time(nil)) * 1_000))
    }

    private static func flush(_ out: inout SessionOutput, _ socket: RawSocket) {
        out.datagrams.bytes.withUnsafeBytes { _ = socket.send($0, out.datagrams.entries.map(\.range)[...]) }
        out.removeAll()
    }

    /// Seals `count` PINGs, ready to be sent.
    mutating func seal(_ count: Int) -> (bytes: [UInt8], ranges: [Range<Int>]) {
        turn.now = Self.now()
        for _ in 0..<count {
            sessions.request(
                .discovery(.ping(contact: nil)), to: peer, owner: .peer(1), turn: &turn,
                out: &out)
        }
        defer { out.removeAll() }
        return (out.datagrams.bytes, out.datagrams.entries.map(\.range))
    }

    /// Returns how many of the PINGs these datagrams answer.
    mutating func open(_ bytes: inout [UInt8], _ ranges: [Range<Int>]) -> Int {
        turn.now = Self.now()
        bytes.withUnsafeMutableBytes { raw in
            for range in ranges {
                _ = sessions.receive(
                    UnsafeMutableRawBufferPointer(rebasing: raw[range]), from: peer.endpoint, turn: &turn,
                    out: &out)
            }
        }
        return out.completions.count {
            if case .answered(.discovery(.pong), _) = $0.result { true } else { false }
        }
    }
}
