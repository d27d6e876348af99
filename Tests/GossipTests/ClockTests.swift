import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

/// Whose dates correct a machine's clock, and what a correction does.
@Suite struct ClockTests {
    @Test func aClockMinutesAheadIsSetRightAlsoByPublishersWhoseOffersCameAnotherWayBefore() {
        var machine = Machine()
        machine.wallError = 196_000
        for index in 1...3 { machine.meet(index) }
        for index in 1...3 { machine.mail([offer(of: index)], from: 9) }
        #expect(machine.gossip.allOffers.count == 3 && machine.gossip.clockCorrection == 0)
        for index in 1...3 { machine.mail([offer(of: index)], from: index) }
        #expect(machine.gossip.clockCorrection == -196_000)
        machine.pass(.seconds(60))
        #expect(machine.gossip.allOffers.count == 3)
        // A delayed mail says nothing about clocks.
        var right = Machine()
        for index in 1...3 { right.meet(index) }
        for index in 1...3 { right.mail([offer(of: index)], from: 9) }
        right.pass(.seconds(59))
        for index in 1...3 { right.mail([offer(of: index)], from: index) }
        #expect(right.gossip.clockCorrection == 0)
    }

    @Test func aMachineThatBootsIn1970IsSetRightByTheOffersOfMembersInThreeNetworks() {
        var machine = Machine()
        machine.wallError = -wallStart
        for index in 1...4 { machine.meet(index) }
        for index in 1...4 { machine.mail([offer(of: index)], from: index) }
        #expect(machine.gossip.allOffers.count == 2)
        #expect(machine.gossip.dropped[.fromTheFuture] == 2)
        machine.announce(terms("wren-m"))
        let mails = machine.takeMails()
        #expect(!mails.isEmpty)
        #expect(mails.allSatisfy { $0.offers.first?.issuedAt == WallTime(milliseconds: wallStart) })
    }

    @Test func aDateThatCameBeforeItsSendersFirstAnswerCountsFromThatAnswerOn() {
        var machine = Machine()
        machine.wallError = -3_600_000
        for index in 1...3 { machine.mail([offer(of: index)], from: index) }
        machine.meet(1)
        machine.meet(2)
        #expect(machine.gossip.clockCorrection == 0)
        machine.meet(3)
        #expect(machine.gossip.clockCorrection == 3_600_000)
    }

    @Test func nodesThatNeverAnsweredUsAndOneOperatorsNetworkCantSetAClock() {
        var machine = Machine()
        for index in 1...9 {
            machine.join(index)
            machine.mail([offer(of: index, issued: 9_000, ends: 9_100)], from: index)
        }
        #expect(machine.gossip.clockCorrection == 0)
        // Nine prefixes of one allocation.
        for index in 1...9 {
            let from = PeerAddress(
                key: Identity.ofNode(index).publicKey,
                endpoint: Endpoint(ipv4: 0x2000_0001 + UInt32(index) << 8, port: 7827))
            let contact = Contact.signed(by: Identity.ofNode(index), at: [from.endpoint])
            machine.gossip.memberJoined(
                from, contact: contact, turn: &machine.turn, out: &machine.actions)
            _ = machine.gossip.handle(
                .offerMail([offer(of: index, sequence: 2, issued: 9_000, ends: 9_100)]), from: from,
                proven: true, turn: &machine.turn, out: &machine.actions)
        }
        #expect(machine.gossip.clockCorrection == 0)
        #expect(machine.gossip.dropped[.fromTheFuture] == 18)
    }

    @Test func aCorrectionOfTheClockExpiresNothingThatWasValidWhenItCame() {
        var machine = Machine()
        for index in 1...3 { machine.meet(index) }
        machine.mail([offer(of: 7)], from: 7)
        for index in 1...3 {
            machine.mail([offer(of: index, issued: 7_200, ends: 7_380)], from: index)
        }
        #expect(machine.gossip.clockCorrection == 7_200_000)
        machine.pass(.seconds(209))
        #expect(
            machine.gossip.offers(model: "wren-m").contains { $0.record.issuedAt.milliseconds == wallStart })
        machine.pass(.seconds(2))
        #expect(
            !machine.gossip.offers(model: "wren-m").contains { $0.record.issuedAt.milliseconds == wallStart })
    }

    /// Answers the digests that wait with the clock of members `seconds` ahead of the true time.
    private func answerDigests(_ machine: inout Machine, ahead seconds: Int64, offers: [SignedRecord] = []) {
        for digest in machine.takeDigests() {
            let index = (1...40).first { address($0) == digest.to } ?? 0
            let now = WallTime(milliseconds: wallStart + machine.elapsed.milliseconds + seconds * 1_000)
            machine.answer(
                digest.token, .offerDifference(OfferDifference(offers: offers, now: now)), from: index)
        }
    }

    @Test func aNodeThatNobodyMailsLearnsTheTimeFromTheAnswersToItsDigests() {
        var machine = Machine()
        machine.wallError = -120_000
        for index in 1...3 { machine.join(index) }
        machine.pass(.milliseconds(150))
        answerDigests(&machine, ahead: 0, offers: [offer(of: 7)])
        #expect(machine.gossip.clockCorrection == 120_000)
        #expect(machine.gossip.dropped[.fromTheFuture] == 2)
        #expect(machine.gossip.allOffers.count == 1, "the third answer's offer is judged by the new clock")
        #expect(
            machine.receive(.offerDigest(OfferDigest(first: 0, last: 0, offers: [])), from: 1)
                == .offerDifference(OfferDifference(now: machine.now.wall + .seconds(120))),
            "and it passes that on")
    }

    @Test func anAnswersClockIsOneVoteOfItsAllocationAndAnUnaskedOrAbsentOneIsNone() {
        var machine = Machine()
        for index in 1...3 { machine.join(index) }
        machine.pass(.milliseconds(150))
        let digests = machine.takeDigests()
        // One member answers for all three, by whatever way; the true ones say nothing.
        for digest in digests {
            machine.answer(
                digest.token,
                .offerDifference(OfferDifference(now: WallTime(milliseconds: wallStart + 3_600_000))), from: 1
            )
        }
        #expect(machine.gossip.clockCorrection == 0)
        for _ in 0..<6 {
            machine.pass(.seconds(20))
            for digest in machine.takeDigests() {
                let index = (1...3).first { address($0) == digest.to } ?? 0
                machine.answer(digest.token, .offerDifference(OfferDifference()), from: index)
            }
            _ = machine.receive(
                .offerDifference(OfferDifference(now: WallTime(milliseconds: wallStart + 3_600_000))), from: 2
            )
        }
        #expect(machine.gossip.clockCorrection == 0)
    }

    @Test func aSellerThatIsNoMemberAndOnlyAnswersAPullHasNoVote() {
        var machine = Machine.joined(members: 1..<3)
        for index in 1..<3 { machine.meet(index) }
        let ahead = WallTime(milliseconds: wallStart + 3_600_000)
        for index in 10..<20 {
            let isStarted = machine.gossip.pull(
                model: "wren-m", of: address(index), turn: &machine.turn, out: &machine.actions)
            #expect(isStarted)
            for digest in machine.takeDigests() {
                machine.answer(digest.token, .offerDifference(OfferDifference(now: ahead)), from: index)
            }
        }
        #expect(machine.gossip.clockCorrection == 0)
    }
}
