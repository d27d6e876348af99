import Primitives
import Wire

/// What sellers would do a task for: the answer of an auction that awards nothing.
public struct Quote: Sendable {
    public var model: String
    public var tokensIn: UInt32
    /// For which prices are compared.
    public var tokensOut: UInt32
    public var known: Int
    /// Why the others weren't asked.
    public var reasons: [(reason: Reason, nodes: Int)]
    /// Bids in the order in which they would be awarded, then sellers that did not bid.
    public var bids: [BidTranscript]
}

extension Auction {
    /// The bids that are genuine, in the order in which they would be awarded; then the rest.
    mutating func quoted(_ standing: (PublicKey) -> Standing) -> [BidTranscript] {
        refuseForged()
        let first = ranked(standing)
        return first.map {
            var line = line($0)
            line.outcome = .bid
            return line
        } + others(than: first)
    }
}

extension BuyerTask {
    /// Ends a quote with what was bid; false: it is none, or nobody bid, and others are to be asked.
    mutating func quote(_ desk: inout AuctionDesk, _ now: MonotonicTime) -> Bool {
        guard request.isQuote, let bids = auction?.quoted({ desk.standing($0, now) }),
            bids.contains(where: { $0.outcome == .bid })
        else { return false }
        survey.close(asked: bids.count)
        let quote = Quote(
            model: request.model, tokensIn: calledTokensIn, tokensOut: request.tokensOutEstimate,
            known: survey.known, reasons: survey.skipped, bids: bids)
        finish(quote, &desk)
        return true
    }

    /// Auctions of one task.
    func auctionsMax(_ parameters: MarketParameters) -> UInt32 {
        UInt32(clamping: request.isQuote ? parameters.quoteAuctionsMax : parameters.auctionsMax)
    }
}
