import Primitives

/// How offers spread; the case order is the field order.
public enum GossipMessage: Hashable, Sendable {
    case offerMail([SignedRecord])
    case offerReceived
    case offerDigest(OfferDigest)
    case offerDifference(OfferDifference)
}

public struct OfferVersion: Hashable, Sendable {
    public var id: UInt64
    public var sequence: UInt64
    public init(id: UInt64, sequence: UInt64) {
        self.id = id
        self.sequence = sequence
    }
}

/// All that the sender holds in the range of short ids `first...last`, ascending.
public struct OfferDigest: Hashable, Sendable {
    public var first: UInt64
    public var last: UInt64
    public var offers: [OfferVersion]
    public init(first: UInt64, last: UInt64, offers: [OfferVersion]) {
        self.first = first
        self.last = last
        self.offers = offers
    }
}

/// Offers that the digest's sender lacks (as many as fit), and ids that the answerer lacks.
public struct OfferDifference: Hashable, Sendable {
    public var offers: [SignedRecord]
    public var wanted: [UInt64]
    public var more: UInt32
    /// The answerer's clock, by which it dates its offers; 1970 to the millisecond: not stated.
    public var now: WallTime
    public init(
        offers: [SignedRecord] = [], wanted: [UInt64] = [], more: UInt32 = 0,
        now: WallTime = WallTime(milliseconds: 0)
    ) {
        self.offers = offers
        self.wanted = wanted
        self.more = more
        self.now = now
    }
}
