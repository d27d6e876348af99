import Primitives
import TestSupport
import Testing

@testable import Gossip

@Suite struct CheckBudgetTests {
    private struct Model: ModelTest {
        enum Operation {
            case takeChecks(CheckBudget.Purse, times: Int), charge(Int), blame(Int), pass(Interval)
        }
        var budget = CheckBudget()
        var purses: [CheckBudget.Purse: PlainRateLimit] = [
            .direct: PlainRateLimit(rate: GossipLimits.checksDirect, burst: GossipLimits.checksDirect),
            .passedOn: PlainRateLimit(rate: GossipLimits.checksPassedOn, burst: GossipLimits.checksPassedOn),
            .strangers: PlainRateLimit(
                rate: GossipLimits.checksStrangers, burst: GossipLimits.checksStrangers),
            .delayed: PlainRateLimit(rate: GossipLimits.checksDelayed, burst: GossipLimits.checksDelayed),
        ]
        var origins = PlainTable<Int, PlainRateLimit>()
        var bad = PlainTable<Int, PlainRateLimit>()
        var now = MonotonicTime.zero
        let keys: Int

        /// With many keys both tables are full from the start and turn over; with few nothing is forgotten.
        init(_ random: inout SeededRandom) {
            keys = random.chance(1, in: 2) ? 1_600 : 4
            guard keys > 4 else { return }
            for number in 10_000..<10_000 + GossipLimits.originsMax { charge(number) }
            for number in 10_000..<10_000 + GossipLimits.mutedMax { blame(number) }
        }

        static func key(_ number: Int) -> PublicKey { PublicKey(Bytes32(UInt64(number), 0, 0, 0)) }

        func draw(_ random: inout SeededRandom) -> Operation {
            let key = random.chance(1, in: 2) ? random.below(4) : random.below(keys)
            return switch random.below(200) {
            case 0: .pass(random.interval(.zero, .seconds(30)))
            case 1..<6: .pass(random.interval(.zero, .seconds(1)))
            case 6..<16:
                .takeChecks(
                    [.direct, .passedOn, .strangers, .delayed][random.below(4)], times: random.below(200))
            case 16..<50: .blame(key)
            default: .charge(key)
            }
        }

        private mutating func charge(_ number: Int) {
            budget.charge(Self.key(number), now)
            let fresh = PlainRateLimit(every: GossipLimits.originEvery, burst: GossipLimits.originBurst)
            Self.charge(&origins, number, most: GossipLimits.originsMax, fresh, now)
        }

        private mutating func blame(_ number: Int) {
            budget.blame(Self.key(number), now)
            let fresh = PlainRateLimit(
                every: GossipLimits.badSignatureEvery, burst: GossipLimits.badSignatureBurst)
            Self.charge(&bad, number, most: GossipLimits.mutedMax, fresh, now)
        }

        private static func charge(
            _ table: inout PlainTable<Int, PlainRateLimit>, _ key: Int, most: Int, _ fresh: PlainRateLimit,
            _ now: MonotonicTime
        ) {
            if table[key] == nil, table.count == most { table.entries.removeFirst() }
            var limit = table[key] ?? fresh
            _ = limit.take(now)
            table[key] = limit
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .takeChecks(let purse, let times):
                for _ in 0..<times {
                    try same(budget.takeCheck(purse, now), purses[purse]?.take(now), "a check of \(purse)")
                }
            case .charge(let number): charge(number)
            case .blame(let number): blame(number)
            case .pass(let interval): now = now + interval
            }
            for number in 0..<4 {
                let allowed = origins[number]?.has(1, now) ?? true
                try same(
                    budget.allowsVersion(of: Self.key(number), now), allowed, "allows a version of \(number)")
                try same(
                    budget.nextVersion(of: Self.key(number)) <= now, allowed, "announces one of \(number)")
                let muted = bad[number].map { !$0.has(1, now) } ?? false
                try same(budget.isMuted(Self.key(number), now), muted, "\(number) is muted")
            }
        }
    }

    @Test(arguments: modelSeeds) func eachPurseAndEachKeyHasItsOwnRate(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 2_000)
    }
}
