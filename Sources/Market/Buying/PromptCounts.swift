import Primitives
import Wire

/// The most prompt tokens that a worker may bill. This node has no tokenizer: it estimates, and what several sellers
/// of the same weights counted before corrects the estimate. No seller has more than one vote.
struct PromptCounts: Sendable {
    /// Sellers' counts agree by the weights, which share a tokenizer; without a digest, by the model's name.
    enum Weights: Hashable, Sendable { case digest(Bytes32), model(String) }

    private struct Vote: Sendable {
        let seller: PublicKey
        /// Counted ÷ estimated × 1000.
        var ratio: UInt32
    }

    private static let weightsMax = 256
    private static let votesMax = 8
    /// A single seller's count corrects nothing: it would be its own judge.
    private static let votesNeeded = 3
    /// Counts of prompts that are shorter say more about the chat format than about the tokenizer.
    private static let estimateMin: UInt32 = 64
    private static let ratioMax: UInt64 = 4_000
    /// × 1000: before there are votes an estimate may be off by two; the margin over the votes' median.
    private static let marginUnknown: UInt64 = 2_000
    private static let margin: UInt64 = 1_250
    /// Tokens of a chat format and its default system prompt.
    private static let formatMax: UInt64 = 256

    private var table = RecentTable<Weights, [Vote]>(capacity: Self.weightsMax)

    static func weights(_ bid: Bid, model: String) -> Weights {
        bid.digest.map(Weights.digest) ?? .model(model)
    }

    func most(estimate: UInt32, _ weights: Weights) -> UInt64 {
        let ratios = (table[weights] ?? []).map(\.ratio).sorted()
        let factor =
            ratios.count >= Self.votesNeeded
            ? UInt64(ratios[(ratios.count - 1) / 2]) * Self.margin / 1_000 : Self.marginUnknown
        return UInt64(estimate) * factor / 1_000 + Self.formatMax
    }

    /// Notes what the seller of a delivered answer counted.
    mutating func learn(_ counted: UInt32, estimate: UInt32, _ weights: Weights, by seller: PublicKey) {
        guard estimate >= Self.estimateMin, counted > 0 else { return }
        let ratio = UInt32(clamping: min(UInt64(counted) * 1_000 / UInt64(estimate), Self.ratioMax))
        if table[weights] == nil { table.insert(weights, []) }
        table.change(weights) { votes in
            votes.removeAll { $0.seller == seller }
            if votes.count >= Self.votesMax { votes.removeFirst() }
            votes.append(Vote(seller: seller, ratio: ratio))
        }
    }
}
