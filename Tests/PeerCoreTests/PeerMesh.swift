import Cryptography
import Market
import Primitives
import Sessions
import TestSupport
import Wire

@testable import PeerCore

/// Whole `Peer`s that exchange their sealed datagrams in virtual time. No channels: dials are recorded and
/// never answered.
struct PeerMesh {
    final class Node {
        var peer: Peer
        let endpoint: Endpoint
        /// By how much its wall clock is off.
        let skew: Interval
        var settings: PeerSettings
        var restarts = 0
        var isDown = false
        var dialled: [Endpoint] = []
        var events: [ClientEvent] = []
        init(_ peer: consuming Peer, _ endpoint: Endpoint, _ skew: Interval, _ settings: PeerSettings) {
            self.peer = peer
            self.skew = skew
            self.endpoint = endpoint
            self.settings = settings
        }
    }

    private struct Datagram {
        var node: Int
        var source: Endpoint
        var bytes: [UInt8]
    }

    private(set) var nodes: [Node] = []
    private var network = VirtualNetwork<Datagram>(seed: 1, latency: .milliseconds(5))
    private var byEndpoint: [Endpoint: Int] = [:]
    private var effects: [Effect] = []
    private var time: MonotonicTime { network.now }

    var now: Now {
        Now(monotonic: time, wall: WallTime(milliseconds: 1_800_000_000_000 + (time - .zero).milliseconds))
    }

    private func at(_ skew: Interval) -> Now {
        Now(monotonic: time, wall: now.wall + skew)
    }

    static func endpoint(_ index: Int) -> Endpoint { .loopback(UInt16(2_000 + index)) }
    static func address(_ index: Int) -> PeerAddress {
        PeerAddress(key: Identity.ofNode(index).publicKey, endpoint: endpoint(index))
    }

    /// - Parameter key: the node whose key it has, if not its own.
    mutating func add(
        skew: Interval = .zero, key: Int? = nil, _ change: (inout PeerSettings) -> Void = { _ in }
    ) {
        let index = nodes.count
        var settings = PeerSettings(
            mesh: MeshIdentity(name: "test"), name: "n\(index)", endpoints: [Self.endpoint(index)],
            reachability: .direct, profile: .loopback, bootstrap: index == 0 ? [] : [Self.address(0)])
        settings.sessions.countsEndpoints = true
        change(&settings)
        let peer = Peer(
            identity: Identity.ofNode(key ?? index), settings: settings,
            entropy: Bytes32(3, UInt64(index), 0, 0),
            seed: Bytes32(4, UInt64(index), 0, 0), now: at(skew))
        byEndpoint[Self.endpoint(index)] = index
        nodes.append(Node(peer, Self.endpoint(index), skew, settings))
        drain(index)
    }

    /// A new process under the same key, with the sequences and the anchors that the old one stored.
    mutating func restart(_ index: Int, anchors: [Verified<Contact>] = []) {
        let node = nodes[index]
        node.restarts += 1
        node.settings.anchors = anchors
        node.isDown = false
        node.peer = Peer(
            identity: Identity.ofNode(index), settings: node.settings,
            entropy: Bytes32(3, UInt64(index), UInt64(node.restarts), 0),
            seed: Bytes32(4, UInt64(index), UInt64(node.restarts), 0), now: at(node.skew))
        network.forgetAlarm(of: index)
        drain(index)
    }

    /// Calls into one node and carries out the resulting effects.
    mutating func act(_ index: Int, _ call: (inout Peer, Now) -> Void) {
        call(&nodes[index].peer, at(nodes[index].skew))
        drain(index)
    }

    mutating func run(for interval: Interval) {
        let end = time + interval
        while let happening = network.next(until: end) {
            switch happening {
            case .alarm(let index):
                let node = nodes[index]
                guard !node.isDown else { continue }
                node.peer.tick(now: at(node.skew))
                drain(index)
            case .event(let datagram):
                let node = nodes[datagram.node]
                guard !node.isDown else { continue }
                var bytes = datagram.bytes
                let now = at(node.skew)
                bytes.withUnsafeMutableBytes { node.peer.receive($0, from: datagram.source, now: now) }
                drain(datagram.node)
            }
        }
    }

    private mutating func drain(_ index: Int) {
        let node = nodes[index]
        for datagram in 0..<node.peer.datagrams.count {
            let (bytes, target) = node.peer.datagrams.withDatagram(datagram) { (Array($0), $1) }
            guard let receiver = byEndpoint[target] else { continue }
            network.send(
                Datagram(node: receiver, source: node.endpoint, bytes: bytes), from: index, to: receiver)
        }
        node.peer.clearDatagrams()
        node.peer.takeEffects(into: &effects)
        for effect in effects {
            switch effect {
            case .dial(_, let endpoint): node.dialled.append(endpoint)
            case .client(_, let event): node.events.append(event)
            case .keepSequence(let model, let sequence):
                node.settings.offerSequences.removeAll { $0.model == model }
                node.settings.offerSequences.append((model, sequence))
            case .left: node.isDown = true
            case .write, .closeChannel, .startJob, .cancelJob, .pauseJob, .resumeJob, .keep, .keepSeller,
                .keepBuyer, .log, .sendApart:
                break
            }
        }
        network.wake(index, at: node.peer.nextDeadline())
    }
}
