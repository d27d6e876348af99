import Primitives
import TestSupport
import Testing

@testable import Sessions

@Suite struct DatagramSlabTests {
    private struct Model: ModelTest {
        enum Operation { case append(size: Int, fill: UInt8, port: UInt16), removeAll }
        struct Datagram: Equatable {
            var bytes: [UInt8]
            var endpoint: Endpoint
        }
        var slab: DatagramSlab
        var plain: [Datagram] = []
        var overflowed: UInt64 = 0
        let datagramsMax: Int

        init(_ random: inout SeededRandom) {
            datagramsMax = 1 + random.below(20)
            slab = DatagramSlab(datagramsMax: datagramsMax)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            if random.chance(1, in: 12) { return .removeAll }
            let size = random.chance(1, in: 5) ? random.below(2) * 1_200 : random.below(80)
            return .append(size: size, fill: UInt8(random.below(256)), port: UInt16(random.below(9)))
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .append(let size, let fill, let port):
                // Only every other byte is written: the rest must be zero, whatever the buffer held before.
                var bytes = [UInt8](repeating: 0, count: size)
                for index in stride(from: 0, to: size, by: 2) { bytes[index] = fill }
                let fits = plain.count < datagramsMax
                let isTaken = slab.append(size, to: .loopback(port)) { buffer in
                    for index in stride(from: 0, to: buffer.count, by: 2) { buffer[index] = fill }
                }
                try same(isTaken, fits, "is taken")
                if fits {
                    plain.append(Datagram(bytes: bytes, endpoint: .loopback(port)))
                } else {
                    overflowed += 1
                }
            case .removeAll:
                slab.removeAll()
                plain = []
            }
            let found = (0..<slab.count).map { index in
                slab.withDatagram(index) { Datagram(bytes: Array($0), endpoint: $1) }
            }
            try same(found, plain, "datagrams")
            try same(slab.isEmpty, plain.isEmpty, "is empty")
            try same(slab.overflowed, overflowed, "overflowed")
            try same(slab.bytes.count, plain.reduce(0) { $0 + $1.bytes.count }, "bytes, one behind the other")
        }
    }

    @Test(arguments: modelSeeds) func aSlabHoldsItsDatagramsInOrderUpToItsBound(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 500)
    }
}
