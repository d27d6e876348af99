import Primitives
import Wire

/// What one look into the offer book found, and why the sellers in it were not asked: the material of an explained
/// no-bid. Every known node is counted once.
struct Survey: Sendable {
    private(set) var model = ""
    private(set) var preferences = Preferences()
    private(set) var known = 0
    private(set) var sellers = 0
    var notSampled = 0
    private(set) var alternatives: [(model: String, outputPrice: Int64)] = []
    private(set) var catalogueKnows = false
    private(set) var largestContext: UInt32?
    private var counts = [Int](repeating: 0, count: ExclusionReason.allCases.count)
    /// The cheapest that is too dear, and the fastest that is too slow.
    private var cheapest: Offer?
    private var fastest: Offer?
    /// What prices are compared for.
    private var basis = ScoringBasis(tokensIn: 0, tokensOut: 0, weights: Weights())

    /// Other models that are worth naming.
    private static let alternativesMax = 4

    init() {}

    init(_ found: OffersFound, _ requirements: Requirements) {
        let request = requirements.request
        basis = requirements.basis
        model = request.model
        preferences = request.preferences
        sellers = found.sellers.count
        known = max(found.known, sellers)
        alternatives = Array(found.alternatives.prefix(Self.alternativesMax))
        catalogueKnows = found.catalogueKnows
        for candidate in found.sellers where candidate.offer.record.context > 0 {
            largestContext = max(largestContext ?? 0, candidate.offer.record.context)
        }
        counts[ExclusionReason.otherModel.position] = known - sellers
    }

    mutating func count(_ offer: Offer, _ reason: ExclusionReason) {
        counts[reason.position] += 1
        switch reason {
        case .overMaxPrice where cheapest.map({ offer.price.output < $0.price.output }) ?? true:
            cheapest = offer
        case .tooSlow
        where fastest.map({ offer.speed.millitokensPerSecond > $0.speed.millitokensPerSecond }) ?? true:
            fastest = offer
        default: break
        }
    }

    private func nodes(_ reason: ExclusionReason) -> Int {
        counts[reason.position] + (reason == .notSampled ? notSampled : 0)
    }

    /// With at least one node, in the order of the filters.
    var skipped: [(reason: ExclusionReason, nodes: Int)] {
        ExclusionReason.allCases.map { ($0, nodes($0)) }.filter { $0.1 > 0 }
    }

    /// Adds the numbers to a failure.
    func fill(_ failure: inout TaskFailure, excluded: [BuyerTask.Excluded], asked: Int, bids: Int) {
        failure.known = known
        failure.asked = asked
        failure.bids = bids
        failure.reasons = ExclusionReason.allCases.map { ($0, nodes($0)) }
        failure.alternatives = alternatives
        failure.largestContext = largestContext
        if failure.code == .busy || failure.code == .unreachable {
            failure.retryAfter = excluded.compactMap(\.retryAfter).min() ?? .seconds(1)
        }
    }

    /// Why nobody does it: the commonest reason among the model's sellers, in a sentence that names the fix.
    func explanation() -> TaskFailure {
        guard sellers > 0 else { return nobodySells() }
        var commonest = ExclusionReason.busy
        var most = 0
        for reason in ExclusionReason.allCases where reason != .notSampled {
            let nodes = reason == .otherModel ? self.nodes(reason) - (known - sellers) : self.nodes(reason)
            if nodes > most { (commonest, most) = (reason, nodes) }
        }
        var failure = TaskFailure(code: commonest.code, message: sentence(commonest, most))
        failure.nearest = nearest(commonest)
        return failure
    }

    private func nobodySells() -> TaskFailure {
        let instead =
            alternatives.isEmpty ? "" : " On offer: \(alternatives.map(\.model).joined(separator: ", "))."
        guard catalogueKnows else {
            return TaskFailure(
                code: .modelNotFound, message: "No node sells a model named \(model).\(instead)")
        }
        return TaskFailure(code: .noBid, message: "No node that sells \(model) can be found now.\(instead)")
    }

