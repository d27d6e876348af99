import Cryptography
import Primitives
import Testing
import Wire

@testable import Discovery

/// What a registrar keeps: Protocol/rules.md, Rendezvous.
@Suite struct RegistrarTests {
    let topic = TopicID(Bytes32(1, 2, 3, 4))
    let parameters = DiscoveryParameters()

    struct Bed {
        var registrar: Registrar
        var turn = Turn(
            now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)), random: SeededRandom(seed: 1))
        var now: MonotonicTime {
            get { turn.monotonic }
            set { turn.now.monotonic = newValue }
        }
        let record = SignedRecord(body: [1], signature: Signature(r: .zero, s: .zero))

        init(_ parameters: DiscoveryParameters = DiscoveryParameters()) {
            registrar = Registrar(Shared(parameters))
        }

        /// True when it is kept.
        mutating func offer(_ number: Int, network: Int, _ topic: TopicID) -> Bool {
            let key = PublicKey(Bytes32(UInt64(number), 5, 5, 5))
            let group = DiscoveryProfile.internet.group(Endpoint(ipv4: UInt32(network) << 8 | 1, port: 1))
            return registrar.keep(record, of: key, group, topic, &turn)
        }

        func networks(_ topic: TopicID) -> [Endpoint] { registrar.entries(topic, now).map(\.group) }
    }

    @Test("A topic keeps 64 registrations, at most two of one prefix")
    func perTopic() {
        var bed = Bed()
        for number in 0..<1_000 { _ = bed.offer(number, network: number / 10, topic) }
        let networks = bed.networks(topic)
        #expect(networks.count == 64 && bed.registrar.count == 64)
        for network in Set(networks) { #expect(networks.count { $0 == network } <= 2) }
    }

    @Test("Case 19: one network's flood of keys gets only its share of a full topic, whatever it tries")
    func flood() {
        // 100 honest networks with one provider each; four hostile ones with 5,000 keys each, which keep
        // trying and learn each time whether they are kept.
        var honest = 0
        for seed in 0..<20 {
            var bed = Bed()
            bed.turn.random = SeededRandom(seed: UInt64(seed))
            for number in 0..<100 { _ = bed.offer(number, network: number, topic) }
            for number in 0..<5_000 {
                for network in 0..<4 {
                    _ = bed.offer(10_000 + 4 * number + network, network: 1_000 + network, topic)
                }
            }
            for number in 0..<100 { _ = bed.offer(number, network: number, topic) }
            honest += bed.registrar.entries(topic, bed.now).count { $0.key.value.w0 < 10_000 }
        }
        // Of 104 networks about 60, those of lowest rank, are kept; a share of 4/104 is hostile, with two
        // each.
        #expect(honest >= 20 * 56 && honest <= 20 * 64)
    }

    @Test("What is kept doesn't depend on the order of arrival")
    func order() {
        let numbers = Array(0..<300)
        func kept(_ numbers: [Int]) -> Set<PublicKey> {
            var bed = Bed()
            for number in numbers { _ = bed.offer(number, network: number, topic) }
            return Set(bed.registrar.entries(topic, bed.now).map(\.key))
        }
        #expect(kept(numbers) == kept(numbers.reversed()))
    }

    @Test("One prefix holds at most 16 registrations over all topics")
    func perPrefix() {
        var bed = Bed()
        var kept = 0
        for number in 0..<40 where bed.offer(number, network: 7, TopicID(Bytes32(UInt64(number), 0, 0, 0))) {
            kept += 1
        }
        #expect(kept == 16 && bed.registrar.count == 16)
    }

    @Test("Case 35: a million topics leave a registrar bounded, with room for registrations of low rank")
    func total() {
        var parameters = DiscoveryParameters()
        parameters.registrationsMax = 200
        var bed = Bed(parameters)
        for number in 0..<5_000 {
            _ = bed.offer(number, network: number, TopicID(Bytes32(UInt64(number), 0, 0, 0)))
        }
        #expect(bed.registrar.count == 200)
        let isKept = (0..<100).contains { bed.offer(9_000 + $0, network: 9_000 + $0, topic) }
        #expect(isKept && bed.registrar.count == 200)
    }

    @Test("A registration holds for 15 minutes, and as long again when it is renewed")
    func expiry() {
        var bed = Bed()
        _ = bed.offer(1, network: 1, topic)
        _ = bed.offer(2, network: 2, topic)
        bed.now = bed.now + .minutes(10)
        _ = bed.offer(1, network: 1, topic)
        bed.now = bed.now + .minutes(6)
        #expect(bed.registrar.entries(topic, bed.now).map(\.key) == [PublicKey(Bytes32(1, 5, 5, 5))])
        bed.registrar.sweep(&bed.turn)
        #expect(bed.registrar.count == 1)
        bed.now = bed.now + .minutes(15)
        bed.registrar.sweep(&bed.turn)
        #expect(bed.registrar.isEmpty && bed.registrar.count(of: .loopback(0)) == 0)
    }

    @Test("The hash key rotates daily: the sample changes, and stays sorted and bounded")
    func rotation() {
        var bed = Bed()
        for number in 0..<300 { _ = bed.offer(number, network: number, topic) }
        let before = bed.registrar.entries(topic, bed.now).map(\.key)
        bed.now = bed.now + .minutes(24 * 60)
        for number in 0..<300 { _ = bed.offer(number, network: number, topic) }
        let after = bed.registrar.entries(topic, bed.now)
        #expect(after.count <= 64 && Set(after.map(\.key)) != Set(before))
        #expect(zip(after, after.dropFirst()).allSatisfy { $0.rank < $1.rank })
    }
}

