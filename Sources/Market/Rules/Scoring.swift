import Primitives
import Wire

/// The published rule by which a call's bids are compared. In integers, so that every implementation gets the
/// same numbers and a loser can recompute them:
///
///     estimate   = ⌈(input − cached) · price.input + cached · min(price.cached_input, price.input) + output · price.output⌉ / 10⁶  µcr
///     completion = queue + first token + output ÷ speed
///     score      = (estimate + weight · (completion + queue)) ÷ trust ^ power, rounded to whole µcr; the lowest wins
///
/// A queue counts twice: whoever joins it delays those behind, and a buyer that always takes the earliest end takes the
/// quick sellers' time from tasks that would gain more by it. If all do so, all are done sooner.
///
/// For equal scores, the shorter completion wins, then the bid that arrived first.
public enum Scoring {
    /// Milli-tokens per second assumed when the stated speed is 0, which means unmeasured. One token a
    /// second, so that hiding a speed doesn't pay.
    public static let unmeasuredSpeed: UInt32 = 1_000
    /// Longer completions count as this.
    static let completionMax = Interval.minutes(24 * 60)
    static let trustPowerMax: UInt32 = 4

    /// What these tokens cost, rounded up; `cached` counts within `prompt`, and never costs more than the rest of it:
    /// the worker alone says how much was cached.
    public static func cost(_ price: Price, prompt: UInt64, cached: UInt64, completion: UInt64) -> Money {
        let cached = min(cached, prompt)
        let sum =
            UInt128(prompt - cached) * rate(price.input) + UInt128(cached)
            * rate(min(price.cachedInput, price.input))
            + UInt128(completion) * rate(price.output)
        return Money(microCredits: Int64(clamping: (sum + 999_999) / 1_000_000))
    }

    /// Time for `tokens`, from the award to the last one.
    public static func completion(
        queueMilliseconds: UInt32, firstTokenMilliseconds: UInt32, millitokensPerSecond: UInt32,
        tokens: UInt32
    ) -> Interval {
        let speed = UInt128(millitokensPerSecond == 0 ? unmeasuredSpeed : millitokensPerSecond)
        let stream = UInt128(tokens) * 1_000_000_000_000 / speed
        let start = (UInt128(queueMilliseconds) + UInt128(firstTokenMilliseconds)) * 1_000_000
        return min(Interval(nanoseconds: Int64(clamping: start + stream)), completionMax)
    }

    /// The score, in micro-credits; trust is × 1000 and never counts as less than 1.
    public static func score(
        estimate: Money, completion: Interval, queueMilliseconds: UInt32 = 0, weights: Weights,
        millitrust: UInt32
    ) -> UInt64 {
        let queue = min(Interval.milliseconds(Int64(queueMilliseconds)), completionMax)
        let time =
            UInt128(weights.timePerSecond)
            * (UInt128(max(0, completion.nanoseconds)) + UInt128(queue.nanoseconds))
        var milli = UInt128(max(0, estimate.microCredits)) * 1_000 + time / 1_000_000
        for _ in 0..<min(weights.trustPower, trustPowerMax) {
            milli = milli * 1_000 / UInt128(max(1, millitrust))
        }
        return UInt64(clamping: (milli + 500) / 1_000)
    }

    private static func rate(_ price: Int64) -> UInt128 { UInt128(max(0, price)) }
}

/// What a call compares: its tokens and weights.
struct ScoringBasis: Sendable {
    var tokensIn: UInt32
    var tokensOut: UInt32
    var weights: Weights

    struct Result: Sendable {
        var estimate = Money.zero
        var completion = Interval.zero
        var score: UInt64 = 0
    }

    func judge(_ bid: Bid, millitrust: UInt32, _ belief: SpeedBelief) -> Result {
        result(
            bid.price, cached: bid.cachedTokens, queue: bid.queueMilliseconds,
            first: belief.firstToken(bid.firstTokenMilliseconds),
            speed: belief.rate(bid.millitokensPerSecond), millitrust: millitrust)
    }

    /// The expected score of an offer: nothing cached, and the queue that is left of what its seller stated last.
    func expect(
        _ offer: Offer, millitrust: UInt32, _ belief: SpeedBelief, queue: Interval = .zero
    ) -> Result {
        result(
            offer.price, cached: 0, queue: UInt32(clamping: queue.milliseconds),
            first: belief.firstToken(offer.speed.firstTokenMilliseconds),
            speed: belief.rate(offer.speed.millitokensPerSecond), millitrust: millitrust)
    }

    /// The best possible score of a bid on this offer: all input cached, no queue.
    func bound(_ offer: Offer, millitrust: UInt32, _ belief: SpeedBelief) -> Result {
        let cheaper = offer.price.cachedInput < offer.price.input
        return result(
            offer.price, cached: cheaper ? tokensIn : 0, offer.speed, millitrust: millitrust, belief)
    }

    private func result(
        _ price: Price, cached: UInt32, _ speed: Speed, millitrust: UInt32, _ belief: SpeedBelief
    ) -> Result {
        result(
            price, cached: cached, queue: 0, first: belief.firstToken(speed.firstTokenMilliseconds),
            speed: belief.rate(speed.millitokensPerSecond), millitrust: millitrust)
    }

    private func result(
        _ price: Price, cached: UInt32, queue: UInt32, first: UInt32, speed: UInt32, millitrust: UInt32
    ) -> Result {
        let estimate = Scoring.cost(
            price, prompt: UInt64(tokensIn), cached: UInt64(cached), completion: UInt64(tokensOut))
        let completion = Scoring.completion(
            queueMilliseconds: queue, firstTokenMilliseconds: first, millitokensPerSecond: speed,
            tokens: tokensOut)
        let score = Scoring.score(
            estimate: estimate, completion: completion, queueMilliseconds: queue, weights: weights,
            millitrust: millitrust)
        return Result(estimate: estimate, completion: completion, score: score)
    }
}
