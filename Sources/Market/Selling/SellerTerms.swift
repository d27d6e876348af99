import Primitives
import Wire

/// What this node sells and on what terms: decides whether a call fits them, and writes the bid. `SlotGate`
/// has the slots.
struct SellerTerms: Sendable {
    enum Verdict: Sendable { case fits(ServedModel), declined(Reason, retryAfter: Interval = .zero) }

    private let key: PublicKey
    private var models: [ServedModel] = []
    private var isPaused = false
    private(set) var isLeaving = false
    /// Whether other nodes can open a channel to this one. If not, its bids say that the worker dials.
    var acceptsChannels = true

    /// The most models that one node serves.
    private static let modelsMax = 64

    init(key: PublicKey) { self.key = key }

    mutating func serve(_ models: [ServedModel]) { self.models = Array(models.prefix(Self.modelsMax)) }
    mutating func pause() { isPaused = true }
    mutating func resume() { isPaused = false }
    mutating func leave() { isLeaving = true }

    func sells(_ name: String) -> Bool { model(name) != nil }

    func model(_ name: String) -> ServedModel? { models.first { $0.model == name } }

    /// What may be taken of the model for a late award, and by those that wait; nothing when it is not for sale now.
    func room(_ name: String, _ now: MonotonicTime) -> SlotGate.Room {
        guard let model = forSale(name, now) else { return SlotGate.Room() }
        return SlotGate.Room(slots: model.slots, places: model.places)
    }

    /// nil: it is not for sale now.
    func forSale(_ name: String, _ now: MonotonicTime) -> ServedModel? {
        guard !isLeaving, !isPaused, let model = model(name), model.available.at(now) == .up else {
            return nil
        }
        return model
    }

    /// Checks everything about a call except the slots, in the order that `Protocol/market.md` gives. What fits has the
    /// price of a bid while that many slots are `taken`.
    func judge(_ call: CallForBids, from buyer: PublicKey, taken: Int, _ now: MonotonicTime) -> Verdict {
        if isLeaving { return .declined(.leaving) }
        guard var model = model(call.model) else { return .declined(.notServed) }
        switch model.available.at(now) {
        case .leaving: return .declined(.leaving)
        case .paused: return .declined(.paused)
        case .down: return .declined(.backendDown)
        case .busy(let until): return .declined(.busy, retryAfter: until - now)
        case .up: if isPaused { return .declined(.paused) }
        }
        let isOwn = buyer == key
        if !isOwn, !model.policy.serves(buyer) { return .declined(.notAllowed) }
        let fits =
            (call.digest == nil || call.digest == model.digest)
            && (call.quantizations.isEmpty || call.quantizations.contains(model.quantization))
            && model.features.isSuperset(of: call.features) && (!call.mustContinue || model.continues)
        if !fits { return .declined(.lacksParameter) }
        let output = min(call.tokensOutMax == 0 ? 1 : call.tokensOutMax, max(1, call.tokensOut))
        if model.context != 0 && call.tokensIn &+ output > model.context {
            return .declined(.contextTooSmall)
        }
        model.price = model.price(taken: taken, now)
        if let most = call.maxPrice, model.price.input > most.input || model.price.output > most.output {
            return .declined(.overMaxPrice)
        }
        if !isOwn, model.policy.isBelowReserve(call, model.price) { return .declined(.belowReserve) }
        if call.buyerUnreachable && !canBeDialled(by: buyer) { return .declined(.unspecified) }
        return .fits(model)
    }

    /// A node needs no channel to itself.
    private func canBeDialled(by buyer: PublicKey) -> Bool { acceptsChannels || buyer == key }

    func bid(for call: CallForBids, _ model: ServedModel, buyer: PublicKey, wait: Interval) -> Bid {
        Bid(
            task: call.task, attempt: call.attempt, bidder: key, buyer: buyer, price: model.price,
            queueMilliseconds: UInt32(clamping: (wait.nanoseconds + 999_999) / 1_000_000),
            firstTokenMilliseconds: model.speed.firstTokenMilliseconds,
            millitokensPerSecond: model.speed.millitokensPerSecond, workerDials: !canBeDialled(by: buyer),
            digest: model.digest, quantization: model.quantization, continues: model.continues,
            context: model.context, promptTokensPerSecond: model.speed.promptTokensPerSecond)
    }
}
