import OrderedCollections
import Primitives
import Wire

/// What the offer book holds for one model, for `/v1/models` and `starling offers`. Advice, never routing.
public struct ModelSummary: Hashable, Sendable {
    public var name: String
    /// The longest context on offer, tokens.
    public var context: UInt32
    public var providers: Int
    public var slots: Int
    public var features: Features
    /// The lowest and the highest of each price on offer, not necessarily from one seller.
    public var lowest: Price
    public var highest: Price
    /// Distinct, ascending; sellers that name none are left out.
    public var quantizations: [String]

    /// Nil without offers.
    init?(name: String, offers: [Verified<Offer>]) {
        guard let first = offers.first?.record else { return nil }
        self.name = name
        context = 0
        providers = offers.count
        slots = 0
        features = []
        lowest = first.price
        highest = first.price
        var found: [String] = []
        for offer in offers {
            let record = offer.record
            context = max(context, record.context)
            slots = min(slots + Int(record.slots), Int(UInt32.max))
            features.formUnion(record.features)
            lowest = Price(
                input: min(lowest.input, record.price.input),
                cachedInput: min(lowest.cachedInput, record.price.cachedInput),
                output: min(lowest.output, record.price.output))
            highest = Price(
                input: max(highest.input, record.price.input),
                cachedInput: max(highest.cachedInput, record.price.cachedInput),
                output: max(highest.output, record.price.output))
            if !record.quantization.isEmpty, !found.contains(record.quantization) {
                found.append(record.quantization)
            }
        }
        quantizations = found.sorted()
    }
}

extension OfferBook {
    /// By name, ascending: at most `GossipLimits.modelsMax`, those that this node sells or asks for and those
    /// with most sellers.
    func summaries(where isCounted: (Entry) -> Bool) -> [ModelSummary] {
        var listed = Array(byModel.keys)
        if listed.count > GossipLimits.modelsMax {
            func rank(_ model: String) -> (Int, Int, String) {
                (traded.contains(model) ? 0 : 1, -(byModel[model]?.count ?? 0), model)
            }
            listed = Array(listed.map(rank).sorted(by: <).prefix(GossipLimits.modelsMax)).map(\.2)
        }
        return listed.sorted().compactMap { model in
            let counted = (byModel[model] ?? []).compactMap { self[$0] }.filter(isCounted)
            return ModelSummary(name: model, offers: counted.map(\.offer))
        }
    }

    func cheapest(except model: String, limit: Int) -> [Offer] {
        var found: [(outputPrice: Int64, model: String, id: UInt64)] = []
        for (other, ids) in byModel where other != model {
            let lowest = ids.lazy.compactMap { id in self[id].map { ($0.offer.record.price.output, id) } }
                .min { $0 < $1 }
            if let lowest { found.append((lowest.0, other, lowest.1)) }
        }
        return found.sorted { ($0.outputPrice, $0.model) < ($1.outputPrice, $1.model) }.prefix(limit)
            .compactMap { self[$0.id]?.offer.record }
    }
}
