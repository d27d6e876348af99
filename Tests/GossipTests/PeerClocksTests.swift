import Primitives
import TestSupport
import Testing

@testable import Gossip

@Suite struct PeerClocksTests {
    private struct Model: ModelTest {
        enum Operation {
            case hear(UInt64, ahead: Int64), hearAgain(UInt64, ahead: Int64), pass(Interval), setWall(Int64)
        }
        private struct Vote {
            var network: UInt64
            var ahead: Int64
            var at: MonotonicTime
        }
        var clocks = PeerClocks()
        /// The oldest first.
        private var plain: [Vote] = []
        var ahead: Int64 = 0
        var medianSince: MonotonicTime?
        var movedAt = MonotonicTime.zero
        var error: Int64 = 0
        var errorAtVote: Int64?
        var time = MonotonicTime.zero + .seconds(100)
        let networks: Int
        let spread: Int

        init(_ random: inout SeededRandom) {
            networks = [4, 8, 60][random.below(3)]
            spread = [10_000, 100_000, 10_000_000][random.below(3)]
        }

        var now: Now {
            let elapsed = time.nanoseconds / 1_000_000
            return Now(monotonic: time, wall: WallTime(milliseconds: wallStart + elapsed + error))
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let network = UInt64(random.below(networks))
            let ahead = Int64(random.below(2 * spread + 1) - spread)
            if random.chance(1, in: 50) { return .hear(network, ahead: GossipLimits.dateMax + 1) }
            if random.chance(1, in: 8) { return .pass(random.interval(.zero, .seconds(90))) }
            if random.chance(1, in: 80) { return .pass(.minutes(20)) }
            if random.chance(1, in: 60) { return .setWall(random.chance(1, in: 2) ? 0 : ahead) }
            return random.chance(1, in: 4) ? .hearAgain(network, ahead: ahead) : .hear(network, ahead: ahead)
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .hear(let network, let difference):
                let moved = clocks.hear(issued(difference), from: network, now)
                try same(moved, note(network, difference), "moved")
            case .hearAgain(let network, let difference):
                let moved = clocks.hearAgain(issued(difference), from: network, now)
                try same(moved, abs(difference) > 90_000 && note(network, difference), "moved")
            case .pass(let interval): time = time + interval
            case .setWall(let error): self.error = error
            }
            try same(clocks.ahead, ahead, "ahead")
            try same(clocks.judge(now.wall), issued(ahead), "the judged time")
        }

        private func issued(_ difference: Int64) -> WallTime {
            WallTime(milliseconds: now.wall.milliseconds + difference)
        }

        private mutating func note(_ network: UInt64, _ difference: Int64) -> Bool {
            guard difference <= GossipLimits.dateMax else { return false }
            let wasSetRight = noteSetWall()
            plain.removeAll { time - $0.at > GossipLimits.clockVoteLifetime }
            if let place = plain.firstIndex(where: { $0.network == network }) {
                plain[place].ahead = difference
                plain[place].at = time
            } else if plain.count < GossipLimits.clocksMax {
                plain.append(Vote(network: network, ahead: difference, at: time))
            }
            guard plain.count >= 3 else { return wasSetRight }
            if medianSince == nil { medianSince = time }
            let median = plain.map(\.ahead).sorted()[plain.count / 2]
            let wanted = abs(median) < 15_000 ? 0 : median
            guard abs(wanted - ahead) >= 15_000 else { return wasSetRight }
            let isSettling = medianSince.map { time - $0 <= .minutes(2) } ?? true
            if wanted == 0 || isSettling {
                ahead = wanted
            } else {
                guard time - movedAt >= .minutes(1) else { return wasSetRight }
                ahead += wanted > ahead ? min(30_000, wanted - ahead) : max(-30_000, wanted - ahead)
            }
            movedAt = time
            return true
        }

        /// Votes about another clock than the present one don't count.
        private mutating func noteSetWall() -> Bool {
            defer { errorAtVote = error }
            guard let before = errorAtVote, abs(error - before) >= 15_000 else { return false }
            plain = []
            medianSince = nil
            guard ahead != 0, abs(ahead - (error - before)) < 15_000 else { return false }
            ahead = 0
            return true
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func theCorrectionIsTheMedianOverNetworksAndMovesInSteps(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 500)
    }

    private static func now(_ seconds: Int64) -> Now {
        Now(
            monotonic: .zero + .seconds(seconds),
            wall: WallTime(milliseconds: wallStart + seconds * 1_000))
    }

    private static func hear(
        _ clocks: inout PeerClocks, _ networks: Range<UInt64>, ahead: Int64, at seconds: Int64
    ) {
        let now = now(seconds)
        for network in networks {
            let issued = WallTime(milliseconds: now.wall.milliseconds + ahead)
            _ = clocks.hear(issued, from: network, now)
        }
    }

    @Test func aMajorityThatComesLaterMovesTheClockByHalfAMinuteAMinuteAndDisplacesNoVote() {
        var clocks = PeerClocks()
        Self.hear(&clocks, 0..<8, ahead: 0, at: 0)
        Self.hear(&clocks, 100..<200, ahead: 3_600_000, at: 300)
        #expect(clocks.ahead == 30_000)
        Self.hear(&clocks, 100..<200, ahead: 3_600_000, at: 350)
        #expect(clocks.ahead == 30_000)
        Self.hear(&clocks, 100..<200, ahead: 3_600_000, at: 360)
        #expect(clocks.ahead == 60_000)
        // They fall silent, and their votes are forgotten.
        Self.hear(&clocks, 0..<8, ahead: 0, at: 300 + 32 * 60)
        #expect(clocks.ahead == 0)
    }

    @Test func whenTheWallClockIsSetRightTheCorrectionEndsWithIt() {
        var clocks = PeerClocks()
        Self.hear(&clocks, 0..<3, ahead: 3_600_000, at: 0)
        #expect(clocks.ahead == 3_600_000)
        var now = Self.now(400)
        now.wall = now.wall + .seconds(3_600)
        let isSet = clocks.hear(now.wall, from: 1, now)
        #expect(isSet && clocks.ahead == 0)
    }
}
