import Primitives
import Testing
import Wire

@testable import Market

/// What counts as paid, and what is left unpaid takes away (`Protocol/market.md`, Shares and Money).
@Suite struct PaymentTests {
    let one = asker(2_001)
    let other = asker(2_002)

    func isBid(_ message: MarketMessage?) -> Bool { if case .bid = message { true } else { false } }

    /// How many of ten calls get a slot at once.
    func slots(of buyer: PeerAddress, from number: UInt64 = 200, _ worker: inout Worker) -> Int {
        (0..<10).count { isBid(worker.handle(.callForBids(call(number + UInt64($0))), from: buyer)) }
    }

    /// The latest that is known of the key.
    func paid(_ buyer: PeerAddress, _ actions: [BidderAction]) -> Paid? {
        actions.compactMap {
            if case .buyerJudged(let record) = $0, record.party == .key(buyer.key) {
                record.paid
            } else {
                nil
            }
        }.last
    }

    /// Takes an answer of 40 tokens (80 µcr), of which `acknowledged` are acknowledged while it runs.
    func take(
        _ number: UInt64, from buyer: PeerAddress, _ signer: UInt64, acknowledged: UInt64 = 0,
        _ worker: inout Worker
    ) throws {
        let job = try worker.run(number, from: buyer, on: 99)
        worker.event(job, .produced(text: [UInt8](repeating: 120, count: 160), tokens: 40, extra: []))
        if acknowledged > 0 {
            worker.pay(number, from: buyer, signer) {
                ($0.completionTokens, $0.cost, $0.final) = (
                    acknowledged, Money(microCredits: Int64(2 * acknowledged)), false
                )
            }
        }
        worker.event(job, .finished(Finish(reason: "stop", completionTokens: 40)))
    }

    // MARK: - The prompt

