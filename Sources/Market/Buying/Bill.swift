import Primitives
import Wire

/// What one assignment costs.
struct Bill: Sendable {
    private(set) var prompt: UInt64
    private(set) var cached: UInt64
    private(set) var completion: UInt64
    private(set) var cost: Money

    /// The cost of what was delivered, without the prompt: this is what receipts acknowledge while the answer
    /// runs. `most`: what the client's limit leaves.
    init(_ price: Price, completion: UInt64, most: Money? = nil) {
        self.init(price, prompt: 0, cached: 0, completion: completion, most: most)
    }

    init(_ price: Price, prompt: UInt64, cached: UInt64, completion: UInt64, most: Money? = nil) {
        self.prompt = prompt
        self.cached = cached
        self.completion = completion
        let cost = Scoring.cost(price, prompt: prompt, cached: cached, completion: completion)
        self.cost = min(cost, WireLimits.costMax, most ?? WireLimits.costMax)
    }

    var isEmpty: Bool { completion == 0 && cost == .zero }
}

/// The receipts of one assignment: each is cumulative and replaces those before it.
struct ReceiptSequence: Sendable {
    private var last: UInt64 = 0
    private var tokensAcknowledged: UInt32 = 0

    /// The next number when a receipt is due: when there are new tokens, or when it is the last and there is
    /// something to close.
    mutating func next(tokens: UInt32, cost: Money, isFinal: Bool) -> UInt64? {
        guard tokens > tokensAcknowledged || (isFinal && (cost > .zero || last > 0 || tokens > 0)) else {
            return nil
        }
        tokensAcknowledged = tokens
        last += 1
        return last
    }
}
