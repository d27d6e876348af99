import Primitives
import Wire

/// A seller of the wanted model, as known from the offer book.
public struct Candidate: Sendable {
    public var offer: Verified<Offer>
    /// Where it is called. With this node's own key PeerCore hands the messages to this node's `Bidder`.
    public var address: PeerAddress
    /// Whether there is a session, so that the call costs no handshake.
    public var hasSession: Bool

    public init(offer: Verified<Offer>, address: PeerAddress, hasSession: Bool) {
        self.offer = offer
        self.address = address
        self.hasSession = hasSession
    }

    var key: PublicKey { offer.record.publicKey }
}

/// The answer to `needOffers`: what the offer book holds of a model, after PeerCore's search if there was one.
public struct OffersFound: Sendable {
    /// One per seller; neither expired nor withdrawn.
    public var sellers: [Candidate]
    /// Nodes with an offer of any model, the sellers included: the counts of an explained refusal add up to it.
    public var known: Int
    /// Sellers of the model that this node's owner denies; not among `sellers`.
    public var denied: Int
    /// The cheapest offer of a few other models, the best advice first.
    public var alternatives: [Offer]
    /// Whether the model is known to be sold although no seller was found: the refusal then says "none now" and not
    /// "no such model".
    public var catalogueKnows: Bool
    /// Whether other nodes can open a channel to this one, as far as it knows.
    public var selfReachable: Bool
    /// No test has shown yet whether they can.
    public var isReachabilityUntested: Bool

    public init(
        sellers: [Candidate], known: Int, denied: Int = 0, alternatives: [Offer] = [],
        catalogueKnows: Bool = false, selfReachable: Bool = true,
        isReachabilityUntested: Bool = false
    ) {
        self.sellers = sellers
        self.known = known
        self.denied = denied
        self.alternatives = alternatives
        self.catalogueKnows = catalogueKnows
        self.selfReachable = selfReachable
        self.isReachabilityUntested = isReachabilityUntested
    }
}
