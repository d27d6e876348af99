import Primitives

/// Limits what others' questions cost us: digests to answer, and old versions to correct. Members have a budget,
/// strangers half as much, and each address group a quarter: neither a stranger nor one network uses up what is
/// meant for all.
struct AnswerBudget: Sendable {
    private var members: TokenBucket
    private var strangers: TokenBucket
    private let perGroup: Int
    private var groups = RecentTable<UInt64, TokenBucket>(capacity: GossipLimits.answeredGroupsMax)

    /// - Parameter rate: answers to members a second, and in a burst.
    init(rate: Int) {
        members = TokenBucket(rate: rate, burst: rate)
        strangers = TokenBucket(rate: rate / 2, burst: rate / 2)
        perGroup = max(1, rate / 4)
    }

    /// Takes one answer to a node in `group`; false when its budget or its group's is used up.
    mutating func take(_ group: UInt64, isMember: Bool, _ now: MonotonicTime) -> Bool {
        var share = groups[group] ?? TokenBucket(rate: perGroup, burst: 2 * perGroup)
        guard share.take(now), isMember ? members.take(now) : strangers.take(now) else { return false }
        groups.insert(group, share)
        return true
    }
}
