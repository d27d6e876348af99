import Primitives

/// How far our wall clock differs from others', judged by the offers that publishers mail themselves, which
/// were signed a moment ago. The median over networks, and only with at least three of them, so that one
/// operator can't set our clock; small differences are ignored. A machine that boots in 1970 can join and
/// trade.
struct PeerClocks: Sendable {
    private static let networksMin = 3
    private static let correctedFrom: Int64 = 15_000
    /// One sample per network, oldest first: milliseconds that the others are ahead.
    private var samples: [(network: UInt64, ahead: Int64)] = []
    private(set) var ahead: Int64 = 0

    func judge(_ wall: WallTime) -> WallTime { WallTime(milliseconds: wall.milliseconds &+ ahead) }

    /// A version that we already hold comes late, by up to the time between two versions; that alone doesn't
    /// show a difference of clocks.
    private static let ageMax: Int64 = 90_000

    mutating func hearAgain(_ issuedAt: WallTime, from network: UInt64, wall: WallTime) -> Bool {
        let (difference, overflow) = issuedAt.milliseconds.subtractingReportingOverflow(wall.milliseconds)
        guard !overflow, abs(difference) > Self.ageMax else { return false }
        return hear(issuedAt, from: network, wall: wall)
    }

    /// `issuedAt` must have been checked to be a valid date. Returns true when the correction has changed.
    mutating func hear(_ issuedAt: WallTime, from network: UInt64, wall: WallTime) -> Bool {
        let (difference, overflow) = issuedAt.milliseconds.subtractingReportingOverflow(wall.milliseconds)
        if overflow || abs(difference) > GossipLimits.dateMax { return false }
        samples.removeAll { $0.network == network }
        if samples.count >= GossipLimits.clocksMax { samples.removeFirst() }
        samples.append((network, difference))
        guard samples.count >= Self.networksMin else { return false }
        let ordered = samples.map(\.ahead).sorted()
        let median = ordered[ordered.count / 2]
        let corrected = abs(median) < Self.correctedFrom ? 0 : median
        if abs(corrected - ahead) < Self.correctedFrom { return false }
        ahead = corrected
        return true
    }
}
