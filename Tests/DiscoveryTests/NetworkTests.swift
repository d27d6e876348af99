import Cryptography
import Primitives
import Testing
import Wire

@testable import Discovery

@Suite struct NetworkTests {
    /// The live node nearest to `target`.
    func nearest(_ network: TestNetwork, to target: Bytes32, but self: Int) -> PublicKey? {
        network.nodes.indices.filter { $0 != self && !network.nodes[$0].isDown }
            .min {
                network.nodes[$0].identity.nodeID.distance(to: target)
                    < network.nodes[$1].identity.nodeID.distance(to: target)
            }.map { network.nodes[$0].identity.publicKey }
    }

    /// Runs `count` lookups of random points; returns how many found the nearest live node, and their
    /// statistics.
    func lookups(_ count: Int, in network: inout TestNetwork, from askers: Range<Int>, seed: UInt64) -> (
        found: Int, complete: Int, statistics: [LookupStatistics]
    ) {
        var random = SeededRandom(seed: seed)
        var started: [(asker: Int, target: Bytes32, token: RequestToken)] = []
        for number in 0..<count {
            let asker = askers.lowerBound + number % askers.count
            let target = random.bytes32()
            started.append((asker, target, network.lookup(target, at: asker)))
        }
        network.run(for: .seconds(60))
        var found = 0
        var statistics: [LookupStatistics] = []
        for (asker, target, token) in started {
            guard let result = network.nodes[asker].lookups[token] else { continue }
            statistics.append(result.statistics)
            if result.contacts.first?.record.publicKey == nearest(network, to: target, but: asker) {
                found += 1
            }
        }
        return (found, statistics.count, statistics)
    }

    @Test("Lookups among 500 nodes find the nearest node, and 16 results")
    func lookupsAmongMany() {
        var network = TestNetwork(seed: 11)
        network.add(500)
        network.presumeTables()
        let (found, complete, statistics) = lookups(24, in: &network, from: 0..<24, seed: 1)
        #expect(complete == 24 && found == 24)
        #expect(statistics.allSatisfy { $0.answered >= 16 && $0.asked <= 48 && $0.failed == 0 })
        #expect(network.nodes[0].lookups.values.allSatisfy { $0.contacts.count == 16 })
    }

    @Test("Lookups succeed with 20 % of the nodes dead")
    func lookupsAmongDead() {
        var network = TestNetwork(seed: 12)
        network.add(500)
        network.presumeTables()
        for index in 100..<200 { network.nodes[index].isDown = true }
        let (found, complete, _) = lookups(24, in: &network, from: 0..<24, seed: 2)
        #expect(complete == 24)
        #expect(found >= 23)
    }

    @Test("Case 16: lookups find the nearest honest node among 30 % colluders that name only each other")
    func lookupsAmongColluders() {
        var network = TestNetwork(seed: 13)
        network.add(500)
        network.presumeTables()
        let liars = network.nodes[350..<500].map { ($0.identity.nodeID, $0.contact.signed) }
        let keys = Set(network.nodes[350..<500].map(\.identity.publicKey))
        for index in 350..<500 {
            network.nodes[index].lie = { message, asker in
                guard case .find(let target) = message else {
                    return .pong(contact: nil, observed: asker.endpoint)
                }
                let near = liars.sorted { $0.0.distance(to: target) < $1.0.distance(to: target) }
                return .found(contacts: near.prefix(8).map(\.1))
            }
        }
        var random = SeededRandom(seed: 3)
        var started: [(Int, Bytes32, RequestToken)] = []
        for asker in 0..<24 {
            let target = random.bytes32()
            started.append((asker, target, network.lookup(target, at: asker)))
        }
        network.run(for: .seconds(60))
        var found = 0
        for (asker, target, token) in started {
            let honest = network.nodes[asker].lookups[token]?.contacts.first {
                !keys.contains($0.record.publicKey)
            }
            var others = network
            for index in 350..<500 { others.nodes[index].isDown = true }
            if honest?.record.publicKey == nearest(others, to: target, but: asker) { found += 1 }
        }
        #expect(found >= 23)
    }

    @Test("A hundred nodes that start together through one bootstrap address all find each other")
    func joinTogether() {
        var network = TestNetwork(seed: 14)
        network.add(100)
        let bootstrap = network.address(0)
        for index in 0..<100 {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
        }
        network.run(for: .milliseconds(2_500))
        #expect(network.nodes.allSatisfy { $0.isJoined && $0.discovery.count >= 16 })
        var started: [(Int, Int, RequestToken)] = []
        for target in 0..<100 {
            let asker = (target + 37) % 100
            started.append(
                (asker, target, network.lookup(network.nodes[target].identity.nodeID.value, at: asker)))
        }
        network.run(for: .seconds(5))
        let missing = started.filter { asker, target, token in
            network.nodes[asker].lookups[token]?.contacts.first?.record.publicKey
                != network.nodes[target].identity.publicKey
        }
        #expect(missing.isEmpty)
        // Others' FINDs can't find a node that is in no table, so every node must be in several.
        for node in network.nodes {
            let knowers = network.nodes.count { $0.discovery.contact(of: node.identity.publicKey) != nil }
            #expect(knowers >= 8)
        }
    }

