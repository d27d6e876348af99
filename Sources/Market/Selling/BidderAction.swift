import Primitives
import Wire

/// What the bidder asks `PeerCore` to do, in order.
public enum BidderAction: Sendable {
    case startJob(Job)
    /// Stop the backend at once; later events of the job are ignored.
    case cancelJob(JobID)
    /// The buyer is not reading: produce nothing until `resumeJob`.
    case pauseJob(JobID)
    case resumeJob(JobID)
    case sendFrame(channel: ChannelID, Frame)
    /// This node dials the buyer. `channelOpened` or `channelFailed` follows with the same task, attempt and
    /// key.
    case openChannel(TaskID, attempt: UInt32, to: PeerAddress)
    /// A channel that this node dialled is idle: return it to the pool.
    case releaseChannel(ChannelID)
    case closeChannel(ChannelID)
    /// To be stored; a later receipt for the same (task, attempt, buyer) replaces an earlier one.
    case receiptAccepted(Verified<Receipt>)
    /// A call for bids was answered with this reason.
    case declined(buyer: PublicKey, model: String, Reason)
    /// To be stored; it replaces what was known of the buyer or network.
    case buyerJudged(BuyerRecord)
}

/// The calls for bids that a model had since this node started, and what became of them.
public struct CallCounts: Hashable, Sendable {
    /// Bids and declines.
    public var calls = 0
    public var bids = 0
    public var declines = 0
    public var won = 0
    public var lost = 0
    public init() {}
}

/// What this node has done as a seller since it started.
public struct BidderRecord: Hashable, Sendable {
    /// By model; calls for models that it doesn't sell aren't counted.
    public var models: [String: CallCounts] = [:]
    public var finished = 0
    public var failed = 0
    public var cancelled = 0
    /// Jobs that were ended because their buyers took nothing, acknowledged nothing, or sent wrong signatures.
    public var unread = 0
    public var unpaid = 0
    public var forged = 0
    public init() {}
}
