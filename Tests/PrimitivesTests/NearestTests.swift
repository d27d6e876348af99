import Primitives
import TestSupport
import Testing

@Suite struct NearestTests {
    @Test func editsAreCountedWithSwaps() {
        #expect(Nearest.distance("", "abc") == 3)
        #expect(Nearest.distance("kitten", "sitting") == 3)
        #expect(Nearest.distance("prot", "port") == 1)
        #expect(Nearest.distance("Listen", "listen") == 0)
    }

    @Test func namesThatAreNearOrBeginAlikeAreOffered() {
        let models = ["wren-l", "wren-m", "wren-s", "qwen3-8b"]
        #expect(Nearest.matches("wren", in: models) == ["wren-l", "wren-m", "wren-s"])
        #expect(Nearest.match("qwen-8b", in: models) == "qwen3-8b")
        #expect(Nearest.match("gpt-4", in: models) == nil)
        #expect(Nearest.list(["a", "b", "c"]) == "a, b or c")
    }

    /// The definition, without a table: equal last letters, or one changed, dropped, added or swapped.
    private static func edits(_ a: ArraySlice<UInt8>, _ b: ArraySlice<UInt8>) -> Int {
        guard let lastA = a.last, let lastB = b.last else { return max(a.count, b.count) }
        if lastA == lastB { return edits(a.dropLast(), b.dropLast()) }
        var best = 1 + edits(a.dropLast(), b.dropLast())
        best = min(best, 1 + edits(a.dropLast(), b), 1 + edits(a, b.dropLast()))
        if a.count > 1, b.count > 1, a.dropLast().last == lastB, b.dropLast().last == lastA {
            best = min(best, 1 + edits(a.dropLast(2), b.dropLast(2)))
        }
        return best
    }

    private static func name(_ random: inout SeededRandom) -> String {
        String((0..<random.below(6)).map { _ in ["a", "b", "C"][random.below(3)] as Character })
    }

    @Test(arguments: modelSeeds) func theDistanceIsThatOfTheDefinition(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<150 {
            let (a, b) = (Self.name(&random), Self.name(&random))
            let expected = Self.edits(Array(a.lowercased().utf8)[...], Array(b.lowercased().utf8)[...])
            #expect(Nearest.distance(a, b) == expected, "\(a) and \(b), seed \(seed)")
        }
    }

    @Test(arguments: modelSeeds) func theNearestNamesAreOfferedInOrder(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            let wanted = Self.name(&random)
            let names = (0..<8).map { _ in Self.name(&random) }
            let near = names.filter { name in
                let begins =
                    wanted.count >= 2
                    && (name.lowercased().hasPrefix(wanted.lowercased())
                        || wanted.lowercased().hasPrefix(name.lowercased()))
                return !name.isEmpty && (Nearest.distance(wanted, name) <= 2 || begins)
            }
            let expected = near.sorted {
                (Nearest.distance(wanted, $0), $0) < (Nearest.distance(wanted, $1), $1)
            }
            #expect(
                Nearest.matches(wanted, in: names, count: 5) == Array(expected.prefix(5)),
                "\(wanted) in \(names), seed \(seed)")
        }
    }
}
