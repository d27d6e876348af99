import Primitives

/// How many times in a row each buyer, or each network, has left an answer unpaid.
///
/// Answers that end unpaid within `unpaidEvery` count once: a buyer whose process or network fails leaves all that it had
/// asked for, and an honest one with many tasks always has some whose receipts are on their way.
struct UnpaidAnswers<Party: Hashable & Sendable>: Sendable {
    private struct Row: Sendable {
        var count: Int
        var at: MonotonicTime
    }

    private let parameters: MarketParameters
    private var rows: RecentTable<Party, Row>

    init(_ parameters: MarketParameters) {
        self.parameters = parameters
        rows = RecentTable(capacity: parameters.knownBuyersMax)
    }

    var count: Int { rows.count }
    var bound: Int { parameters.knownBuyersMax }

    func count(_ party: Party, _ now: MonotonicTime) -> Int {
        guard let row = rows[party], now < row.at + parameters.unpaidMemory else { return 0 }
        return row.count
    }

    /// Whether the party is a debtor, which comes after all other strangers.
    func isDebtor(_ party: Party, _ now: MonotonicTime) -> Bool {
        count(party, now) >= parameters.unpaidInRowMax
    }

    /// Counts an answer that ended unpaid; returns whether that is news.
    mutating func add(_ party: Party, _ now: MonotonicTime) -> Bool {
        let before = count(party, now)
        if before > 0, let row = rows[party], now < row.at + parameters.unpaidEvery { return false }
        set(party, before + 1, at: now)
        return true
    }

    /// The party has paid for an answer; returns whether it had left any unpaid.
    mutating func settle(_ party: Party) -> Bool { rows.remove(party) != nil }

    mutating func set(_ party: Party, _ count: Int, at: MonotonicTime) {
        // Removed first, so that it becomes the most recent.
        rows.remove(party)
        rows.insert(party, Row(count: min(count, parameters.unpaidInRowMax), at: at))
    }
}
