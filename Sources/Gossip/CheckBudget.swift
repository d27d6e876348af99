import OrderedCollections
import Primitives

/// Limits the work that others can cause: signature checks, new versions from one seller, and their
/// forwarding. Asked before a check and charged after it, so that a forger who names a victim can't use up the
/// victim's rate.
struct CheckBudget: Sendable {
    /// Which budget pays for a check.
    enum Purse { case direct, passedOn, strangers, delayed }

    private var direct = TokenBucket(rate: GossipLimits.checksDirect, burst: GossipLimits.checksDirect)
    private var passedOn = TokenBucket(rate: GossipLimits.checksPassedOn, burst: GossipLimits.checksPassedOn)
    private var strangers = TokenBucket(
        rate: GossipLimits.checksStrangers, burst: GossipLimits.checksStrangers)
    private var delayed = TokenBucket(rate: GossipLimits.checksDelayed, burst: GossipLimits.checksDelayed)
    private struct Origin: Sendable {
        var versions = TokenBucket(every: GossipLimits.originEvery, burst: GossipLimits.originBurst)
        var spreads = TokenBucket(every: GossipLimits.spreadEvery, burst: GossipLimits.spreadBurst)
    }
    private var origins: OrderedDictionary<PublicKey, Origin> = [:]
    private var bad: OrderedDictionary<PublicKey, TokenBucket> = [:]

    mutating func takeCheck(_ purse: Purse, _ now: MonotonicTime) -> Bool {
        switch purse {
        case .direct: direct.take(now)
        case .passedOn: passedOn.take(now)
        case .strangers: strangers.take(now)
        case .delayed: delayed.take(now)
        }
    }

    func allowsVersion(of origin: PublicKey, _ now: MonotonicTime) -> Bool {
        origins[origin]?.versions.has(1, now) ?? true
    }
    func nextVersion(of origin: PublicKey) -> MonotonicTime { origins[origin]?.versions.nextToken ?? .zero }

    /// Charges a version that was checked. A full table forgets its first entry; since every entry cost a
    /// valid signature, it turns over no faster than the budgets allow.
    mutating func charge(_ origin: PublicKey, _ now: MonotonicTime) {
        if origins[origin] == nil, origins.count >= GossipLimits.originsMax { origins.removeFirst() }
        _ = origins[origin, default: Origin()].versions.take(now)
    }

    /// Takes one forwarding of an offer of `origin`, which was charged for its version.
    mutating func takeSpread(of origin: PublicKey, _ now: MonotonicTime) -> Bool {
        origins[origin]?.spreads.take(now) ?? true
    }
    func nextSpread(of origin: PublicKey) -> MonotonicTime { origins[origin]?.spreads.nextToken ?? .zero }

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
