import Primitives

/// The order in which attempts wait for slots, for each model: the seller's own first, then by arrival, strangers as if they
/// had arrived later by `MarketParameters.strangersDelay`. Strictly behind all others they would wait for ever at a seller
/// that others keep busy. They are passed over while they use their share of the slots (`SlotGate`).
struct SlotQueue: Sendable {
    /// What a place's buyer is to the seller.
    enum Rank: Sendable { case own, known, stranger }

    /// The position of an attempt, for as long as it has a slot or waits for one.
    struct Ticket: Hashable, Comparable, Sendable {
        let rank: Rank
        /// Its turn is before all with a later time.
        let at: MonotonicTime
        fileprivate let number: UInt64

        static func < (a: Ticket, b: Ticket) -> Bool {
            a.at == b.at ? a.number < b.number : a.at < b.at
        }
    }

    typealias Place = (ticket: Ticket, key: SlotKey)

    /// In order; no entry is empty.
    private var byModel: [String: [Place]] = [:]
    private var arrivals: UInt64 = 0
    private let strangersDelay: Interval

    init(_ parameters: MarketParameters) { strangersDelay = parameters.strangersDelay }

    /// Those that wait for a slot of the model, in order.
    subscript(model: String) -> [Place] { byModel[model] ?? [] }

    mutating func ticket(_ rank: Rank, _ now: MonotonicTime) -> Ticket {
        arrivals += 1
        let at: MonotonicTime =
            switch rank {
            case .own: .zero
            case .known: now
            case .stranger: now + strangersDelay
            }
        return Ticket(rank: rank, at: at, number: arrivals)
    }

    mutating func insert(_ key: SlotKey, _ ticket: Ticket, _ model: String) {
        let index = index(of: ticket, model)
        byModel[model, default: []].insert((ticket, key), at: index)
    }

    mutating func remove(_ ticket: Ticket, _ model: String) {
        let index = index(of: ticket, model)
        guard let places = byModel[model], index < places.count, places[index].ticket == ticket else {
            return
        }
        byModel[model]?.remove(at: index)
        if places.count == 1 { byModel[model] = nil }
    }

    /// How many wait before it.
    func position(of ticket: Ticket, _ model: String) -> Int { index(of: ticket, model) }

    /// Of the first place that isn't before it.
    private func index(of ticket: Ticket, _ model: String) -> Int {
        let places = byModel[model] ?? []
        var (low, high) = (0, places.count)
        while low < high {
            let middle = (low + high) / 2
            if places[middle].ticket < ticket { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
