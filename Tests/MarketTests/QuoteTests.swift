import Primitives
import Testing
import Wire

@testable import Market

@Suite struct QuoteTests {
    private func quote(_ number: UInt64) -> MarketMessage {
        .callForBids(call(number) { $0.isQuote = true })
    }

    private func isBid(_ message: MarketMessage?) -> Bool { if case .bid = message { true } else { false } }

    // MARK: - The seller

    @Test func aQuoteIsASignedBidThatHoldsNothingAndCantBeAwarded() throws {
        var worker = Worker()
        for number in 1...10 as ClosedRange<UInt64> {
            guard case .bid(let signed)? = worker.handle(quote(number), from: asker(2_001)) else {
                Issue.record("no bid")
                continue
            }
            #expect(try Verified<Bid>(checking: signed).record.buyer == asker(2_001).key)
        }
        #expect(worker.bidder.slotsTaken("wren-m") == 0 && worker.bidder.waiting("wren-m") == 0)
        #expect(worker.bidder.outstanding == (holds: 0, jobs: 0, channels: 0, timers: 0))
        #expect(worker.bidder.record == BidderRecord() && worker.take().isEmpty)
        let task = TaskID(high: 1, low: 1)
        let award = MarketMessage.award(Award(task: task, attempt: 1, workerDials: false))
        guard case .awardReply(let reply)? = worker.handle(award, from: asker(2_001)) else {
            return #expect(Bool(false), "no reply")
        }
        #expect(reply.status == .unknown)
    }

    @Test func aQuoteSaysHowLongTheQueueIs() throws {
        var worker = Worker()
        var served = ada.served
        (served.slots, served.places) = (1, 16)
        worker.bidder.setServed([served])
        _ = try worker.run(1, from: asker(2_001), on: 99)
        guard case .bid(let signed)? = worker.handle(quote(2), from: asker(2_002)) else {
            return #expect(Bool(false), "no bid")
        }
        #expect(try Verified<Bid>(checking: signed).record.queueMilliseconds > 0)
        #expect(worker.bidder.waiting("wren-m") == 0)
    }

    @Test func whatACallWouldBeDeclinedForAQuoteIsToo() {
        var worker = Worker()
        let message = MarketMessage.callForBids(
            call(1) {
                $0.isQuote = true
                $0.tokensIn = 1_000
            })
        guard case .decline(let decline)? = worker.handle(message, from: asker(2_001)) else {
            return #expect(Bool(false), "no decline")
        }
        #expect(decline.reason == .contextTooSmall)
        #expect(worker.take().isEmpty, "and it is no refused call")
    }

    @Test func aKeyGetsTwentyQuotesAtOnceAndFiveASecond() {
        var worker = Worker()
        let buyer = asker(2_001)
        for number in 1...20 as ClosedRange<UInt64> {
            #expect(isBid(worker.handle(quote(number), from: buyer)))
        }
        guard case .decline(let decline)? = worker.handle(quote(21), from: buyer) else {
            return #expect(Bool(false), "no decline")
        }
        #expect(decline.reason == .busy && (1...200).contains(decline.retryAfterMilliseconds))
        #expect(isBid(worker.handle(.callForBids(call(22)), from: buyer)), "a task is another matter")
        #expect(isBid(worker.handle(quote(23), from: asker(2_002))))
        worker.milliseconds += Int64(decline.retryAfterMilliseconds)
        #expect(isBid(worker.handle(quote(24), from: buyer)))
        #expect(!isBid(worker.handle(quote(25), from: buyer)))
    }

