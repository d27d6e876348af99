import Primitives
import Testing
import Wire

@testable import Market

extension Worker {
    /// One slot and a queue.
    init(places: Int, parameters: MarketParameters = MarketParameters()) {
        self.init(Seller(1, "ada", slots: 1), parameters: parameters)
        serve(places: places)
    }

    mutating func serve(places: Int = 16, _ available: ServedModel.Availability = .up) {
        var served = seller.served
        (served.places, served.available) = (places, available)
        bidder.setServed([served])
    }

    /// Bid, award and a complete request, without a look at what becomes of it.
    mutating func queue(_ number: UInt64, deadline: UInt32 = 60_000) {
        let (task, buyer) = (TaskID(high: 1, low: number), asker(2_000 + number))
        _ = handle(.callForBids(call(number) { $0.deadlineMilliseconds = deadline }), from: buyer)
        _ = handle(.award(Award(task: task, attempt: 1, workerDials: false)), from: buyer)
        let channel = ChannelID(rawValue: number)
        frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 2)), from: buyer, on: channel)
        frame(task, .bodyPart(Array("{}".utf8)), from: buyer, on: channel)
    }

    /// What its bid says; nil: it declined.
    mutating func bid(_ number: UInt64, deadline: UInt32 = 60_000) throws -> Bid? {
        let reply = handle(
            .callForBids(call(number) { $0.deadlineMilliseconds = deadline }), from: asker(2_000 + number))
        guard case .bid(let signed) = reply else { return nil }
        return try Verified<Bid>(checking: signed).record
    }

    /// The tasks whose jobs have started since the last look.
    mutating func started() -> [UInt64] { take().jobs.map(\.task.low) }
}

/// The seller's queue. Its slot answers a call of 64 tokens in 1,070 ms.
@Suite struct QueueTests {
    let answer: UInt32 = 1_070

    @Test func aBidStatesTheTimeThatAllWhoRunAndWaitBeforeItNeed() throws {
        var worker = Worker(places: 16)
        worker.queue(1)
        #expect(worker.started() == [1])
        for waiting in 0..<5 as Range<UInt32> {
            worker.milliseconds += 11
            let number = UInt64(waiting) + 2
            let bid = try #require(try worker.bid(number))
            let after = answer * (waiting + 1)
            #expect(bid.queueMilliseconds <= after && bid.queueMilliseconds + 5 >= after)
            worker.queue(number)
        }
        #expect(worker.bidder.waiting("wren-m") == 5 && worker.started().isEmpty)
    }

    @Test func aQueuedTaskStartsWhenTheOneBeforeItEndsEarlyAndInItsOrder() throws {
        var worker = Worker(places: 16)
        for number in 1...4 as ClosedRange<UInt64> { worker.queue(number) }
        #expect(worker.started() == [1])
        for number in 1...4 as ClosedRange<UInt64> {
            worker.event(JobID(rawValue: number), .finished(Finish(reason: "stop", completionTokens: 1)))
            #expect(worker.started() == (number < 4 ? [number + 1] : []))
        }
        #expect(worker.bidder.outstanding.holds == 0 && worker.bidder.outstanding.jobs == 0)
    }

