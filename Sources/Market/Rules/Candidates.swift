import Primitives
import Wire

/// A seller of the wanted model, as the offer book knows it.
public struct Candidate: Sendable {
    public var offer: Verified<Offer>
    /// Where it is called; this node's own key: PeerCore hands the messages to the `Bidder` beside us.
    public var address: PeerAddress
    /// Whether a session stands, so that the call costs no handshake.
    public var hasSession: Bool

    public init(offer: Verified<Offer>, address: PeerAddress, hasSession: Bool) {
        self.offer = offer
        self.address = address
        self.hasSession = hasSession
    }

    var key: PublicKey { offer.record.publicKey }
}

/// The answer to `needOffers`: what the offer book (after the search that PeerCore thought fit) holds of a model.
public struct OffersFound: Sendable {
    /// One per seller, living and not withdrawn.
    public var sellers: [Candidate]
    /// Nodes with an offer of any model, the sellers included: what an explained no-bid adds up to.
    public var known: Int
    /// Other models with their lowest output price, best advice first; a few are enough.
    public var alternatives: [(model: String, outputPrice: Int64)]
    /// Whether the model is sold somewhere, though nobody was found: "none now" rather than "no such model".
    public var catalogueKnows: Bool
    /// Whether other nodes can open a channel to this one, as far as it knows.
    public var selfReachable: Bool
    /// It has not found out yet.
    public var isReachabilityUntested: Bool

    public init(
        sellers: [Candidate], known: Int, alternatives: [(model: String, outputPrice: Int64)] = [],
        catalogueKnows: Bool = false, selfReachable: Bool = true,
        isReachabilityUntested: Bool = false
    ) {
        self.sellers = sellers
        self.known = known
        self.alternatives = alternatives
        self.catalogueKnows = catalogueKnows
        self.selfReachable = selfReachable
        self.isReachabilityUntested = isReachabilityUntested
    }
}

/// What must be continued exactly: the weights that produced the text so far.
struct ModelVersion: Hashable, Sendable {
    var digest: Bytes32?
    var quantization: String
}

/// The hard filters: what a seller must satisfy before its price matters, in the order of
/// `Reason.filters`, so that every seller is counted once.
struct Requirements: Sendable {
    var request: TaskRequest
    /// With the text that must be continued, if any.
    var tokensIn: UInt32
    var tokensOutMax: UInt32?
    /// Non-nil: the worker goes on from delivered text, with exactly this model.
    var continuing: ModelVersion?
    var selfReachable: Bool

    var basis: ScoringBasis {
        ScoringBasis(
            tokensIn: tokensIn, tokensOut: min(request.tokensOutEstimate, tokensOutMax ?? .max),
            weights: request.preferences.weights)
    }

    /// Tokens of context that a worker needs: the input and what is likely to be used of the limit.
    var context: UInt32 { tokensIn &+ min(tokensOutMax ?? 1, max(1, request.tokensOutEstimate)) }

    func exclusion(of offer: Offer, millitrust: UInt32) -> Reason? {
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
        if offer.context != 0 && offer.context < context { return .contextTooSmall }
        if !affordable(offer.price, cached: 0) { return .overMaxPrice }
        if !fastEnough(first: offer.speed.firstTokenMilliseconds, speed: offer.speed.millitokensPerSecond) {
            return .tooSlow
        }
        if millitrust < preferences.minMillitrust { return .untrusted }
        return nil
    }

