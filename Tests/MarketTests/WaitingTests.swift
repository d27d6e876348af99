import Primitives
import Testing
import Wire

@testable import Market

/// How long a task waits: for a silent worker, for busy sellers, and from stage to stage.
@Suite struct WaitingTests {
    let parameters = MarketParameters()

    func after(_ milliseconds: Int64) -> MonotonicTime { .zero + .milliseconds(milliseconds) }

    func made(first: UInt32, queue: UInt32 = 0) -> StallClock {
        let bid = Bid(
            task: TaskID(high: 1, low: 1), attempt: 1, bidder: ada.key, buyer: bob.key, price: price(20, 200),
            queueMilliseconds: queue, firstTokenMilliseconds: first, millitokensPerSecond: 60_000,
            digest: nil, quantization: "q8_0", continues: true, context: 512)
        return StallClock(bid, .zero)
    }

    @Test func beforeItsFirstDeltaAWorkerHasThreeTimesWhatItBidAndItsQueue() {
        #expect(made(first: 3).stallsAt(parameters) == after(1_500))
        #expect(made(first: 2_000, queue: 500).stallsAt(parameters) == after(6_500))
    }

    @Test func afterItsFirstDeltaAWorkerHasThreeTimesTheMedianGap() {
        var clock = made(first: 3)
        for second in 0..<4 { clock.deltaCame(after(Int64(second) * 1_000)) }
        #expect(clock.stallsAt(parameters) == after(6_000))
        clock.restart(after(5_000))
        #expect(clock.stallsAt(parameters) == after(8_000))
    }

    @Test func progressWithoutANewTokenIsBelievedForAWhileOnly() {
        var clock = made(first: 3)
        clock.deltaCame(.zero)
        for second in 1..<20 {
            clock.progressCame(
                Progress(phase: .generating, tokens: 1), delivered: 1, after(Int64(second) * 1_000))
        }
        #expect(clock.stallsAt(parameters) == after(10_000))
        clock.progressCame(Progress(phase: .generating, tokens: 2), delivered: 1, after(20_000))
        #expect(clock.stallsAt(parameters) == after(21_500))
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
        #expect(out.reason(of: ada.key) == .stalled, "the latest reason counts")
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
}
