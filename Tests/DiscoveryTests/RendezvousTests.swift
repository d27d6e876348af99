import Cryptography
import Primitives
import Testing
import Wire

@testable import Discovery

/// Providers and searchers among many nodes: Protocol/rules.md, Rendezvous.
@Suite struct RendezvousTests {
    let topic = TopicID(model: "llama-3.1-8b-instruct")

    func network(_ count: Int, seed: UInt64) -> TestNetwork {
        var network = TestNetwork(seed: seed)
        network.add(count)
        network.presumeTables()
        return network
    }

    @Test("A search among 500 nodes finds all of 3 providers, and enough of 100 with fewer questions")
    func finds() throws {
        var network = network(500, seed: 31)
        let popular = TopicID(model: "popular")
        for index in 0..<3 { network.provide(topic, at: index) }
        for index in 100..<200 { network.provide(popular, at: index) }
        network.run(for: .seconds(4))
        var rare: [(Int, RequestToken)] = []
        var frequent: [(Int, RequestToken)] = []
        for asker in 300..<320 {
            rare.append((asker, network.search(topic, at: asker)))
            frequent.append((asker, network.search(popular, at: asker)))
        }
        network.run(for: .seconds(5))
        for (asker, token) in rare {
            #expect(network.nodes[asker].found[token]?.count == 3)
            let statistics = try #require(network.nodes[asker].searches[token])
            #expect(statistics.asked <= 60)
        }
        for (asker, token) in frequent {
            #expect(network.nodes[asker].found[token]?.count ?? 0 >= 30)
            let statistics = try #require(network.nodes[asker].searches[token])
            #expect(statistics.asked <= 35)
        }
    }

    @Test("Where all contacts fit one bucket, every node registers with and asks every other")
    func small() {
        var network = TestNetwork(seed: 32)
        network.add(12)
        let bootstrap = network.address(0)
        for index in 0..<12 {
            network.act(index) { $0.join(bootstrap: [bootstrap], turn: &$1, out: &$2) }
        }
        network.provide(topic, at: 3)
        network.run(for: .seconds(10))
        for index in 0..<12 where index != 3 {
            #expect(network.nodes[index].discovery.registrar.count(topic) == 1)
        }
        let token = network.search(topic, at: 5)
        network.run(for: .seconds(1))
        #expect(network.nodes[5].found[token] == [network.nodes[3].identity.publicKey])
    }

    @Test("Registrations are renewed while their provider lives, and gone 15 minutes after it died")
    func renewal() {
        var network = network(100, seed: 33)
        network.provide(topic, at: 0)
        network.run(for: .minutes(40))
        let held = network.nodes.count { $0.discovery.registrar.count(topic) == 1 }
        #expect(held >= 15 && held <= 60)
        network.nodes[0].isDown = true
        network.run(for: .minutes(17))
        #expect(network.nodes.allSatisfy { $0.discovery.registrar.count(topic) == 0 })
    }

    @Test("A search goes on past dead registrars")
    func dead() {
        var network = network(500, seed: 34)
        for index in 0..<20 { network.provide(topic, at: index) }
        network.run(for: .seconds(4))
        for index in 100..<200 { network.nodes[index].isDown = true }
        var searches: [(Int, RequestToken)] = []
        for asker in 300..<320 { searches.append((asker, network.search(topic, at: asker))) }
        network.run(for: .seconds(4))
        // Two draws of five in a bucket of about twenty miss each other now and then.
        var all = 0
        for (asker, token) in searches {
            let found = network.nodes[asker].found[token]?.count ?? 0
            #expect(found >= 16)
            all += found
            #expect(network.nodes[asker].searches[token] != nil)
        }
        #expect(all >= 19 * searches.count)
    }

    @Test(
        "Case 14: registrations that name one victim cause it two probes a search, within its budget"
    )
    func victim() {
        var bench = Bench(.internet)
        let liar = bench.contact(1)
        bench.admit(liar)
        let target = Endpoint(ipv4: 0x0909_0909, port: 53)
        _ = bench.discovery.findProviders(of: topic, turn: &bench.turn, out: &bench.out)
        let question = bench.requests()[0]
        let lies = (0..<8).map { RegisterMessageTests.registration(500 + $0, topic, at: target).0.signed }
        bench.answer(question.token, .providers(Providers(registrations: lies)), from: question.peer)
        let named = bench.out.count { if case .providerFound = $0 { true } else { false } }
        #expect(named == 2)
    }

