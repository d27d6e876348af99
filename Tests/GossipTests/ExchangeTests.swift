import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct ExchangeTests {
    /// Lets two machines answer each other until both are quiet; returns the number of requests.
    @discardableResult
    private func converse(_ a: inout Machine, _ ai: Int, _ b: inout Machine, _ bi: Int, rounds: Int = 200)
        -> Int
    {
        var count = 0
        for _ in 0..<rounds {
            let (fromA, fromB) = (a.takeRequests(), b.takeRequests())
            if fromA.isEmpty, fromB.isEmpty, a.gossip.mail.isEmpty, b.gossip.mail.isEmpty { break }
            for request in fromA where request.to == address(bi) {
                count += 1
                if let reply = b.receive(request.message, from: ai) {
                    a.answer(request.token, reply, from: bi)
                }
            }
            for request in fromB where request.to == address(ai) {
                count += 1
                if let reply = a.receive(request.message, from: bi) {
                    b.answer(request.token, reply, from: ai)
                }
            }
            a.pass(.milliseconds(10))
            b.pass(.milliseconds(10))
        }
        return count
    }

    @Test func aNewcomerPullsFromUpToThreeMembersAMomentAfterTheFirstIsKnown() {
        var machine = Machine()
        for index in 1..<6 { machine.join(index) }
        #expect(machine.takeDigests().isEmpty)
        machine.pass(.milliseconds(100))
        let digests = machine.takeDigests()
        #expect(digests.count == 3)
        #expect(digests.allSatisfy { $0.digest == OfferDigest(first: 0, last: .max, offers: []) })
        for digest in digests { machine.leaveUnanswered(digest.token) }
        machine.pass(.seconds(1))
        #expect(machine.takeDigests().count == 3)
        #expect(machine.gossip.isJoining)
    }

    @Test func twoBooksBecomeOneInEitherDirectionInOneExchange() {
        var (a, b) = (Machine(0), Machine(1))
        for index in 10..<110 { a.mail([offer(of: index)], from: index) }
        for index in 60..<160 { b.mail([offer(of: index)], from: index) }
        _ = (a.takeActions(), b.takeActions())
        a.join(1)
        a.pass(.milliseconds(150))
        b.elapsed = a.elapsed
        let count = converse(&a, 0, &b, 1)
        #expect(a.gossip.allOffers.map(\.signed) == b.gossip.allOffers.map(\.signed))
        #expect(a.gossip.allOffers.count == 150)
        #expect(count < 80, "25 pulls, 25 mails and the digests; has \(count)")
    }

    @Test func joiningEndsWhenAnExchangeBroughtNothingNewAndGivesUpOnSilenceAfterSixSets() {
        var (a, b) = (Machine(0), Machine(1))
        for index in 10..<20 { b.mail([offer(of: index)], from: index) }
        a.join(1)
        a.pass(.milliseconds(150))
        converse(&a, 0, &b, 1)
        #expect(a.gossip.isJoining)
        a.pass(.seconds(1))
        converse(&a, 0, &b, 1)
        #expect(!a.gossip.isJoining)

        var alone = Machine(2)
        alone.join(1)
        for _ in 0..<100 {
            alone.pass(.seconds(1))
            for digest in alone.takeDigests() { alone.leaveUnanswered(digest.token) }
        }
        #expect(!alone.gossip.isJoining)
    }

    @Test func aSellerIsNotInSyncByItsOwnOfferAloneAndComparesOftenInItsFirstMinute() {
        var (seller, other) = (Machine(0), Machine(1))
        seller.announce(terms("wren-m"))
        seller.join(1)
        seller.pass(.milliseconds(150))
        other.elapsed = seller.elapsed
        converse(&seller, 0, &other, 1)
        #expect(seller.gossip.isJoining)
        // Another seller's offer ends the first comparisons, whoever may follow.
        other.mail([offer(of: 7)], from: 7)
        seller.pass(.seconds(1))
        other.elapsed = seller.elapsed
        converse(&seller, 0, &other, 1)
        seller.pass(.seconds(2))
        other.elapsed = seller.elapsed
        converse(&seller, 0, &other, 1)
        #expect(!seller.gossip.isJoining)
        other.mail([offer(of: 8)], from: 8)
        _ = other.takeActions()
        seller.pass(.seconds(12))
        other.elapsed = seller.elapsed
        converse(&seller, 0, &other, 1)
        #expect(seller.gossip.offers(model: "wren-m").count == 3)
    }

    @Test func onceAMinuteARandomMemberIsAsked() {
        var machine = Machine.joined(members: 1..<20)
        machine.pass(.seconds(60))
        for digest in machine.takeDigests() { machine.leaveUnanswered(digest.token) }
        var asked: [PeerAddress] = []
        for _ in 0..<10 {
            machine.pass(.seconds(60))
            for digest in machine.takeDigests() {
                asked.append(digest.to)
                machine.answer(digest.token, .offerDifference(OfferDifference()), from: 1)
            }
        }
        #expect((8...12).contains(asked.count))
        #expect(asked.contains { $0 != asked.first })
    }

    @Test func onlyWhatWeListedAndHoldIsMailedBackHoweverMuchIsWanted() throws {
        var machine = Machine.joined(members: 1..<2)
        machine.mail([offer(of: 5)], from: 5)
        machine.pass(.seconds(70))
        let digest = try #require(machine.takeDigests().last)
        let held = digest.digest.offers.map(\.id)
        #expect(held.count == 1)
        machine.answer(digest.token, .offerDifference(OfferDifference(wanted: held + [1, 2, 3])), from: 1)
        machine.pass(.milliseconds(20))
        #expect(machine.takeMails().map(\.offers.count) == [1])
    }

    @Test func aPartnerThatAlwaysPromisesMoreAndBringsNothingEndsTheExchange() throws {
        var machine = Machine.joined(members: 1..<2)
        machine.search("wren-m", token: 1)
        let digest = try #require(machine.takeDigests().first)
        machine.answer(
            digest.token, .offerDifference(OfferDifference(offers: [forged(offer(of: 3))], more: 1_000_000)),
            from: 1)
        #expect(machine.takeDigests().isEmpty)
        #expect(machine.gossip.exchanges.isEmpty)
    }

    @Test func aFullBookTakesOneAnswerARangeAndDoesntPullAFloodBackForEver() throws {
        var machine = Machine.joined(members: 1..<2)
        let filler = try Verified<Offer>(checking: offer(of: 599, model: "flood"))
        for number in 0..<GossipLimits.offersMax {
            machine.gossip.book.hold(
                filler, id: UInt64(number) << 50, groups: .init(seller: 9, sender: 9), own: false,
                expiresAt: .never, now: machine.now.monotonic)
        }
        machine.search("wren-m", token: 1)
        let digest = try #require(machine.takeDigests().first)
        machine.answer(
            digest.token, .offerDifference(OfferDifference(offers: [offer(of: 3)], more: 1_000_000)), from: 1)
        #expect(machine.gossip.offers(model: "wren-m").count == 1)
        let next = try #require(machine.takeDigests().first)
        #expect(next.digest.first == digest.digest.last + 1)
    }

    @Test func aMemberThatListsOffersItNeverSendsIsAskedForNoMoreAndAMinuteForgivesHalf() {
        var machine = Machine.joined(members: 1..<2)
        var asked = 0
        for round in 0..<20 as Range<UInt64> {
            let offers = (0..<32).map { OfferVersion(id: round * 100 + $0, sequence: 9) }
            guard
                case .offerDifference(let difference)? = machine.receive(
                    .offerDigest(OfferDigest(first: 0, last: .max, offers: offers)), from: 1)
            else { continue }
            asked += difference.wanted.count
        }
        #expect(asked == 128)
        machine.pass(.seconds(70))
        let digest = OfferDigest(first: 0, last: .max, offers: [OfferVersion(id: 1, sequence: 1)])
        #expect(
            machine.receive(.offerDigest(digest), from: 1)
                == .offerDifference(OfferDifference(wanted: [1], now: machine.now.wall)))
    }

    @Test func anAnswerOfTheWrongKindEndsAnExchangeUnknownTokensAndMessagesAreHarmless() {
        var machine = Machine.joined(members: 1..<2)
        machine.search("wren-m", token: 5)
        for digest in machine.takeDigests() { machine.answer(digest.token, .offerReceived, from: 1) }
        #expect(machine.gossip.dropped[.wrongAnswer] == 1)
        #expect(machine.gossip.exchanges.isEmpty)
        machine.answer(999, .offerReceived, from: 1)
        machine.leaveUnanswered(999)
        machine.answer(998, nil, from: 1)
        #expect(machine.receive(.offerDifference(OfferDifference()), from: 1) == nil)
    }

    @Test func pullsFromSellersThatNeverAnswerLeaveRoomForComparisonsWithMembers() {
        var machine = Machine.joined(members: 1..<5)
        let started = (10..<100).count { index in
            machine.gossip.pull(
                model: "wren-m", of: address(index), turn: &machine.turn, out: &machine.actions)
        }
        #expect(started == GossipLimits.exchangesMax * 3 / 4)
        _ = machine.takeActions()
        machine.search("wren-m", token: 1)
        #expect(machine.takeDigests().count == 3)
    }

    @Test func aSearchEndsWhenAllPartnersHaveAnsweredWithWhatTheyBrought() {
        var (a, b) = (Machine.joined(0, members: 1..<2), Machine(1))
        b.mail([offer(of: 7)], from: 7)
        _ = b.takeActions()
        a.search("wren-m", token: 42)
        var finished: [String] = []
        for _ in 0..<10 {
            for request in a.takeRequests() {
                if let reply = b.receive(request.message, from: 0) { a.answer(request.token, reply, from: 1) }
            }
            finished += a.actions.compactMap {
                if case .searchFinished(let token, let model) = $0 {
                    "\(token.rawValue) \(model)"
                } else {
                    nil
                }
            }
        }
        #expect(finished == ["42 wren-m"])
        #expect(a.gossip.offers(model: "wren-m").count == 1)
    }

    @Test func aSearchEndsAfterASecondOfSilenceExactlyOnceWithAllThatJoinedIt() {
        var machine = Machine.joined(members: 1..<5)
        machine.search("wren-m", token: 1)
        machine.pass(.milliseconds(500))
        machine.search("wren-l", token: 2)
        let digests = machine.takeDigests()
        #expect(digests.count == 3)
        machine.pass(.milliseconds(600))
        #expect(machine.takeEvents() == ["finished 1 wren-m", "finished 2 wren-l"])
        for digest in digests { machine.leaveUnanswered(digest.token) }
        machine.pass(.seconds(5))
        #expect(machine.takeEvents() == [])
        machine.search("wren-m", token: 3)
        for digest in machine.takeDigests() { machine.leaveUnanswered(digest.token) }
        #expect(machine.takeEvents() == ["finished 3 wren-m"])
    }

    @Test func aSearchWithoutMembersRightAfterAnotherOrInBulkIsFinishedAtOnceOrWithTheRest() {
        var alone = Machine()
        alone.search("wren-m", token: 1)
        #expect(alone.takeEvents() == ["finished 1 wren-m"])
        var machine = Machine.joined(members: 1..<5)
        for token in 0..<200 as Range<UInt64> { machine.search("m", token: RequestToken(rawValue: token)) }
        machine.pass(.seconds(2))
        #expect(machine.takeEvents().count == 200)
        machine.search("m", token: 900)
        machine.pass(.seconds(2))
        #expect(machine.takeEvents().count == 1)
    }

    @Test func theTableOfMembersIsBoundedAndOneThatLeftGetsNothingMore() {
        var machine = Machine()
        for index in 1..<600 { machine.join(index) }
        #expect(machine.gossip.memberCount == 512)
        #expect(machine.gossip.dropped[.membersFull] == 87)
        machine.announce(terms("wren-m"))
        _ = machine.takeActions()
        for index in 1..<600 { machine.gossip.memberLeft(Identity.ofNode(index).publicKey) }
        machine.pass(.seconds(200))
        #expect(machine.takeMails().isEmpty)
    }
}
