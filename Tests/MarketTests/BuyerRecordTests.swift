import Primitives
import Testing
import Wire

@testable import Market

/// What a restarted seller knows of those who asked it before.
@Suite struct BuyerRecordTests {
    let one = asker(2_001)

    func isBid(_ message: MarketMessage?) -> Bool { if case .bid = message { true } else { false } }

    /// The latest record of each party, as a database would keep them.
    func note(_ actions: [BidderAction], _ kept: inout [BuyerRecord]) {
        for case .buyerJudged(let record) in actions {
            kept.removeAll { $0.party == record.party }
            kept.append(record)
        }
    }

    /// A seller with eight slots that begins with what another process kept; `count` calls of strangers come first.
    func slots(of buyer: PeerAddress, besideStrangers count: Int, _ kept: [BuyerRecord]) -> Int {
        var worker = Worker(Seller(1, slots: 8))
        worker.bidder.restore(kept, now: worker.turn.now)
        for number in 0..<count {
            _ = worker.handle(.callForBids(call(UInt64(100 + number))), from: asker(3_000 + UInt64(number)))
        }
        return (0..<10).count { isBid(worker.handle(.callForBids(call(UInt64(200 + $0))), from: buyer)) }
    }

    @Test func whoPaidBeforeARestartFindsTheHalfThatStrangersDoNotGet() throws {
        var worker = Worker(Seller(1, slots: 8))
        var kept: [BuyerRecord] = []
        for number in 1...3 {
            worker.advance(to: Int64(number) * 1_000)
            try worker.runAndPay(UInt64(number), from: one, 2_001)
            note(worker.take(), &kept)
        }
        #expect(
            kept == [
                BuyerRecord(.key(one.key), paid: Paid(tasks: 3, amount: 240), at: moment(3_000).wall),
                BuyerRecord(.network(2_001), paid: Paid(tasks: 3, amount: 240), at: moment(3_000).wall),
            ])
        #expect(slots(of: one, besideStrangers: 20, kept) == 4)
        #expect(slots(of: asker(2_002), besideStrangers: 20, kept) == 0)
    }

    @Test func whoLeftAJobUnacknowledgedIsAStrangerAfterARestartToo() throws {
        var worker = Worker(Seller(1, slots: 8))
        var kept: [BuyerRecord] = []
        for number in 1...6 {
            try worker.runAndPay(UInt64(number), from: one, 2_001)
            note(worker.take(), &kept)
        }
        try worker.runAndPay(7, from: asker(2_002), 2_002)
        note(worker.take(), &kept)
        let job = try worker.run(50, from: one, on: 98, window: 1 << 20) { $0.deadlineMilliseconds = 60_000 }
        for second in 0..<12 {
            worker.advance(to: Int64(second) * 1_000)
            worker.event(job, .produced(text: [UInt8](repeating: 120, count: 100), tokens: 50, extra: []))
        }
        note(worker.take(), &kept)
        #expect(kept.filter { $0.paid == Paid() }.map(\.party) == [.key(one.key), .network(2_001)])
        #expect(slots(of: one, besideStrangers: 20, kept) == 0)
    }

    @Test func whatWasKeptCannotMakeTheNextPaymentOverflow() throws {
        var worker = Worker(Seller(1, slots: 8))
        let most = Paid(tasks: .max, amount: Money(microCredits: .max))
        worker.bidder.restore(
            [
                BuyerRecord(.key(one.key), paid: most, at: moment(0).wall),
                BuyerRecord(.network(2_001), paid: most, at: moment(0).wall),
            ], now: worker.turn.now)
        try worker.runAndPay(1, from: one, 2_001)
        let paid = worker.take().compactMap {
            if case .buyerJudged(let record) = $0 { record.paid } else { nil as Paid? }
        }
        #expect(Set(paid) == [Paid(tasks: 1 << 30, amount: most.amount)])
    }

    @Test func keysThatPaidOncePushOutOneAnotherAndNoneThatPaidMore() {
        var paid = PaidTasks<Int>(capacity: 4)
        let one = Paid(tasks: 1, amount: 5)
        for _ in 1...3 { paid.add(0, one) }
        paid.add(1, one)
        for key in 100..<200 { paid.add(key, one) }
        #expect(
            paid[0] == Paid(tasks: 3, amount: 15) && paid[1] == Paid() && paid[199] == one && paid.count == 5)
        paid.add(0, one)
        #expect(paid[0].tasks == 4 && paid.count == 5)
        paid.set(0, Paid(tasks: .max, amount: Money(microCredits: .max)))
        paid.add(0, one)
        #expect(paid[0] == Paid(tasks: 1 << 30, amount: Money(microCredits: .max)))
        paid.remove(0)
        for key in 100..<200 { paid.remove(key) }
        #expect(paid.isEmpty && paid[0] == Paid())
    }

    @Test func whatIsTakenIsNoMoreThanWhatThereWasAndCanBeGivenBack() {
        var paid = PaidTasks<Int>(capacity: 4)
        #expect(paid.take(0, Paid(tasks: 1, amount: 9)) == Paid())
        paid.add(0, Paid(tasks: 2, amount: 10))
        let first = paid.take(0, Paid(tasks: 1, amount: 14))
        #expect(first == Paid(tasks: 1, amount: 10) && paid[0] == Paid(tasks: 1))
        let second = paid.take(0, Paid(tasks: 1, amount: 3))
        #expect(second == Paid(tasks: 1) && paid.isEmpty)
        paid.add(0, second)
        paid.add(0, first)
        #expect(paid[0] == Paid(tasks: 2, amount: 10))
        #expect(paid.take(0, Paid(amount: 4)) == Paid(amount: 4) && paid[0] == Paid(tasks: 2, amount: 6))
    }

    /// Or its own tasks would close half of a seller that nobody else has paid yet.
    @Test func aNodesOwnReceiptsMakeNobodyAPayer() throws {
        var worker = Worker(Seller(1, slots: 2))
        try worker.runAndPay(1, from: worker.seller.address, 1)
        #expect(!worker.take().contains { if case .buyerJudged = $0 { true } else { false } })
        for number in 2...3 as ClosedRange<UInt64> {
            #expect(isBid(worker.handle(.callForBids(call(number)), from: asker(3_000 + number))))
        }
    }
}
