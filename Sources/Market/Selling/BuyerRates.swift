import Primitives

/// How many tasks of a model a buyer, and its network, had lately (`SalePolicy.tasksPerMinute`). A bid counts until it has
/// lost. As many as in a minute may come at once; then they come evenly.
struct BuyerRates: Sendable {
    private struct Place<Party: Hashable & Sendable>: Hashable, Sendable {
        let model: String
        let party: Party
        /// With another rate everybody begins anew.
        let perMinute: Int
    }

    private var buyers: RecentTable<Place<PublicKey>, TokenBucket>
    private var groups: RecentTable<Place<UInt64>, TokenBucket>
    let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        buyers = RecentTable(capacity: capacity)
        groups = RecentTable(capacity: capacity)
    }

    var tables: [(name: String, count: Int, bound: Int)] {
        [("rated buyers", buyers.count, capacity), ("rated groups", groups.count, capacity)]
    }

    /// How long until the party may have the next task of the model; nil: now.
    func wait(_ party: SlotShares.Party, _ model: ServedModel, _ now: MonotonicTime) -> Interval? {
        if party.isOwn { return nil }
        let rate = model.policy.tasksPerMinute
        var next = now
        if rate.buyer > 0,
            let bucket = buyers[Place(model: model.model, party: party.buyer, perMinute: rate.buyer)]
        {
            next = max(next, bucket.nextToken)
        }
        if rate.network > 0,
            let bucket = groups[Place(model: model.model, party: party.group, perMinute: rate.network)]
        {
            next = max(next, bucket.nextToken)
        }
        return next > now ? max(.milliseconds(1), next - now) : nil
    }

    mutating func take(_ party: SlotShares.Party, _ model: ServedModel, _ now: MonotonicTime) {
        change(party, model) { _ = $0.take(now) }
    }

    /// A bid that counted has lost.
    mutating func giveBack(_ party: SlotShares.Party, _ model: ServedModel) {
        change(party, model) { $0.giveBack() }
    }

    private mutating func change(
        _ party: SlotShares.Party, _ model: ServedModel, _ body: (inout TokenBucket) -> Void
    ) {
        if party.isOwn { return }
        let rate = model.policy.tasksPerMinute
        if rate.buyer > 0 {
            let place = Place(model: model.model, party: party.buyer, perMinute: rate.buyer)
            var bucket = buyers[place] ?? Self.bucket(rate.buyer)
            body(&bucket)
            buyers.insert(place, bucket)
        }
        if rate.network > 0 {
            let place = Place(model: model.model, party: party.group, perMinute: rate.network)
            var bucket = groups[place] ?? Self.bucket(rate.network)
            body(&bucket)
            groups.insert(place, bucket)
        }
    }

    private static func bucket(_ perMinute: Int) -> TokenBucket {
        TokenBucket(every: Interval(nanoseconds: 60_000_000_000 / Int64(max(1, perMinute))), burst: perMinute)
    }
}