/// REGISTER and GET as messages.
@Suite struct RegisterMessageTests {
    static func registration(
        _ number: Int, _ topic: TopicID, at endpoint: Endpoint? = nil, _ profile: DiscoveryProfile = .loopback
    ) -> (Verified<Registration>, PeerAddress) {
        let identity = TestNetwork.identity(number)
        let endpoint = endpoint ?? Bench.endpoint(number, profile)
        let record = Registration(
            publicKey: identity.publicKey, topic: topic, endpoints: [endpoint],
            issuedAt: WallTime(milliseconds: 1))
        return (
            Verified(signing: record, with: identity),
            PeerAddress(key: identity.publicKey, endpoint: endpoint)
        )
    }

    let topic = TopicID(Bytes32(9, 9, 9, 9))

    func providers(_ bench: inout Bench, _ start: UInt32 = 0) -> Providers {
        let (_, asker) = Self.registration(900, topic)
        guard
            case .providers(let providers)? = bench.ask(
                .get(topic: topic, start: start), from: asker, proven: false)
        else { return Providers() }
        return providers
    }

    @Test("A registration is answered with how long it is kept, and is then named to nodes that ask")
    func kept() {
        var bench = Bench()
        let (record, peer) = Self.registration(1, topic)
        let answer = bench.ask(.register(Register(registration: record.signed)), from: peer)
        #expect(answer == .registered(Registered(heldMilliseconds: 900_000)))
        #expect(providers(&bench).registrations == [record.signed])
        let gone = bench.ask(.register(Register(registration: record.signed, withdrawn: true)), from: peer)
        #expect(gone == .registered(Registered(heldMilliseconds: 0)))
        #expect(providers(&bench).registrations.isEmpty)
    }

    @Test("Case 12: a registration that is unproven, not the sender's own or for another address is not kept")
    func refused() {
        var bench = Bench()
        let (record, peer) = Self.registration(1, topic)
        let (_, otherPeer) = Self.registration(2, topic)
        #expect(bench.ask(.register(Register(registration: record.signed)), from: peer, proven: false) == nil)
        #expect(bench.ask(.register(Register(registration: record.signed)), from: otherPeer) == nil)
        let (elsewhere, _) = Self.registration(1, topic, at: .loopback(77))
        let answer = bench.ask(.register(Register(registration: elsewhere.signed)), from: peer)
        #expect(answer == .registered(Registered(heldMilliseconds: 0)))
        let stranger = bench.ask(
            .register(Register(registration: record.signed, withdrawn: true)), from: otherPeer)
        #expect(stranger == nil)
        #expect(bench.discovery.registrar.isEmpty)
    }

    @Test(
        "Case 12: a PROVIDERS of the largest registrations and contacts fits what a padded GET pays for")
    func size() {
        var bench = Bench()
        for number in 1..<60 { bench.admit(bench.contact(number)) }
        for number in 100..<164 {
            let (record, peer) = Self.registration(number, topic)
            _ = bench.ask(.register(Register(registration: record.signed)), from: peer)
        }
        for start in [0, 1, 63, UInt32.max] {
            let answer = providers(&bench, start)
            let bytes = Envelope(reply: .max, message: .discovery(.providers(answer))).encoded()
            #expect(bytes.count <= WireLimits.envelopeSizeMax)
            #expect(answer.registrations.count >= 4 && answer.contacts.count >= 1)
        }
        #expect(providers(&bench, 0) != providers(&bench, 9))
    }

    @Test("Contacts in answers about a topic are nearer to it than the node that answers")
    func nearer() {
        var bench = Bench()
        for number in 1..<200 { bench.admit(bench.contact(number)) }
        let own = bench.discovery.selfID
        for bit in 0..<3 {
            var point = own.value
            point.w0 ^= 1 << UInt64(63 - bit)
            let near = bench.discovery.contactsNearer(
                to: TopicID(point), start: 5, asker: TestNetwork.identity(1).publicKey, atMost: 8)
            #expect(!near.isEmpty && near.count <= 8)
            for record in near {
                let id = NodeID(of: (try? Contact(decoding: record.body))?.publicKey ?? PublicKey(.zero))
                #expect(id.topicBucket(TopicID(point)) > bit)
            }
        }
    }
}
