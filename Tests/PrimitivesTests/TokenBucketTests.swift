import Primitives
import TestSupport
import Testing

@Suite struct TokenBucketTests {
    private struct Model: ModelTest {
        enum Operation { case pass(Interval), take, has(Int) }
        var bucket: TokenBucket
        var plain: PlainRateLimit
        var now = MonotonicTime.zero
        let perToken: Interval
        let burst: Int

        init(_ random: inout SeededRandom) {
            burst = 1 + random.below(12)
            if random.chance(1, in: 2) {
                let rate = [1, 3, 1_000, 1_000_000_000][random.below(4)]
                perToken = Interval(nanoseconds: 1_000_000_000 / Int64(rate))
                bucket = TokenBucket(rate: rate, burst: burst)
                plain = PlainRateLimit(rate: rate, burst: burst)
            } else {
                perToken = random.interval(Interval(nanoseconds: 1), .seconds(3_600))
                bucket = TokenBucket(every: perToken, burst: burst)
                plain = PlainRateLimit(every: perToken, burst: burst)
            }
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            switch random.below(10) {
            case 0: .has(1 + random.below(15))
            case 1: .pass(perToken)
            case 2: .pass(random.interval(.zero, perToken * 3))
            case 3: .pass(random.chance(1, in: 10) ? .seconds(1 << 24) : Interval(nanoseconds: 1))
            default: .take
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .pass(let interval): now = now + interval
            case .take: try same(bucket.take(now), plain.take(now), "took one")
            case .has(let count): try same(bucket.has(count, now), plain.has(count, now), "has \(count)")
            }
            try same(bucket.has(1, now), plain.has(1, now), "has one")
            try same(bucket.has(burst, now), plain.has(burst, now), "has a burst")
            try holds(!bucket.has(burst + 1, now), "has more than a burst")
            let next = bucket.nextToken
            try same(next <= now, plain.has(1, now), "the next token is there")
            if next > now {
                try holds(bucket.has(1, next), "none at the announced time")
                try holds(!bucket.has(1, next + Interval(nanoseconds: -1)), "one before the announced time")
            }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func tokensComeWithTimeUpToTheBurst(_ seed: UInt64) throws {
        try check(Model.self, seed: seed)
    }

    /// Case 34.
    @Test(arguments: [(0, 0), (-1, -1), (Int.max, Int.max), (1, Int.max), (Int.max, 1)])
    func extremeRatesAndTimesAreHarmless(_ rate: Int, _ burst: Int) {
        for now in [.zero, MonotonicTime(nanoseconds: 1), MonotonicTime(nanoseconds: .max - 1), .never] {
            var bucket = TokenBucket(rate: rate, burst: burst)
            let isTaken = bucket.take(now)
            #expect(isTaken)
            _ = bucket.has(.max, now)
        }
    }
}
