import Primitives
import Wire

/// What this node delivered for one bid, by its own count: the measure of every receipt for it.
struct Work: Sendable {
    private var answer: AnswerCount
    /// The counts of the FINISH that was sent.
    private var finish: (prompt: UInt32, cached: UInt32, completion: UInt32)?
    private var finishBytes = 0
    /// The limit of output tokens; nil: none.
    private let tokensMax: UInt32?

    /// Prompt tokens that no buyer disputes if FINISH counts at least as many (`RequestSize`).
    private let undisputedPrompt: UInt64

    init(_ kind: TaskKind = .unspecified, tokensMax: UInt32? = nil, undisputedPrompt: UInt64 = 0) {
        answer = AnswerCount(kind)
        self.tokensMax = tokensMax
        self.undisputedPrompt = undisputedPrompt
    }

    /// Tokens of the DELTAs, as the buyer counts them.
    var tokens: UInt32 { answer.tokens }

    mutating func add(_ delta: Delta) { answer.add(delta) }

    mutating func add(_ finish: Finish) {
        finishBytes = finish.extra.count
        self.finish = (finish.promptTokens, finish.cachedTokens, finish.completionTokens)
    }

    /// Whether a receipt owes no more than this work at the bid's price. An attempt without an answer is owed nothing.
    func covers(_ receipt: Receipt, _ bid: Bid, tokensIn: UInt32) -> Bool {
        let claimed = answer.tokens(claiming: UInt64(finish?.completion ?? 0))
        guard answer.bytes > 0 || finishBytes > 0, receipt.cachedTokens <= receipt.promptTokens,
            receipt.promptTokens <= UInt64(max(tokensIn, finish?.prompt ?? 0)),
            receipt.completionTokens <= UInt64(max(tokens, claimed))
        else { return false }
        let most = Scoring.cost(
            bid.price, prompt: receipt.promptTokens, cached: receipt.cachedTokens,
            completion: receipt.completionTokens)
        return receipt.cost <= most
    }

    /// Whether a receipt owes its tokens at the bid's price, and at least half of what was sent: the rest may be on its
    /// way. `covers` has judged it.
    func isAcknowledged(by receipt: Receipt, _ bid: Bid) -> Bool {
        let owed = Scoring.cost(bid.price, prompt: 0, cached: 0, completion: receipt.completionTokens)
        return receipt.completionTokens >= UInt64(tokens) / 2 && receipt.cost >= min(owed, WireLimits.costMax)
    }

    /// What a buyer owes that disputes nothing of it: of the answer no more than the limit, of FINISH's prompt what no
    /// buyer disputes.
    func owed(_ bid: Bid) -> Money { owed(bid, 1) }

    /// That, of an answer and a prompt of a fraction of the length.
    private func owed(_ bid: Bid, _ fraction: UInt64) -> Money {
        guard answer.bytes > 0 || finishBytes > 0 else { return .zero }
        let prompt = min(UInt64(finish?.prompt ?? 0), undisputedPrompt)
        let cost = Scoring.cost(
            bid.price, prompt: prompt / fraction, cached: UInt64(finish?.cached ?? 0) / fraction,
            completion: completion / fraction)
        return min(cost, WireLimits.costMax)
    }

    private var completion: UInt64 { UInt64(min(tokens, tokensMax ?? .max)) }

    /// Whether an honest buyer sends a receipt for it.
    func isOwed(_ bid: Bid) -> Bool { tokens > 0 || owed(bid) > .zero }

    /// Whether a final receipt pays for at least half of it: its buyer is no debtor, whatever else it disputes.
    func isMostlyPaid(by receipt: Receipt, _ bid: Bid) -> Bool {
        receipt.completionTokens >= completion / 2 && receipt.cost >= owed(bid, 2)
    }

    /// Whether a final receipt pays what was counted. Nothing is a payment only where nothing has a price.
    func isPaid(by receipt: Receipt, _ bid: Bid) -> Bool {
        let isFree = bid.price.input == 0 && bid.price.output == 0
        return receipt.completionTokens >= completion && receipt.cost >= owed(bid)
            && (receipt.cost > .zero || isFree)
    }
}
