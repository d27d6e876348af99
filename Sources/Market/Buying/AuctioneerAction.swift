import Primitives
import Wire

/// What the auctioneer wants done, in order. PeerCore routes each action; there are no callbacks.
public enum AuctioneerAction: Sendable {
    /// Answer with `offersFound`, once, after a search if the offer book holds too few. A task asks once for each of
    /// its attempts.
    case needOffers(TaskID, model: String)
    /// Ends with exactly one `answered`, `unanswered` or `notAsked`.
    case request(token: RequestToken, MarketMessage, to: PeerAddress)
    case send(MarketMessage, to: PeerAddress)
    /// Ends with `channelOpened` or `channelFailed` under the same task, attempt and key.
    case openChannel(TaskID, attempt: UInt32, to: PeerAddress)
    case sendFrame(channel: ChannelID, Frame)
    /// Healthy and idle: return it to the pool.
    case releaseChannel(ChannelID)
    case closeChannel(ChannelID)
    case client(TaskID, ClientEvent)
    /// For the store; a later receipt of one (task, attempt, worker) replaces an earlier one.
    case receiptIssued(Verified<Receipt>)
    /// For the store: a seller finished a task, or lost trust.
    case sellerJudged(SellerRecord)
}
