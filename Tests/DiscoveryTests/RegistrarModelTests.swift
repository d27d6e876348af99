import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Discovery

/// The registrar against a flat list of registrations (Protocol/rules.md, Rendezvous).
@Suite struct RegistrarModelTests {
    private struct Model: ModelTest {
        enum Operation {
            case keep(Int, network: Int, topic: Int, record: UInt8), remove(Int, topic: Int)
            case pass(Interval), sweep, sample(topic: Int, from: UInt32, atMost: Int, but: Int)
        }
        struct Entry: Equatable {
            var node: Int
            var network: Int
            var topic: Int
            var record: UInt8
            var expires: MonotonicTime
        }
        var registrar: Registrar
        var plain: [Entry] = []
        /// Topics with registrations, ordered by how long each has had some, longest first.
        var topics: [Int] = []
        var now = MonotonicTime.zero
        /// Draws the same hash keys as the registrar.
        var draws: SeededRandom
        var registrarTurn: Turn
        var secret: Secret32?
        var secretEnds = MonotonicTime.zero
        let parameters: DiscoveryParameters

        init(_ random: inout SeededRandom) {
            var parameters = DiscoveryParameters()
            parameters.registrationsPerTopicMax = 2 + random.below(8)
            parameters.groupRegistrationsMax = 1 + random.below(6)
            parameters.registrationsMax = 4 + random.below(20)
            parameters.groupBucketMax = 1 + random.below(3)
            parameters.registrarKeyLifetime = .minutes(60)
            self.parameters = parameters
            registrar = Registrar(Shared(parameters))
            draws = SeededRandom(seed: random.next())
            registrarTurn = Turn(
                now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)), random: draws)
        }

        static let nodes = 30
        static func key(_ node: Int) -> PublicKey { PublicKey(Bytes32(UInt64(node), 5, 5, 5)) }
        static func group(_ network: Int) -> Endpoint {
            DiscoveryProfile.internet.group(Endpoint(ipv4: UInt32(network) << 8 | 1, port: 1))
        }
        static func topic(_ number: Int) -> TopicID { TopicID(Bytes32(UInt64(number), 0, 0, 0)) }
        static func record(_ number: UInt8) -> SignedRecord {
            SignedRecord(body: [number], signature: Signature(r: .zero, s: .zero))
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let (node, topic) = (random.below(Self.nodes), random.below(5))
            // Most nodes don't move.
            let network = random.chance(9, in: 10) ? node % 12 : random.below(12)
            return switch random.below(20) {
            case 0..<14: .keep(node, network: network, topic: topic, record: UInt8(random.below(256)))
            case 14: .remove(node, topic: topic)
            case 15: .pass(random.interval(.zero, .minutes(4)))
            case 16: random.chance(1, in: 5) ? .pass(.minutes(61)) : .sweep
            default:
                .sample(
                    topic: topic, from: UInt32(random.below(100)), atMost: random.below(8),
                    but: random.below(Self.nodes))
            }
        }

        /// Lower ranks stay: first by network, then by node. The rank depends on a secret that changes daily.
        private func rank(_ entry: Entry) -> (UInt64, UInt64) {
            guard let secret else { return (.max, .max) }
            func hash(_ words: [UInt64]) -> UInt64 {
                words.withUnsafeBytes { ShortHash.keyed(secret, $0) }
            }
            let (group, key) = (Self.group(entry.network), Self.key(entry.node).value)
            let network = [group.high, group.low, UInt64(group.port)]
            return (hash(network), hash(network + [key.w0, key.w1, key.w2, key.w3]))
        }

        private mutating func renewSecret() {
            guard secret == nil || now >= secretEnds else { return }
            secret = Secret32(draws.bytes32())
            secretEnds = now + parameters.registrarKeyLifetime
        }

        /// The registration among these that would be dropped first.
        private func worst(_ some: [Entry]) -> Entry? {
            // Among one node's registrations for several topics, which share one rank: the one for the older
            // topic.
            some.max { a, b in
                let (first, second) = (rank(a), rank(b))
                if first != second { return first < second }
                return place(a.topic) > place(b.topic)
            }
        }

        private func place(_ topic: Int) -> Int { topics.firstIndex(of: topic) ?? topics.count }

        private mutating func drop(_ gone: [Entry]) {
            plain.removeAll { gone.contains($0) }
            topics.removeAll { topic in !plain.contains { $0.topic == topic } }
        }

        private mutating func keep(_ new: Entry) -> Bool {
            renewSecret()
            if let known = plain.firstIndex(where: {
                $0.node == new.node && $0.topic == new.topic && $0.network == new.network
            }) {
                plain[known] = new
                return true
            }
            let ofTopic = plain.filter { $0.topic == new.topic }
            let alike = ofTopic.filter { $0.network == new.network && $0.node != new.node }
            let rivals: [Entry]
            if alike.count >= parameters.groupBucketMax {
                rivals = alike
            } else if plain.count(where: { $0.network == new.network }) >= parameters.groupRegistrationsMax {
                return false
            } else if ofTopic.count >= parameters.registrationsPerTopicMax {
                rivals = ofTopic
            } else {
                rivals = plain.count >= parameters.registrationsMax ? plain : []
            }
            if let worst = worst(rivals) {
                guard rank(new) < rank(worst) else { return false }
                drop([worst])
            }
            // The node's registration from another network.
            drop(plain.filter { $0.node == new.node && $0.topic == new.topic })
            plain.append(new)
            if !topics.contains(new.topic) { topics.append(new.topic) }
            return true
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .keep(let node, let network, let topic, let record):
                registrarTurn.now.monotonic = now
                let kept = registrar.keep(
                    Self.record(record), of: Self.key(node), Self.group(network), Self.topic(topic),
                    &registrarTurn)
                let entry = Entry(
                    node: node, network: network, topic: topic, record: record,
                    expires: now + parameters.registrationLifetime)
                try same(kept, keep(entry), "kept")
            case .remove(let node, let topic):
                registrar.remove(Self.key(node), Self.topic(topic))
                drop(plain.filter { $0.node == node && $0.topic == topic })
            case .pass(let interval): now = now + interval
            case .sweep:
                registrarTurn.now.monotonic = now
                registrar.sweep(&registrarTurn)
                renewSecret()
                drop(plain.filter { $0.expires <= now })
            case .sample(let topic, let start, let wanted, let excluded):
                let live = listed(topic).filter { $0.expires > now && $0.node != excluded }
                let first = live.isEmpty ? 0 : Int(start) % live.count
                let expected = (live[first...] + live[..<first]).prefix(wanted).map { Self.record($0.record) }
                let found = registrar.sample(
                    Self.topic(topic), from: start, atMost: wanted, but: Self.key(excluded), now)
                try same(found, expected, "sample")
            }
            try compareContents()
        }

        /// A topic's registrations, lowest rank first.
        private func listed(_ topic: Int) -> [Entry] {
            plain.filter { $0.topic == topic }.sorted { rank($0) < rank($1) }
        }

        private func compareContents() throws {
            try same(registrar.count, plain.count, "count")
            try same(registrar.isEmpty, plain.isEmpty, "is empty")
            try holds(plain.count <= parameters.registrationsMax, "more than fit")
            for topic in 0..<5 {
                let expected = listed(topic)
                try same(registrar.count(Self.topic(topic)), expected.count, "count of topic \(topic)")
                let found = registrar.entries(Self.topic(topic), now)
                let live = expected.filter { $0.expires > now }
                try same(found.map(\.key), live.map { Self.key($0.node) }, "nodes of topic \(topic)")
                try same(
                    found.map(\.group), live.map { Self.group($0.network) }, "networks of topic \(topic)")
                try same(
                    found.map(\.record), live.map { Self.record($0.record) }, "records of topic \(topic)")
                try same(found.map(\.expires), live.map(\.expires), "ends in topic \(topic)")
            }
            for network in 0..<12 {
                let expected = plain.count { $0.network == network }
                try same(registrar.count(of: Self.group(network)), expected, "count of network \(network)")
            }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func theLowestRanksOfEachTopicAndNetworkAreKept(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 500)
    }
}