    /// The same of a bid, which says what its sender's offer may have left open.
    func refuses(_ bid: Bid) -> Bool {
        !answers(bid.digest, bid.quantization, request.features, continues: bid.continues)
            || bid.context != 0 && bid.context < context
            || !affordable(bid.price, cached: bid.cachedTokens)
            || !fastEnough(
                first: bid.queueMilliseconds &+ bid.firstTokenMilliseconds, speed: bid.millitokensPerSecond)
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
            guard continues, continuing == ModelVersion(digest: digest, quantization: quantization) else {
                return false
            }
        }
        return features.isSuperset(of: request.features)
    }

    private func affordable(_ price: Price, cached: UInt32) -> Bool {
        let preferences = request.preferences
        if let most = preferences.maxInputPrice, price.input > most { return false }
        if let most = preferences.maxOutputPrice, price.output > most { return false }
        guard let most = preferences.maxCost else { return true }
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

/// A seller that passed the filters.
struct Eligible: Sendable {
    var candidate: Candidate
    var millitrust: UInt32
    /// Place in the client's `order`; those not in it share the last.
    var rank: Int
    var newcomer: Bool
    /// It has answered us before, or has a session with us: it exists, which an offer alone does not show.
    var isMet: Bool
    /// For drawing; see `Sampling`.
    var weight: UInt64
}

/// Who of the eligible is asked: the client's `order` first, then a draw without replacement weighted by free
/// capacity and expected score, with one place kept for a newcomer. Never simply the best: everybody's favourite
/// would be overloaded. Sellers that we have never met get at most half of the places while there are others: an offer
/// costs nothing, and thousands of invented ones at the best price would keep every auction waiting for nobody.
enum Sampling {
    /// Draws are made among 2^20 steps of weight; a session, which saves a handshake, counts four times.
    private static let scale: UInt64 = 1 << 20
    private static let sessionFactor: UInt64 = 4

    /// slots not taken by our own tasks × (best score ÷ score)², at least 1.
    static func weight(score: UInt64, best: UInt64, slots: UInt32, inFlight: Int, hasSession: Bool) -> UInt64
    {
        let free = max(1, Int64(slots) - Int64(inFlight))
        let bounded = min(score, 1 << 40)
        let ratio = (min(best, bounded) + 1) * scale / (bounded + 1)
        let squared = ratio * ratio / scale
        return max(1, squared * UInt64(min(free, 4_096)) * (hasSession ? sessionFactor : 1))
    }

    static func choose(_ pool: [Eligible], most: Int, random: inout SeededRandom) -> [Eligible] {
        guard pool.count > most else { return pool }
        var chosen: [Eligible] = []
        var rest: [Eligible] = []
        for eligible in pool.sorted(by: { $0.rank < $1.rank }) {
            if eligible.rank != .max && chosen.count < most {
                chosen.append(eligible)
            } else {
                rest.append(eligible)
            }
        }
        var total = rest.reduce(UInt64(0)) { $0 &+ $1.weight }
        var strangersLeft = most / 2
        var setAside: [Eligible] = []
        while chosen.count < most {
            if strangersLeft == 0, setAside.isEmpty, rest.contains(where: \.isMet) {
                setAside = rest.filter { !$0.isMet }
                rest.removeAll { !$0.isMet }
                total = rest.reduce(UInt64(0)) { $0 &+ $1.weight }
            }
            if rest.isEmpty {
                guard !setAside.isEmpty else { break }
                rest = setAside
                setAside = []
                total = rest.reduce(UInt64(0)) { $0 &+ $1.weight }
            }
            let last = chosen.count == most - 1
            let index: Int
            if last, !chosen.contains(where: \.newcomer), let drawn = newcomer(in: rest, &random) {
                index = drawn
            } else {
                index = draw(rest, total, &random)
            }
            total &-= rest[index].weight
            if !rest[index].isMet { strangersLeft -= 1 }
            chosen.append(rest[index])
            rest.swapAt(index, rest.count - 1)
            rest.removeLast()
        }
        return chosen
    }

    private static func newcomer(in rest: [Eligible], _ random: inout SeededRandom) -> Int? {
        let newcomers = rest.indices.filter { rest[$0].newcomer }
        return newcomers.isEmpty ? nil : newcomers[random.below(newcomers.count)]
    }

    private static func draw(_ rest: [Eligible], _ total: UInt64, _ random: inout SeededRandom) -> Int {
        var point = Int64(random.below(Int(clamping: max(1, total))))
        for index in rest.indices {
            point -= Int64(clamping: rest[index].weight)
            if point < 0 { return index }
        }
        return rest.count - 1
    }
}
