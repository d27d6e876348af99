import Primitives
import TestSupport
import Testing

@testable import Gossip

@Suite struct PeerClocksTests {
    private struct Model: ModelTest {
        enum Operation { case hear(UInt64, ahead: Int64), hearAgain(UInt64, ahead: Int64) }
        var clocks = PeerClocks()
        /// The oldest first.
        var plain = PlainTable<UInt64, Int64>()
        var ahead: Int64 = 0
        let wall = WallTime(milliseconds: 1_800_000_000_000)
        let networks: Int
        let spread: Int

        init(_ random: inout SeededRandom) {
            networks = [4, 8, 60][random.below(3)]
            spread = [10_000, 100_000, 10_000_000][random.below(3)]
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let network = UInt64(random.below(networks))
            let ahead = Int64(random.below(2 * spread + 1) - spread)
            if random.chance(1, in: 50) { return .hear(network, ahead: GossipLimits.dateMax + 1) }
            return random.chance(1, in: 4) ? .hearAgain(network, ahead: ahead) : .hear(network, ahead: ahead)
        }

        mutating func apply(_ operation: Operation) throws {
            let moved: Bool
            switch operation {
            case .hear(let network, let difference):
                moved = clocks.hear(issued(difference), from: network, wall: wall)
                try same(moved, note(network, difference), "moved")
            case .hearAgain(let network, let difference):
                moved = clocks.hearAgain(issued(difference), from: network, wall: wall)
                try same(moved, abs(difference) > 90_000 && note(network, difference), "moved")
            }
            try same(clocks.ahead, ahead, "ahead")
            try same(clocks.judge(wall), issued(ahead), "the judged time")
        }

        private func issued(_ difference: Int64) -> WallTime {
            WallTime(milliseconds: wall.milliseconds + difference)
        }

        private mutating func note(_ network: UInt64, _ difference: Int64) -> Bool {
            guard difference <= GossipLimits.dateMax else { return false }
            plain[network] = nil
            if plain.count == GossipLimits.clocksMax { plain.entries.removeFirst() }
            plain[network] = difference
            guard plain.count >= 3 else { return false }
            let median = plain.entries.map(\.value).sorted()[plain.count / 2]
            let corrected = abs(median) < 15_000 ? 0 : median
            guard abs(corrected - ahead) >= 15_000 else { return false }
            ahead = corrected
            return true
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func theCorrectionIsTheMedianOverNetworks(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 500)
    }
}