    @Test func theSellersOwnTasksComeFirst() {
        var worker = Worker(places: 16)
        worker.milliseconds = 1
        for number in 1...3 as ClosedRange<UInt64> { worker.queue(number) }
        let (task, me) = (TaskID(high: 1, low: 9), worker.seller.address)
        _ = worker.handle(.callForBids(call(9)), from: me)
        worker.frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 0)), from: me, on: 9)
        #expect(worker.started() == [1])
        worker.event(JobID(rawValue: 1), .finished(Finish(reason: "stop", completionTokens: 1)))
        #expect(worker.started() == [9])
    }

    @Test(arguments: [false, true]) func cancellingInTheQueueFreesThePlaceAndReachesNoBackend(
        _ byChannel: Bool
    ) {
        var worker = Worker(places: 1)
        worker.queue(1)
        worker.queue(2)
        #expect(worker.started() == [1] && worker.bidder.waiting("wren-m") == 1)
        if byChannel {
            worker.bidder.channelClosed(2, turn: &worker.turn, out: &worker.actions)
        } else {
            worker.frame(TaskID(high: 1, low: 2), .cancel, from: asker(2_002), on: 2)
        }
        #expect(worker.bidder.waiting("wren-m") == 0)
        let actions = worker.take()
        #expect(actions.cancelled.isEmpty && actions.jobs.isEmpty)
        worker.queue(3)
        #expect(worker.bidder.waiting("wren-m") == 1)
        worker.event(JobID(rawValue: 1), .finished(Finish(reason: "stop", completionTokens: 1)))
        #expect(worker.started() == [3])
    }

    @Test func aDeadlineThatPassesInTheQueueEndsTheTaskThere() {
        var worker = Worker(places: 16)
        worker.queue(1)
        worker.queue(2, deadline: 3_000)
        #expect(worker.bidder.waiting("wren-m") == 1)
        worker.advance(to: 3_000)
        let actions = worker.take()
        #expect(actions.fails.map { Reason($0) } == [.deadlineExceeded] && actions.cancelled.isEmpty)
        #expect(actions.jobs.map(\.task.low) == [1] && worker.bidder.waiting("wren-m") == 0)
    }

    @Test(arguments: 0..<4) func whatWaitsForAModelThatIsNoLongerForSaleIsHandedBack(_ how: Int) {
        var worker = Worker(places: 16)
        worker.queue(1)
        worker.queue(2)
        switch how {
        case 0: worker.bidder.pause()
        case 1: worker.bidder.leave()
        case 2: worker.serve(.down("no answer"))
        default: worker.bidder.setServed([])
        }
        worker.advance(to: 500)
        let actions = worker.take()
        #expect(actions.fails.map(\.code) == [Fail.busyServer])
        #expect(actions.fails.allSatisfy(\.anotherMaySucceed) && actions.cancelled.isEmpty)
        #expect(worker.bidder.runningJobs == [JobID(rawValue: 1)], "what runs goes on")
    }

    @Test func aSlotThatBecameFreeWhileTheModelWasNotForSaleIsNotForgotten() {
        var worker = Worker(places: 16)
        worker.queue(1)
        worker.queue(2)
        worker.bidder.pause()
        worker.event(JobID(rawValue: 1), .finished(Finish(reason: "stop", completionTokens: 1)))
        #expect(worker.started() == [1])
        worker.bidder.resume()
        worker.advance(to: 500)
        #expect(worker.started() == [2])
    }

    @Test func requestsInTheQueueAreBoundedInBytesAndStrangersHaveHalfOfThem() {
        var parameters = MarketParameters()
        parameters.awaitedBytesMax = 12
        var worker = Worker(places: 16, parameters: parameters)
        for number in 1...4 as ClosedRange<UInt64> { worker.queue(number) }
        #expect(worker.take().fails.isEmpty && worker.bidder.waiting("wren-m") == 3)
        worker.queue(5)
        #expect(worker.take().fails.map { Reason($0) } == [.busy] && worker.bidder.waiting("wren-m") == 3)
        worker.event(JobID(rawValue: 1), .finished(Finish(reason: "stop", completionTokens: 1)))
        worker.queue(6)
        #expect(worker.take().fails.isEmpty && worker.bidder.waiting("wren-m") == 3)
    }

    @Test func aCallThatCannotMeetItsDeadlineIsToldHowMuchLaterATaskLikeItWouldFit() throws {
        var worker = Worker(places: 16)
        worker.queue(1)
        let late = worker.handle(
            .callForBids(call(2) { $0.deadlineMilliseconds = 2_000 }), from: asker(2_002))
        guard case .decline(let decline) = late else {
            Issue.record("\(String(describing: late))")
            return
        }
        #expect(decline.reason == .tooLate && worker.bidder.waiting("wren-m") == 0)
        let retry = decline.retryAfterMilliseconds
        #expect((135...145).contains(retry))
        // The answer keeps its pace.
        worker.advance(to: Int64(retry) + 5)
        worker.event(
            JobID(rawValue: 1),
            .produced(text: [UInt8](repeating: 65, count: 36), tokens: 9, extra: []))
        let bid = try #require(try worker.bid(3, deadline: 2_000))
        #expect(bid.queueMilliseconds > 0 && bid.queueMilliseconds + answer <= 2_000)
        #expect(try worker.bid(4, deadline: 0) != nil, "a call that states none has ten minutes")
    }

    @Test func aBidThatNobodyHasAwardedKeepsNoSlotFromACompleteRequest() {
        var worker = Worker(places: 16)
        _ = worker.handle(.callForBids(call(1)), from: asker(2_001))
        worker.queue(2)
        #expect(worker.started() == [2])
        #expect(worker.bidder.waiting("wren-m") == 1, "the bid waits now")
        worker.queue(1)
        #expect(worker.started().isEmpty)
        worker.event(JobID(rawValue: 1), .finished(Finish(reason: "stop", completionTokens: 1)))
        #expect(worker.started() == [1])
    }

    @Test func holdsThatNeverBecomeTasksLengthenNoForecastBeyondTheOddsThatBidsWin() throws {
        var worker = Worker(places: 64)
        for number in 0..<150 as Range<UInt64> {
            #expect(try worker.bid(1_000 + number) != nil)
            worker.advance(to: worker.milliseconds + 100)
        }
        for number in 0..<20 as Range<UInt64> { #expect(try worker.bid(2_000 + number) != nil) }
        let bid = try #require(try worker.bid(1))
        #expect(bid.queueMilliseconds > 0 && bid.queueMilliseconds <= 20 * answer / 60)
    }

    @Test func whatWaitsReportsItsPlaceAndTheTimeThatIsLeft() throws {
        var worker = Worker(places: 16)
        for number in 1...3 as ClosedRange<UInt64> { worker.queue(number) }
        _ = worker.take()
        func queued(_ worker: inout Worker) -> [Progress] {
            worker.take().frames.compactMap {
                if case .progress(let progress) = $0, progress.phase == .queued { progress } else { nil }
            }
        }
        worker.advance(to: 500)
        let two = queued(&worker)
        #expect(two.map(\.place) == [1, 2])
        #expect(two.allSatisfy { $0.tokens > 0 } && two[0].tokens < two[1].tokens)
        worker.event(JobID(rawValue: 1), .finished(Finish(reason: "stop", completionTokens: 1)))
        _ = worker.take()
        worker.advance(to: 1_000)
        #expect(queued(&worker).map(\.place) == [1])
    }

    @Test func aSellerWithoutPlacesHasNoQueue() throws {
        var worker = Worker(places: 0)
        worker.queue(1)
        #expect(try worker.bid(2) == nil)
        #expect(ServedModel.places(slots: 4) == 256 && ServedModel.places(slots: 1 << 20) == 1_024)
        #expect(ServedModel.places(slots: -1) == 0)
    }
}