    @Test func theKeysOfANetworkShareFourTimesAsMuchAndTheTablesStayBounded() {
        var parameters = MarketParameters()
        parameters.quotingBuyersMax = 8
        var worker = Worker(parameters: parameters)
        var bids = 0
        for key in 3_000..<3_100 as Range<UInt64> {
            let buyer = PeerAddress(key: identity(key).publicKey, endpoint: .loopback(9))
            if isBid(worker.handle(quote(key), from: buyer)) { bids += 1 }
        }
        #expect(bids == 80)
        for table in worker.bidder.tables { #expect(table.count <= table.bound, "\(table.name)") }
    }

    // MARK: - The buyer

    private func submit(_ buyer: inout Buyer, _ sellers: [Seller]) -> TaskID {
        let task = buyer.submit(request { $0.isQuote = true })
        buyer.actions = []
        buyer.found(task, sellers, known: 5)
        return task
    }

    private func quotes(_ actions: [AuctioneerAction]) -> [Result<Quote, TaskFailure>] {
        actions.compactMap { if case .client(_, .quoted(let result)) = $0 { result } else { nil } }
    }

    @Test func aQuoteEndsWithAllBidsInTheOrderOfTheirAwardAndAwardsNothing() throws {
        var buyer = Buyer()
        let task = submit(&buyer, [cyd, bob, ada])
        let calls = buyer.take().calls
        #expect(calls.count == 3 && calls.allSatisfy { $0.1.isQuote })
        let trust = [ada, bob, cyd].map { buyer.auctioneer.trust(of: $0.key, now: buyer.now) }
        for (token, call, key) in calls {
            #expect(quotes(buyer.actions).isEmpty, "it waits for all of them")
            let seller = try #require([ada, bob, cyd].first { $0.key == key })
            buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
        }
        let quote = try #require(try quotes(buyer.actions).first?.get())
        #expect(quote.bids.map(\.score) == [173, 185, 189] && quote.bids.allSatisfy { $0.outcome == .bid })
        #expect(quote.known == 5 && quote.reasons.map(\.nodes).reduce(0, +) == 5)
        #expect((quote.tokensIn, quote.tokensOut) == (8, 64))
        #expect(buyer.actions.count == 1, "no award, no release, no other event")
        #expect(buyer.auctioneer.transcript(task) == nil && buyer.auctioneer.running.isEmpty)
        #expect(buyer.auctioneer.outstanding == (requests: 0, channels: 0, timers: 0))
        #expect([ada, bob, cyd].map { buyer.auctioneer.trust(of: $0.key, now: buyer.now) } == trust)
    }

    @Test func aQuoteShowsAQueueThatNoTaskWouldWaitFor() throws {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.isQuote = true })
        buyer.found(task, [ada])
        let (token, call, _) = try #require(buyer.take().calls.first)
        buyer.answer(token, ada.bid(call, buyer: buyer.key) { $0.queueMilliseconds = 600_000 }, from: ada)
        let quote = try #require(try quotes(buyer.actions).first?.get())
        #expect(quote.bids.first?.queueMilliseconds == 600_000 && quote.bids.first?.outcome == .bid)
    }

    @Test func aForgedBidIsNoneAndSellersThatDontAnswerDontHoldAQuoteUp() throws {
        var buyer = Buyer()
        _ = submit(&buyer, [ada, bob, cyd])
        for (token, call, key) in buyer.take().calls {
            if key == ada.key { buyer.answer(token, ada.forgedBid(call, buyer: buyer.key), from: ada) }
            if key == bob.key { buyer.answer(token, bob.bid(call, buyer: buyer.key), from: bob) }
        }
        buyer.advance(to: 1_000)
        let quote = try #require(try quotes(buyer.actions).first?.get())
        #expect(
            quote.bids.map(\.outcome) == [.bid, .refused, .asked]
                || quote.bids.map(\.outcome) == [.bid, .asked, .refused])
        #expect(quote.bids.first?.worker == bob.key)
    }

    @Test func whereAllAreFullAQuoteSaysSoAtOnceInsteadOfWaiting() throws {
        var buyer = Buyer()
        let task = submit(&buyer, [ada])
        let (token, call, _) = try #require(buyer.take().calls.first)
        buyer.answer(
            token,
            .decline(
                Decline(task: call.task, attempt: 1, reason: .busy, retryAfterMilliseconds: 2_000)), from: ada
        )
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada], known: 5)
        guard case .failure(let failure)? = quotes(buyer.actions).first else {
            return #expect(Bool(false), "no failure")
        }
        #expect(failure.reason == .busy && failure.retryAfter == .seconds(2))
        #expect(buyer.actions.failures.isEmpty && buyer.auctioneer.running.isEmpty)
        #expect(buyer.auctioneer.experience(of: ada.key)?.declines == 0)
    }
}
