import Primitives
import TestSupport
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

    private struct Model: ModelTest {
        /// A counter this far above the highest so far, or this far below it.
        enum Operation { case ahead(UInt64), behind(UInt64) }
        var window = ReplayWindow()
        var seen: Set<UInt64> = []
        var highest: UInt64?
        /// Far into the range of counters, or at its end.
        let first: UInt64

        init(_ random: inout SeededRandom) {
            first = [0, 0, 1 << 40, .max - 20_000][random.below(4)]
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            if random.chance(1, in: 2) { return .behind(UInt64(random.below(2_200))) }
            let far = random.chance(1, in: 50)
            return .ahead(UInt64(random.below(far ? 5_000 : 40)))
        }

        mutating func apply(_ operation: Operation) throws {
            let counter: UInt64
            switch operation {
            case .ahead(let step): counter = highest.map { $0 &+ step < $0 ? .max : $0 + step } ?? first
            case .behind(let step): counter = highest.map { $0 - min($0, step) } ?? first
            }
            let isRecent = highest.map { counter >= $0 || $0 - counter < ReplayWindow.size } ?? true
            let isFresh = isRecent && !seen.contains(counter) && counter < .max
            try same(window.admits(counter), isFresh, "admits \(counter)")
            guard isFresh else { return }
            window.accept(counter)
            seen.insert(counter)
            highest = max(highest ?? 0, counter)
            try holds(!window.admits(counter), "admits \(counter) twice")
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func aCounterIsAdmittedOnceAndOnlyWhileItIsRecent(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 5_000)
    }
}
