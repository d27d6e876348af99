import Primitives
import TestSupport
import Testing

@Suite struct WordSetTests {
    private struct Model: ModelTest {
        struct Operation { var insert: UInt32 }
        var words = WordSet()
        /// The word of all ones is stored as its neighbour.
        var plain: Set<UInt32> = []
        let bound: Int

        init(_ random: inout SeededRandom) { bound = [20, 300, 1 << 32][random.below(3)] }

        func draw(_ random: inout SeededRandom) -> Operation {
            let word = UInt32(random.below(bound))
            return Operation(insert: random.chance(1, in: 10) ? .max - word % 4 : word)
        }

        mutating func apply(_ operation: Operation) throws {
            let word = operation.insert
            try same(words.contains(word), plain.contains(min(word, .max - 1)), "contains \(word) before")
            words.insert(word)
            plain.insert(min(word, .max - 1))
            try same(words.count, plain.count, "count")
            for near in [word, word &+ 1, word &- 1, word &* 3, 0, .max, .max - 1, .max - 2] {
                try same(words.contains(near), plain.contains(min(near, .max - 1)), "contains \(near)")
            }
        }
    }

    @Test(arguments: modelSeeds) func aSetHoldsTheWordsThatWereInserted(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 1_000)
    }
}