    @Test("Case 15: forged, foreign, repeated and surplus registrations count for nothing")
    func forged() {
        var bench = Bench()
        let liar = bench.contact(1)
        bench.admit(liar)
        _ = bench.discovery.findProviders(of: topic, turn: &bench.turn, out: &bench.out)
        let question = bench.requests()[0]
        let (good, address) = RegisterMessageTests.registration(2, topic)
        let (other, _) = RegisterMessageTests.registration(3, TopicID(.zero))
        let forged = SignedRecord(
            body: RegisterMessageTests.registration(4, topic).0.signed.body, signature: good.signed.signature)
        let (own, _) = (
            Verified(
                signing: Registration(
                    publicKey: bench.identity.publicKey, topic: topic, endpoints: [.loopback(5)]),
                with: bench.identity), 0
        )
        let lan = RegisterMessageTests.registration(5, topic, at: Endpoint(ipv4: 0xe000_0001, port: 9)).0
        bench.answer(
            question.token,
            .providers(
                Providers(
                    registrations: [good, good, other, own, lan].map(\.signed) + [
                        forged, SignedRecord(body: [9], signature: good.signed.signature),
                    ])), from: question.peer)
        let found = bench.out.compactMap { action -> PeerAddress? in
            if case .providerFound(_, let provider) = action { provider.address } else { nil }
        }
        #expect(found == [address])
    }

    @Test("A registration with a false signature, which a registrar may relay, costs a search one check")
    func relayed() {
        var bench = Bench()
        for number in 1...3 { bench.admit(bench.contact(number)) }
        _ = bench.discovery.findProviders(of: topic, turn: &bench.turn, out: &bench.out)
        let good = RegisterMessageTests.registration(20, topic).0.signed
        let forged = SignedRecord(
            body: RegisterMessageTests.registration(21, topic).0.signed.body, signature: good.signature)
        let questions = bench.requests()
        #expect(questions.count == 3)
        for question in questions {
            bench.answer(
                question.token, .providers(Providers(registrations: [forged])), from: question.peer)
        }
        #expect(!bench.out.contains { if case .providerFound = $0 { true } else { false } })
        #expect(bench.discovery.dropped[.badRegistration] == 3)
    }

    @Test(
        "A registrar keeps what its author registers without checking the signature; searchers check it")
    func unchecked() {
        var bench = Bench()
        let (record, peer) = RegisterMessageTests.registration(1, topic)
        let other = RegisterMessageTests.registration(2, topic).0
        let false1 = SignedRecord(body: record.signed.body, signature: other.signed.signature)
        let answer = bench.ask(.register(Register(registration: false1)), from: peer)
        #expect(answer == .registered(Registered(heldMilliseconds: 900_000)))
        _ = bench.ask(.register(Register(registration: record.signed)), from: peer)
        #expect(bench.discovery.registrar.entries(topic, bench.now).map(\.record) == [record.signed])
    }

    @Test("A forged contact doesn't hide the node that it names, and uses up no question")
    func forgedContact() throws {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.admit(peer)
        var point = NodeID(of: peer.record.publicKey).value
        point.w0 ^= 1 << 63  // the answering node is in bucket 0
        _ = bench.discovery.findProviders(
            of: TopicID(point), turn: &bench.turn, out: &bench.out)
        let question = bench.requests()[0]
        let named = (100..<140).map { bench.contact($0) }.filter {
            NodeID(of: $0.record.publicKey).topicBucket(TopicID(point)) > 0
        }
        let (hidden, forgedOnly) = (named[0], named[1])
        let forged = [hidden, forgedOnly].map {
            SignedRecord(
                body: TestNetwork.contact(TestNetwork.identity(999), at: [.loopback(9)]).signed.body,
                signature: $0.signed.signature)
        }
        // Under the same keys, but with another endpoint.
        let lies = zip([hidden, forgedOnly], forged).map { honest, lie in
            SignedRecord(
                body: Contact(
                    publicKey: honest.record.publicKey, endpoints: [.loopback(9)], sequence: 7
                ).encoded(), signature: lie.signature)
        }
        bench.answer(
            question.token, .providers(Providers(contacts: lies + [hidden.signed])), from: question.peer)
        #expect(bench.requests().map(\.peer) == [bench.address(hidden)])
    }

    @Test("A contact that is no nearer to the topic than the answering node is refused")
    func notNearer() {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.admit(peer)
        let id = NodeID(of: peer.record.publicKey)
        var point = id.value
        point.w0 ^= 1 << 59  // shares four bits with the answering node
        _ = bench.discovery.findProviders(
            of: TopicID(point), turn: &bench.turn, out: &bench.out)
        let question = bench.requests()[0]
        let listed = (100..<108).map { bench.contact($0) }
        bench.answer(
            question.token, .providers(Providers(contacts: listed.map(\.signed))), from: question.peer)
        let nearer = listed.filter { NodeID(of: $0.record.publicKey).topicBucket(TopicID(point)) > 4 }
        #expect(bench.requests().count == nearer.count)
        #expect(bench.discovery.dropped[.notNearer] == UInt64(8 - nearer.count))
    }
}
