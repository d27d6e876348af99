import Primitives
import Wire

/// What the bidder wants done, in order. PeerCore routes each; nothing is called back.
public enum BidderAction: Sendable {
    case startJob(Job)
    /// Stop the backend's work at once; later events of the job are ignored.
    case cancelJob(JobID)
    /// The buyer doesn't read: produce nothing until `resumeJob`.
    case pauseJob(JobID)
    case resumeJob(JobID)
    case sendFrame(channel: ChannelID, Frame)
    /// This node dials. Ends with `channelOpened` or `channelFailed` under the same task, attempt and key.
    case openChannel(TaskID, attempt: UInt32, to: PeerAddress)
    /// A channel that this node dialled is idle: back to the pool.
    case releaseChannel(ChannelID)
    case closeChannel(ChannelID)
    /// For the store; later receipts of one (task, attempt, buyer) replace earlier ones.
    case receiptAccepted(Verified<Receipt>)
}

/// How this node has fared as a seller since its start.
public struct BidderRecord: Hashable, Sendable {
    public var calls = 0
    public var bids = 0
    public var declines = 0
    public var won = 0
    public var lost = 0
    public var finished = 0
    public var failed = 0
    public var cancelled = 0
    public init() {}
}
