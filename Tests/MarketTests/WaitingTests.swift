import Primitives
import Testing
import Wire

@testable import Market

/// How long a task waits: for a silent worker, for busy sellers, and from stage to stage.
@Suite struct WaitingTests {
    let parameters = MarketParameters()

    func after(_ milliseconds: Int64) -> MonotonicTime { .zero + .milliseconds(milliseconds) }

    func made(
        first: UInt32, queue: UInt32 = 0, tokensIn: UInt32 = 8, reads: UInt32 = 0, slowness: Int = 0,
        _ belief: StallClock.Belief = .met(99)
    ) -> StallClock {
        let bid = Bid(
            task: TaskID(high: 1, low: 1), attempt: 1, bidder: ada.key, buyer: bob.key, price: price(20, 200),
            queueMilliseconds: queue, firstTokenMilliseconds: first, millitokensPerSecond: 60_000,
            digest: nil, quantization: "q8_0", continues: true, context: 512,
            promptTokensPerSecond: reads)
        return StallClock(
            bid, tokensIn: tokensIn, belief, slowness: slowness, parameters, .zero)
    }

    @Test func beforeItsFirstDeltaAWorkerHasThreeTimesWhatItBidAndItsQueue() {
        #expect(made(first: 3).stallsAt(parameters, canMove: false) == after(1_500))
        #expect(made(first: 2_000, queue: 500).stallsAt(parameters, canMove: false) == after(6_500))
        #expect(made(first: 1_000_000, queue: .max).stallsAt(parameters, canMove: false) == after(180_000))
        #expect(made(first: 20_000, .stranger).stallsAt(parameters, canMove: false) == after(15_000))
        #expect(
            made(first: 20_000, .met(0)).stallsAt(parameters, canMove: false) == after(15_000),
            "it has just lost one")
        #expect(made(first: 20_000, .met(4)).stallsAt(parameters, canMove: false) == after(23_000))
    }

    @Test func afterItsFirstDeltaAWorkerHasThreeTimesTheMedianGap() {
        var clock = made(first: 3)
        for second in 0..<4 { clock.bytesCame(after(Int64(second) * 1_000)) }
        #expect(clock.stallsAt(parameters, canMove: false) == after(6_000))
        clock.restart(after(5_000))
        #expect(clock.stallsAt(parameters, canMove: false) == after(8_000))
    }

    /// A frame each second, and when the clock says that the worker stalls.
    func stalls(_ clock: inout StallClock, _ seconds: Range<Int>, _ progress: (Int) -> Progress)
        -> MonotonicTime
    {
        for second in seconds {
            clock.progressCame(progress(second), delivered: 0, parameters, after(Int64(second) * 1_000))
        }
        return clock.stallsAt(parameters, canMove: false)
    }

    @Test func afterItsFirstByteFramesWithoutANewTokenAreBelievedForAWhileOnly() {
        var clock = made(first: 3)
        clock.bytesCame(.zero)
        for second in 1..<20 {
            clock.progressCame(
                Progress(phase: .generating, tokens: 1), delivered: 1, parameters,
                after(Int64(second) * 1_000))
        }
        #expect(clock.stallsAt(parameters, canMove: false) == after(10_000))
        clock.progressCame(
            Progress(phase: .generating, tokens: 2), delivered: 1, parameters, after(20_000))
        #expect(clock.stallsAt(parameters, canMove: false) == after(21_500))
    }

    @Test func aFrameFromATimerIsNoEvidenceHoweverOftenItComes() {
        var clock = made(first: 3)
        #expect(stalls(&clock, 1..<10) { _ in Progress(phase: .prefill, tokens: 0) } == after(10_000))
        var long = made(first: 3, tokensIn: 4_000)
        #expect(
            stalls(&long, 1..<40) { _ in Progress(phase: .prefill, tokens: 0) } == after(40_000),
            "a prompt of 4,000 tokens takes a slow CPU 40 s")
        var again = made(first: 3, slowness: 2)
        #expect(stalls(&again, 1..<40) { _ in Progress(phase: .prefill, tokens: 0) } == after(40_000))
    }

    @Test func loadingAReadPromptAndAShorterQueueAreEvidenceForAsLongAsWordsAreBelieved() {
        var reads = made(first: 3)
        #expect(
            stalls(&reads, 1..<31) { Progress(phase: .prefill, tokens: UInt32($0)) } == after(31_500))
        var queues = made(first: 3)
        #expect(
            stalls(&queues, 1..<31) { Progress(phase: .queued, tokens: UInt32(90_000 - $0)) }
                == after(31_500))
        var boasts = made(first: 3)
        #expect(
            stalls(&boasts, 1..<31) { Progress(phase: .prefill, tokens: UInt32(1_050 + $0)) }
                == after(16_000), "no prompt of 8 tokens has more than 1,056")
        var standsStill = made(first: 3)
        #expect(
            stalls(&standsStill, 1..<12) { _ in Progress(phase: .queued, tokens: 5_000) } == after(11_000),
            "the same estimate again is no news")
        var loads = made(first: 3)
        #expect(stalls(&loads, 1..<200) { _ in Progress(phase: .loading, tokens: 0) } == after(99_000))
    }

    @Test func theWordsOfASellerThatNeverFinishedATaskAreBelievedForLessLongAndItIsLateAllTheSame() {
        var queues = made(first: 3, .stranger)
        #expect(
            stalls(&queues, 1..<60) { Progress(phase: .queued, tokens: UInt32(90_000 - $0)) }
                == after(24_000))
        #expect(queues.isLate(parameters, after(24_000)) && !made(first: 3).isLate(parameters, after(1_000)))
        var again = made(first: 3, slowness: 1, .stranger)
        #expect(stalls(&again, 1..<60) { _ in Progress(phase: .loading, tokens: 0) } == after(49_000))
    }

    @Test func whereAnotherCouldDoTheTaskANewcomersWordsAndPromisesAreWorthFourSeconds() {
        var loads = made(first: 3, .replaceable)
        #expect(stalls(&loads, 1..<60) { _ in Progress(phase: .loading, tokens: 0) } == after(4_000))
        var silent = made(first: 3, .replaceable)
        #expect(stalls(&silent, 1..<4) { _ in Progress(phase: .prefill, tokens: 0) } == after(4_000))
        #expect(made(first: 20_000, .replaceable).stallsAt(parameters, canMove: false) == after(4_000))
        var long = made(first: 3, tokensIn: 9_000, .replaceable)
        #expect(stalls(&long, 1..<9) { _ in Progress(phase: .prefill, tokens: 0) } == after(9_000))
    }

    @Test func anEighthOfThePaceThatTheBidPromisedIsADrip() {
        var clock = made(first: 3)
        func drips(_ clock: inout StallClock, _ tokens: UInt64, _ milliseconds: Int64) -> Bool {
            clock.drips(bytes: tokens * 4, after(milliseconds))
        }
        let before = drips(&clock, 0, 0)
        clock.bytesCame(.zero)
        let first = drips(&clock, 1, 0)
        for second in 1...9 { clock.bytesCame(after(Int64(second) * 1_000)) }
        let early = drips(&clock, 11, 9_000)
        #expect(!before && !first && !early, "not before ten seconds")
        #expect(clock.stallsAt(parameters, canMove: false) == after(10_000))
        // 60 tokens a second: 75 in ten seconds are an eighth.
        var pace = clock
        let fewer = drips(&clock, 75, 10_000)
        let enough = drips(&pace, 76, 10_000)
        #expect(fewer && !enough)
        let soon = drips(&pace, 81, 19_000)
        let later = drips(&pace, 81, 20_000)
        #expect(!soon && later, "what came before doesn't count")
        pace.restart(after(20_000))
        let unread = drips(&pace, 100, 60_000)
        #expect(!unread, "nor does the time in which our client didn't read")
    }

    @Test func tokensThatAreClaimedAndNeverShownAreALieAndNoEvidence() {
        var clock = made(first: 3)
        let at = stalls(&clock, 1..<14) { Progress(phase: .generating, tokens: UInt32($0)) }
        #expect(at == after(14_000) && clock.hasLied, "four tokens may wait for the rest of their character")
    }

    @Test func waitsForBusySellersDoubleUpToABoundAndEndWithThePatience() throws {
        var turn = Turn(now: moment(0), random: SeededRandom(seed: 1))
        var patience = Patience(parameters, .zero)
        for number in 0..<4 {
            let at = try #require(patience.nextTry(soonest: .milliseconds(20), parameters, &turn))
            let backoff = parameters.retryMin * (1 << Int64(number))
            #expect(at >= .zero + backoff && at <= .zero + backoff * 2)
        }
        #expect(patience.nextTry(soonest: parameters.patience, parameters, &turn) == nil)
        patience.renewAfterLoss(parameters, .zero)
        let at = try #require(patience.nextTry(soonest: .seconds(5), parameters, &turn))
        #expect(at >= after(5_000), "a slot that works is waited for as long as its seller says")
    }

    @Test func busySellersComeBackAndTheOthersDoNot() {
        var out = Exclusions()
        out.add(.init(key: ada.key, reason: .busy, retryAfter: .milliseconds(30)))
        out.add(.init(key: bob.key, reason: .workerLost, retryAfter: nil))
        out.add(.init(key: cyd.key, reason: .holdLimit, retryAfter: .milliseconds(20)))
        #expect(out.soonestRetry == .milliseconds(20))
        out.add(.init(key: ada.key, reason: .stalled, retryAfter: nil))
        #expect(out.reason(of: ada.key, sequence: 9) { _ in false } == .stalled, "the latest reason counts")
        out.add(.init(key: ada.key, reason: .workerLost, retryAfter: nil, deadWith: 7))
        #expect(out.reason(of: ada.key, sequence: 7) { _ in false } == .workerLost && out.hasDead)
        #expect(out.reason(of: ada.key, sequence: 8) { _ in false } == nil, "it has started again")
        #expect(out.reason(of: ada.key, sequence: 7) { _ in true } == nil, "something came from it")
        out.readmit()
        #expect(out.contains(ada.key) && out.contains(bob.key) && !out.contains(cyd.key))
        #expect(out.soonestRetry == nil)
    }

    @Test func noStageFollowsTheEndAndNoneIsReachedPastTheAward() {
        let stages: [BuyerTask.Stage] = [
            .choosing, .calling, .awarding, .streaming, .waiting, .ended(.delivered),
        ]
        for next in stages { #expect(!BuyerTask.Stage.ended(.failed).leads(to: next)) }
        for stage in stages {
            #expect(stage.leads(to: .streaming) == (stage == .awarding), "\(stage)")
            #expect(stage.leads(to: .waiting) == (stage == .choosing), "\(stage)")
            #expect(stage.leads(to: .ended(.cancelled)) == (stage != .ended(.delivered)), "\(stage)")
        }
    }

    @Test func aSellerThatCameBackAndIsKeptFromItsCallIsNotAskedAgainAtTheSameMoment() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, cyd])
        for (token, _, key) in buyer.take().calls {
            if key == ada.key {
                buyer.unanswered(token)
            } else {
                let decline = Decline(task: task, attempt: 1, reason: .busy, retryAfterMilliseconds: 10)
                buyer.answer(token, .decline(decline), from: cyd)
            }
        }
        buyer.advance(to: 200)
        buyer.auctioneer.heard(ada.key, buyer.now.monotonic)
        var auctions = 0
        while buyer.actions.needs > 0, auctions < 10 {
            _ = buyer.take()
            buyer.found(task, [ada, cyd])
            let calls = buyer.take().calls
            auctions += calls.isEmpty ? 0 : 1
            for (token, _, _) in calls { buyer.notAsked(token) }
        }
        #expect(auctions == 1)
        #expect(buyer.actions.failures.isEmpty, "it waits")
    }
}