    private func sentence(_ reason: ExclusionReason, _ nodes: Int) -> String {
        let sell = sellers == 1 ? "1 node sells" : "\(sellers) nodes sell"
        switch reason {
        case .overMaxPrice: return priceSentence()
        case .tooSlow:
            let speed = fastest.map {
                ", the fastest at \(Self.decimal(Int64($0.speed.millitokensPerSecond), 1_000, 0)) tokens/s"
            }
            return "No node that sells \(model) is fast enough: \(sell) it\(speed ?? "")."
        case .contextTooSmall:
            let most = largestContext.map { " The largest context on offer is \($0) tokens." } ?? ""
            return "The request is too long for every node that sells \(model).\(most)"
        case .lacksParameter:
            return "\(sell) \(model), none with what this request needs (features, quantization or digest)."
        case .excluded: return "\(sell) \(model), and the request's provider preferences exclude all of them."
        case .untrusted: return "\(sell) \(model), none trusted enough for this request."
        case .unreachable: return "\(sell) \(model), and none of them answers."
        case .otherModel: return "\(sell) \(model), and none is ready to serve it now."
        case .busy, .notSampled: return "\(sell) \(model), and none has a free slot now."
        }
    }

    private func priceSentence() -> String {
        let instead =
            alternatives.first.map { ", or use \($0.model) (\(Self.credits($0.outputPrice)))" } ?? ""
        guard let cheapest, let limit = nearest(.overMaxPrice) else {
            return "No node sells \(model) within the request's limits of price."
        }
        let name = cheapest.name.isEmpty ? "the cheapest" : cheapest.name
        switch limit.parameter {
        case Self.maxCost:
            return
                "No node does this task of \(model) within \(preferences.maxCost ?? 0) µcr. \(sellers) sell it; \(name) asks about \(limit.value) µcr. Raise \(limit.parameter)\(instead)."
        default:
            let input = limit.parameter == Self.maxPromptPrice
            let asked = input ? preferences.maxInputPrice : preferences.maxOutputPrice
            let least = input ? cheapest.price.input : cheapest.price.output
            return
                "No node sells \(model) at \(Self.credits(asked ?? 0)) cr per million \(input ? "input" : "output") tokens. \(sellers) sell\(sellers == 1 ? "s" : "") it, from \(Self.credits(least)) (\(name)). Raise \(limit.parameter) to \(Self.credits(least))\(instead)."
        }
    }

    static let maxPromptPrice = "provider.max_price.prompt"
    static let maxCompletionPrice = "provider.max_price.completion"
    static let maxCost = "provider.max_cost"
    static let minThroughput = "provider.preferred_min_throughput"

    /// The smallest change that would have let somebody in.
    private func nearest(_ reason: ExclusionReason) -> NearestOffer? {
        if reason == .overMaxPrice, let offer = cheapest {
            if let most = preferences.maxOutputPrice, offer.price.output > most {
                return near(offer, Self.maxCompletionPrice, offer.price.output)
            }
            if let most = preferences.maxInputPrice, offer.price.input > most {
                return near(offer, Self.maxPromptPrice, offer.price.input)
            }
            return near(offer, Self.maxCost, basis.expect(offer, millitrust: 1_000).estimate)
        }
        if reason == .tooSlow, let offer = fastest {
            return near(offer, Self.minThroughput, Int64(offer.speed.millitokensPerSecond))
        }
        return nil
    }

    private func near(_ offer: Offer, _ parameter: String, _ value: Int64) -> NearestOffer {
        NearestOffer(worker: offer.publicKey, name: offer.name, parameter: parameter, value: value)
    }

    /// 1 600 000 µcr per million tokens are 1.60 credits: at least two decimals, and no more than it takes.
    static func credits(_ micro: Int64) -> String { decimal(micro, 1_000_000, 2) }

    private static func decimal(_ value: Int64, _ unit: Int64, _ least: Int) -> String {
        var digits = ""
        var rest = value.magnitude % UInt64(unit)
        var scale = UInt64(unit) / 10
        while scale > 0 && (rest > 0 || digits.count < least) {
            digits += "\(rest / scale)"
            rest %= scale
            scale /= 10
        }
        let whole = value.magnitude / UInt64(unit)
        return (value < 0 ? "-" : "") + "\(whole)" + (digits.isEmpty ? "" : ".\(digits)")
    }
}

extension ExclusionReason {
    /// The error code when this is why nobody does a task.
    var code: TaskFailure.Code {
        switch self {
        case .otherModel, .notSampled: .noBid
        case .excluded: .excluded
        case .lacksParameter: .lacksParameter
        case .contextTooSmall: .contextLengthExceeded
        case .overMaxPrice: .overMaxPrice
        case .tooSlow: .tooSlow
        case .untrusted: .untrusted
        case .busy: .busy
        case .unreachable: .unreachable
        }
    }
}
