import Primitives
import Testing

@testable import Sessions

@Suite struct ReplayWindowTests {
    @Test func acceptsEachCounterOnceInAnyOrder() {
        var window = ReplayWindow()
        for counter in [0, 3, 1, 2, 2_000, 1_999, 70] as [UInt64] {
            #expect(window.admits(counter))
            window.accept(counter)
            #expect(!window.admits(counter))
        }
    }

    @Test func remembersTheLast2048() {
        var window = ReplayWindow()
        window.accept(10_000)
        #expect(window.admits(10_000 - 2_047))
        #expect(!window.admits(10_000 - 2_048))
    }

    @Test func survivesAJumpToTheEndOfTheCounters() {
        var window = ReplayWindow()
        window.accept(5)
        window.accept(.max - 1)
        #expect(!window.admits(.max))
        #expect(!window.admits(5))
        #expect(!window.admits(.max - 1))
        #expect(window.admits(.max - 2))
    }

    /// Against the plain model: a set of everything seen.
    @Test(arguments: [1, 2, 3] as [UInt64]) func agreesWithASetOfAllCounters(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var window = ReplayWindow()
        var seen: Set<UInt64> = []
        var highest: UInt64 = 0
        for _ in 0..<20_000 {
            let step = random.chance(1, in: 50) ? random.below(5_000) : random.below(40)
            let counter =
                random.chance(1, in: 2)
                ? highest + UInt64(step) : highest - min(highest, UInt64(random.below(3_000)))
            let fresh = !seen.contains(counter) && (seen.isEmpty || counter + 2_048 > highest)
            #expect(window.admits(counter) == fresh)
            guard fresh else { continue }
            window.accept(counter)
            seen.insert(counter)
            highest = max(highest, counter)
        }
    }
}
