// A node that is only a DHT: a real `Peer` on libuv's UDP socket and timer, controlled by lines on stdin. One
// process is one node, like the peers with which it is compared. The commands are described in
// scripts/benchmarks/peers/network.py.

import Cryptography
import Discovery
import Glibc
import Market
import PeerCore
import Primitives
import Sessions
import UVLoop
import Wire

struct DHTNodePlan: Sendable {
    var listen: Endpoint
    var join: [PeerAddress]
    var seed: String
    /// Number of models it pretends to sell, for measuring what the market's upkeep adds.
    var offers: Int
}

/// Lives on the loop's thread.
final class DHTNode {
    private struct Search {
        let id: String
        let since: MonotonicTime
        var found = 0
    }

    private let plan: DHTNodePlan
    private var peer: Peer
    private var udp: UDPSocket?
    private var timer: UVLoop.Timer?
    private var lines: LineReader?
    private var effects: [Effect] = []
    private var puts: [(id: String, topic: TopicID, since: MonotonicTime)] = []
    private var searches: [RequestToken: Search] = [:]
    private var isConnected = false
    private var sentBytes = 0
    private var receivedBytes = 0

    /// Runs until stdin ends.
    static func run(_ plan: DHTNodePlan) throws {
        let loop = try EventLoop(name: "dht-node")
        loop.post {
            let node = DHTNode(plan)
            do { try node.start(on: loop) } catch {
                complain("starling-bench: \(plan.listen): \(error)")
                exit(69)
            }
        }
        loop.start()
        while true { pause() }
    }

    private init(_ plan: DHTNodePlan) {
        self.plan = plan
        var settings = PeerSettings(
            mesh: MeshIdentity(name: "bench"), endpoints: [plan.listen], reachability: .direct,
            profile: .loopback, bootstrap: plan.join)
        settings.sessions.countsEndpoints = true
        settings.channels.countsEndpoints = true
        peer = Peer(
            identity: Identity(testnetSeed: plan.seed), settings: settings, entropy: SecureRandom.bytes32(),
            seed: SecureRandom.bytes32(), now: SystemClock.now())
    }

    private func start(on loop: EventLoop) throws {
        let udp = try UDPSocket(on: loop, bind: plan.listen)
        self.udp = udp
        udp.onDatagram = { bytes, source in
            self.receivedBytes += bytes.count
            self.peer.receive(bytes, from: source, now: SystemClock.now())
        }
        udp.onBatchEnd = { self.flush() }
        timer = try UVLoop.Timer(on: loop) {
            self.peer.tick(now: SystemClock.now())
            self.flush()
        }
        lines = LineReader(on: loop) { line in
            self.obey(line)
            self.flush()
        }
        if plan.offers > 0 { peer.serve((0..<plan.offers).map(Self.offer), now: SystemClock.now()) }
        say("{\"ready\": \(quoted("\(peer.identity.publicKey)@\(udp.endpoint)"))}")
        flush()
    }

    private static func offer(_ index: Int) -> ServedModel {
        ServedModel(
            model: "model-\(index)", price: Price(input: 1_000_000, cachedInput: 100_000, output: 2_000_000),
            slots: 2, context: 4_096, features: [.chat, .completion], continues: true, digest: nil,
            quantization: "q8_0",
            speed: Speed(
                firstTokenMilliseconds: 5, millitokensPerSecond: 60_000, coldFirstTokenMilliseconds: 0))
    }

    // MARK: The turn

    private func flush() {
        if peer.hasEffects { peer.takeEffects(into: &effects) }
        report()
        if let udp, peer.datagrams.count > 0 {
            let entries = peer.datagrams.entries
            peer.datagrams.bytes.withUnsafeBytes { bytes in
                udp.send(bytes, count: entries.count) { index in
                    let entry = entries[index]
                    return DatagramSlot(
                        offset: entry.range.lowerBound, length: entry.range.count, endpoint: entry.endpoint)
                }
            }
            sentBytes += peer.datagrams.bytes.count
            peer.clearDatagrams()
        }
        timer?.arm(at: peer.nextDeadline())
    }

    /// Reports everything new in one write: one line at a time would cost a system call each.
    private func report() {
        var lines: [String] = []
        if !isConnected, peer.isJoined || plan.join.isEmpty {
            isConnected = true
            lines.append("{\"connected\": true}")
        }
        for finding in peer.takeFindings() {
            switch finding {
            case .provider(let number, _):
                guard let search = searches[number] else { continue }
                searches[number]?.found += 1
                if search.found == 0 {
                    lines.append("{\"first\": \(search.id), \"ms\": \(elapsed(search.since))}")
                }
            case .nearest: break
            case .over(let number, let statistics):
                guard let search = searches.removeValue(forKey: number) else { continue }
                lines.append(
                    "{\"got\": \(search.id), \"ok\": \(search.found > 0), \"ms\": \(elapsed(search.since)), \"found\": \(search.found), \"asked\": \(statistics.asked)}"
                )
            }
        }
        if !puts.isEmpty {
            puts.removeAll { put in
                guard !peer.isRegistering(put.topic) else { return false }
                let holders = peer.registrars(put.topic, now: SystemClock.now())
                lines.append(
                    "{\"put\": \(put.id), \"ok\": \(holders > 0), \"ms\": \(elapsed(put.since)), \"holders\": \(holders)}"
                )
                return true
            }
        }
        if !lines.isEmpty { say(lines.joined(separator: "\n")) }
    }

    private func elapsed(_ since: MonotonicTime) -> Double { (SystemClock.monotonic - since).seconds * 1_000 }

    // MARK: Commands

    private func obey(_ line: Substring) {
        let words = line.split(separator: " ")
        guard words.count >= 2 else { return }
        let now = SystemClock.now()
        let id = String(words[1])
        let topic = TopicID(model: String(words.count > 2 ? words[2] : ""))
        switch words[0] {
        case "put":
            puts.append((id, topic, now.monotonic))
            peer.provide(topic, now: now)
        case "get", "find":
            let number = peer.findProviders(of: topic, wanted: words[0] == "get" ? 1 : nil, now: now)
            searches[number] = Search(id: id, since: now.monotonic)
        case "stats": say(stats(id))
        default: complain("starling-bench dht-node: \(line)?")
        }
    }

    private func stats(_ id: String) -> String {
        var report = BenchmarkReport()
        report.add("stats", json: id)
        report.add("cpu_seconds", Stopwatch.processCPU())
        report.add("contacts", Double(peer.contacts.count))
        report.add("offers", Double(peer.allOffers.count))
        report.add("sent", Double(udp?.counters.sent ?? 0))
        report.add("received", Double(udp?.counters.received ?? 0))
        report.add("sent_bytes", Double(sentBytes))
        report.add("received_bytes", Double(receivedBytes))
        let dropped = peer.dropped.filter { $0.count > 0 }.map { "\(quoted($0.name)): \($0.count)" }
        report.add("dropped", json: "{" + dropped.joined(separator: ", ") + "}")
        return report.json
    }
}
