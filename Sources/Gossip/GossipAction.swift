import Primitives
import Wire

/// What gossip asks for, and what it tells.
public enum GossipAction: Sendable {
    /// Send this; exactly one `answered` or `unanswered` with the same token must follow.
    case request(token: UInt64, GossipMessage, to: PeerAddress)
    /// The book holds an offer with new terms: another's or our own. (A mere refresh is not told.)
    case offerLearnt(Verified<Offer>)
    case offerWithdrawn(PublicKey, model: String)
    /// An offer ran out without a word from its seller.
    case offerExpired(PublicKey, model: String)
    /// The book is as complete for the search's model as it gets now.
    case searchFinished(token: UInt64, model: String)
    /// A pull has ended, whatever it brought.
    case pullEnded(PublicKey, model: String)
    /// Our own offer went out under this sequence: keep it, and announce with at least it after a restart.
    case sequenceUsed(model: String, UInt64)
    /// Everybody was told of our leave and has answered, or won't.
    case leaveFinished
}

/// What became of an announcement.
public enum AnnounceOutcome: Hashable, Sendable {
    case published
    /// The same terms hold already; they are refreshed by themselves.
    case unchanged
    /// Published when due: terms change at most once a minute.
    case held(until: MonotonicTime)
    /// Nothing was announced: eight models are, or the node is taking its leave.
    case refused(AnnounceRefusal)
}

public enum AnnounceRefusal: String, Sendable {
    case tooManyModels
    case leaving
}
