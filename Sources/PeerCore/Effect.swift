import Discovery
import Market
import Primitives
import Sessions
import Wire

/// What the shell must do, in order. Datagrams are not here: they lie sealed in `Peer.datagrams`.
public enum Effect: Sendable {
    /// Send this datagram from a port of its own, to which nothing was ever sent; what comes back there means nothing.
    case sendApart([UInt8], Endpoint)
    /// Connect to `endpoint`, then tell `channelConnected`, or `channelClosed` if it can't be.
    case dial(ChannelID, Endpoint)
    /// Write these bytes, then tell `channelWritten` with their count.
    case write(ChannelID, [UInt8])
    /// What was written still leaves; nothing more is to be told about it.
    case closeChannel(ChannelID)
    /// Do this work and report by `job(_:_:now:)`.
    case startJob(Job)
    /// Stop at once, without a report.
    case cancelJob(JobID)
    case pauseJob(JobID)
    case resumeJob(JobID)
    /// For the client whose task it is.
    case client(TaskID, ClientEvent)
    /// Keep it: it is money.
    case keep(Verified<Receipt>)
    /// Our offer of the model went out under this sequence: a restart must go on above it.
    case keepSequence(model: String, UInt64)
    /// Something worth a line in the log.
    case log(Notice)
    /// All is said and done after `leave`: the process may end.
    case left
}

/// Events for people. Never a prompt, an answer or a secret.
public enum Notice: Sendable {
    case joined(contacts: Int)
    case alone
    case admitted(PublicKey, Endpoint)
    case evicted(PublicKey)
    case observed(Endpoint)
    /// A test of whether strangers reach us found out something new, and what we say of it.
    case reachability(ReachabilityFinding, stated: Reachability)
    case offer(PublicKey, model: String)
    case offerGone(PublicKey, model: String, expired: Bool)
    /// A node that speaks no wire version of ours, as it says unproven. Four in a row, then one a minute.
    case otherVersion(PublicKey, Endpoint, speaks: [UInt8], ours: [UInt8])
}