    @Test(arguments: [(401, false), (402, true)])
    func aPromptThatItsCallUnderstatesIsPaidByTheBytesOfTheRequest(_ cost: Int64, _ isPaid: Bool) throws {
        var worker = Worker(Seller(1, slots: 4))
        let task = TaskID(high: 1, low: 1)
        _ = worker.handle(.callForBids(call(1) { $0.tokensIn = 1 }), from: one)
        worker.frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 16_000)), from: one, on: 99)
        for part in [14_000, 2_000] {
            worker.frame(task, .bodyPart([UInt8](repeating: 32, count: part)), from: one, on: 99)
        }
        let job = try #require(worker.take().jobs.last?.id)
        worker.event(job, .produced(text: [120], tokens: 1, extra: []))
        worker.event(job, .finished(Finish(reason: "stop", promptTokens: 4_000, completionTokens: 1)))
        worker.pay(1, from: one, 2_001) {
            // 2,000 × 0.2 + 1 × 2
            ($0.promptTokens, $0.completionTokens, $0.cost) = (2_000, 1, Money(microCredits: cost))
        }
        #expect(paid(one, worker.take())?.tasks == (isPaid ? 1 : 0))
    }

    @Test func noCallAndNoFinishStatesAPromptThatIsLongerThanItsRequestAllows() throws {
        #expect(RequestSize.undisputedPrompt(tokensIn: 9_000, bytes: 100, features: .chat) == 1_124)
        #expect(RequestSize.undisputedPrompt(tokensIn: 9, bytes: 800, features: .chat) == 100)
        #expect(RequestSize.undisputedPrompt(tokensIn: 9, bytes: 800_000, features: [.chat, .images]) == 9)
        var worker = Worker()
        let job = try worker.run(1, from: one, on: 99)
        worker.event(job, .produced(text: [120], tokens: 1, extra: []))
        worker.event(job, .finished(Finish(reason: "stop", promptTokens: .max, cachedTokens: 5_000)))
        #expect(
            worker.take().frames.last
                == .finish(Finish(reason: "stop", promptTokens: 1_026, cachedTokens: 1_026)))
    }

    // MARK: - What is left unpaid

    @Test func anAnswerThatIsLeftUnpaidTakesATaskAndItsPriceUntilItsReceiptComes() throws {
        var worker = Worker(Seller(1, slots: 16))
        for number in 1...4 { try worker.runAndPay(UInt64(number), from: one, 2_001) }
        for number in 5...6 as ClosedRange<UInt64> { try take(number, from: one, 2_001, &worker) }
        _ = worker.take()
        worker.advance(to: 4_999)
        #expect(paid(one, worker.take()) == nil, "its receipt may be on its way")
        worker.advance(to: 5_000)
        #expect(paid(one, worker.take()) == Paid(tasks: 2, amount: 160))
        for number in 100..<120 { _ = worker.handle(.callForBids(call(UInt64(number))), from: other) }
        #expect(slots(of: one, &worker) == 3)
        for number in 5...6 as ClosedRange<UInt64> {
            worker.pay(number, from: one, 2_001) { ($0.completionTokens, $0.cost) = (40, 80) }
        }
        #expect(paid(one, worker.take()) == Paid(tasks: 6, amount: 480))
    }

    @Test func whatIsLeftUnpaidLeavesNobodyLessThanAStrangerHas() throws {
        var worker = Worker(Seller(1, slots: 8))
        try worker.runAndPay(1, from: one, 2_001)
        for number in 5...9 as ClosedRange<UInt64> { try take(number, from: one, 2_001, &worker) }
        worker.advance(to: 5_000)
        #expect(paid(one, worker.take()) == Paid())
        #expect(slots(of: one, &worker) == 4)
    }

    @Test func tasksThatWereWorthNothingBuyNoSlotOfARegularBuyer() throws {
        var worker = Worker(Seller(1, slots: 4))
        try worker.runAndPay(1, from: other, 2_002)
        for number in 2...8 as ClosedRange<UInt64> {
            let job = try worker.run(number, from: one, on: 99)
            worker.event(job, .produced(text: [120], tokens: 1, extra: []))
            worker.event(job, .finished(Finish(reason: "stop", completionTokens: 1)))
            worker.pay(number, from: one, 2_001) { ($0.completionTokens, $0.cost) = (1, 2) }
        }
        #expect(paid(one, worker.take()) == Paid(tasks: 7, amount: 14))
        #expect(slots(of: one, &worker) == 2)
        #expect(slots(of: other, from: 300, &worker) == 2)
    }

    @Test func halfOfAnAnswerIsNoPaymentWhetherItsFinalReceiptComesOrNot() throws {
        for isFinal in [false, true] {
            var worker = Worker(Seller(1, slots: 8))
            for number in 1...4 { try worker.runAndPay(UInt64(number), from: one, 2_001) }
            _ = worker.take()
            try take(5, from: one, 2_001, acknowledged: 21, &worker)
            if isFinal {
                worker.pay(5, from: one, 2_001) {
                    ($0.sequence, $0.completionTokens, $0.cost) = (2, 21, 42)
                }
            }
            worker.advance(to: 5_000)
            // The other 19 tokens cost 38 µcr.
            #expect(paid(one, worker.take()) == Paid(tasks: isFinal ? 4 : 3, amount: 320 - 38))
            #expect(worker.bidder.nextDeadline() == .never)
        }
    }

    @Test func aFinalReceiptThatComesWhileTheAnswerRunsPaysOnlyWhatItCovers() throws {
        var worker = Worker(Seller(1, slots: 8))
        let job = try worker.run(1, from: one, on: 99)
        worker.event(job, .produced(text: [120], tokens: 1, extra: []))
        worker.pay(1, from: one, 2_001) { ($0.completionTokens, $0.cost) = (1, 2) }
        worker.event(job, .produced(text: [UInt8](repeating: 120, count: 160), tokens: 40, extra: []))
        worker.event(job, .finished(Finish(reason: "stop", completionTokens: 41)))
        worker.advance(to: 5_000)
        #expect(paid(one, worker.take()) == Paid())
    }

    /// An embedding has no tokens, and its prompt is all that it costs.
    @Test(arguments: [(0, nil), (100, 1)] as [(Int64, Int?)])
    func anEmbeddingIsPaidByItsPrompt(_ cost: Int64, _ tasks: Int?) throws {
        var worker = Worker(Seller(1, slots: 8))
        try worker.runAndPay(1, from: other, 2_002)
        let job = try worker.run(2, from: one, on: 99) { $0.tokensIn = 500 }
        worker.event(job, .finished(Finish(reason: "stop", promptTokens: 500, extra: Array("[1]".utf8))))
        worker.pay(2, from: one, 2_001) {
            ($0.promptTokens, $0.completionTokens, $0.cost) = (500, 0, Money(microCredits: cost))
        }
        let judged = paid(one, worker.take())
        #expect((judged?.tasks ?? 0) == (tasks ?? 0))
    }

    // MARK: - Names that were used before

    @Test func aTaskThatWasSoldIsNotSoldAgainUnderItsNameEvenAfterARestart() throws {
        var worker = Worker(Seller(1, slots: 8))
        try worker.runAndPay(1, from: one, 2_001)
        try take(2, from: one, 2_001, &worker)
        for number in 10..<1_200 as Range<UInt64> { try take(number, from: one, 2_001, &worker) }
        #expect(!isBid(worker.handle(.callForBids(call(1)), from: one)))
        #expect(isBid(worker.handle(.callForBids(call(1)), from: other)), "another buyer's task")
        #expect(isBid(worker.handle(.callForBids(call(1) { $0.attempt = 2 }), from: one)))
        var restarted = Worker(Seller(1, slots: 8))
        let sold = SoldTask(buyer: one.key, task: TaskID(high: 1, low: 1), attempt: 1)
        restarted.bidder.restore([], sold: [sold], now: restarted.turn.now)
        #expect(!isBid(restarted.handle(.callForBids(call(1)), from: one)))
        #expect(isBid(restarted.handle(.callForBids(call(3)), from: one)))
    }
}
