import Primitives
import Wire

/// What the offer book held when a task chose its candidates, and why sellers were not asked: the basis of an
/// explained refusal. Every known node is counted once.
struct Survey: Sendable {
    private(set) var model = ""
    private(set) var preferences = Preferences()
    private(set) var known = 0
    private(set) var sellers = 0
    var notSampled = 0
    private var others: [Offer] = []
    private(set) var requirements: Requirements?
    private(set) var catalogueKnows = false
    private(set) var denied = 0
    private(set) var largestContext: UInt32?
    /// The largest context among the sellers whose context is too small.
    private(set) var longest: UInt32 = 0
    /// Of those counted as busy: paused, and with no slot left for this node.
    private(set) var paused = 0
    private(set) var shareUsed = 0
    /// Of those counted as untrusted: they don't serve this node.
    private(set) var refusing = 0
    /// And with a queue that is too long for the task's deadline.
    private(set) var late = 0
    /// Of those counted as unreachable: their model server is.
    private(set) var down = 0
    /// What the request needs and sellers lack.
    private(set) var lacking: [String] = []
    private var counts = [Int](repeating: 0, count: Reason.filters.count)
    /// The cheapest offer above the limits, and the fastest that is too slow.
    private(set) var cheapest: Offer?
    private(set) var fastest: Offer?
    /// Of those that are too slow, the one that starts first.
    private(set) var quickest: Offer?
    /// The tokens for which prices are compared.
    private(set) var basis = ScoringBasis(tokensIn: 0, tokensOut: 0, weights: Weights())

    /// Most other models that a refusal names.
    private static let alternativesMax = 4

    init() {}

    init(_ found: OffersFound, _ requirements: Requirements) {
        let request = requirements.request
        basis = requirements.basis
        model = request.model
        preferences = request.preferences
        sellers = found.sellers.count
        known = max(found.known, sellers)
        others = found.alternatives
        self.requirements = requirements
        catalogueKnows = found.catalogueKnows
        denied = found.denied
        for candidate in found.sellers where candidate.offer.record.context > 0 {
            largestContext = max(largestContext ?? 0, candidate.offer.record.context)
        }
        counts[Reason.notServed.position] = known - sellers
    }

    mutating func count(_ offer: Offer, _ reason: Reason) {
        counts[reason.position] += 1
        if reason == .paused { paused += 1 }
        if reason == .holdLimit { shareUsed += 1 }
        if reason == .notAllowed { refusing += 1 }
        if reason == .tooLate { late += 1 }
        if reason == .backendDown { down += 1 }
        if reason == .contextTooSmall { longest = max(longest, offer.context) }
        if reason == .lacksParameter { noteLacking(offer) }
        if reason == .overMaxPrice, cheapest.map({ offer.price.output < $0.price.output }) ?? true {
            cheapest = offer
        }
        let first = offer.speed.firstTokenMilliseconds
        if reason == .tooSlow, quickest.map({ first < $0.speed.firstTokenMilliseconds }) ?? true {
            quickest = offer
        }
        let speed = offer.speed.millitokensPerSecond
        if reason == .tooSlow, fastest.map({ speed > $0.speed.millitokensPerSecond }) ?? true {
            fastest = offer
        }
    }

    private mutating func noteLacking(_ offer: Offer) {
        var needs = requirements?.request.features.subtracting(offer.features).names ?? []
        if !preferences.quantizations.isEmpty, !preferences.quantizations.contains(offer.quantization) {
            needs.append("quantization \(Nearest.list(preferences.quantizations))")
        }
        if let digest = preferences.digest, digest != offer.digest { needs.append("the digest") }
        let choices = requirements?.request.choicesEach ?? 1
        if choices > 1, offer.slots < choices { needs.append("\(choices) slots, as n: \(choices) needs") }
        for need in needs where !lacking.contains(need) { lacking.append(need) }
    }

    /// Other models with their lowest output price: any if nobody sells the one asked for, else those on
    /// offer within the request's limits.
    var alternatives: [(model: String, outputPrice: Int64)] {
        let suitable = others.filter { sellers == 0 || requirements?.accepts(alternative: $0) ?? false }
        return suitable.prefix(Self.alternativesMax).map { ($0.model, $0.price.output) }
    }

    /// Sellers that the client's own preferences leave.
    var allowed: Int { sellers - nodes(.excluded) }

    func nodes(_ reason: Reason) -> Int {
        counts[reason.position] + (reason == .notSampled ? notSampled : 0)
    }

    /// Counts the sellers that no filter holds back: `asked` of them, none or all, were called in the task's last auction.
    mutating func close(asked: Int) {
        counts[Reason.asked.position] = asked
        notSampled += max(0, known - notSampled - counts.reduce(0, +))
    }

    /// Filters with at least one node, in their order.
    var skipped: [(reason: Reason, nodes: Int)] {
        Reason.filters.map { ($0, nodes($0)) }.filter { $0.1 > 0 }
    }

    /// Adds the numbers to a failure. `retryAfter` is the time until the first busy seller may be asked
    /// again.
    func fill(_ failure: inout TaskFailure, retryAfter: Interval?) {
        failure.known = known
        failure.reasons = Reason.filters.map { ($0, nodes($0)) }
        failure.alternatives = alternatives
        failure.largestContext = largestContext
        if [.busy, .unreachable, .notAsked].contains(failure.reason) {
            failure.retryAfter = retryAfter ?? .seconds(1)
        }
    }
}
