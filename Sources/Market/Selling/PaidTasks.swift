import Primitives

/// How many tasks each buyer, or each network, has paid.
///
/// Parties that have paid 1, 2–3, 4–7, … tasks have a table each, from which the one that paid least recently leaves
/// first. So many new keys that pay for next to nothing push out one another, and none that has paid more often.
struct PaidTasks<Party: Hashable & Sendable>: Sendable {
    private var levels: [RecentTable<Party, Int>]
    let bound: Int

    /// - Parameter capacity: of each table.
    init(capacity: Int) {
        levels = Array(repeating: RecentTable(capacity: capacity), count: Self.levelCount)
        bound = capacity * Self.levelCount
    }

    /// The last holds everybody that has paid 128 tasks or more.
    private static var levelCount: Int { 8 }
    /// More than any seller has slots.
    private static var countMax: Int { 1 << 30 }

    private static func level(_ count: Int) -> Int {
        min(Int.bitWidth - 1 - count.leadingZeroBitCount, levelCount - 1)
    }

    var count: Int { levels.reduce(0) { $0 + $1.count } }
    var isEmpty: Bool { levels.allSatisfy { $0.count == 0 } }

    subscript(party: Party) -> Int {
        for level in levels { if let count = level[party] { return count } }
        return 0
    }

    /// One more task is paid.
    mutating func add(_ party: Party) { set(party, self[party] + 1) }

    /// It becomes the most recent of its table; at 0 it is forgotten.
    mutating func set(_ party: Party, _ count: Int) {
        remove(party)
        guard count > 0 else { return }
        let count = min(count, Self.countMax)
        levels[Self.level(count)].insert(party, count)
    }

    mutating func remove(_ party: Party) {
        for level in levels.indices { levels[level].remove(party) }
    }
}
