import Primitives

/// How often a buyer, and its network, gets a quote, which costs a signature and holds nothing.
struct QuoteLimits: Sendable {
    private let byBuyer: TokenBucket
    private let byGroup: TokenBucket
    private var buyers: RecentTable<PublicKey, TokenBucket>
    private var groups: RecentTable<UInt64, TokenBucket>
    let capacity: Int

    init(_ parameters: MarketParameters) {
        byBuyer = TokenBucket(rate: parameters.quotesPerSecond, burst: parameters.quotesBurst)
        let networks = parameters.quotesNetworkFactor
        byGroup = TokenBucket(
            rate: parameters.quotesPerSecond * networks, burst: parameters.quotesBurst * networks)
        capacity = parameters.quotingBuyersMax
        buyers = RecentTable(capacity: capacity)
        groups = RecentTable(capacity: capacity)
    }

    var tables: [(name: String, count: Int, bound: Int)] {
        [("quoting buyers", buyers.count, capacity), ("quoting groups", groups.count, capacity)]
    }

    /// Counts a quote; returns when to ask again instead if it is one too many. This node may ask itself as it likes.
    mutating func take(_ party: SlotShares.Party, _ now: MonotonicTime) -> Interval? {
        if party.isOwn { return nil }
        var (buyer, group) = (buyers[party.buyer] ?? byBuyer, groups[party.group] ?? byGroup)
        guard buyer.has(1, now), group.has(1, now) else {
            return max(.milliseconds(1), max(buyer.nextToken, group.nextToken) - now)
        }
        _ = (buyer.take(now), group.take(now))
        buyers.insert(party.buyer, buyer)
        groups.insert(party.group, group)
        return nil
    }
}
