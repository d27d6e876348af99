import Primitives
import Wire

/// One model that this node announces or has withdrawn: what it last signed, and what waits to be signed.
struct OwnOffer: Sendable {
    /// The terms last announced; key, dates and sequence are filled in when it is signed.
    var terms: Offer
    var isServed = false
    /// The highest sequence seen: stored before a restart, used since, or found in a record of ours that we
    /// don't remember.
    var sequence: UInt64
    /// The last version that we signed and remember; nil before the first.
    var published: Offer?
    /// When a record of ours that we don't remember expires.
    var formerNotAfter: WallTime?
    var changedAt: MonotonicTime = .zero
    var refreshAt: MonotonicTime = .never
    /// When a held change of terms, or a return after a withdrawal, is published.
    var heldUntil: MonotonicTime = .never
    /// Another instance's record was seen: when to sign above it.
    var reassertAt: MonotonicTime = .never
    var reassertedAt: MonotonicTime?
    /// Our pace, which is slower than what receivers take from us.
    var versions = TokenBucket(every: GossipLimits.versionEvery, burst: GossipLimits.versionBurst)

    init(terms: Offer) {
        self.terms = terms
        sequence = min(terms.sequence, GossipLimits.sequenceMax - 2)
    }

    var deadline: MonotonicTime { min(heldUntil, min(reassertAt, isServed ? refreshAt : .never)) }

    /// max(stored, wall ms) + 1, so that a node that lost its state still continues above it.
    mutating func nextSequence(at wall: WallTime) -> UInt64 {
        let floor = max(sequence, UInt64(max(0, wall.milliseconds)))
        sequence = min(floor, GossipLimits.sequenceMax - 2) + 1
        return sequence
    }

    /// Whether two offers have the same terms, ignoring dates and sequence.
    static func sameTerms(_ a: Offer, _ b: Offer) -> Bool { bare(a) == bare(b) }

    /// What others must know at once: where the seller is, what its model server was found to do, and its price, above
    /// which they refuse bids. What it measures of itself, and slots, can wait.
    static func sameUrgent(_ a: Offer, _ b: Offer) -> Bool {
        a.endpoints == b.endpoints && a.reachability == b.reachability && a.features == b.features
            && a.continues == b.continues && a.price == b.price
    }

    /// The terms of `offer`, with what is urgent of `other`.
    static func at(_ other: Offer, _ offer: Offer) -> Offer {
        var offer = offer
        offer.price = other.price
        offer.endpoints = other.endpoints
        offer.reachability = other.reachability
        offer.features = other.features
        offer.continues = other.continues
        return offer
    }

    private static func bare(_ offer: Offer) -> Offer {
        var offer = offer
        offer.sequence = 0
        offer.issuedAt = WallTime(milliseconds: 0)
        offer.notAfter = WallTime(milliseconds: 0)
        return offer
    }
}