    @Test("Nodes that join one after another know their neighbours, and their far buckets fill")
    func joinInTurn() {
        var network = TestNetwork(seed: 15)
        network.add(160)
        let bootstrap = network.address(0)
        for index in 0..<160 {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
            network.run(for: .milliseconds(20))
        }
        network.run(for: .seconds(30))
        var known = 0
        for node in network.nodes {
            let id = node.identity.nodeID
            let others = network.nodes.filter { $0.identity.publicKey != node.identity.publicKey }
                .sorted {
                    $0.identity.nodeID.distance(to: id.value) < $1.identity.nodeID.distance(to: id.value)
                }
            known += others.prefix(8).count { node.discovery.contact(of: $0.identity.publicKey) != nil }
        }
        #expect(known >= 160 * 8 * 99 / 100)
        // Half of the mesh is in bucket 0, a quarter in bucket 1: enough to fill each.
        let full = network.nodes.count { node in
            node.discovery.table.buckets.count { $0.index < 2 && $0.entries.count == 16 } == 2
        }
        #expect(full >= 155)
    }

    @Test("The same seed gives the same actions in the same order; another seed gives others")
    func determinism() {
        func digest(_ seed: UInt64) -> UInt64 {
            var network = TestNetwork(seed: seed)
            network.add(12)
            let bootstrap = network.address(0)
            for index in 0..<12 {
                network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
            }
            network.run(for: .seconds(3))
            network.nodes[5].isDown = true
            network.run(for: .seconds(100))
            return network.digest
        }
        let first = digest(15)
        #expect(first == digest(15))
        #expect(first != digest(16))
    }

    @Test("Eight nodes started 20 ms apart on one machine all know each other within half a second")
    func quickStart() {
        var network = TestNetwork(seed: 77)
        network.latency = (.microseconds(100), .microseconds(500))
        network.add(8)
        let bootstrap = network.address(0)
        for index in 0..<8 {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
            network.run(for: .milliseconds(20))
        }
        network.run(for: .milliseconds(500))
        #expect(network.nodes.allSatisfy { $0.discovery.count == 7 })
    }

    @Test("Case 35: a mesh of one, two or five nodes has no special case", arguments: [1, 2, 5])
    func small(_ count: Int) {
        var network = TestNetwork(seed: 17)
        network.add(count)
        let bootstrap = network.address(0)
        for index in 0..<count {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
        }
        network.run(for: .seconds(2))
        for index in 0..<count {
            #expect(network.nodes[index].discovery.count == count - 1)
            let token = network.lookup(Bytes32(1, 2, 3, 4), at: index)
            network.run(for: .seconds(2))
            #expect(network.nodes[index].lookups[token]?.contacts.count == count - 1)
        }
    }

    @Test(
        "Case 30: nothing is sent to a killed node 60 s after its loss was seen, except ever rarer retries"
    )
    func killed() {
        var network = TestNetwork(seed: 18)
        network.add(8)
        let bootstrap = network.address(0)
        for index in 0..<8 {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
        }
        network.run(for: .seconds(5))
        network.nodes[3].isDown = true
        let gone = network.nodes[3].identity.publicKey
        network.act(1) { $0.suspect(gone, turn: &$1, out: &$2) }
        network.run(for: .seconds(12))
        #expect(network.nodes[1].evictions == [gone])
        network.run(for: .seconds(120))
        let others = network.nodes.enumerated().filter { $0.offset != 3 }.map(\.element)
        #expect(others.allSatisfy { $0.evictions == [gone] })
    }

    @Test("Case 32: two halves separated for ten minutes find each other again")
    func partition() {
        var network = TestNetwork(seed: 19)
        network.add(12)
        let bootstrap = network.address(0)
        for index in 0..<12 {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
        }
        network.run(for: .minutes(2))
        #expect(network.nodes.allSatisfy { $0.discovery.count == 11 })
        network.sides = { ($0 < 6) == ($1 < 6) }
        network.run(for: .minutes(10))
        #expect(network.nodes.allSatisfy { $0.discovery.count == 5 })
        network.sides = nil
        network.run(for: .minutes(20))
        #expect(network.nodes.allSatisfy { $0.discovery.count == 11 })
    }

    @Test("A node that restarts elsewhere under its key is found there, and its old endpoint is dropped")
    func moves() {
        var network = TestNetwork(seed: 20)
        network.add(10)
        let bootstrap = network.address(0)
        for index in 1..<10 {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
        }
        network.run(for: .seconds(5))
        network.restart(4, port: 4_444)
        network.act(4) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
        // Long enough for the others' next refresh, at which they meet the restarted node if they haven't
        // yet.
        network.run(for: .seconds(45))
        let key = network.nodes[4].identity.publicKey
        for index in 0..<10 where index != 4 {
            #expect(network.nodes[index].discovery.contact(of: key)?.address.endpoint == .loopback(4_444))
        }
    }

    @Test("A quiet network of 64 costs each node at most 64 bytes a second each way")
    func quiet() {
        var network = TestNetwork(seed: 21)
        network.add(64)
        network.presumeTables()
        for index in 0..<64 {
            // As if each had just been admitted: introductions, then the usual schedule.
            let keys = network.nodes[index].discovery.table.entries.map(\.key)
            network.act(index) { discovery, turn, _ in
                for key in keys {
                    discovery.timers.set(
                        .contact(key.word), at: turn.monotonic + turn.random.interval(.zero, .seconds(1)))
                }
                discovery.timers.set(.refresh, at: turn.monotonic + .seconds(1))
                discovery.refreshDelay = discovery.parameters.refreshDelayMax
            }
        }
        network.run(for: .minutes(1))  // introductions
        network.payload = 0
        network.messages = 0
        network.run(for: .minutes(5))  // young contacts, which are asked most often
        #expect(network.nodes.allSatisfy { $0.evictions.isEmpty && $0.discovery.count > 30 })
        // 28 bytes of IPv4 and UDP, about 30 of the session's header and tag, 6 of the envelope.
        let perSecond =
            Double(network.payload + 64 * network.messages) / 64 / 300
        #expect(perSecond <= 64)
    }
}
