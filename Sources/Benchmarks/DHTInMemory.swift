// The cost of a put and a get in the core alone: a mesh of peers in one process that exchange datagrams in
// memory. What `dht-peers` measures beyond this is the kernel, and cache contention among 64 processes.

import ArgumentParser
import Cryptography
import Discovery
import PeerCore
import Primitives
import Sessions
import Wire

struct DHTInMemoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dht-in-memory",
        abstract: "CPU of a put and of a get among peers in one process; prints one JSON object.")
    @Option var nodes = 64
    @Option(help: "Rounds; each does one put and one get per node.") var rounds = 20

    func run() {
        var mesh = MeshInMemory(nodes: nodes)
        mesh.settle(seconds: 30)
        print(mesh.measure(rounds: rounds).json)
    }
}

private final class PeerBox {
    var peer: Peer
    init(_ peer: consuming Peer) { self.peer = peer }
}

private struct MeshInMemory {
    private var boxes: [PeerBox] = []
    private var now = MonotonicTime(nanoseconds: 1_000_000_000)
    private var queue: [(to: Int, from: Int, bytes: [UInt8])] = []
    private var effects: [Effect] = []
    private(set) var datagrams = 0

    private static let firstPort = 7_000
    private var clock: Now {
        Now(
            monotonic: now,
            wall: WallTime(milliseconds: 1_800_000_000_000 + (now - .zero).milliseconds))
    }

    init(nodes: Int) {
        var first: PeerAddress?
        for index in 0..<nodes {
            let identity = Identity(testnetSeed: "node\(index)")
            let endpoint = Endpoint.loopback(UInt16(Self.firstPort + index))
            var settings = PeerSettings(
                mesh: MeshIdentity(name: "bench"), endpoints: [endpoint], reachability: .direct,
                profile: .loopback, bootstrap: first.map { [$0] } ?? [])
            settings.sessions.countsEndpoints = true
            first = first ?? PeerAddress(key: identity.publicKey, endpoint: endpoint)
            boxes.append(
                PeerBox(
                    Peer(
                        identity: identity, settings: settings, entropy: Bytes32(UInt64(index), 1, 0, 0),
                        seed: Bytes32(UInt64(index), 2, 0, 0), now: clock)))
        }
    }

    /// Runs the mesh for `seconds` of virtual time.
    mutating func settle(seconds: Int) {
        let end = now + .seconds(Int64(seconds))
        while now < end {
            now = now + .milliseconds(5)
            for index in boxes.indices where boxes[index].peer.nextDeadline() <= now {
                boxes[index].peer.tick(now: clock)
                collect(index)
            }
            deliver()
        }
    }

    /// Delivers one batch of datagrams to each node at a time, like a socket.
    private mutating func deliver() {
        while !queue.isEmpty {
            now = now + .microseconds(50)
            var batch: [(to: Int, from: Int, bytes: [UInt8])] = []
            swap(&batch, &queue)
            datagrams += batch.count
            for var datagram in batch {
                let source = Endpoint.loopback(UInt16(Self.firstPort + datagram.from))
                datagram.bytes.withUnsafeMutableBytes {
                    boxes[datagram.to].peer.receive($0, from: source, now: clock)
                }
                collect(datagram.to)
            }
        }
    }

    private mutating func collect(_ index: Int) {
        let box = boxes[index]
        box.peer.takeEffects(into: &effects)
        let slab = box.peer.datagrams
        for entry in slab.entries {
            let to = Int(entry.endpoint.port) - Self.firstPort
            if boxes.indices.contains(to) { queue.append((to, index, Array(slab.bytes[entry.range]))) }
        }
        box.peer.clearDatagrams()
        blackHole(box.peer.nextDeadline())
    }

    mutating func measure(rounds: Int) -> BenchmarkReport {
        var costs: [String: Double] = [:]
        var counts: [String: Int] = [:]
        func each(_ name: String, _ operation: (inout MeshInMemory, Int, TopicID) -> Void) {
            datagrams = 0
            costs[name, default: 0] += Stopwatch.each(boxes.count) {
                for number in boxes.indices { operation(&self, number, TopicID(model: "key\(number)")) }
            }
            counts[name, default: 0] += datagrams
        }
        for round in 0..<rounds {
            each("put") { mesh, number, topic in
                mesh.boxes[number].peer.provide(topic, now: mesh.clock)
                mesh.collect(number)
                mesh.deliver()
            }
            each("get") { mesh, number, topic in
                let reader = (number * 7 + 3 + round) % mesh.boxes.count
                _ = mesh.boxes[reader].peer.findProviders(of: topic, wanted: 1, now: mesh.clock)
                mesh.collect(reader)
                mesh.deliver()
                _ = mesh.boxes[reader].peer.takeFindings()
            }
            for number in boxes.indices {
                boxes[number].peer.stopProviding(TopicID(model: "key\(number)"), now: clock)
                collect(number)
                deliver()
            }
        }
        var report = BenchmarkReport()
        for name in ["put", "get"] {
            report.add("\(name)_us", (costs[name] ?? 0) / Double(rounds) / 1_000)
            report.add("\(name)_datagrams", Double(counts[name] ?? 0) / Double(rounds * boxes.count))
        }
        return report
    }
}
