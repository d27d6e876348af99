import Primitives
import Testing
import Wire

@testable import Market

/// The buyer's side of queues.
@Suite struct QueuedTaskTests {
    func decline(_ call: CallForBids, _ retry: UInt32) -> MarketMessage {
        .decline(
            Decline(
                task: call.task, attempt: call.attempt, reason: .tooLate, retryAfterMilliseconds: retry))
    }

    @Test func aTaskThatNoSellerCanEndInTimeIsRefusedAtOnceWithTheSoonestAdvice() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, bob])
        for (token, call, key) in buyer.take().calls {
            buyer.answer(
                token, decline(call, key == ada.key ? 7_000 : 3_000), from: key == ada.key ? ada : bob)
        }
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada, bob])
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.reason == .busy && failure.reason.code == "busy")
        #expect(failure.retryAfter == .seconds(3) && buyer.milliseconds == 0)
        #expect(failure.message.contains("their queues are too long for the request's deadline"))
        #expect(buyer.auctioneer.transcript(task)?.bids.allSatisfy { $0.declined == .tooLate } == true)
        #expect(buyer.auctioneer.trust(of: ada.key, now: buyer.now) == 1_000)
    }

    @Test func afterAsManyAsThatNoOtherSellerIsAsked() {
        var buyer = Buyer()
        let sellers = (0..<60).map { Seller(100 + UInt64($0)) }
        let task = buyer.submit()
        var asked = 0
        while buyer.actions.failures.isEmpty, asked < sellers.count {
            _ = buyer.take()
            buyer.found(task, sellers)
            for (token, call, key) in buyer.actions.calls {
                guard let seller = sellers.first(where: { $0.key == key }) else { continue }
                asked += 1
                buyer.answer(token, decline(call, 3_000), from: seller)
            }
        }
        #expect(asked == MarketParameters().lateMax)
        #expect(buyer.actions.failures.map(\.retryAfter) == [.seconds(3)])
    }

    /// The current call is answered with such a queue.
    func bid(_ buyer: inout Buyer, _ seller: Seller, queue: UInt32) {
        for (token, call, key) in buyer.take().calls where key == seller.key {
            let bid = seller.bid(call, buyer: buyer.key) { $0.queueMilliseconds = queue }
            buyer.answer(token, bid, from: seller)
        }
    }

    @Test func aStrangersIncredibleQueueIsNotAwardedAndTheSellerIsAskedAgainLater() {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.deadline = .seconds(60) })
        buyer.found(task, [ada])
        bid(&buyer, ada, queue: 20_000)
        #expect(buyer.actions.awards.isEmpty && buyer.take().needs == 1)
        buyer.found(task, [ada])
        #expect(buyer.take().calls.isEmpty)
        buyer.advance(to: 4_900)
        #expect(buyer.actions.needs == 0, "its queue is five seconds longer than it is believed")
        buyer.advance(to: 8_000)
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada])
        bid(&buyer, ada, queue: 12_000)
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
    }

    @Test func aSellerIsBelievedAQueueByWhatItHasFinishedHere() {
        func most(_ belief: StallClock.Belief, slowness: Int = 0) -> Interval {
            StallClock.queueMax(belief, tokensIn: 8, slowness: slowness, MarketParameters())
        }
        #expect(most(.replaceable) == .seconds(4) && most(.stranger) == .seconds(15))
        #expect(most(.met(0)) == .seconds(15) && most(.met(10)) == .seconds(35))
        #expect(most(.met(1_000)) == .seconds(90))
        #expect(most(.replaceable, slowness: 1) == .seconds(8) && most(.met(10), slowness: 9) == .seconds(90))
    }

    @Test func ofTwoBidsThatEndAlikeTheOneWithoutAQueueWins() {
        func score(queue: UInt32, first: UInt32) -> UInt64 {
            Scoring.score(
                estimate: 0, completion: .milliseconds(Int64(queue + first)), queueMilliseconds: queue,
                weights: Weights(timePerSecond: 1_000, trustPower: 0), millitrust: 1_000)
        }
        #expect(score(queue: 500, first: 500) == 1_500 && score(queue: 0, first: 1_000) == 1_000)
        #expect(score(queue: 0, first: 1_500) == score(queue: 500, first: 500))
    }

    @Test func aQueueThatMovesMoreSlowlyThanItSaidIsLeftWithoutALossOfTrust() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, bob])
        for (token, call, key) in buyer.take().calls {
            let seller = key == ada.key ? ada : bob
            let bid = seller.bid(call, buyer: buyer.key) { if key == ada.key { $0.queueMilliseconds = 50 } }
            buyer.answer(token, bid, from: seller)
        }
        let (token, award, key) = try #require(buyer.take().awards.first)
        #expect(key == ada.key)
        buyer.answer(
            token, .awardReply(AwardReply(task: task, attempt: award.attempt, status: .accepted)), from: ada)
        buyer.opened(task, 1, 5, ada)
        for time in stride(from: Int64(500), through: 2_500, by: 500) {
            buyer.advance(to: time)
            let progress = Progress(phase: .queued, tokens: 100, place: 2)
            buyer.frame(task, 1, .progress(progress), from: ada, on: 5)
        }
        buyer.advance(to: 3_000)
        #expect(buyer.auctioneer.trust(of: ada.key, now: buyer.now) == 1_000)
        let why = buyer.auctioneer.transcript(task)?.assignments.first?.why
        #expect(why == "its queue moved more slowly than it had said")
        #expect(buyer.actions.needs == 1 && buyer.actions.frames.contains(.cancel))
        _ = buyer.take()
        buyer.found(task, [ada, bob])
        #expect(buyer.actions.calls.map(\.2) == [bob.key])
    }

    @Test func aTasksTimeIsFromItsSubmissionToItsEndWithAllThatItWaited() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.advance(to: 2_000)
        buyer.found(task, [ada])
        _ = buyer.start(task, [ada], channel: 5)
        buyer.delta(task, at: 0, "Hello", from: ada, on: 5)
        buyer.advance(to: 2_300)
        let finish = Finish(reason: "stop", promptTokens: 8, completionTokens: 1)
        buyer.frame(task, 1, .finish(finish), from: ada, on: 5)
        let phases = try #require(buyer.auctioneer.transcript(task)?.phases)
        #expect(phases.total == .milliseconds(2_300) && phases.stream == .milliseconds(300))
    }

    @Test func aTaskWhoseOnlySellerLeftSaysThatItDid() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada])
        _ = buyer.start(task, [ada], channel: 5)
        let fail = Fail(code: Fail.busyServer, message: "The node is leaving.", anotherMaySucceed: true)
        buyer.frame(task, 1, .fail(fail), from: ada, on: 5)
        for second in Int64(0)...10 where buyer.actions.failures.isEmpty {
            buyer.advance(to: 1_000 * second)
            buyer.found(task, [])
        }
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.message.contains("The node that was asked has left"), "\(failure.message)")
        #expect(failure.message.contains(": The node is leaving."), "\(failure.message)")
    }

    @Test func theSpeedThatIsMeasuredLeavesOutTheQueueThatTheBidStated() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada])
        bid(&buyer, ada, queue: 1_000)
        let token = try #require(buyer.take().awards.first?.0)
        buyer.answer(
            token, .awardReply(AwardReply(task: task, attempt: 1, status: .accepted)), from: ada)
        buyer.opened(task, 1, 5, ada)
        buyer.advance(to: 1_200)
        buyer.delta(task, at: 0, "word", from: ada, on: 5)
        buyer.finish(task, 1, Finish(reason: "stop", completionTokens: 1), from: ada, on: 5)
        let next = buyer.submit()
        buyer.found(next, [ada])
        bid(&buyer, ada, queue: 0)
        let expected = buyer.auctioneer.transcript(next)?.bids.first?.expectedFirstTokenMilliseconds
        #expect(expected == 200)
    }

    @Test func aStrangerThatSaysQueuedForEverLosesTheTaskInBoundedTime() {
        let parameters = MarketParameters()
        let bid = Bid(
            task: TaskID(high: 1, low: 1), attempt: 1, bidder: ada.key, buyer: bob.key, price: price(20, 200),
            queueMilliseconds: 15_000, firstTokenMilliseconds: 3, millitokensPerSecond: 60_000, digest: nil,
            quantization: "q8_0", continues: true, context: 512)
        for (belief, most) in [(StallClock.Belief.stranger, Int64(60)), (.replaceable, 16)] {
            var clock = StallClock(bid, tokensIn: 8, belief, slowness: 0, parameters, .zero)
            for second in 1..<120 as Range<Int64> {
                clock.progressCame(
                    Progress(phase: .queued, tokens: UInt32(200_000 - second), place: 1), delivered: 0,
                    parameters, .zero + .seconds(second))
            }
            #expect(clock.stallsAt(parameters, canMove: false) <= .zero + .seconds(most), "\(belief)")
        }
    }
}
