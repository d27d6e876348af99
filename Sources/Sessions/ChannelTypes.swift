import Primitives
import Wire

/// Why a channel ended. Logs and transcripts show the raw values.
public enum ChannelFailure: String, Error, Sendable {
    /// The carrier was closed, by the peer or the network.
    case closed
    case timeout
    /// The handshake or its identity was wrong.
    case badHandshake = "bad_handshake"
    /// A record did not decrypt, had an invalid length, or was not a frame.
    case badRecord = "bad_record"
    /// The end that was dialled began a task, which only the dialler may.
    case wrongDirection = "wrong_direction"
    case selfDial = "self_dial"
    /// Our own bound on channels or queued bytes.
    case limit
}

public enum ChannelAction: Sendable {
    // Effects, for the shell.
    case dial(ChannelID, Endpoint)
    case write(ChannelID, [UInt8])
    case close(ChannelID)

    // Events, for the market.
    case opened(ChannelID, peer: PublicKey, inbound: Bool)
    case frame(ChannelID, PublicKey, Frame)
    /// The end of a channel that was opening or in use. Not sent for an idle channel, nor after our `close`.
    case failed(ChannelID, ChannelFailure)
}

public struct ChannelLimits: Sendable {
    public var channels = 4_096
    /// Of those, accepted ones: the rest is kept for our own dials.
    public var accepted = 3_072
    /// Inbound channels whose handshake isn't complete, in total and per source prefix. At the first bound one
    /// of the most crowded prefix gives way, at the second the newcomer is refused.
    public var handshaking = 512
    public var handshakingPerPrefix = 256
    /// Idle channels kept to one peer: as many as the tasks that a busy gateway has at one seller at a time. A new channel costs both ends a handshake, 0.3 ms of CPU, as much as the rest of a
    /// short task.
    public var idlePerPeer = 64
    /// When this many are idle in total, a peer keeps only `idlePerPeerCrowded`: the table and the file
    /// descriptors are for tasks.
    public var idleInAll = 256
    public var idlePerPeerCrowded = 2
    /// Accepted channels without a task, of one key and of one source prefix (one key on a LAN). Above, a random
    /// one of them is closed. A key that pools as `idlePerPeer` says stays far below.
    public var idlePerKey = 128
    public var idlePerGroup = 256
    /// Bytes handed to the carrier and not yet reported as written; above this `send` refuses.
    public var queuedBytes = 1 << 20
    /// The same over all channels. Above, the channel that has taken nothing for longest is closed. Several
    /// request bodies must fit, each of up to 8 MiB, and a node's memory must.
    public var queuedInAll = 128 << 20
    public var countsEndpoints = false
    public var handshakeMax = Interval.seconds(5)
    /// The dialler closes an idle channel after this. The acceptor waits half as long again, so that no task
    /// is begun on a channel that is about to be closed.
    public var idleMax = Interval.seconds(60)
    public init() {}

    /// Above this a queue is long: if none were, all together would be within `queuedInAll`.
    var longQueue: Int { max(1, queuedInAll / max(1, channels)) }
}
