import Primitives
import TestSupport
import Testing

@Suite struct RecyclingTests {
    private struct Model: ModelTest {
        enum Operation { case append(Int, times: Int), recycle }
        var array: [Int] = []
        var plain: [Int] = []

        init(_ random: inout SeededRandom) {}

        func draw(_ random: inout SeededRandom) -> Operation {
            random.chance(1, in: 8)
                ? .recycle : .append(random.below(100), times: random.chance(1, in: 10) ? 500 : 20)
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .append(let element, let times):
                for _ in 0..<times {
                    let isFull = array.count == array.capacity
                    array.appendSparingly(element)
                    // An allocator rounds up; it doesn't double.
                    let room = max(8, array.count / 8)
                    try holds(
                        !isFull || array.capacity <= array.count + 2 * room, "grew to \(array.capacity)")
                    plain.append(element)
                }
            case .recycle:
                let (used, capacity) = (array.count, array.capacity)
                array.recycle()
                plain = []
                let isKept = used * 4 >= capacity || capacity * MemoryLayout<Int>.stride <= 512
                try same(array.capacity, isKept ? capacity : 0, "capacity after \(used) of \(capacity)")
            }
            try same(array, plain, "elements")
        }
    }

    @Test(arguments: modelSeeds) func aBufferKeepsWhatItNeedsAndGivesBackABurst(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 300)
    }
}
