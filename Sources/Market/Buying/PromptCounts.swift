import Primitives
import Wire

/// The most prompt tokens that a worker may bill. This node has no tokenizer: it estimates, and what several sellers
/// of the same weights counted before corrects the estimate. No seller has more than one vote.
struct PromptCounts: Sendable {
    /// Sellers' counts agree by the weights, which share a tokenizer; without a digest, by the model's name.
    enum Weights: Hashable, Sendable { case digest(Bytes32), model(String) }

    private struct Vote: Sendable {
        let seller: PublicKey
        /// Counted ÷ estimated × 1000; nil: no prompt was long enough.
        var ratio: UInt32?
        /// Tokens beyond the estimate, of a prompt that is too short for a ratio; nil: none was.
        var format: UInt32?
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
    /// Tokens of a chat format and its default system prompt, before there are votes; and the margin over the votes' median,
    /// for prompts of which the format is most.
    private static let formatMax: UInt64 = 256
    private static let formatMargin: UInt64 = 32

    private var table = RecentTable<Weights, [Vote]>(capacity: Self.weightsMax)

    static func weights(_ bid: Bid, model: String) -> Weights {
        bid.digest.map(Weights.digest) ?? .model(model)
    }

    func most(estimate: UInt32, _ weights: Weights) -> UInt64 {
        let votes = table[weights] ?? []
        let factor = Self.median(votes.map(\.ratio)).map { $0 * Self.margin / 1_000 } ?? Self.marginUnknown
        let format = Self.median(votes.map(\.format)).map { $0 + Self.formatMargin } ?? Self.formatMax
        return UInt64(estimate) * factor / 1_000 + min(format, Self.formatMax)
    }

    /// The lower median; nil: too few votes.
    private static func median(_ votes: [UInt32?]) -> UInt64? {
        let sorted = votes.compactMap { $0 }.sorted()
        return sorted.count >= votesNeeded ? UInt64(sorted[(sorted.count - 1) / 2]) : nil
    }

    /// Notes what the seller of a delivered answer counted.
    mutating func learn(_ counted: UInt32, estimate: UInt32, _ weights: Weights, by seller: PublicKey) {
        guard estimate > 0, counted > 0 else { return }
        if table[weights] == nil { table.insert(weights, []) }
        table.change(weights) { votes in
            var vote = votes.first { $0.seller == seller } ?? Vote(seller: seller)
            if estimate >= Self.estimateMin {
                let ratio = UInt64(counted) * 1_000 / UInt64(estimate)
                vote.ratio = UInt32(clamping: min(ratio, Self.ratioMax))
            } else {
                vote.format = counted - min(counted, estimate)
            }
            votes.removeAll { $0.seller == seller }
            if votes.count >= Self.votesMax { votes.removeFirst() }
            votes.append(vote)
        }
    }
}
