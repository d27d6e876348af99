import Cryptography
import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@testable import Sessions

func vectorFile(_ name: String) throws -> Data {
    try Data(contentsOf: projectFolder.appendingPathComponent("Protocol/vectors/\(name)"))
}

func moment(_ time: MonotonicTime) -> Now { Now(monotonic: time, wall: WallTime(milliseconds: 0)) }

/// A turn for a machine that draws nothing, or whose draws don't matter.
func turn(at time: MonotonicTime) -> Turn { Turn(now: moment(time), random: SeededRandom(seed: 1)) }

func signedContact(_ identity: Identity, endpoints: Int = 1) -> SignedRecord {
    let places = (0..<endpoints).map { Endpoint(ipv4: 0x0a00_0000 + UInt32($0), port: 7827) }
    return Verified(signing: Contact(publicKey: identity.publicKey, endpoints: places), with: identity).signed
}

/// Sessions of several nodes on one virtual network with one latency. Nodes answer requests: PING with PONG,
/// FIND with FOUND, everything else with `offerReceived`.
final class Net {
    struct Packet {
        /// When it arrives.
        var at: MonotonicTime
        var from: Endpoint
        var to: Endpoint
        var bytes: [UInt8]
    }
    struct Node {
        var identity: Identity
        var endpoint: Endpoint
        var sessions: Sessions
        var turn = Turn(now: moment(.zero), random: SeededRandom(seed: 7))
        var out = SessionOutput()
        var incoming: [Incoming] = []
        var completions: [Completion] = []
        var established: [PeerAddress] = []
        var strangers: [Endpoint] = []
        var advice: [VersionAdvice] = []
        var pongContact: SignedRecord?
        var address: PeerAddress { PeerAddress(key: identity.publicKey, endpoint: endpoint) }

        mutating func request(_ message: Message, to peer: PeerAddress, _ token: UInt64, _ now: Now) {
            turn.now = now
            sessions.request(
                message, to: peer, owner: .peer(RequestToken(rawValue: token)), turn: &turn, out: &out)
        }

        mutating func send(_ message: Message, to peer: PeerAddress, _ now: Now) {
            turn.now = now
            sessions.send(message, to: peer, turn: &turn, out: &out)
        }

        mutating func tick(_ now: Now) {
            turn.now = now
            sessions.tick(turn: &turn, out: &out)
        }

        mutating func receive(_ bytes: [UInt8], from source: Endpoint, _ now: Now) {
            turn.now = now
            var copy = bytes
            let found = copy.withUnsafeMutableBytes {
                sessions.receive($0, from: source, turn: &turn, out: &out)
            }
            guard let found else { return }
            incoming.append(found)
            guard let reply = found.reply else { return }
            let answer: Message
            switch found.message {
            case .discovery(.ping): answer = .discovery(.pong(contact: pongContact, observed: source))
            case .discovery(.find): answer = .discovery(.found(contacts: []))
            default: answer = .gossip(.offerReceived)
            }
            sessions.reply(answer, to: reply, turn: &turn, out: &out)
        }
    }

    var nodes: [Node] = []
    private var network = VirtualNetwork<Packet>(
        seed: 1, start: MonotonicTime(nanoseconds: 1_000_000_000), latency: .zero)
    var latency = Interval.milliseconds(10)
    var log: [Packet] = []
    /// Returns false to drop this packet.
    var delivers: (Packet) -> Bool = { _ in true }

    var now: MonotonicTime {
        get { network.now }
        set { network.now = newValue }
    }

    init(_ count: Int = 2, limits: SessionLimits = .init()) {
        for index in 0..<count { _ = add(UInt64(index), limits: limits) }
    }

    func add(
        _ seed: UInt64, endpoint: Endpoint? = nil, entropy: UInt64 = 0,
        mesh: MeshIdentity = MeshIdentity(name: "test"),
        limits: SessionLimits = .init()
    ) -> Int {
        nodes.append(Self.node(seed, endpoint, entropy, mesh, limits))
        return nodes.count - 1
    }

    static func node(
        _ seed: UInt64, _ endpoint: Endpoint? = nil, _ entropy: UInt64 = 0,
        _ mesh: MeshIdentity = MeshIdentity(name: "test"), _ limits: SessionLimits = .init()
    ) -> Node {
        let identity = Identity.ofNode(Int(seed))
        return Node(
            identity: identity,
            endpoint: endpoint ?? Endpoint(ipv4: 0x0a01_0000 + UInt32(seed) << 8, port: 7827),
            sessions: Sessions(
                identity: identity, mesh: mesh, entropy: Bytes32(seed, entropy, 2, 2), limits: limits))
    }

    /// The same node after a restart: same key and endpoint, fresh entropy, no state.
    func restart(_ index: Int, entropy: UInt64 = 99) {
        let endpoint = nodes[index].endpoint
        let sessions = Sessions(
            identity: nodes[index].identity, mesh: MeshIdentity(name: "test"),
            entropy: Bytes32(entropy, 3, 3, 3))
        nodes[index].sessions = sessions
        nodes[index].endpoint = endpoint
    }

    func request(_ message: Message, from index: Int, to other: Int, token: UInt64 = 1) {
        request(message, from: index, to: nodes[other].address, token: token)
    }

    func request(_ message: Message, from index: Int, to peer: PeerAddress, token: UInt64 = 1) {
        nodes[index].request(message, to: peer, token, moment(now))
        collect(index)
    }

    func send(_ message: Message, from index: Int, to other: Int) {
        let peer = nodes[other].address
        nodes[index].send(message, to: peer, moment(now))
        collect(index)
    }

    /// Hands `bytes` to a node as if they came from `source`.
    func inject(_ bytes: [UInt8], into index: Int, from source: Endpoint) {
        nodes[index].receive(bytes, from: source, moment(now))
        collect(index)
    }

    private func collect(_ index: Int) {
        let out = nodes[index].out
        for entry in 0..<out.datagrams.count {
            out.datagrams.withDatagram(entry) { bytes, endpoint in
                let packet = Packet(
                    at: now + latency, from: nodes[index].endpoint, to: endpoint, bytes: Array(bytes))
                log.append(packet)
                if delivers(packet) { carry(packet) }
            }
        }
        nodes[index].completions += out.completions
        nodes[index].established += out.established
        nodes[index].strangers += out.strangers
        nodes[index].advice += out.advice
        nodes[index].out.removeAll()
        network.wake(index, at: nodes[index].sessions.nextDeadline())
    }

    /// Lets `packet` arrive when it says.
    func carry(_ packet: Packet) { network.plan(packet, at: packet.at) }

    /// Runs everything that is due within `duration`.
    func run(_ duration: Interval = .seconds(10)) {
        let end = now + duration
        // A test may have called into a node by itself.
        for index in nodes.indices { network.wake(index, at: nodes[index].sessions.nextDeadline()) }
        while let happening = network.next(until: end) {
            switch happening {
            case .alarm(let index):
                nodes[index].tick(moment(now))
                collect(index)
            case .event(let packet):
                for index in nodes.indices where nodes[index].endpoint == packet.to {
                    inject(packet.bytes, into: index, from: packet.from)
                }
            }
        }
    }

    /// The kinds of all packets so far, by their first byte.
    var kinds: [UInt8] { log.map { $0.bytes[0] } }
}

extension Completion {
    var answer: Message? {
        switch result {
        case .answered(let message, _): message
        case .unanswered, .notAsked: nil
        }
    }
    var roundTrip: Interval? {
        switch result {
        case .answered(_, let time): time
        case .unanswered, .notAsked: nil
        }
    }
}
