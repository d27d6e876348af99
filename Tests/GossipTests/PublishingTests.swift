import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct PublishingTests {
    @Test func aModelWithoutACanonicalNameIsNotAnnouncedAndLabelsAreHeldAsTheyAreWritten() {
        var machine = Machine()
        #expect(machine.announce(terms("Wren_M")) == .refused(.badModelName))
        #expect(machine.gossip.heldCount == 0)
        var draft = terms("wren-m")
        draft.name = "a\u{1b}b"
        #expect(machine.announce(draft) == .published)
        #expect(machine.announce(draft) == .unchanged)
        #expect(machine.gossip.allOffers.map(\.record.name) == ["a b"])
    }

    @Test func theFirstAnnouncementGoesToEveryMemberAndIsRefreshedForAsLongAsTheNodeLives() {
        var machine = Machine.joined(members: 1..<11)
        #expect(machine.announce(terms("wren-m")) == .published)
        machine.pass(.milliseconds(50))
        let mails = machine.takeMails()
        #expect(mails.map(\.to.key).sorted() == (1..<11).map { Identity.ofNode($0).publicKey }.sorted())
        #expect(machine.gossip.allOffers.count == 1)
        #expect(machine.announce(terms("wren-m")) == .unchanged)
        machine.pass(.seconds(60))
        let refreshes = machine.takeMails()
        #expect(refreshes.count == 10)
        #expect((refreshes.first?.offers.first?.sequence ?? 0) > (mails.first?.offers.first?.sequence ?? 0))
        machine.pass(.seconds(600))
        #expect(machine.gossip.allOffers.count == 1)
    }

    @Test func anOfferHoldsFor180SecondsUnderASequenceAboveTheClockAndWhatWasStored() {
        var machine = Machine.joined(members: 1..<2)
        machine.announce(terms("wren-m"))
        machine.announce(terms("wren-l", sequence: UInt64(wallStart) + 500))
        machine.pass(.milliseconds(50))
        let offers = machine.takeMails().flatMap(\.offers)
        #expect(offers.map(\.sequence) == [UInt64(wallStart) + 1, UInt64(wallStart) + 501])
        #expect(offers.allSatisfy { $0.notAfter.milliseconds - $0.issuedAt.milliseconds == 180_000 })
    }

    @Test func mailsToOneHundredAndSixtyLeaveEightInEachTenMilliseconds() {
        var machine = Machine.joined(members: 1..<161)
        machine.announce(terms("wren-m"))
        var sent = 0
        for _ in 0..<20 {
            let count = machine.takeMails().count
            #expect(count <= 8)
            sent += count
            machine.pass(.milliseconds(10))
        }
        #expect(sent + machine.takeMails().count == 160)
    }

    @Test func termsChangeOnceAMinuteALaterChangeIsHeldAndTheLastOneIsPublishedWhenDue() {
        var machine = Machine.joined(members: 1..<2)
        machine.announce(slots(1))
        #expect(machine.announce(slots(2)) == .held(until: machine.now.monotonic + .seconds(60)))
        machine.announce(slots(3))
        machine.pass(.seconds(58))
        #expect(machine.takeMails().allSatisfy { $0.offers.allSatisfy { $0.slots == 1 } })
        machine.pass(.seconds(3))
        #expect(machine.takeMails().last?.offers.last?.slots == 3)
        #expect(machine.gossip.allOffers.map(\.record.slots) == [3])
        machine.pass(.seconds(70))
        #expect(machine.announce(slots(4)) == .published)
    }

    private func slots(_ count: UInt32) -> Offer {
        var draft = terms("wren-m", output: 1)
        draft.slots = count
        return draft
    }

    @Test func aPriceChangesAtOnceAsFarAsReceiversTakeIt() {
        var machine = Machine.joined(members: 1..<2)
        machine.announce(terms("wren-m", output: 1))
        #expect(machine.announce(terms("wren-m", output: 2)) == .published)
        machine.pass(.milliseconds(100))
        #expect(machine.takeMails().last?.offers.last?.price.output == 2)
        #expect(machine.announce(terms("wren-m", output: 3)).isHeld, "one version is left for a withdrawal")
        machine.pass(.seconds(21))
        #expect(machine.takeMails().last?.offers.last?.price.output == 3)
    }

    @Test func aSellerThatMovesSaysSoAtOnceWithoutTheSlotsThatWait() {
        var machine = Machine.joined(members: 1..<2)
        var draft = terms("wren-m", output: 1)
        draft.endpoints = []
        machine.announce(draft)
        draft.endpoints = [Endpoint(ipv4: 0x1400_0009, port: 7827)]
        #expect(machine.announce(draft) == .published)
        machine.pass(.seconds(20))
        draft.slots = 7
        machine.announce(draft)
        draft.endpoints = [Endpoint(ipv4: 0x1400_000a, port: 7827)]
        let outcome = machine.announce(draft)
        #expect(outcome.isHeld, "the slots must wait")
        #expect(machine.gossip.allOffers.first?.record.endpoints == draft.endpoints)
        #expect(machine.gossip.allOffers.first?.record.slots == 2)
        machine.pass(.seconds(41))
        #expect(machine.gossip.allOffers.first?.record.slots == 7)
    }

    @Test func aHeldChangeThatIsTakenBackIsNotPublished() {
        var machine = Machine.joined(members: 1..<2)
        machine.announce(slots(1))
        machine.announce(slots(2))
        #expect(machine.announce(slots(1)) == .unchanged)
        machine.pass(.seconds(130))
        #expect(machine.takeMails().flatMap(\.offers).allSatisfy { $0.slots == 1 })
    }

    @Test func aWithdrawalDoesntWaitAReturnIsAtOnceUnlessItWouldEatTheNextWithdrawalsRate() {
        var machine = Machine.joined(members: 1..<2)
        var holder = Machine(1)
        func carry() {
            machine.pass(.milliseconds(30))
            holder.elapsed = machine.elapsed
            for request in machine.takeRequests() { holder.receive(request.message, from: 0) }
        }
        machine.announce(terms("wren-m"))
        carry()
        machine.withdraw("wren-m")
        carry()
        #expect(holder.gossip.allOffers.isEmpty)
        #expect(machine.gossip.allOffers.isEmpty)
        let outcome = machine.announce(terms("wren-m"))
        #expect(outcome.isHeld, "a third version leaves none for a withdrawal")
        machine.withdraw("wren-m")
        carry()
        #expect(machine.announce(terms("wren-m")) != .published)
        machine.pass(.seconds(21))
        carry()
        #expect(holder.gossip.allOffers.count == 1)
        machine.withdraw("wren-m")
        carry()
        #expect(holder.gossip.allOffers.isEmpty)
        #expect(holder.gossip.dropped[.rateLimited] == 0)
        machine.withdraw("no such model")
    }

    @Test func aNinthModelIsRefusedAndTakenOnceAnotherIsWithdrawn() {
        var machine = Machine()
        for index in 0..<8 { #expect(machine.announce(terms("model-\(index)")) == .published) }
        #expect(machine.announce(terms("model-8")) == .refused(.tooManyModels))
        machine.withdraw("model-0")
        #expect(machine.announce(terms("model-8")) == .published)
        for round in 0..<40 {
            machine.withdraw("model-\(round + 1)")
            machine.announce(terms("model-\(round + 9)"))
            machine.pass(.seconds(15))
        }
        #expect(machine.gossip.owns.count <= 16)
        #expect(machine.gossip.allOffers.count == 8)
    }

    @Test func aNewMemberIsMailedWhatWeServe() {
        var machine = Machine()
        machine.announce(terms("wren-m"))
        machine.join(1)
        machine.pass(.milliseconds(20))
        #expect(machine.takeMails().map(\.to) == [address(1)])
        machine.join(1)
        machine.pass(.milliseconds(20))
        #expect(machine.takeMails().isEmpty)
    }

    @Test func aHigherRecordOfOurOwnMakesUsContinueAboveItNotMoreThanOnceInTenSeconds() {
        var machine = Machine.joined(members: 1..<2)
        machine.announce(terms("wren-m"))
        machine.pass(.milliseconds(20))
        _ = machine.takeActions()
        let high = UInt64(wallStart) + 1_000_000
        machine.mail([offer(of: 0, sequence: high, output: 77)], from: 1)
        machine.pass(.milliseconds(20))
        #expect(machine.takeMails().flatMap(\.offers).map(\.sequence) == [high + 1])
        #expect(machine.gossip.allOffers.map(\.record.price.output) == [2_000_000])
        machine.mail([offer(of: 0, sequence: high + 5)], from: 1)
        machine.pass(.seconds(9))
        #expect(machine.takeMails().isEmpty)
        machine.pass(.seconds(2))
        #expect(machine.takeMails().flatMap(\.offers).map(\.sequence) == [high + 6])
    }

    @Test func aForgedRecordOfOurOwnChangesNothingNorDoesTheHighestSequenceThereIs() {
        var machine = Machine.joined(members: 1..<2)
        machine.announce(terms("wren-m"))
        machine.pass(.milliseconds(20))
        _ = machine.takeActions()
        machine.mail([forged(offer(of: 0, sequence: UInt64(wallStart) + 9_000))], from: 1)
        machine.mail([offer(of: 0, sequence: 1 << 56)], from: 1)
        machine.pass(.seconds(20))
        #expect(machine.takeMails().isEmpty)
        machine.mail([offer(of: 0, sequence: (1 << 56) - 1)], from: 1)
        machine.pass(.seconds(200))
        #expect(machine.gossip.allOffers.count == 1)
    }

    @Test func anOfferOfAFormerLifeThatWeDontServeAnyMoreIsEndedAnnouncingItAgainStillWorks() {
        var machine = Machine.joined(members: 1..<2)
        let high = UInt64(wallStart) + 100_000
        machine.mail([offer(of: 0, model: "old", sequence: high)], from: 1)
        machine.pass(.milliseconds(20))
        let ends = machine.takeMails().flatMap(\.offers)
        #expect(ends.map(\.withdrawn) == [true])
        #expect(ends.map(\.sequence) == [high + 1])
        #expect(machine.announce(terms("old")) == .published)
        #expect(machine.gossip.allOffers.map(\.record.sequence) == [high + 2])
    }

    @Test func anOfferOfAFormerLifeThatWillBeServedAgainIsNotWithdrawnItsSuccessorIsOneVersion() {
        var machine = Machine.joined(members: 1..<2)
        machine.gossip.resume(["wren-m"])
        let high = UInt64(wallStart) + 100_000
        for _ in 0..<3 { machine.mail([offer(of: 0, sequence: high)], from: 1) }
        machine.pass(.seconds(20))
        #expect(machine.takeMails().isEmpty)
        #expect(machine.gossip.statistics.signaturesChecked == 1)
        #expect(machine.announce(terms("wren-m")) == .published)
        machine.pass(.milliseconds(20))
        #expect(machine.takeMails().flatMap(\.offers).map(\.sequence) == [high + 1])
        // Announced first, it answers what comes back by one version more.
        machine.mail([offer(of: 0, sequence: high + 50)], from: 1)
        machine.pass(.milliseconds(20))
        let again = machine.takeMails().flatMap(\.offers)
        #expect(again.map(\.sequence) == [high + 51] && again.allSatisfy { !$0.withdrawn })
    }

    @Test func aNodeThatLeavesBeforeItServesAgainWithdrawsTheOfferOfItsFormerLife() {
        var machine = Machine.joined(members: 1..<2)
        machine.gossip.resume(["wren-m"])
        machine.mail([offer(of: 0, sequence: 5)], from: 1)
        machine.pass(.milliseconds(20))
        #expect(machine.takeMails().isEmpty)
        machine.leave()
        machine.pass(.milliseconds(20))
        #expect(machine.takeMails().flatMap(\.offers).map(\.withdrawn) == [true])
    }

    @Test func aLeaveWithdrawsEverythingTellsMembersAndSessionsAndSaysWhenTheyHaveAnswered() {
        var machine = Machine.joined(members: 1..<4)
        machine.announce(terms("wren-m"))
        machine.announce(terms("wren-l"))
        machine.pass(.milliseconds(50))
        _ = machine.takeActions()
        machine.leave(alsoTo: [address(3), address(9)])
        machine.pass(.milliseconds(50))
        let mails = machine.takeMails()
        #expect(mails.map(\.to.key).sorted() == [1, 2, 3, 9].map { Identity.ofNode($0).publicKey }.sorted())
        #expect(mails.allSatisfy { $0.offers.count == 2 && $0.offers.allSatisfy(\.withdrawn) })
        for mail in mails.dropLast() { machine.answer(mail.token, .offerReceived, from: 1) }
        #expect(machine.takeEvents() == [])
        machine.leaveUnanswered(mails.last?.token ?? 0)
        #expect(machine.takeEvents() == ["left"])
        #expect(machine.announce(terms("wren-m")) == .refused(.leaving))
        machine.pass(.seconds(300))
        #expect(machine.takeRequests().isEmpty)
    }

    @Test func aLeaveWithNothingToWithdrawOrWithNobodyToTellIsOverAtOnce() {
        var machine = Machine.joined(members: 1..<4)
        machine.leave()
        #expect(machine.takeEvents() == ["left"])
        var alone = Machine()
        alone.announce(terms("wren-m"))
        alone.leave()
        #expect(alone.takeEvents() == ["learnt wren-m 2000000", "withdrawn wren-m", "left"])
    }
}
