import Primitives
import Wire

/// What this node delivered for one bid, by its own count: the measure of every receipt for it.
struct Work: Sendable {
    /// Bytes of text and extra that were sent, those of FINISH included.
    private(set) var bytes: UInt64 = 0
    /// Tokens of the DELTAs, of each at most its bytes, as the buyer counts them.
    private(set) var tokens: UInt32 = 0
    /// The counts of the FINISH that was sent.
    private(set) var finish: (prompt: UInt32, cached: UInt32, completion: UInt32)?
    /// The limit of output tokens; nil: none.
    let tokensMax: UInt32?

    init(tokensMax: UInt32? = nil) { self.tokensMax = tokensMax }

    mutating func add(bytes: Int, tokens: UInt32) {
        self.bytes += UInt64(bytes)
        self.tokens = self.tokens &+ min(tokens, UInt32(clamping: bytes))
    }

    mutating func add(_ finish: Finish) {
        bytes += UInt64(finish.extra.count)
        self.finish = (finish.promptTokens, finish.cachedTokens, finish.completionTokens)
    }

    /// Whether a receipt owes no more than this work at the bid's price. An attempt without an answer is owed nothing.
    func covers(_ receipt: Receipt, _ bid: Bid, tokensIn: UInt32) -> Bool {
        guard bytes > 0, receipt.cachedTokens <= receipt.promptTokens,
            receipt.promptTokens <= UInt64(max(tokensIn, finish?.prompt ?? 0)),
            receipt.completionTokens <= UInt64(max(tokens, finish?.completion ?? 0))
        else { return false }
        let most = Scoring.cost(
            bid.price, prompt: receipt.promptTokens, cached: receipt.cachedTokens,
            completion: receipt.completionTokens)
        return receipt.cost <= most
    }

    /// Whether a final receipt pays what was counted. Of the prompt only what the buyer itself stated in its call, since
    /// the two count it by different means; of the answer no more than the limit.
    func isPaid(by receipt: Receipt, _ bid: Bid, tokensIn: UInt32) -> Bool {
        let completion = min(tokens, tokensMax ?? .max)
        let prompt = min(finish?.prompt ?? 0, tokensIn)
        let owed = Scoring.cost(
            bid.price, prompt: UInt64(prompt), cached: UInt64(finish?.cached ?? 0),
            completion: UInt64(completion))
        return receipt.completionTokens >= UInt64(completion) && receipt.cost >= min(owed, WireLimits.costMax)
    }
}
