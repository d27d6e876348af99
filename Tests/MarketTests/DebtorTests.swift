import Primitives
import Testing
import Wire

@testable import Market

/// Buyers that take answers and don't pay for them (`Protocol/market.md`, Shares).
@Suite struct DebtorTests {
    let one = asker(2_001)

    enum End: CaseIterable { case finished, cancelled, closed, deadline }

    func isBid(_ message: MarketMessage?) -> Bool { if case .bid = message { true } else { false } }

    /// Takes an answer of three tokens and sends no receipt.
    func take(
        _ number: UInt64, from buyer: PeerAddress, end: End = .finished, _ worker: inout Worker
    ) throws {
        let job = try worker.run(number, from: buyer, on: 99)
        worker.event(job, .produced(text: Array("a b c".utf8), tokens: 3, extra: []))
        switch end {
        case .finished: worker.event(job, .finished(Finish(reason: "stop", completionTokens: 3)))
        case .cancelled: worker.frame(TaskID(high: 1, low: number), .cancel, from: buyer, on: 99)
        case .closed: worker.bidder.channelClosed(99, turn: &worker.turn, out: &worker.actions)
        case .deadline: worker.advance(to: worker.milliseconds + 10_000)
        }
        #expect(worker.bidder.runningJobs.isEmpty)
    }

    /// Takes `count` answers, far enough apart, and pays for none.
    func leave(_ count: Int, _ buyers: [PeerAddress], end: End = .finished, _ worker: inout Worker) throws {
        for number in 0..<count {
            worker.advance(to: worker.milliseconds + 60_000)
            try take(1_000 + UInt64(number), from: buyers[number % buyers.count], end: end, &worker)
        }
        worker.advance(to: worker.milliseconds + 60_000)
    }

    /// How many of ten calls get a slot at once.
    func slots(of buyer: PeerAddress, _ worker: inout Worker) -> Int {
        (0..<10).count { isBid(worker.handle(.callForBids(call(UInt64(200 + $0))), from: buyer)) }
    }

    func strangers(_ count: Int, _ worker: inout Worker) {
        for number in 0..<count {
            let buyer = asker(3_000 + UInt64(number))
            #expect(isBid(worker.handle(.callForBids(call(UInt64(100 + number))), from: buyer)))
        }
    }

    @Test(arguments: End.allCases) func whoLeavesThreeAnswersUnpaidComesAfterAllOtherStrangers(_ end: End)
        throws
    {
        for (count, beside, expected) in [(2, 0, 4), (3, 0, 1), (3, 2, 1), (3, 3, 0)] {
            var worker = Worker(Seller(1, slots: 8))
            try leave(count, [one], end: end, &worker)
            strangers(beside, &worker)
            #expect(slots(of: one, &worker) == expected, "\(count) unpaid, beside \(beside)")
            let other = isBid(worker.handle(.callForBids(call(300)), from: asker(2_900)))
            #expect(other, "a stranger that owes nothing")
        }
    }

    @Test func answersThatEndUnpaidTogetherCountOnce() throws {
        var worker = Worker(Seller(1, slots: 8))
        worker.advance(to: 60_000)
        for number in 0..<20 { try take(UInt64(number), from: one, &worker) }
        worker.advance(to: 120_000)
        #expect(slots(of: one, &worker) == 4)
    }

    @Test func aReceiptForHalfOfAnyAnswerSettlesTheDebtAndADayForgetsIt() throws {
        var worker = Worker(Seller(1, slots: 8))
        try leave(3, [one], &worker)
        // 1 of 3 tokens, which is half, rounded down.
        worker.pay(1_000, from: one, 2_001) { ($0.completionTokens, $0.cost) = (1, 2) }
        #expect(slots(of: one, &worker) == 4)
        var other = Worker(Seller(1, slots: 8))
        try leave(3, [one], &other)
        other.advance(to: other.milliseconds + 24 * 3_600_000)
        #expect(slots(of: one, &other) == 4)
    }

    @Test func whatADebtorHadPaidBeforeCountsNoMore() throws {
        var worker = Worker(Seller(1, slots: 8))
        for number in 1...6 { try worker.runAndPay(UInt64(number), from: one, 2_001) }
        try leave(2, [one], &worker)
        #expect(slots(of: one, &worker) == 8)
        worker.advance(to: worker.milliseconds + 60_000)
        try take(1_002, from: one, &worker)
        worker.advance(to: worker.milliseconds + 60_000)
        #expect(slots(of: one, &worker) == 1)
    }

    @Test func aNewKeyOfADebtorsNetworkIsTreatedLikeItAndOneThatPaidIsNot() throws {
        var worker = Worker(Seller(1, slots: 8))
        let keys = (0..<5).map { PeerAddress(key: identity(4_000 + $0).publicKey, endpoint: one.endpoint) }
        try worker.runAndPay(1, from: keys[4], 4_004)
        try leave(3, Array(keys.prefix(3)), &worker)
        #expect(slots(of: keys[3], &worker) == 1)
        worker.advance(to: worker.milliseconds + 60_000)
        #expect(slots(of: keys[4], &worker) == 6, "one more than it paid, and what is lent")
    }

    /// Neither a seller that breaks off nor a line that breaks makes a debtor of a buyer that acknowledges as it reads.
    @Test(arguments: 0..<3) func whatTheSellerOrALineBrokeOffIsNoDebt(_ kind: Int) throws {
        var worker = Worker(Seller(1, slots: 8))
        for number in 1...4 as ClosedRange<UInt64> {
            worker.advance(to: worker.milliseconds + 60_000)
            let job = try worker.run(number, from: one, on: 99)
            worker.event(job, .produced(text: Array("a b c".utf8), tokens: 3, extra: []))
            switch kind {
            case 0: worker.event(job, .failed(Fail(.backendError, "", anotherMaySucceed: true)))
            case 1: worker.bidder.handOver(turn: &worker.turn, out: &worker.actions)
            default:
                worker.pay(number, from: one, 2_001) { $0.final = false }
                worker.event(job, .produced(text: Array(" d".utf8), tokens: 1, extra: []))
                worker.bidder.channelClosed(99, turn: &worker.turn, out: &worker.actions)
            }
            #expect(worker.bidder.runningJobs.isEmpty)
        }
        worker.advance(to: worker.milliseconds + 60_000)
        #expect(slots(of: one, &worker) == 4)
    }

    @Test func aDebtorIsOneAfterARestartToo() throws {
        var worker = Worker(Seller(1, slots: 8))
        var kept: [BuyerRecord] = []
        for number in 0..<3 as Range<UInt64> {
            worker.advance(to: worker.milliseconds + 60_000)
            try take(number, from: one, &worker)
            worker.advance(to: worker.milliseconds + 5_000)
            for case .buyerJudged(let record) in worker.take() {
                kept.removeAll { $0.party == record.party }
                kept.append(record)
            }
        }
        #expect(kept.map(\.unpaid) == [3, 3])
        for (hours, expected) in [(1, 1), (25, 4)] as [(Int64, Int)] {
            var restarted = Worker(Seller(1, slots: 8))
            restarted.milliseconds = worker.milliseconds + hours * 3_600_000
            restarted.bidder.restore(kept, now: restarted.turn.now)
            #expect(slots(of: one, &restarted) == expected)
        }
    }

    @Test func aNodeOwesItselfNothing() throws {
        var worker = Worker(Seller(1, slots: 8))
        try leave(4, [worker.seller.address], &worker)
        #expect(slots(of: worker.seller.address, &worker) == 8)
    }
}
