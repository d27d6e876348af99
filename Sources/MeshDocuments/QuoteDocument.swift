// `POST /mesh/quote` and `starling quote --json`: what sellers would do a request for, with nothing awarded.

/// The bids for a request, best first.
public struct QuoteDocument: Codable, Sendable, Equatable {
    public var model: String
    /// By this node's estimate.
    public var tokensIn: Int
    /// For which prices are compared.
    public var tokensOut: Int
    /// Nodes with an offer of any model.
    public var known: Int
    /// How many of them failed which filter first; `asked` were asked.
    public var reasons: [String: Int]
    /// Those that bid, in the order in which they would be awarded; then those that were asked and did not bid.
    public var bids: [TaskBid]

    public init(
        model: String, tokensIn: Int, tokensOut: Int, known: Int, reasons: [String: Int], bids: [TaskBid]
    ) {
        self.model = model
        self.tokensIn = tokensIn
        self.tokensOut = tokensOut
        self.known = known
        self.reasons = reasons
        self.bids = bids
    }

    enum CodingKeys: String, CodingKey {
        case model
        case tokensIn = "tokens_in"
        case tokensOut = "tokens_out"
        case known, reasons, bids
    }
}
