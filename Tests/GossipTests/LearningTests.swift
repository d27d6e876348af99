import Primitives
import Testing
import Wire

@testable import Gossip

@Suite("Received offers")
struct LearningTests {
    @Test(
        "A mailed offer is held, reported and acknowledged; its copy is a duplicate and costs no check")
    func duplicate() {
        var machine = Machine()
        #expect(machine.mail([offer(of: 1)], from: 1) == .offerReceived)
        #expect(machine.takeEvents() == ["learnt wren-m 2000000"])
        #expect(machine.mail([offer(of: 1)], from: 2) == .offerReceived)
        #expect(machine.gossip.dropped[.duplicate] == 1)
        #expect(machine.gossip.statistics.signaturesChecked == 1)
        #expect(machine.gossip.offers(model: "wren-m").count == 1)
    }

    @Test("A refresh replaces silently, new terms are reported, old versions are stale and answered by ours")
    func versions() {
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

    @Test("A first message changes nothing and is not answered")
    func unproven() {
        var machine = Machine()
        #expect(machine.receive(.offerMail([offer(of: 1)]), from: 1, proven: false) == nil)
        let digest = OfferDigest(first: 0, last: .max, offers: [])
        #expect(machine.receive(.offerDigest(digest), from: 1, proven: false) == nil)
        #expect(machine.gossip.dropped[.unproven] == 2)
        #expect(machine.gossip.heldCount == 0)
        #expect(machine.actions.isEmpty)
    }

    @Test("Implausible dates, sequences and endpoints are refused by name, before any signature check")
    func oddOffers() {
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

    @Test("Clocks may differ by 30 seconds either way")
    func tolerance() {
        var machine = Machine()
        machine.mail([offer(of: 1, issued: 30)], from: 1)
        machine.mail([offer(of: 2, issued: -100, ends: -29)], from: 2)
        #expect(machine.gossip.allOffers.count == 2)
    }

    @Test("An offer expires 30 seconds after its date, is reported, and can't come back")
    func expiry() {
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

    @Test("Setting the wall clock neither keeps offers past their time nor loses them before it")
    func clockStep() {
        var machine = Machine()
        machine.mail([offer(of: 1)], from: 1)
        machine.wallError = -100_000
        machine.pass(.seconds(215))
        #expect(machine.gossip.allOffers.count == 1)
        machine.pass(.seconds(100))
        #expect(machine.gossip.allOffers.isEmpty)
    }

    @Test("A tombstone withdraws, and an old or unknown offer can't come back until both have expired")
    func tombstones() {
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

    @Test("Of two bodies under one sequence the lower hash wins, whichever comes first")
    func equivocation() {
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

    @Test("Eight new versions of an offer in a row, then one in ten seconds; tombstones count too")
    func versionRate() {
        var machine = Machine()
        for sequence in 1...8 as ClosedRange<UInt64> {
            machine.mail([offer(of: 1, sequence: sequence)], from: 1)
        }
        machine.mail([offer(of: 1, sequence: 9, withdrawn: true)], from: 1)
        #expect(machine.gossip.dropped[.rateLimited] == 1)
        #expect(machine.gossip.statistics.signaturesChecked == 8)
        machine.pass(.seconds(10))
        machine.mail([offer(of: 1, sequence: 9, withdrawn: true)], from: 1)
        #expect(machine.gossip.allOffers.isEmpty)
        machine.mail([offer(of: 1, sequence: 10)], from: 1)
        #expect(machine.gossip.dropped[.rateLimited] == 2)
    }

    @Test("A key that invents models is limited to 24 versions, and to eight offers")
    func originRate() {
        var machine = Machine()
        for index in 0..<100 { machine.mail([offer(of: 1, model: "model-\(index)")], from: 1) }
        #expect(machine.gossip.allOffers.count == 8)
        #expect(machine.gossip.dropped[.tooManyFromOneKey] == 16)
        #expect(machine.gossip.dropped[.rateLimited] == 76)
    }

    @Test(
        "A seller that withdraws one invented model after another leaves no trace beyond its eight tombstones"
    )
    func tombstoneChurn() {
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

    @Test("A forger who names a victim uses up neither the victim's rate nor, muted after three, our checks")
    func forgery() {
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

    @Test(
        "A flood of 10,000 invalid signatures a second costs its budget, and members' offers still pass"
    )
    func flood() {
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

    @Test(
        "A fresh offer learnt another way goes to six members; from its publisher, to at most one in eight"
    )
    func rumours() {
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

    @Test("An offer with only a later expiry goes to three members, one with another price to six")
    func refreshes() {
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

    @Test("A node that learns the withdrawal of an offer it listed passes it on to twelve members at once")
    func withdrawalsArePassedOn() {
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

    @Test("An old offer is not passed on, and nothing is while joining")
    func noRumours() {
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

    @Test("A clock minutes ahead is corrected also by publishers whose offers came another way before")
    func clockOfOneWhoKnowsAll() {
        var machine = Machine()
        machine.wallError = 196_000
        for index in 1...3 { machine.mail([offer(of: index)], from: 9) }
        #expect(machine.gossip.allOffers.count == 3 && machine.gossip.clockCorrection == 0)
        for index in 1...3 { machine.mail([offer(of: index)], from: index) }
        #expect(machine.gossip.clockCorrection == -196_000)
        machine.pass(.seconds(60))
        #expect(machine.gossip.allOffers.count == 3)
        // A delayed mail says nothing about clocks.
        var right = Machine()
        for index in 1...3 { right.mail([offer(of: index)], from: 9) }
        right.pass(.seconds(59))
        for index in 1...3 { right.mail([offer(of: index)], from: index) }
        #expect(right.gossip.clockCorrection == 0)
    }

    @Test("A machine that boots in 1970 is corrected by the offers of publishers in three networks")
    func clock() {
        var machine = Machine()
        machine.wallError = -wallStart
        for index in 1...4 { machine.mail([offer(of: index)], from: index) }
        #expect(machine.gossip.allOffers.count == 2)
        #expect(machine.gossip.dropped[.fromTheFuture] == 2)
        machine.join(1)
        machine.announce(terms("wren-m"))
        #expect(machine.takeMails().first?.offers.first?.issuedAt == WallTime(milliseconds: wallStart))
        // One network alone can't set a clock.
        var other = Machine()
        for index in 1...9 {
            let from = PeerAddress(
                key: identity(index).publicKey, endpoint: Endpoint(ipv4: 0x0a00_0001, port: UInt16(index)))
            let signed = offer(of: index, issued: 9_000, ends: 9_100)
            _ = other.gossip.handle(
                .offerMail([signed]), from: from, proven: true, turn: &other.turn,
                out: &other.actions)
        }
        #expect(other.gossip.clockCorrection == 0)
    }
}
