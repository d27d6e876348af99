import Cryptography
import Primitives
import Testing
import Wire

@testable import Discovery

@Suite struct HostileTests {
    @Test func aCandidateWhoseProbeIsNotAnsweredLeavesNothingBehind() {
        var bench = Bench()
        let peer = bench.contact(1)
        _ = bench.ask(.ping(contact: peer.signed), from: bench.address(peer))
        bench.fail(bench.requests()[0].token)
        #expect(bench.discovery.count == 0 && bench.discovery.contacts.isEmpty)
    }

    @Test func case4AnAnswerToNoQuestionIsDropped() {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.answer(77, .found(contacts: [bench.contact(2).signed]), from: bench.address(peer))
        bench.answer(78, .pong(contact: peer.signed, observed: nil), from: bench.address(peer))
        #expect(bench.out.isEmpty && bench.discovery.count == 0)
        #expect(bench.discovery.dropped[.wrongReply] == 2)
    }

    @Test func case5AnAnswerFromAnotherEndpointOrOfAnotherKindCountsAsNone() {
        var bench = Bench()
        let peer = bench.contact(1)
        _ = bench.ask(.ping(contact: peer.signed), from: bench.address(peer))
        let probe = bench.requests()[0]
        bench.answer(
            probe.token, .pong(contact: nil, observed: nil),
            from: PeerAddress(key: probe.peer.key, endpoint: .loopback(5)))
        #expect(bench.discovery.count == 0)
        _ = bench.ask(.ping(contact: peer.signed), from: bench.address(peer))
        let second = bench.requests()[0]
        bench.answer(second.token, .found(contacts: []), from: second.peer)
        #expect(bench.discovery.count == 0)
    }

    @Test func case15AReplyOf1000ContactsAndForgeriesCountsAsEightAtMost() {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.admit(peer)
        _ = bench.discovery.lookup(.zero, turn: &bench.turn, out: &bench.out)
        let find = bench.requests()[0]
        let forged = SignedRecord(
            body: bench.contact(5).signed.body, signature: bench.contact(6).signed.signature)
        var listed = [
            bench.own.signed, peer.signed, bench.contact(2).signed, bench.contact(2).signed, forged,
            SignedRecord(body: [1, 2, 3], signature: forged.signature),
            bench.contact(7, at: .loopback(0)).signed,
            bench.contact(8, at: Endpoint(ipv4: 0xe000_0001, port: 9)).signed,
        ]
        listed += (100..<1_092).map { _ in bench.contact(9).signed }
        bench.answer(find.token, .found(contacts: listed), from: find.peer)
        let asked = bench.requests().map(\.peer.key)
        #expect(asked == [bench.contact(2).record.publicKey])
        let dropped = bench.discovery.dropped
        #expect(dropped[.tooMany] == 1 && dropped[.ownKey] == 1)
        #expect(dropped[.badContact] + dropped[.notUsable] == 4)
    }

    @Test func case14ContactsThatNameOneVictimCostItAtMostFourProbesASecond() {
        var bench = Bench(.internet)
        let victim = Endpoint(ipv4: 0x0909_0909, port: 53)
        for number in 0..<8 { bench.admit(bench.contact(number)) }
        var sent = 0
        for step in 0..<50 {
            let peer = bench.contact(100 + step, at: victim)
            _ = bench.ask(
                .ping(contact: peer.signed),
                from: PeerAddress(key: peer.record.publicKey, endpoint: Bench.endpoint(step, .internet)))
            for request in bench.requests() where request.peer.endpoint == victim {
                sent += 1
                bench.fail(request.token)
            }
        }
        _ = bench.discovery.lookup(.zero, turn: &bench.turn, out: &bench.out)
        for find in bench.requests() {
            let listed = (0..<8).map {
                bench.contact(200 + $0, at: Endpoint(ipv4: 0x0909_0909, port: 54)).signed
            }
            bench.answer(find.token, .found(contacts: listed), from: find.peer)
        }
        sent += bench.requests().count { $0.peer.endpoint.ipv4 == 0x0909_0909 }
        #expect(sent > 0 && sent <= 4)
    }

    @Test func strangersThatStateContactsWithoutEndLeaveTheChecksThatOurQuestionsNeed() {
        var bench = Bench()
        bench.admit(bench.contact(1))
        let stranger = bench.address(bench.contact(3))
        for sequence in 2..<1_102 as Range<UInt64> {
            _ = bench.ask(.ping(contact: bench.contact(3, sequence: sequence).signed), from: stranger)
        }
        #expect(bench.discovery.dropped[.verificationBudget] >= 800)
        _ = bench.requests()
        _ = bench.discovery.lookup(.zero, turn: &bench.turn, out: &bench.out)
        let find = bench.requests()[0]
        bench.answer(find.token, .found(contacts: [bench.contact(2).signed]), from: find.peer)
        let asked = bench.requests().map(\.peer.key)
        #expect(asked == [bench.contact(2).record.publicKey])
    }

