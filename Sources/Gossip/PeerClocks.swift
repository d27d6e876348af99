import Primitives

/// How far our wall clock differs from others', judged by the offers that members mail themselves, which
/// were signed a moment ago, and by the clock in their answers to our digests. A machine that boots in 1970
/// can join and trade.
///
/// The median over networks, and only with at least three of them; small differences are ignored. No one
/// operator shall set our clock, so a vote belongs to a whole allocation (/16, /32), comes from a member that
/// has answered us, and isn't displaced by later networks. And none shall set it suddenly: soon after the
/// first median it moves in steps. It may always return to our own clock at once.
struct PeerClocks: Sendable {
    private struct Vote: Sendable {
        let network: UInt64
        /// Milliseconds that the others are ahead.
        var ahead: Int64
        var heardAt: MonotonicTime
    }

    private static let networksMin = 3
    private static let correctedFrom: Int64 = 15_000
    /// One per network, oldest first.
    private var votes: [Vote] = []
    private(set) var ahead: Int64 = 0
    /// When there was a median for the first time.
    private var medianSince: MonotonicTime?
    private var movedAt = MonotonicTime.zero
    /// Wall clock less monotonic clock, at the last vote.
    private var offset: Int64?

    func judge(_ wall: WallTime) -> WallTime { WallTime(milliseconds: wall.milliseconds &+ ahead) }

    /// A version that we already hold comes late, by up to the time between two versions; that alone doesn't
    /// show a difference of clocks.
    private static let ageMax: UInt64 = 90_000

    mutating func hearAgain(_ issuedAt: WallTime, from network: UInt64, _ now: Now) -> Bool {
        let (difference, overflow) = issuedAt.milliseconds.subtractingReportingOverflow(now.wall.milliseconds)
        guard !overflow, difference.magnitude > Self.ageMax else { return false }
        return hear(issuedAt, from: network, now)
    }

    /// `issuedAt` must have been checked to be a valid date. Returns true when the correction has changed.
    mutating func hear(_ issuedAt: WallTime, from network: UInt64, _ now: Now) -> Bool {
        let (difference, overflow) = issuedAt.milliseconds.subtractingReportingOverflow(now.wall.milliseconds)
        if overflow || difference.magnitude > UInt64(GossipLimits.dateMax) { return false }
        let wasSet = noticeSetClock(now)
        votes.removeAll { now.monotonic - $0.heardAt > GossipLimits.clockVoteLifetime }
        if let place = votes.firstIndex(where: { $0.network == network }) {
            votes[place].ahead = difference
            votes[place].heardAt = now.monotonic
        } else if votes.count < GossipLimits.clocksMax {
            votes.append(Vote(network: network, ahead: difference, heardAt: now.monotonic))
        }
        guard votes.count >= Self.networksMin else { return wasSet }
        let ordered = votes.map(\.ahead).sorted()
        let median = ordered[ordered.count / 2]
        return move(to: abs(median) < Self.correctedFrom ? 0 : median, now.monotonic) || wasSet
    }

    private mutating func move(to target: Int64, _ now: MonotonicTime) -> Bool {
        let since = medianSince ?? now
        medianSince = since
        if abs(target - ahead) < Self.correctedFrom { return false }
        if target == 0 || now - since <= GossipLimits.clockSettling {
            ahead = target
        } else {
            guard now >= movedAt + GossipLimits.clockStepEvery else { return false }
            let step = GossipLimits.clockStep.milliseconds
            ahead += min(max(target - ahead, -step), step)
        }
        movedAt = now
        return true
    }

    /// Our wall clock was set, or the machine slept: votes compared with the old one say nothing about the
    /// new one, and begin anew. Returns true when the clock was set to what we took the time to be.
    private mutating func noticeSetClock(_ now: Now) -> Bool {
        let current = now.wall.milliseconds &- now.monotonic.nanoseconds / 1_000_000
        defer { offset = current }
        guard let before = offset else { return false }
        let (jump, overflow) = current.subtractingReportingOverflow(before)
        guard overflow || jump.magnitude >= UInt64(Self.correctedFrom) else { return false }
        votes = []
        medianSince = nil
        let (left, isFar) = ahead.subtractingReportingOverflow(jump)
        guard ahead != 0, !overflow, !isFar, left.magnitude < UInt64(Self.correctedFrom) else { return false }
        ahead = 0
        return true
    }
}
