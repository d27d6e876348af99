import Cryptography
import HeapModule
import Market
import Primitives
import Sessions
import Wire

@testable import PeerCore

/// Whole `Peer`s that exchange their sealed datagrams in virtual time. No channels: a dial is noted and never
/// answered.
struct PeerMesh {
    final class Node {
        var peer: Peer
        let endpoint: Endpoint
        /// By how much its wall clock is off.
        let skew: Interval
        var isDown = false
        var dialled: [Endpoint] = []
        var events: [ClientEvent] = []
        init(_ peer: consuming Peer, _ endpoint: Endpoint, _ skew: Interval) {
            self.peer = peer
            self.skew = skew
            self.endpoint = endpoint
        }
    }

    private struct Event: Comparable {
        var time: MonotonicTime
        var number: Int
        var node: Int
        var source: Endpoint?
        var bytes: [UInt8]
        static func < (a: Event, b: Event) -> Bool { (a.time, a.number) < (b.time, b.number) }
        static func == (a: Event, b: Event) -> Bool { a.number == b.number }
    }

    private(set) var nodes: [Node] = []
    private var queue = Heap<Event>()
    private var number = 0
    private var byEndpoint: [Endpoint: Int] = [:]
    private var nextTick: [MonotonicTime] = []
    private var effects: [Effect] = []
    private(set) var time = MonotonicTime.zero
    let latency = Interval.milliseconds(5)

    var now: Now {
        Now(monotonic: time, wall: WallTime(milliseconds: 1_800_000_000_000 + (time - .zero).milliseconds))
    }

    private func at(_ skew: Interval) -> Now {
        Now(monotonic: time, wall: now.wall + skew)
    }

    static func endpoint(_ index: Int) -> Endpoint { .loopback(UInt16(2_000 + index)) }
    static func identity(_ index: Int) -> Identity { Identity(seed: Bytes32(11, UInt64(index), 0, 0)) }
    static func address(_ index: Int) -> PeerAddress {
        PeerAddress(key: identity(index).publicKey, endpoint: endpoint(index))
    }

    mutating func add(skew: Interval = .zero, _ change: (inout PeerSettings) -> Void = { _ in }) {
        let index = nodes.count
        var settings = PeerSettings(
            mesh: MeshIdentity(name: "test"), name: "n\(index)", endpoints: [Self.endpoint(index)],
            reachability: .direct, profile: .loopback, bootstrap: index == 0 ? [] : [Self.address(0)])
        settings.sessions.countsEndpoints = true
        change(&settings)
        let peer = Peer(
            identity: Self.identity(index), settings: settings, entropy: Bytes32(3, UInt64(index), 0, 0),
            seed: Bytes32(4, UInt64(index), 0, 0), now: at(skew))
        byEndpoint[Self.endpoint(index)] = index
        nodes.append(Node(peer, Self.endpoint(index), skew))
        nextTick.append(.never)
        drain(index)
    }

    /// Calls into one node and carries out the resulting effects.
    mutating func act(_ index: Int, _ call: (inout Peer, Now) -> Void) {
        call(&nodes[index].peer, at(nodes[index].skew))
        drain(index)
    }

    mutating func run(for interval: Interval) {
        let end = time + interval
        while let event = queue.min, event.time <= end {
            queue.removeMin()
            time = event.time
            let node = nodes[event.node]
            if event.source == nil { nextTick[event.node] = .never }
            guard !node.isDown else { continue }
            if let source = event.source {
                var bytes = event.bytes
                let now = at(node.skew)
                bytes.withUnsafeMutableBytes { node.peer.receive($0, from: source, now: now) }
            } else {
                node.peer.tick(now: at(node.skew))
            }
            drain(event.node)
        }
        time = end
    }

    private mutating func drain(_ index: Int) {
        let node = nodes[index]
        for datagram in 0..<node.peer.datagrams.count {
            let (bytes, target) = node.peer.datagrams.withDatagram(datagram) { (Array($0), $1) }
            guard let receiver = byEndpoint[target] else { continue }
            schedule(at: time + latency, receiver, node.endpoint, bytes)
        }
        node.peer.clearDatagrams()
        node.peer.takeEffects(into: &effects)
        for effect in effects {
            switch effect {
            case .dial(_, let endpoint): node.dialled.append(endpoint)
            case .client(_, let event): node.events.append(event)
            case .write, .closeChannel, .startJob, .cancelJob, .pauseJob, .resumeJob, .keep, .keepSequence,
                .log, .sendApart,
                .left:
                break
            }
        }
        let next = node.peer.nextDeadline()
        if next != .never, next < nextTick[index] {
            nextTick[index] = next
            schedule(at: next, index, nil, [])
        }
    }

    private mutating func schedule(at when: MonotonicTime, _ node: Int, _ source: Endpoint?, _ bytes: [UInt8])
    {
        number += 1
        queue.insert(Event(time: max(when, time), number: number, node: node, source: source, bytes: bytes))
    }
}
