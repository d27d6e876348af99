import Primitives
import TestSupport
import Testing

/// Tests of the tool behind the model-based tests.
@Suite struct ModelTestTests {
    /// A stack that forgets an element when a sixth is pushed, compared with one that doesn't.
    private struct ForgetfulStack: ModelTest {
        enum Operation { case push(Int), pop }
        var real: [Int] = []
        var plain: [Int] = []

        init(_ random: inout SeededRandom) {}

        func draw(_ random: inout SeededRandom) -> Operation {
            random.chance(1, in: 3) ? .pop : .push(random.below(10))
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .push(let value):
                real.append(value)
                if real.count == 6 { real.removeFirst() }
                plain.append(value)
            case .pop: try same(real.popLast(), plain.popLast(), "popped")
            }
            try same(real.count, plain.count, "count")
        }
    }

    @Test(arguments: modelSeeds) func aFaultIsFoundCutDownAndNamedWithItsSeed(_ seed: UInt64) throws {
        let failure = try #require(throws: ModelFailure.self) {
            try check(ForgetfulStack.self, seed: seed)
        }
        #expect(failure.seed == seed)
        #expect(failure.operations.count == 6 && failure.operations.allSatisfy { $0.hasPrefix("push(") })
        #expect(failure.mismatch == "count: 5, expected 6")
        #expect(failure.description.hasPrefix("seed \(seed), step \(failure.steps): count: 5, expected 6"))
    }
}
