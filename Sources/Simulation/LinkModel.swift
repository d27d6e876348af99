import Primitives

/// Draws the fate of each datagram and each piece of a stream, from one generator for the whole network.
struct LinkModel {
    let plan: NetworkPlan
    private let pairSeed: UInt64
    private var random: SeededRandom
    /// The region of each node.
    private let regions: [Int]

    init(plan: NetworkPlan, regions: [Int], random: SeededRandom) {
        self.plan = plan
        self.regions = regions
        self.random = random
        pairSeed = self.random.next()
    }

    /// One-way latency between two machines, fixed for the pair and equal in both directions: within the
    /// plan's range, plus the latency between their regions.
    func latency(_ a: Int, _ b: Int) -> Int64 {
        let span = plan.latencyMax.nanoseconds - plan.latencyMin.nanoseconds
        let least = plan.latencyMin.nanoseconds + between(a, b)
        guard span > 0 else { return least }
        var digest = TraceDigest()
        digest.mix(pairSeed)
        digest.mix(UInt64(min(a, b)) << 32 | UInt64(max(a, b)))
        return least + Int64(digest.value % UInt64(span + 1))
    }

    private func between(_ a: Int, _ b: Int) -> Int64 {
        guard !plan.regions.isEmpty, regions.indices.contains(a), regions.indices.contains(b) else {
            return 0
        }
        return plan.regions[regions[a]][regions[b]].nanoseconds
    }

    /// The delays after which the copies of a datagram arrive: none, one or two.
    mutating func datagram(_ from: Int, _ to: Int) -> (first: Int64?, second: Int64?, isDoubled: Bool) {
        // One draw decides all three chances, 21 bits each.
        let word = random.next()
        let isDoubled = happens(plan.duplication, word)
        let first =
            happens(plan.loss, word >> 21)
            ? nil : delay(from, to, isLate: happens(plan.reordering, word >> 42))
        guard isDoubled else { return (first, nil, false) }
        let again = random.next()
        let second =
            happens(plan.loss, again) ? nil : delay(from, to, isLate: happens(plan.reordering, again >> 21))
        return (first, second, true)
    }

    private mutating func delay(_ from: Int, _ to: Int, isLate: Bool) -> Int64 {
        latency(from, to) + upTo(plan.jitter) + (isLate ? upTo(plan.reorderingDelay) : 0)
    }

    /// Decides by 21 bits of a draw.
    private func happens(_ chance: Chance, _ bits: UInt64) -> Bool {
        Int(((bits & 0x1f_ffff) &* 1_000_000) >> 21) < chance.perMillion
    }

    /// Travel time of bytes of a stream: a lost segment costs the time of a tail loss probe (2 round trips,
    /// RFC 8985).
    mutating func segment(_ from: Int, _ to: Int, bytes: Int) -> Int64 {
        let base = latency(from, to)
        var delay = base + upTo(plan.jitter)
        let segments = min(16, max(1, (bytes + 1_399) / 1_400))
        for _ in 0..<segments where happens(plan.loss) { delay += 4 * base + 10_000_000 }
        return delay
    }

    private mutating func happens(_ chance: Chance) -> Bool {
        chance.perMillion > 0 && random.below(1_000_000) < chance.perMillion
    }

    private mutating func upTo(_ most: Interval) -> Int64 {
        most.nanoseconds > 0 ? Int64(random.below(Int(most.nanoseconds) + 1)) : 0
    }
}
