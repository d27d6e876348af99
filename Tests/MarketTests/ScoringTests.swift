import Primitives
import Testing
import Wire

@testable import Market

@Suite struct ScoringTests {
    @Test func whatAWorkerCallsCachedCostsNoMoreThanTheRestOfThePrompt() {
        let price = Price(input: 100_000, cachedInput: 1_000_000_000_000_000, output: 0)
        #expect(Scoring.cost(price, prompt: 1_000, cached: 1_000, completion: 0) == 100)
    }

    /// 8 tokens in, 64 out, 40 µcr a second, trust 1: an auction as printed, up to the rounding of its
    /// columns.
    @Test(arguments: [(ada, 130, 1_069, 173), (cyd, 156, 714, 185), (bob, 104, 2_136, 189)])
    func aPrintedAuctionsSellersGetThePrintedEstimatesAndScores(
        _ seller: Seller, _ estimate: Money, _ milliseconds: Int64, _ score: UInt64
    ) {
        let basis = ScoringBasis(tokensIn: 8, tokensOut: 64, weights: Weights())
        let result = basis.expect(seller.offer, millitrust: 1_000, SpeedBelief())
        #expect(result.estimate == estimate)
        #expect(result.completion.milliseconds == milliseconds)
        #expect(result.score == score)
    }

    @Test func costRoundsUpChargesCachedInputAtItsOwnPriceAndNeverOverflows() {
        let price = Price(input: 200_000, cachedInput: 20_000, output: 2_000_000)
        #expect(Scoring.cost(price, prompt: 0, cached: 0, completion: 0) == 0)
        #expect(Scoring.cost(price, prompt: 1, cached: 0, completion: 0) == 1)
        #expect(Scoring.cost(price, prompt: 10, cached: 10, completion: 1) == 3)
        #expect(Scoring.cost(price, prompt: 5, cached: 99, completion: 0) == 1)
        let greedy = Price(input: .max, cachedInput: .max, output: .max)
        #expect(Scoring.cost(greedy, prompt: .max, cached: 0, completion: .max).microCredits == .max)
        #expect(Scoring.cost(Price(input: -5, output: -5), prompt: 9, cached: 0, completion: 9) == 0)
    }

    @Test func halfTheTrustDoublesTheScoreAndItsSquareQuadruplesIt() {
        let score = { (power: UInt32, trust: UInt32) in
            Scoring.score(
                estimate: 100, completion: .zero, weights: Weights(timePerSecond: 40, trustPower: power),
                millitrust: trust)
        }
        #expect(score(1, 1_000) == 100)
        #expect(score(1, 500) == 200)
        #expect(score(2, 500) == 400)
        #expect(score(0, 500) == 100)
        #expect(score(8, 0) > 0)
    }

    @Test func anUnstatedSpeedCountsAsOneTokenASecondAndHugeNumbersSaturate() {
        let slow = Scoring.completion(
            queueMilliseconds: 0, firstTokenMilliseconds: 0, millitokensPerSecond: 0, tokens: 64)
        #expect(slow == .seconds(64))
        let most = Scoring.completion(
            queueMilliseconds: .max, firstTokenMilliseconds: .max, millitokensPerSecond: 1, tokens: .max)
        #expect(most == .minutes(24 * 60))
        let weights = Weights(timePerSecond: .max, trustPower: .max)
        #expect(
            Scoring.score(
                estimate: Money(microCredits: .max), completion: most, weights: weights, millitrust: 0) > 1
                << 62)
    }

    @Test func trustFallsWithFailuresStaysAboveItsFloorAndComesBackWithTimeAndSuccess() {
        let parameters = MarketParameters.withoutProbation
        var table = SellerTable(parameters)
        let key = ada.key
        let start = MonotonicTime.zero
        #expect(table.trust(key, start) == 1_000)
        table.awarded(key, wasMet: false, start)
        table.blame(key, factor: parameters.trustAfterLoss, start)
        #expect(table.trust(key, start) == 700)
        #expect(table.trust(key, start + parameters.trustHalfLife) == 850)
        #expect(table.trust(key, start + .minutes(24 * 60)) == 1_000)
        table.finished(key, wasMet: false, start)
        #expect(table.trust(key, start) == 731)
        let later = start + .seconds(50)
        for second in 1...50 { table.blame(key, factor: 700, start + .seconds(Int64(second))) }
        #expect(table.trust(key, later) == parameters.trustMin)
    }

    @Test func aNewKeyIsTrustedLessThanAProvenOneAndMoreThanOneThatFailed() {
        let parameters = MarketParameters()
        var table = SellerTable(parameters)
        let start = MonotonicTime.zero
        #expect(table.trust(ada.key, start) == 900)
        var trust: [UInt32] = []
        for _ in 0..<6 {
            table.finished(ada.key, wasMet: true, start)
            trust.append(table.trust(ada.key, start))
        }
        #expect(trust == [925, 950, 975, 1_000, 1_000, 1_000])
        table.blame(bob.key, factor: parameters.trustAfterLoss, start)
        #expect(table.trust(bob.key, start) == 630)
        table.blame(ada.key, factor: parameters.trustAfterLoss, start)
        #expect(
            table.trust(ada.key, start) == 700, "a proven key that failed is trusted less than a new one too")
        #expect(table.trust(bob.key, start + .minutes(24 * 60)) == 900, "time alone proves nothing")
    }

    @Test func aSellerThatFailsWithManyTasksAtOnceFailedOnce() {
        var table = SellerTable(.withoutProbation)
        for task in 0..<100 { table.blame(ada.key, factor: 700, .zero + .milliseconds(Int64(task) * 5)) }
        #expect(table.trust(ada.key, .zero) == 700)
        table.blame(ada.key, factor: 700, .zero + .seconds(1))
        #expect(table.trust(ada.key, .zero + .seconds(1)) < 500)
    }

    @Test func trustSurvivesARestartWithTheTimeThatPassedMeanwhile() throws {
        let parameters = MarketParameters.withoutProbation
        var table = SellerTable(parameters)
        table.blame(ada.key, factor: 500, .zero)
        table.finished(bob.key, wasMet: true, .zero)
        let records = try [ada, bob].map { try #require(table.record(of: $0.key, moment(0))) }
        #expect(records.map(\.trust) == [500, 1_000] && records.map(\.finished) == [0, 1])
        var next = SellerTable(parameters)
        // The monotonic clock of the next process begins anew.
        let later = Now(monotonic: .zero + .seconds(3), wall: moment(0).wall + parameters.trustHalfLife)
        next.restore(records, later)
        #expect(next.trust(ada.key, later.monotonic) == 750)
        #expect(next.hasFinished(bob.key) && !next.hasFinished(ada.key))
        var skewed = SellerTable(parameters)
        skewed.restore(records, Now(monotonic: .zero, wall: WallTime(milliseconds: 0)))
        #expect(skewed.trust(ada.key, .zero) == 500, "a clock that was set back returns no trust")
    }

    @Test func aTableKeepsItsBoundAndTheKeyThatCameFirstLeavesFirst() {
        var table = RecentTable<Int, Int>(capacity: 3)
        for key in 0..<500 {
            table.insert(key, key)
            if key.isMultiple(of: 3) { table.remove(key) }
        }
        #expect(table.count <= 3)
        #expect(table[499] == 499)
        #expect(table[1] == nil)
    }
}