    /// The former in the internet profile alone.
    @Test func case14PrivateAddressesAndOurOwnEndpointUnderAnotherKeyAreNotBelieved() {
        var bench = Bench(.internet)
        for endpoint in [
            Endpoint.loopback(80), Endpoint(ipv4: 0x0a00_0001, port: 80), Bench.endpoint(999, .internet),
        ] {
            let peer = bench.contact(1, at: endpoint)
            _ = bench.ask(
                .ping(contact: peer.signed),
                from: PeerAddress(key: peer.record.publicKey, endpoint: Bench.endpoint(1, .internet)))
        }
        let requests = bench.requests()
        #expect(requests.isEmpty)
        #expect(bench.discovery.dropped[.notUsable] == 2 && bench.discovery.dropped[.ownEndpoint] == 1)
    }

    @Test func aContactUnderAnotherKeyThanItsSendersIsDropped() {
        var bench = Bench()
        _ = bench.ask(.ping(contact: bench.contact(1).signed), from: bench.address(bench.contact(2)))
        let requests = bench.requests()
        #expect(requests.isEmpty && bench.discovery.dropped[.wrongAuthor] == 1)
    }

    @Test func case13ARecordWithAnotherEndpointMovesNothingBeforeThatEndpointAnswered() {
        var bench = Bench()
        let old = bench.contact(1)
        let key = old.record.publicKey
        bench.admit(old)
        let moved = bench.contact(1, sequence: 2, at: .loopback(4_321))
        _ = bench.ask(.ping(contact: moved.signed), from: bench.address(old))
        #expect(bench.discovery.contact(of: key)?.address == bench.address(old))
        let probe = bench.requests()[0]
        #expect(probe.peer.endpoint == .loopback(4_321))
        bench.fail(probe.token)
        #expect(bench.discovery.contact(of: key)?.address == bench.address(old))
        _ = bench.ask(.ping(contact: moved.signed), from: bench.address(old))
        let second = bench.requests()[0]
        bench.answer(second.token, .pong(contact: nil, observed: nil), from: second.peer)
        #expect(bench.discovery.contact(of: key)?.address.endpoint == .loopback(4_321))
        #expect(bench.discovery.count == 1)
    }

    @Test func case18AFloodOfStrangersFillsNeitherTheTableNorTheQueueAndEvictsNobody() {
        var bench = Bench(.internet)
        for number in 0..<30 { bench.admit(bench.contact(number)) }
        let before = bench.discovery.contacts.map(\.publicKey)
        for number in 1_000..<1_300 {
            let peer = bench.contact(number)
            _ = bench.ask(.ping(contact: peer.signed), from: bench.address(peer))
        }
        let probes = bench.requests()
        #expect(probes.count <= bench.discovery.parameters.candidateProbesMax)
        #expect(bench.discovery.candidates.count <= bench.discovery.parameters.candidatesMax)
        #expect(bench.discovery.contacts.map(\.publicKey) == before)
    }

    @Test func case13AnAddressNeedsVotesOfThreeNetworksAndTenLiarsOfOneNetworkAreOneVote() {
        var votes = ObservedVotes(DiscoveryParameters(), profile: .internet)
        let truth = Endpoint(ipv4: 0x0101_0101, port: 7827)
        let lie = Endpoint(ipv4: 0x0202_0202, port: 7827)
        for host in 0..<10 {
            let isChanged = votes.vote(
                lie, by: Endpoint(ipv4: 0x0303_0300 | UInt32(host), port: 1), isChosen: false, now: .zero)
            #expect(!isChanged)
        }
        for network in 0..<3 {
            let changed = votes.vote(
                truth, by: Endpoint(ipv4: 0x0404_0001 + UInt32(network) << 8, port: 1), isChosen: false,
                now: .zero)
            #expect(changed == (network == 2))
        }
        #expect(votes.winner == truth)
        for network in 0..<3 {
            _ = votes.vote(
                lie, by: Endpoint(ipv4: 0x0505_0001 + UInt32(network) << 8, port: 1), isChosen: false,
                now: .zero)
        }
        #expect(votes.winner == lie)  // four networks against three
        let isChanged = votes.vote(
            Endpoint(ipv4: 0x7f00_0001, port: 1), by: truth, isChosen: false, now: .zero)
        #expect(!isChanged)
    }

