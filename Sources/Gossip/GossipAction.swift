import Primitives
import Wire

/// What gossip asks for, and what it reports.
public enum GossipAction: Sendable {
    /// Send this; exactly one `answered`, `unanswered` or `notAsked` with the same token must follow.
    case request(token: RequestToken, GossipMessage, to: PeerAddress)
    /// The offer book holds an offer with new terms, another node's or our own. A mere refresh is not
    /// reported.
    case offerLearnt(Verified<Offer>)
    case offerWithdrawn(PublicKey, model: String)
    /// An offer expired without a withdrawal.
    case offerExpired(PublicKey, model: String)
    /// The offer book is now as complete for the search's model as it will get.
    case searchFinished(token: RequestToken, model: String)
    /// A pull has ended, successful or not.
    case pullEnded(PublicKey, model: String)
    /// Our own offer was sent under this sequence: store it, and announce with at least it after a restart.
    case sequenceUsed(model: String, UInt64)
    /// Every node was told that we leave, and has answered or timed out.
    case leaveFinished
}

/// The outcome of an announcement.
public enum AnnounceOutcome: Hashable, Sendable {
    case published
    /// The same terms are already announced, and are refreshed automatically.
    case unchanged
    /// Will be published when due: terms change at most once a minute.
    case held(until: MonotonicTime)
    /// Nothing was announced: eight models already are, or the node is leaving.
    case refused(AnnounceRefusal)
}

public enum AnnounceRefusal: String, Sendable {
    case tooManyModels
    /// Other nodes would refuse an offer under this name.
    case badModelName
    case leaving
}
