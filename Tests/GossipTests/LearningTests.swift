import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct LearningTests {
    @Test func aMailedOfferIsHeldAndToldAndItsCopyCostsNoSignatureCheck() {
        var machine = Machine()
        #expect(machine.mail([offer(of: 1)], from: 1) == .offerReceived)
        #expect(machine.takeEvents() == ["learnt wren-m 2000000"])
        #expect(machine.mail([offer(of: 1)], from: 2) == .offerReceived)
        #expect(machine.gossip.dropped[.duplicate] == 1)
        #expect(machine.gossip.statistics.signaturesChecked == 1)
        #expect(machine.gossip.offers(model: "wren-m").count == 1)
    }

    @Test func aRefreshIsSilentNewTermsAreToldAndAnOlderVersionIsAnsweredWithOurs() {
        var machine = Machine()
        machine.mail([offer(of: 1, sequence: 5)], from: 1)
        _ = machine.takeActions()
        machine.mail([offer(of: 1, sequence: 6, issued: 1)], from: 1)
        #expect(machine.takeEvents() == [])
        machine.mail([offer(of: 1, sequence: 7, output: 9)], from: 1)
        #expect(machine.takeEvents() == ["learnt wren-m 9"])
        machine.pass(.milliseconds(20))
        machine.mail([offer(of: 1, sequence: 6)], from: 2)
        machine.pass(.milliseconds(20))
        #expect(machine.gossip.dropped[.stale] == 1)
        let mails = machine.takeMails()
        #expect(mails.map(\.to) == [address(2)])
        #expect(mails.first?.offers.map(\.sequence) == [7])
    }

    @Test func nothingThatArrivesInAFirstMessageChangesAnythingOrIsAnswered() {
        var machine = Machine()
        #expect(machine.receive(.offerMail([offer(of: 1)]), from: 1, proven: false) == nil)
        let digest = OfferDigest(first: 0, last: .max, offers: [])
        #expect(machine.receive(.offerDigest(digest), from: 1, proven: false) == nil)
        #expect(machine.gossip.dropped[.unproven] == 2)
        #expect(machine.gossip.heldCount == 0)
        #expect(machine.actions.isEmpty)
    }

    @Test func unusableDatesSequencesAndEndpointsAreRefusedByNameBeforeAnySignatureCheck() {
        let cases: [(SignedRecord, OfferDropReason)] = [
            (offer(of: 1, issued: 31, ends: 100), .fromTheFuture),
            (offer(of: 1, issued: 0, ends: 601), .holdsTooLong),
            (offer(of: 1, issued: -300, ends: -30), .expired),
            (offer(of: 1, issued: 10, ends: 10), .oddDates),
            (offer(of: 1, issued: 10, ends: 5), .oddDates),
            (offer(of: 1, issued: -2_000_000_000, ends: 100), .holdsTooLong),
            (offer(of: 1, sequence: 1 << 56), .oddSequence),
            (offer(of: 1, endpoint: Endpoint(ipv4: 0xe000_0001, port: 7827)), .oddEndpoint),
            (offer(of: 1, endpoint: Endpoint(ipv4: 0xffff_ffff, port: 7827)), .oddEndpoint),
            (offer(of: 1, endpoint: Endpoint(ipv4: 0x0a00_0001, port: 7827)), .oddEndpoint),
            (offer(of: 1, endpoint: .loopback(7827)), .oddEndpoint),
            (SignedRecord(body: [0xff], signature: offer(of: 1).signature), .malformed),
            (SignedRecord(body: [], signature: offer(of: 1).signature), .malformed),
        ]
        for (signed, reason) in cases {
            var machine = Machine()
            #expect(machine.mail([signed], from: 1) == .offerReceived)
            #expect(machine.gossip.dropped[reason] == 1, "\(reason), has \(machine.gossip.dropped.named)")
            #expect(machine.gossip.statistics.signaturesChecked == 0)
            #expect(machine.gossip.heldCount == 0)
        }
    }

    @Test(arguments: ["Wren-m", "wren_m", "wren m", "a/b", "m\u{1b}[2J", "-m", "wren--m", "wrén"])
    func anOfferOfAModelWithoutACanonicalNameIsMalformedAndNeverListed(model: String) {
        var machine = Machine.joined(members: 1..<3)
        #expect(machine.mail([offer(of: 1, model: model), offer(of: 1)], from: 1) == .offerReceived)
        #expect(machine.gossip.dropped[.malformed] == 1)
        #expect(machine.gossip.statistics.signaturesChecked == 1)
        #expect(machine.gossip.models.map(\.name) == ["wren-m"])
        #expect(machine.gossip.cheapest(except: "other", limit: 8).map(\.model) == ["wren-m"])
    }

    @Test func anOfferWhoseLabelHoldsControlCharactersIsMalformed() throws {
        for text in ["\n", "\u{1b}", "\u{9b}", "\u{2028}", "\u{202e}"] {
            var machine = Machine()
            let label = "a" + text + "b"
            var record = try Offer(decoding: offer(of: 1).body)
            record.name = String(repeating: "x", count: label.utf8.count)
            // The writer would put a space in its place.
            var body = record.encoded()
            let place = try #require(body.firstRange(of: Array(record.name.utf8)))
            body.replaceSubrange(place, with: Array(label.utf8))
            let signature = offer(of: 1).signature
            machine.mail([SignedRecord(body: body, signature: signature)], from: 1)
            #expect(machine.gossip.dropped[.malformed] == 1, "\(label.debugDescription)")
            #expect(machine.gossip.statistics.signaturesChecked == 0)
        }
    }

    @Test func onALocalNetworkAnOfferMayNameAPrivateAddress() {
        var parameters = GossipParameters()
        parameters.isLocal = true
        var machine = Machine(parameters: parameters)
        machine.mail([offer(of: 1, endpoint: Endpoint(ipv4: 0x0a00_0001, port: 7827))], from: 1)
        machine.mail([offer(of: 2, endpoint: .loopback(7827))], from: 2)
        #expect(machine.gossip.allOffers.count == 2)
    }

    @Test func clocksMayDifferBy30SecondsEitherWay() {
        var machine = Machine()
        machine.mail([offer(of: 1, issued: 30)], from: 1)
        machine.mail([offer(of: 2, issued: -100, ends: -29)], from: 2)
        #expect(machine.gossip.allOffers.count == 2)
    }

    @Test func anOfferRunsOut30SecondsAfterItsDateIsToldAndCantComeBack() {
        var machine = Machine()
        machine.mail([offer(of: 1)], from: 1)
        _ = machine.takeActions()
        machine.pass(.seconds(209))
        #expect(machine.gossip.allOffers.count == 1)
        machine.pass(.seconds(2))
        #expect(machine.takeEvents() == ["expired wren-m"])
        #expect(machine.gossip.heldCount == 0)
        machine.mail([offer(of: 1)], from: 1)
        #expect(machine.gossip.dropped[.expired] == 1)
    }

    @Test(arguments: [-100_000, 100_000, -wallStart, 1 << 49])
    func aWallClockThatIsSetNeitherKeepsNorLosesOffersOutOfTime(_ error: Int64) {
        var machine = Machine()
        machine.mail([offer(of: 1)], from: 1)
        machine.wallError = error
        machine.pass(.seconds(209))
        #expect(machine.gossip.allOffers.count == 1)
        machine.pass(.seconds(2))
        #expect(machine.gossip.allOffers.isEmpty)
    }

    @Test func aTombstoneWithdrawsAndAnOldOrUnknownOfferCantComeBackUntilBothHaveRunOut() {
        var machine = Machine()
        machine.mail([offer(of: 1, sequence: 5, ends: 300)], from: 1)
        _ = machine.takeActions()
        machine.mail([offer(of: 1, sequence: 6, ends: 60, withdrawn: true)], from: 1)
        #expect(machine.takeEvents() == ["withdrawn wren-m"])
        #expect(machine.gossip.allOffers.isEmpty)
        #expect(machine.gossip.models.isEmpty)
        #expect(machine.gossip.heldCount == 1)
        for second in [0, 50, 150, 269] as [Int64] {
            machine.pass(.seconds(second) - machine.elapsed)
            machine.mail([offer(of: 1, sequence: 5, ends: 300)], from: 2)
            #expect(machine.gossip.allOffers.isEmpty, "after \(second) s")
        }
        machine.pass(.seconds(100))
        #expect(machine.gossip.heldCount == 0)
        machine.mail([offer(of: 1, sequence: 5, ends: 300)], from: 2)
        #expect(machine.gossip.heldCount == 0)

        machine.mail([offer(of: 2, sequence: 6, issued: 369, ends: 500, withdrawn: true)], from: 2)
        machine.mail([offer(of: 2, sequence: 5, issued: 369, ends: 500)], from: 3)
        #expect(machine.gossip.allOffers.isEmpty)
        #expect(machine.takeEvents() == [])
    }

    @Test func ofTwoBodiesUnderOneSequenceTheLowerHashWinsWhicheverComesFirst() {
        let (a, b) = (offer(of: 1, output: 1), offer(of: 1, output: 2))
        var first = Machine()
        first.mail([a], from: 1)
        first.mail([b], from: 2)
        var second = Machine()
        second.mail([b], from: 1)
        second.mail([a], from: 2)
        #expect(first.gossip.allOffers.map(\.signed) == second.gossip.allOffers.map(\.signed))
        #expect(first.gossip.dropped[.equivocated] + second.gossip.dropped[.equivocated] == 1)
    }

    @Test func eightVersionsOfAnOfferAreTakenInARowThenTheNewestEveryTwoSeconds() {
        var machine = Machine()
        for sequence in 1...8 as ClosedRange<UInt64> {
            machine.mail([offer(of: 1, sequence: sequence)], from: 1)
        }
        #expect(machine.mail([offer(of: 1, sequence: 10, output: 9)], from: 1) == .offerReceived)
        machine.mail([offer(of: 1, sequence: 9)], from: 1)
        machine.mail([offer(of: 1, sequence: 12, withdrawn: true)], from: 1)
        machine.mail([offer(of: 1, sequence: 11)], from: 1)
        #expect(machine.gossip.statistics.signaturesChecked == 8)
        #expect(machine.gossip.allOffers.map(\.record.sequence) == [8])
        machine.pass(.milliseconds(1_999))
        #expect(machine.gossip.allOffers.count == 1)
        machine.pass(.milliseconds(1))
        #expect(machine.gossip.allOffers.isEmpty, "the newest was the tombstone")
        #expect(machine.gossip.statistics.signaturesChecked == 9)
        machine.mail([offer(of: 1, sequence: 13)], from: 1)
        machine.pass(.seconds(2))
        #expect(machine.gossip.allOffers.map(\.record.sequence) == [13])
        #expect(machine.gossip.dropped[.rateLimited] == 0)
        #expect(machine.gossip.statistics.versionsDelayed == 3 && machine.gossip.delayed.isEmpty)
    }

    @Test func aVersionOverTheRateThatAnotherForwardsIsCheckedBeforeItWaitsAForgeryIsNot() {
        var machine = Machine()
        for sequence in 1...8 as ClosedRange<UInt64> {
            machine.mail([offer(of: 1, sequence: sequence)], from: 1)
        }
        machine.mail([offer(of: 1, sequence: 9)], from: 2)
        machine.mail([forged(offer(of: 1, sequence: 99))], from: 3)
        machine.mail([offer(of: 1, sequence: 10)], from: 2)
        #expect(machine.gossip.statistics.signaturesChecked == 11)
        machine.pass(.seconds(2))
        #expect(machine.gossip.allOffers.map(\.record.sequence) == [10])
        #expect(machine.gossip.statistics.signaturesChecked == 11, "it is not checked twice")
        // Its seller can displace what it said itself, and is blamed for what it signed wrongly.
        machine.mail([forged(offer(of: 1, sequence: 99))], from: 1)
        machine.pass(.seconds(2))
        #expect(machine.gossip.dropped[.badSignature] == 2)
        #expect(machine.gossip.allOffers.map(\.record.sequence) == [10])
    }

    @Test func aFloodOfVersionsOverTheRateCostsItsOwnBudgetOfChecks() {
        var machine = Machine()
        for sequence in 1...1_000 as ClosedRange<UInt64> {
            machine.mail([offer(of: 1, sequence: sequence)], from: 2)
        }
        #expect(machine.gossip.statistics.signaturesChecked == 58)
        #expect(machine.mail([offer(of: 3)], from: 3) == .offerReceived)
        #expect(machine.mail([offer(of: 4)], from: 3) == .offerReceived)
        #expect(machine.gossip.allOffers.count == 3)
    }

    @Test func aKeyThatInventsModelsIsHeldToEightOffersAndCostsNoMoreChecks() {
        var machine = Machine()
        for index in 0..<100 { machine.mail([offer(of: 1, model: "model-\(index)")], from: 1) }
        #expect(machine.gossip.allOffers.count == 8)
        #expect(machine.gossip.dropped[.tooManyFromOneKey] == 92)
        #expect(machine.gossip.statistics.signaturesChecked == 8)
    }

    @Test func aSellerThatWithdrawsOneModelAfterAnotherLeavesEightTombstonesAtMost() {
        var machine = Machine()
        for index in 0..<200 {
            let second = Int64(index)
            machine.mail(
                [
                    offer(
                        of: 1, model: "m-\(index)", issued: 2 * second, ends: 2 * second + 600,
                        withdrawn: true)
                ], from: 1)
            machine.pass(.seconds(2))
        }
        #expect(machine.gossip.dropped[.rateLimited] == 0)
        #expect(machine.gossip.heldCount == 8)
        #expect(machine.gossip.timers.count <= 10)
    }

    @Test func aForgerThatNamesAVictimUsesUpNeitherTheVictimsRateNorOnceMutedOurChecks() {
        var machine = Machine()
        for sequence in 1...50 as ClosedRange<UInt64> {
            machine.mail([forged(offer(of: 1, sequence: sequence))], from: 9)
        }
        #expect(machine.gossip.dropped[.badSignature] == 3)
        #expect(machine.gossip.dropped[.muted] == 47)
        #expect(machine.mail([offer(of: 1, sequence: 51)], from: 1) == .offerReceived)
        #expect(machine.gossip.allOffers.count == 1)
        machine.pass(.seconds(21))
        machine.mail([offer(of: 2, issued: 20)], from: 9)
        #expect(machine.gossip.allOffers.count == 2)
    }

    @Test func aFloodOf10000BadSignaturesASecondCostsItsBudgetAndMembersOffersStillPass() {
        var machine = Machine()
        machine.join(1)
        let bogus = forged(offer(of: 5))
        for sender in 0..<10_000 {
            let from = PeerAddress(
                key: PublicKey(Bytes32(UInt64(sender), 1, 2, 3)),
                endpoint: Endpoint(ipv4: 0x0b00_0000 | UInt32(sender), port: 9))
            _ = machine.gossip.handle(
                .offerMail([bogus]), from: from, proven: true, turn: &machine.turn,
                out: &machine.actions)
        }
        #expect(machine.gossip.statistics.signaturesChecked == 250)
        #expect(machine.gossip.dropped[.overBudget] == 9_750)
        #expect(machine.mail([offer(of: 1)], from: 1) == .offerReceived)
        #expect(machine.gossip.allOffers.count == 1)
        // A stranger's offer is not acknowledged: it is sent once more, a second later.
        #expect(machine.mail([offer(of: 2)], from: 2) == nil)
        machine.pass(.seconds(1))
        #expect(machine.mail([offer(of: 2)], from: 2) == .offerReceived)
        #expect(machine.gossip.allOffers.count == 2)
    }

    private static func flood(_ machine: inout Machine, _ numbers: Range<Int>) {
        for number in numbers {
            let identity = Identity.ofNode(1_000 + number)
            var record = terms("flood-\(number)", sequence: 1)
            record.publicKey = identity.publicKey
            record.issuedAt = machine.now.wall
            record.notAfter = machine.now.wall + .seconds(180)
            record.endpoints = [Endpoint(ipv4: 0x3000_0001 + UInt32(number) << 8, port: 7827)]
            let from = PeerAddress(
                key: identity.publicKey,
                endpoint: Endpoint(ipv4: 0x2000_0001, port: UInt16(1 + number)))
            _ = machine.gossip.handle(
                .offerMail([Verified(signing: record, with: identity).signed]), from: from, proven: true,
                turn: &machine.turn, out: &machine.actions)
            if number.isMultiple(of: 100) { machine.pass(.seconds(1)) }
        }
    }

    /// Each key is new and states an address in a network of its own; all come from one /24.
    @Test func aFloodOfNewKeysFillsTheBookButClosesItNeitherToNewcomersNorToModelsInUse() {
        var machine = Machine()
        machine.gossip.trade(in: ["wren-m"])
        for index in 1...20 { machine.mail([offer(of: index)], from: index) }
        Self.flood(&machine, 0..<4_100)
        #expect(machine.gossip.heldCount == GossipLimits.offersMax)
        let checked = machine.gossip.statistics.signaturesChecked
        Self.flood(&machine, 4_100..<4_600)
        #expect(machine.gossip.statistics.signaturesChecked == checked, "they find no room")
        let seconds = machine.elapsed.milliseconds / 1_000
        for index in 21...40 {
            machine.mail(
                [offer(of: index, model: "rare-\(index)", issued: seconds, ends: seconds + 180)], from: index)
            machine.mail([offer(of: index, issued: seconds, ends: seconds + 180)], from: 7)
        }
        #expect(machine.gossip.offers(model: "wren-m").count == 40)
        for index in 21...40 { #expect(machine.gossip.offers(model: "rare-\(index)").count == 1) }
    }

    @Test func anOfferLearntAnotherWayGoesToSixMembersMailedByItsPublisherToOneInEightAtMost() {
        var machine = Machine.joined(members: 1..<40)
        machine.mail([offer(of: 50)], from: 3)
        machine.pass(.milliseconds(499))
        #expect(machine.takeMails().isEmpty)
        machine.pass(.milliseconds(600))
        let rumours = machine.takeMails()
        #expect(rumours.count == 6)
        #expect(!rumours.map(\.to).contains(address(3)))
        for index in 100..<180 { machine.mail([offer(of: index)], from: index) }
        machine.pass(.milliseconds(1_500))
        let checks = machine.takeMails()
        #expect((3...20).contains(checks.count), "1 in 8 of 80, has \(checks.count)")
        machine.mail([offer(of: 51)], from: 3)
        machine.mail([offer(of: 51)], from: 51)
        machine.pass(.milliseconds(1_500))
        #expect(machine.takeMails().isEmpty, "its publisher mails it to everybody")
    }

    @Test func anOfferThatOnlyHoldsLongerGoesToThreeMembersOneWithAnotherPriceToSix() {
        var machine = Machine.joined(members: 1..<40)
        func mails(_ offer: SignedRecord) -> Int {
            machine.mail([offer], from: 3)
            machine.pass(.milliseconds(1_500))
            return machine.takeMails().count
        }
        #expect(mails(offer(of: 50)) == 6)
        #expect(mails(offer(of: 50, sequence: 2)) == 3)
        #expect(mails(offer(of: 50, sequence: 3, output: 9)) == 6)
    }

    @Test func aListedWithdrawalThatIsNewsIsPassedOnToTwelveMembersAtOnce() {
        var machine = Machine.joined(members: 1..<40)
        machine.mail([offer(of: 50)], from: 50)
        machine.pass(.milliseconds(1_500))
        _ = machine.takeMails()
        machine.mail([offer(of: 50, sequence: 2, withdrawn: true)], from: 50)
        machine.pass(.milliseconds(20))
        let mails = machine.takeMails()
        #expect(mails.count == 12)
        #expect(mails.allSatisfy { $0.offers.map(\.withdrawn) == [true] && $0.to != address(50) })
        // A repeated withdrawal, or one of an offer that no buyer could have called, is not passed on.
        machine.mail([offer(of: 50, sequence: 2, withdrawn: true)], from: 7)
        machine.mail([offer(of: 51, withdrawn: true)], from: 51)
        machine.mail([offer(of: 52, withdrawn: true)], from: 52)
        machine.pass(.milliseconds(400))
        #expect(machine.takeMails().isEmpty)
    }

    @Test func anOfferThatReturnsAfterAWithdrawalIsPassedOnToSixMembersByEverybody() {
        var machine = Machine.joined(members: 1..<40)
        machine.mail([offer(of: 50, withdrawn: true)], from: 50)
        machine.pass(.milliseconds(1_500))
        _ = machine.takeMails()
        machine.mail([offer(of: 50, sequence: 2)], from: 50)
        // The publisher's second mail of it doesn't stop that.
        machine.mail([offer(of: 50, sequence: 2)], from: 50)
        machine.pass(.milliseconds(20))
        let mails = machine.takeMails()
        #expect(mails.count == 6 && mails.allSatisfy { $0.offers.map(\.sequence) == [2] })
    }

    @Test func aSellerThatComesAndGoesIsForwardedOnceInTwoSecondsAndThenInItsNewestVersion() {
        var machine = Machine.joined(members: 1..<40)
        func flap(_ model: String) {
            for sequence in 1...8 as ClosedRange<UInt64> {
                machine.mail(
                    [offer(of: 50, model: model, sequence: sequence, withdrawn: sequence % 2 == 0)], from: 50)
            }
        }
        // Seven changes each.
        for model in ["a", "b", "c"] { flap(model) }
        machine.pass(.milliseconds(1_000))
        #expect(machine.gossip.statistics.rumoursStarted <= 16 + 3)
        #expect(machine.gossip.rumours.count == 1)
        _ = machine.takeMails()
        machine.pass(.seconds(6))
        let late = machine.takeMails()
        #expect(!late.isEmpty && late.flatMap(\.offers).allSatisfy { $0.sequence == 8 })
        #expect(machine.gossip.rumours.isEmpty)
    }

    @Test func anOldOfferIsNoNewsToOthersAndNothingIsWhileJoining() {
        var machine = Machine.joined(members: 1..<40)
        machine.mail([offer(of: 50, issued: -11)], from: 3)
        machine.pass(.milliseconds(1_500))
        #expect(machine.takeMails().isEmpty)
        var newcomer = Machine()
        newcomer.join(1)
        newcomer.mail([offer(of: 50)], from: 1)
        newcomer.pass(.milliseconds(1_500))
        #expect(newcomer.takeMails().isEmpty)
    }
}
