import Primitives
import Wire

/// A speed that this node measured: from the open channel to the first byte, and from there to the last.
struct MeasuredSpeed: Hashable, Sendable {
    var firstTokenMilliseconds: UInt32
    /// 0: no answer was long enough.
    var millitokensPerSecond: UInt32
}

/// What this node believes of a seller's speed. Measured speed replaces its claims. An unmeasured seller's claims are
/// averaged with what the market delivers of the model, so that a claim of any size makes it at most twice as fast as
/// the median.
struct SpeedBelief: Hashable, Sendable {
    var measured: MeasuredSpeed?
    var market: MeasuredSpeed?

    func firstToken(_ claimed: UInt32) -> UInt32 {
        if let measured { return measured.firstTokenMilliseconds }
        guard let market else { return claimed }
        return UInt32(clamping: (UInt64(claimed) + UInt64(market.firstTokenMilliseconds)) / 2)
    }

    /// Millitokens per second. Times per token are averaged, not rates: 2ab ÷ (a + b).
    func rate(_ claimed: UInt32) -> UInt32 {
        if let measured, measured.millitokensPerSecond > 0 { return measured.millitokensPerSecond }
        guard let market, market.millitokensPerSecond > 0 else { return claimed }
        let (a, b) = (
            UInt64(claimed == 0 ? Scoring.unmeasuredSpeed : claimed), UInt64(market.millitokensPerSecond)
        )
        return UInt32(clamping: a * b / (a + b) * 2)
    }
}

/// How fast sellers really are, by seller and model: smoothed, bounded, and only what this node saw.
struct SpeedBook: Sendable {
    private struct Key: Hashable, Sendable {
        var seller: PublicKey
        var model: String
    }

    private static let modelsMax = 256
    /// The sellers of a model whose latest speeds make its median.
    private static let votesMax = 15

    private var sellers: RecentTable<Key, MeasuredSpeed>
    private var markets = RecentTable<String, [(seller: PublicKey, speed: MeasuredSpeed)]>(
        capacity: Self.modelsMax)

    init(_ parameters: MarketParameters) { sellers = RecentTable(capacity: parameters.sellersMax) }

    func measured(_ seller: PublicKey, _ model: String) -> MeasuredSpeed? {
        sellers[Key(seller: seller, model: model)]
    }

    /// The medians over the sellers measured last; nil: none was.
    func market(of model: String) -> MeasuredSpeed? {
        guard let votes = markets[model], !votes.isEmpty else { return nil }
        let firsts = votes.map(\.speed.firstTokenMilliseconds).sorted()
        let rates = votes.map(\.speed.millitokensPerSecond).filter { $0 > 0 }.sorted()
        return MeasuredSpeed(
            firstTokenMilliseconds: firsts[firsts.count / 2],
            millitokensPerSecond: rates.isEmpty ? 0 : rates[rates.count / 2])
    }

    /// `hasVote`: it has finished enough tasks here that its speed tells of the market's, and not only of its own.
    mutating func note(_ sample: SpeedSample, of seller: PublicKey, _ model: String, hasVote: Bool) {
        let key = Key(seller: seller, model: model)
        var speed =
            sellers[key] ?? MeasuredSpeed(firstTokenMilliseconds: sample.first, millitokensPerSecond: 0)
        // A worker that sent nothing took at least that long.
        if sample.isComplete || sample.first > speed.firstTokenMilliseconds {
            speed.firstTokenMilliseconds = Self.smoothed(speed.firstTokenMilliseconds, sample.first)
        }
        if let rate = sample.rate {
            speed.millitokensPerSecond =
                speed.millitokensPerSecond == 0 ? rate : Self.smoothed(speed.millitokensPerSecond, rate)
        }
        sellers.insert(key, speed)
        guard sample.isComplete, hasVote else { return }
        if markets[model] == nil { markets.insert(model, []) }
        markets.change(model) { votes in
            votes.removeAll { $0.seller == seller }
            if votes.count >= Self.votesMax { votes.removeFirst() }
            votes.append((seller, speed))
        }
    }

    private static func smoothed(_ old: UInt32, _ sample: UInt32) -> UInt32 {
        UInt32(clamping: Int64(old) + (Int64(sample) - Int64(old)) / 4)
    }
}

/// What one assignment shows of its worker's speed.
struct SpeedSample: Sendable {
    /// Milliseconds to the first byte, or without a byte: how long none came.
    var first: UInt32
    var isComplete: Bool
    /// Millitokens per second after the first delta; nil: too few, or our client held them up.
    var rate: UInt32?
}
