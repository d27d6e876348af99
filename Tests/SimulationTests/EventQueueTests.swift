import Primitives
import TestSupport
import Testing

@testable import Simulation

@Suite struct EventQueueTests {
    private struct Model: ModelTest {
        enum Operation { case push(at: Int64, times: Int), pop(times: Int) }
        var queue = EventQueue()
        var plain = PlainSchedule<Int32>()
        var planned: Int32 = 0
        let spread: Int

        init(_ random: inout SeededRandom) { spread = [1, 8, 1_000][random.below(3)] }

        func draw(_ random: inout SeededRandom) -> Operation {
            let times = random.chance(1, in: 20) ? 40 : 1
            return random.chance(1, in: 2)
                ? .push(at: Int64(random.below(spread)), times: times) : .pop(times: times)
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .push(let time, let times):
                for _ in 0..<times {
                    planned += 1
                    queue.push(.probe(index: planned), at: time)
                    plain.add(planned, at: time)
                }
            case .pop(let times):
                for _ in 0..<times {
                    let (entry, expected) = (queue.pop(), plain.takeFirst())
                    try same(entry?.time, expected?.time, "time")
                    if case .probe(let index) = entry?.event { try same(index, expected?.item, "event") }
                }
            }
            try same(queue.count, plain.planned.count, "count")
            try same(queue.nextTime, plain.planned.first?.time, "next time")
        }
    }

    @Test(arguments: modelSeeds)
    func eventsComeInTheOrderOfTimeAndOfPlanningAtOneMoment(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 1_000)
    }
}

@Suite struct DatagramPoolTests {
    private struct Model: ModelTest {
        enum Operation { case store(size: Int, fill: UInt8), release(nth: Int), storeMany(Int) }
        let pool = DatagramPool()
        var plain: [(slot: Int32, bytes: [UInt8])] = []

        init(_ random: inout SeededRandom) {}

        func draw(_ random: inout SeededRandom) -> Operation {
            switch random.below(100) {
            case 0: .storeMany(700)
            case 1..<50: .release(nth: random.below(10_000))
            default: .store(size: random.below(1_201), fill: UInt8(random.below(256)))
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .store(let size, let fill): try store([UInt8](repeating: fill, count: size))
            case .release(let nth):
                guard !plain.isEmpty else { break }
                pool.release(plain.remove(at: nth % plain.count).slot)
            case .storeMany(let count): for number in 0..<count { try store([UInt8(number & 0xff)]) }
            }
            try same(pool.inUse, plain.count, "in use")
            for (slot, bytes) in plain.suffix(30) + plain.prefix(10) {
                try same(Array(pool.bytes(slot, Int32(bytes.count))), bytes, "the datagram in slot \(slot)")
            }
        }

        private mutating func store(_ bytes: [UInt8]) throws {
            let slot = bytes.withUnsafeBytes { pool.store($0) }
            try holds(!plain.contains { $0.slot == slot }, "slot \(slot) is taken")
            plain.append((slot, bytes))
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func aDatagramKeepsItsBytesUntilItIsReleased(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 250)
    }
}
