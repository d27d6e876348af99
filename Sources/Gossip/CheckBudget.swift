import OrderedCollections
import Primitives

/// Limits the work that others can cause: signature checks, and new versions from one seller. Asked before a
/// check and charged after it, so that a forger who names a victim can't use up the victim's rate.
struct CheckBudget: Sendable {
    /// Which budget pays for a check.
    enum Purse { case direct, passedOn, strangers }

    private var direct = TokenBucket(rate: GossipLimits.checksDirect, burst: GossipLimits.checksDirect)
    private var passedOn = TokenBucket(rate: GossipLimits.checksPassedOn, burst: GossipLimits.checksPassedOn)
    private var strangers = TokenBucket(
        rate: GossipLimits.checksStrangers, burst: GossipLimits.checksStrangers)
    private var origins: OrderedDictionary<PublicKey, TokenBucket> = [:]
    private var bad: OrderedDictionary<PublicKey, TokenBucket> = [:]

    mutating func takeCheck(_ purse: Purse, _ now: MonotonicTime) -> Bool {
        switch purse {
        case .direct: direct.take(now)
        case .passedOn: passedOn.take(now)
        case .strangers: strangers.take(now)
        }
    }

    func allowsVersion(of origin: PublicKey, _ now: MonotonicTime) -> Bool {
        origins[origin]?.has(1, now) ?? true
    }

    /// Charges a version that was checked. A full table forgets its first entry; since every entry cost a
    /// valid signature, it turns over no faster than the budgets allow.
    mutating func charge(_ origin: PublicKey, _ now: MonotonicTime) {
        var bucket =
            origins[origin] ?? TokenBucket(every: GossipLimits.originEvery, burst: GossipLimits.originBurst)
        _ = bucket.take(now)
        if origins[origin] == nil, origins.count >= GossipLimits.originsMax { origins.removeFirst() }
        origins[origin] = bucket
    }

    func isMuted(_ sender: PublicKey, _ now: MonotonicTime) -> Bool {
        bad[sender].map { !$0.has(1, now) } ?? false
    }

    mutating func blame(_ sender: PublicKey, _ now: MonotonicTime) {
        var bucket =
            bad[sender]
            ?? TokenBucket(every: GossipLimits.badSignatureEvery, burst: GossipLimits.badSignatureBurst)
        _ = bucket.take(now)
        if bad[sender] == nil, bad.count >= GossipLimits.mutedMax { bad.removeFirst() }
        bad[sender] = bucket
    }
}
