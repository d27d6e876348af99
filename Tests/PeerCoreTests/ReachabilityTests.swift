import Cryptography
import Market
import Primitives
import Sessions
import Testing
import Wire

@testable import Discovery
@testable import PeerCore

/// What a whole node states of its reachability, which nodes it forgets, and what it sends to addresses named
/// by others.
@Suite struct ReachabilityTests {
    @Test("A node that leaves is in no table any longer, whether it sold anything or not")
    func leave() {
        var mesh = PeerMesh()
        for _ in 0..<8 { mesh.add() }
        mesh.run(for: .seconds(10))
        mesh.act(2) { $0.serve([RendezvousTests.served()], now: $1) }
        mesh.run(for: .seconds(2))
        for index in [2, 5] {
            mesh.act(index) { $0.leave(now: $1) }
            mesh.run(for: .seconds(1))
            let key = PeerMesh.identity(index).publicKey
            for (other, node) in mesh.nodes.enumerated() where other != index && !node.isDown {
                #expect(node.peer.discovery.contact(of: key) == nil, "\(other) still lists \(index)")
                #expect(!node.peer.contacts.contains { $0.publicKey == key })
            }
            mesh.nodes[index].isDown = true
        }
    }

    static func internetPeer(_ change: (inout PeerSettings) -> Void = { _ in }) -> Peer {
        var settings = PeerSettings(
            mesh: MeshIdentity(name: "test"), endpoints: [Endpoint(ipv4: 0x0800_0001, port: 7_827)],
            profile: .internet)
        change(&settings)
        return Peer(
            identity: PeerMesh.identity(0), settings: settings, entropy: Bytes32(3, 0, 0, 0),
            seed: Bytes32(4, 0, 0, 0), now: now(.zero))
    }

    static func now(_ time: MonotonicTime) -> Now {
        Now(monotonic: time, wall: WallTime(milliseconds: 1_800_000_000_000 + (time - .zero).milliseconds))
    }

    static func finding(
        _ datagrams: ReachabilityFinding.Answer, _ channels: ReachabilityFinding.Answer
    ) -> ReachabilityFinding {
        ReachabilityFinding(
            datagrams: datagrams, channels: channels, endpoint: Endpoint(ipv4: 0x0800_0001, port: 7_827),
            at: .zero, networks: 3)
    }

    @Test(
        "The test's finding is stated in contact and offer, and decides who dials and who is registered")
    func stated() {
        var peer = Self.internetPeer()
        peer.serve([RendezvousTests.served()], now: Self.now(.zero))
        let states: [(ReachabilityFinding.Answer, ReachabilityFinding.Answer, Reachability)] = [
            (.yes, .yes, .direct), (.yes, .no, .datagrams), (.unknown, .no, .datagrams),
            (.no, .no, .outbound),
            (.no, .yes, .outbound), (.yes, .yes, .direct),
        ]
        var time = MonotonicTime.zero
        for (datagrams, channels, expected) in states {
            // Longer than the minimum pause between versions of an offer.
            time = time + .minutes(2)
            peer.turn.now = Self.now(time)
            peer.reachabilityTested(Self.finding(datagrams, channels))
            peer.settle()
            #expect(peer.ownReachability == expected)
            #expect(peer.discovery.selfContact?.record.reachability == expected)
            #expect(peer.offers(model: RendezvousTests.model).first?.record.reachability == expected)
            #expect(peer.bidder.acceptsChannels == (expected == .direct))
            #expect(peer.discovery.ownTopics.isEmpty == (expected == .outbound))
        }
    }

    @Test("The operator's setting stands, whatever the test finds")
    func operatorsWord() {
        var peer = Self.internetPeer { $0.reachability = .direct }
        peer.reachabilityTested(Self.finding(.no, .no))
        #expect(peer.ownReachability == .direct && peer.testedReachability?.channels == .no)
        #expect(peer.bidder.acceptsChannels)
        let told = Self.internetPeer { $0.reachability = .outbound }
        #expect(!told.discovery.parameters.testsReachability)
    }

    /// An offer of one of many sellers that all claim to be at `endpoint`.
    static func offer(_ number: Int, at endpoint: Endpoint, _ wall: WallTime) -> SignedRecord {
        let identity = Identity(seed: Bytes32(99, UInt64(number), 0, 0))
        let offer = Offer(
            publicKey: identity.publicKey, model: RendezvousTests.model, quantization: "q8_0", context: 4_096,
            features: [.chat], continues: true, price: Price(input: 1, cachedInput: 1, output: 2), slots: 2,
            speed: Speed(firstTokenMilliseconds: 5, millitokensPerSecond: 60_000), endpoints: [endpoint],
            reachability: .direct, sequence: UInt64(wall.milliseconds), issuedAt: wall,
            notAfter: wall + .seconds(180))
        return Verified(signing: offer, with: identity).signed
    }

    @Test("Case 14: offers that all name one victim have it called and asked at most four times a second")
    func victims() {
        var peer = Self.internetPeer { $0.reachability = .direct }
        let victim = Endpoint(ipv4: 0x0900_0001, port: 7_827)
        let bringer = PeerAddress(
            key: PeerMesh.identity(1).publicKey,
            endpoint: Endpoint(ipv4: 0x0a80_0001 &+ 0x0100_0000, port: 7_827))
        var time = MonotonicTime.zero + .seconds(1)
        for number in 0..<40 {
            peer.turn.now = Self.now(time)
            var endpoint = victim
            endpoint.port = UInt16(1_000 + number)
            _ = peer.gossip.handle(
                .offerMail([Self.offer(number, at: endpoint, peer.turn.wall)]), from: bringer, proven: true,
                turn: &peer.turn, out: &peer.gossipActions)
            time = time + .milliseconds(100)
        }
        #expect(peer.offers(model: RendezvousTests.model).count == 40)
        peer.turn.now = Self.now(time)
        peer.settle()
        peer.clearDatagrams()
        var sent: [MonotonicTime] = []
        let end = time + .seconds(20)
        var nextTask = time
        while time < end {
            if time >= nextTask {
                _ = peer.submit(RendezvousTests.task(), now: Self.now(time))
                nextTask = nextTask + .milliseconds(200)
            }
            peer.tick(now: Self.now(time))
            for index in 0..<peer.datagrams.count {
                peer.datagrams.withDatagram(index) { bytes, target in
                    if target.prefix == victim.prefix { sent.append(time) }
                }
            }
            peer.clearDatagrams()
            var effects: [Effect] = []
            peer.takeEffects(into: &effects)
            time = min(max(peer.nextDeadline(), time + .milliseconds(1)), nextTask)
        }
        // Each request is a first message and its one retry.
        let worst = sent.map { start in sent.count { $0 >= start && $0 < start + .seconds(1) } }.max() ?? 0
        #expect(!sent.isEmpty && worst <= 2 * peer.discovery.parameters.probesPerDestinationMax)
        #expect(peer.discovery.dropped[.probeBudget] > 0)
    }
}
