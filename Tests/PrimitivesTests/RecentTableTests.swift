import TestSupport
import Testing

@testable import Primitives

@Suite struct RecentTableTests {
    private struct Model: ModelTest {
        enum Operation { case insert(Int, Int), remove(Int), change(Int, by: Int) }
        var table: RecentTable<Int, Int>
        var plain = PlainTable<Int, Int>()
        let capacity: Int
        let keys: Int

        init(_ random: inout SeededRandom) {
            capacity = 1 + random.below(12)
            keys = capacity + 1 + random.below(2 * capacity)
            table = RecentTable(capacity: capacity)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let key = random.below(keys)
            return switch random.below(8) {
            case 0..<4: .insert(key, random.below(100))
            case 4..<7: .remove(key)
            default: .change(key, by: 1 + random.below(9))
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .insert(let key, let value):
                table.insert(key, value)
                if plain[key] == nil, plain.count == capacity { plain.entries.removeFirst() }
                plain[key] = value
            case .remove(let key):
                try same(table.remove(key), plain[key], "removed \(key)")
                plain[key] = nil
            case .change(let key, let amount):
                try same(table.change(key) { $0 += amount }, plain[key] != nil, "changed \(key)")
                plain[key] = plain[key].map { $0 + amount }
            }
            try same(table.count, plain.count, "count")
            for key in 0..<keys { try same(table[key], plain[key], "the value of \(key)") }
            try holds(table.order.count <= 2 * capacity + 64, "\(table.order.count) entries of the order")
            // Asking for the oldest may tidy up, so half of the time a copy is asked.
            var copy = table
            let oldest = plain.count.isMultiple(of: 2) ? table.oldest : copy.oldest
            try same(oldest?.key, plain.entries.first?.key, "oldest")
            try same(oldest?.value, plain.entries.first?.value, "the oldest's value")
        }
    }

    @Test(arguments: modelSeeds) func theKeyThatWasInsertedFirstLeavesFirst(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 2_000)
    }

    @Test func aTableWithoutRoomHoldsOne() {
        var table = RecentTable<Int, Int>(capacity: 0)
        table.insert(1, 1)
        table.insert(2, 2)
        #expect(table.count == 1 && table[2] == 2)
    }
}
