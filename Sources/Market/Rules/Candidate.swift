import Primitives
import Wire

/// A seller of the wanted model, as the offer book knows it.
public struct Candidate: Sendable {
    public var offer: Verified<Offer>
    /// Where it is called; this node's own key: PeerCore hands the messages to the `Bidder` beside us.
    public var address: PeerAddress
    /// Whether a session stands, so that the call costs no handshake.
    public var hasSession: Bool

    public init(offer: Verified<Offer>, address: PeerAddress, hasSession: Bool) {
        self.offer = offer
        self.address = address
        self.hasSession = hasSession
    }

    var key: PublicKey { offer.record.publicKey }
}

/// The answer to `needOffers`: what the offer book (after the search that PeerCore thought fit) holds of a model.
public struct OffersFound: Sendable {
    /// One per seller, living and not withdrawn.
    public var sellers: [Candidate]
    /// Nodes with an offer of any model, the sellers included: what an explained no-bid adds up to.
    public var known: Int
    /// Other models with their lowest output price, best advice first; a few are enough.
    public var alternatives: [(model: String, outputPrice: Int64)]
    /// Whether the model is sold somewhere, though nobody was found: "none now" rather than "no such model".
    public var catalogueKnows: Bool
    /// Whether other nodes can open a channel to this one, as far as it knows.
    public var selfReachable: Bool
    /// It has not found out yet.
    public var isReachabilityUntested: Bool

    public init(
        sellers: [Candidate], known: Int, alternatives: [(model: String, outputPrice: Int64)] = [],
        catalogueKnows: Bool = false, selfReachable: Bool = true,
        isReachabilityUntested: Bool = false
    ) {
        self.sellers = sellers
        self.known = known
        self.alternatives = alternatives
        self.catalogueKnows = catalogueKnows
        self.selfReachable = selfReachable
        self.isReachabilityUntested = isReachabilityUntested
    }
}