    @Test func theWordOfAChosenNodeIsTakenUntilThreeNetworksOverruleIt() {
        var votes = ObservedVotes(DiscoveryParameters(), profile: .internet)
        let first = Endpoint(ipv4: 0x0101_0101, port: 7827)
        let other = Endpoint(ipv4: 0x0202_0202, port: 7827)
        let isTaken = votes.vote(first, by: Endpoint(ipv4: 0x0303_0301, port: 1), isChosen: true, now: .zero)
        #expect(isTaken)
        let isOverruled = votes.vote(
            other, by: Endpoint(ipv4: 0x0404_0401, port: 1), isChosen: true, now: .zero)
        #expect(!isOverruled)
        for network in 0..<2 {
            _ = votes.vote(
                other, by: Endpoint(ipv4: 0x0505_0001 + UInt32(network) << 8, port: 1), isChosen: false,
                now: .zero)
        }
        #expect(votes.winner == other)
    }

    @Test func inTheLoopbackProfileOnePeersWordIsEnoughAndIsToldOnce() {
        var bench = Bench()
        let peer = bench.contact(1)
        _ = bench.ask(.ping(contact: peer.signed), from: bench.address(peer))
        let probe = bench.requests()[0]
        bench.answer(probe.token, .pong(contact: nil, observed: .loopback(77)), from: probe.peer)
        #expect(bench.discovery.observedEndpoint == .loopback(77))
        #expect(bench.out.contains { if case .observedEndpointChanged = $0 { true } else { false } })
    }

    /// Each network is a /24.
    @Test func aThousandIdsOfFourNetworksHoldAtMostTenSlotsEachAndTwoOfABucket() {
        var bench = Bench(.internet)
        for number in 0..<60 { bench.admit(bench.contact(number)) }
        let honest = bench.discovery.count
        for number in 0..<1_000 {
            let endpoint = Endpoint(
                ipv4: 0x0505_0000 | UInt32(number % 4) << 8 | UInt32(number / 4), port: 7_827)
            bench.admit(bench.contact(5_000 + number, at: endpoint))
        }
        let held = bench.discovery.contacts.filter { $0.address.ipv4.map { $0 >> 16 == 0x0505 } ?? false }
        #expect(held.count <= 40 && bench.discovery.count == honest + held.count)
        for network in 0..<4 {
            #expect(held.count { $0.address.ipv4.map { Int($0 >> 8 & 255) } == network } <= 10)
        }
    }

    @Test func case18ARestartAmidAFloodReachesTwoHonestAnchorsOf64OfWhichMostAreGone() {
        var reached = 0
        for seed in 0..<200 {
            var bench = Bench(.internet)
            bench.turn.random = SeededRandom(seed: UInt64(seed))
            let anchors = (0..<64).map { bench.contact($0) }
            // Ten are live and honest, ten hostile, the rest dead.
            let live = Set(anchors.prefix(10).map(\.record.publicKey))
            let hostile = Set(anchors[10..<20].map(\.record.publicKey))
            var found: Set<PublicKey> = []
            var shuffled = anchors
            bench.turn.random.shuffle(&shuffled)
            bench.discovery.restore(
                anchors: shuffled, turn: &bench.turn, out: &bench.out)
            for step in 0..<60 {
                for request in bench.requests() {
                    let isLive = live.contains(request.peer.key)
                    guard
                        isLive || hostile.contains(request.peer.key)
                            || step % 2 == 1 && !isLive
                                && request.peer.endpoint.ipv4.map({ $0 >> 24 == 9 }) == true
                    else {
                        bench.fail(request.token)
                        continue
                    }
                    if isLive { found.insert(request.peer.key) }
                    let reply: DiscoveryMessage =
                        if case .find = request.message { .found(contacts: []) } else {
                            .pong(contact: nil, observed: nil)
                        }
                    bench.answer(request.token, reply, from: request.peer)
                }
                for number in 0..<10 {
                    let stranger = bench.contact(
                        100_000 + 10 * step + number,
                        at: Endpoint(ipv4: 0x0900_0001 + UInt32(10 * step + number) << 8, port: 7_827))
                    let swallowed = bench.out
                    _ = bench.ask(.ping(contact: stranger.signed), from: bench.address(stranger))
                    _ = swallowed
                }
                bench.tick(after: .milliseconds(500))
            }
            if found.count >= 2 { reached += 1 }
        }
        #expect(reached >= 198)
    }
}
