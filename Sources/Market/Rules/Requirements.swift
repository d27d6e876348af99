import Primitives
import Wire

/// The weights that produced the text so far: a worker that continues it must have the same.
struct ModelVersion: Hashable, Sendable {
    var digest: Bytes32?
    var quantization: String
}

/// The hard filters that a seller must pass before its price matters, in the order of `Reason.filters`, so
/// that every seller is counted once.
struct Requirements: Sendable {
    var request: TaskRequest
    /// Includes the text that must be continued, if any.
    var tokensIn: UInt32
    var tokensOutMax: UInt32?
    /// What the client's limit on the cost leaves.
    var costMax: Money?
    /// If set, the worker continues delivered text, with exactly this model; or, `isRepeating`, begins it again with it.
    var continuing: ModelVersion?
    var isRepeating = false
    /// Its worker was lost: a client waits in the middle of its answer, or has waited for its beginning.
    var isInterrupted = false
    var selfReachable: Bool

    var basis: ScoringBasis {
        ScoringBasis(
            tokensIn: tokensIn, tokensOut: min(request.tokensOutEstimate, tokensOutMax ?? .max),
            weights: request.preferences.weights)
    }

    /// Tokens of context that a worker needs: the input, and the expected part of the output limit.
    var context: UInt32 { tokensIn &+ min(tokensOutMax ?? 1, max(1, request.tokensOutEstimate)) }

    func exclusion(of offer: Offer, millitrust: UInt32, _ belief: SpeedBelief) -> Reason? {
        let preferences = request.preferences
        let key = offer.publicKey
        if offer.model != request.model || offer.withdrawn { return .notServed }
        if preferences.ignore.contains(key) { return .excluded }
        if !preferences.only.isEmpty && !preferences.only.contains(key) { return .excluded }
        if !preferences.order.isEmpty && !preferences.allowFallbacks && !preferences.order.contains(key) {
            return .excluded
        }
        if !answers(offer.digest, offer.quantization, offer.features, continues: offer.continues) {
            return .lacksParameter
        }
        if request.choicesEach > 1, offer.slots < request.choicesEach { return .lacksParameter }
        if offer.context != 0 && offer.context < context { return .contextTooSmall }
        if !affordable(offer.price, cached: 0) { return .overMaxPrice }
        let first = belief.firstToken(offer.speed.firstTokenMilliseconds)
        if !fastEnough(first: first, speed: belief.rate(offer.speed.millitokensPerSecond)) { return .tooSlow }
        if millitrust < preferences.minMillitrust { return .untrusted }
        return nil
    }

    /// Whether an offer of another model would do for the same request.
    func accepts(alternative offer: Offer) -> Bool {
        var same = self
        same.request.model = offer.model
        same.continuing = nil
        return same.exclusion(of: offer, millitrust: .max, SpeedBelief()) == nil
    }

    /// Whether a bid breaks a limit. It states what its sender's offer may have left open.
    func refuses(_ bid: Bid, _ belief: SpeedBelief) -> Bool {
        !answers(bid.digest, bid.quantization, request.features, continues: bid.continues)
            || bid.context != 0 && bid.context < context
            || !affordable(bid.price, cached: bid.cachedTokens)
            || !fastEnough(
                first: bid.queueMilliseconds &+ belief.firstToken(bid.firstTokenMilliseconds),
                speed: belief.rate(bid.millitokensPerSecond))
    }

    private func answers(_ digest: Bytes32?, _ quantization: String, _ features: Features, continues: Bool)
        -> Bool
    {
        let preferences = request.preferences
        if let wanted = preferences.digest, wanted != digest { return false }
        if !preferences.quantizations.isEmpty && !preferences.quantizations.contains(quantization) {
            return false
        }
        if let continuing {
            guard continues || isRepeating,
                continuing == ModelVersion(digest: digest, quantization: quantization)
            else {
                return false
            }
        }
        return features.isSuperset(of: request.features)
    }

    private func affordable(_ price: Price, cached: UInt32) -> Bool {
        let preferences = request.preferences
        if let most = preferences.maxInputPrice, price.input > most { return false }
        if let most = preferences.maxOutputPrice, price.output > most { return false }
        guard let most = costMax else { return true }
        let estimate = Scoring.cost(
            price, prompt: UInt64(tokensIn), cached: UInt64(cached), completion: UInt64(basis.tokensOut))
        return estimate <= most
    }

    private func fastEnough(first: UInt32, speed: UInt32) -> Bool {
        let preferences = request.preferences
        if let most = preferences.maxFirstTokenMilliseconds, first > most { return false }
        if let least = preferences.minMillitokensPerSecond, speed < least { return false }
        return true
    }
}
