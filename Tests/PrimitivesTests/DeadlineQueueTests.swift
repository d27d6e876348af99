import TestSupport
import Testing

@testable import Primitives

@Suite struct DeadlineQueueTests {
    /// Few different hashes, so that keys form long runs in the table.
    private struct Key: Hashable {
        var number: Int
        var hashes: Int
        func hash(into hasher: inout Hasher) { hasher.combine(number % hashes) }
    }

    private struct Model: ModelTest {
        enum Operation { case set(Int, at: Int64), cancel(Int), popDue(Int64), popAll }
        var queue = DeadlineQueue<Key>()
        var plain = PlainSchedule<Int>()
        let keys: Int
        let hashes: Int
        /// How many of ten operations set a deadline.
        let sets: Int

        init(_ random: inout SeededRandom) {
            keys = [6, 12, 60, 400][random.below(4)]
            hashes = [3, 40, 1_000_000][random.below(3)]
            sets = 5 + random.below(3)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let key = random.below(keys)
            if random.below(10) < sets { return .set(key, at: Int64(random.below(50))) }
            switch random.below(120) {
            case 0: return .popAll
            case 1...60: return .cancel(key)
            default: return .popDue(Int64(random.below(50)))
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .set(let key, let time):
                queue.set(Key(number: key, hashes: hashes), at: MonotonicTime(nanoseconds: time))
                plain.remove(key)
                plain.add(key, at: time)
            case .cancel(let key):
                queue.cancel(Key(number: key, hashes: hashes))
                plain.remove(key)
                try checkMemory()
            case .popDue(let now): try pop(now)
            case .popAll: while !plain.planned.isEmpty { try pop(.max) }
            }
            try same(queue.count, plain.planned.count, "count")
            try same(queue.next().nanoseconds, plain.planned.first?.time ?? .max, "next")
        }

        private mutating func pop(_ now: Int64) throws {
            let isDue = plain.planned.first.map { $0.time <= now } ?? false
            let expected = isDue ? plain.takeFirst()?.item : nil
            try same(queue.popDue(MonotonicTime(nanoseconds: now))?.number, expected, "popped")
            try checkMemory()
        }

        /// The memory of a burst is released.
        private func checkMemory() throws {
            try holds(
                queue.heap.capacity <= max(8, 4 * queue.count), "\(queue.count) in \(queue.heap.capacity)")
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func keysComeOutByDeadlineAndThenInTheOrderOfSetting(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 1_500)
    }

    @Test func nothingIsDueInAnEmptyQueueNotEvenAtTheEndOfTime() {
        var queue = DeadlineQueue<Int>()
        #expect(queue.next() == .never && queue.popDue(.never) == nil)
        queue.set(1, at: .never)
        #expect(queue.popDue(MonotonicTime(nanoseconds: .max - 1)) == nil)
        #expect(queue.popDue(.never) == 1)
    }
}
