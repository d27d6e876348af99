import Primitives

/// What a buyer, or a network, has paid less what it left unpaid.
public struct Paid: Hashable, Sendable {
    public var tasks: Int
    public var amount: Money

    public init(tasks: Int = 0, amount: Money = .zero) {
        self.tasks = tasks
        self.amount = amount
    }
}

/// What each buyer, or each network, has paid.
///
/// Parties that have paid 1, 2–3, 4–7, … tasks have a table each, from which the one that paid least recently leaves
/// first. New keys that pay for next to nothing, however many, push out one another and none that has paid more often.
struct PaidTasks<Party: Hashable & Sendable>: Sendable {
    private var levels: [RecentTable<Party, Paid>]
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

    subscript(party: Party) -> Paid {
        for level in levels { if let paid = level[party] { return paid } }
        return Paid()
    }

    mutating func add(_ party: Party, _ more: Paid) {
        let paid = self[party]
        set(
            party, Paid(tasks: paid.tasks + min(more.tasks, Self.countMax), amount: paid.amount + more.amount)
        )
    }

    /// Takes as much as there is; returns what was taken. Without a task nothing is left.
    mutating func take(_ party: Party, _ less: Paid) -> Paid {
        let paid = self[party]
        guard paid.tasks > less.tasks else {
            remove(party)
            return paid
        }
        let taken = Paid(tasks: less.tasks, amount: min(paid.amount, less.amount))
        set(party, Paid(tasks: paid.tasks - taken.tasks, amount: paid.amount - taken.amount))
        return taken
    }

    /// It becomes the most recent of its table; without a paid task it is forgotten.
    mutating func set(_ party: Party, _ paid: Paid) {
        remove(party)
        guard paid.tasks > 0 else { return }
        let tasks = min(paid.tasks, Self.countMax)
        levels[Self.level(tasks)].insert(party, Paid(tasks: tasks, amount: max(.zero, paid.amount)))
    }

    mutating func remove(_ party: Party) {
        for level in levels.indices { levels[level].remove(party) }
    }
}
