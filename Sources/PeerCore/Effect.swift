import Discovery
import Market
import Primitives
import Sessions
import Wire

/// What the shell must do, in order. Datagrams are not here: they are in `Peer.datagrams`, already sealed.
public enum Effect: Sendable {
    /// Send this datagram from a separate port that nothing was ever sent to; ignore what comes back there.
    case sendApart([UInt8], Endpoint)
    /// Connect to `endpoint`, then report `channelConnected`; on failure `channelClosed`, or `channelNotDialled` where
    /// this machine is the reason.
    case dial(ChannelID, Endpoint)
    /// Write these bytes, then report `channelWritten` with their count.
    case write(ChannelID, [UInt8])
    /// Close after sending what was written; report nothing more about this channel.
    case closeChannel(ChannelID)
    /// Do this work and report by `job(_:_:now:)`.
    case startJob(Job)
    /// Stop at once, without a report.
    case cancelJob(JobID)
    case pauseJob(JobID)
    case resumeJob(JobID)
    /// An event for the client that submitted the task.
    case client(TaskID, ClientEvent)
    /// Store the receipt durably: it is money.
    case keep(Verified<Receipt>)
    /// Store it: our offer of the model went out under this sequence, and a restart must continue above it.
    case keepSequence(model: String, UInt64)
    /// Store it: what this node has seen of a seller, which a restart must not forget.
    case keepSeller(SellerRecord)
    /// Store it: what a buyer, or its network, has paid here.
    case keepBuyer(BuyerRecord)
    /// An event worth a line in the log.
    case log(Notice)
    /// `leave` is complete: the process may end.
    case left
}

/// Events for people. Never a prompt, an answer or a secret.
public enum Notice: Sendable {
    case joined(contacts: Int)
    /// No contact, and none of these bootstrap addresses answers. Once until the node has a contact.
    case alone(tried: [PeerAddress])
    case admitted(PublicKey, Endpoint)
    case evicted(PublicKey)
    /// Another process signs with our key, at this endpoint if it states one. Once.
    case ownKeyUsed(at: Endpoint?)
    /// A call for bids was declined.
    case declined(buyer: PublicKey, model: String, Reason)
    case observed(Endpoint)
    /// A reachability test found something new; `stated` is what we now say of it.
    case reachability(ReachabilityFinding, stated: Reachability)
    case offer(PublicKey, model: String)
    case offerGone(PublicKey, model: String, expired: Bool)
    /// A node that speaks no wire version of ours, according to its unproven word. Four in a row, then one a
    /// minute.
    case otherVersion(PublicKey, Endpoint, speaks: [UInt8], ours: [UInt8])
}

/// A sign that another process has our key.
public struct OwnKeyUse: Hashable, Sendable {
    /// As it states it.
    public var endpoint: Endpoint?
    public var at: MonotonicTime

    public init(endpoint: Endpoint?, at: MonotonicTime) { (self.endpoint, self.at) = (endpoint, at) }
}
