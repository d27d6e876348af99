import Cryptography
import Primitives
import Wire

/// The mesh that a node belongs to. Nodes of different meshes don't hear each other: the name goes into every
/// handshake, and the secret of a private mesh also into the mac, so that outsiders are dropped before any
/// work.
public struct MeshIdentity: Sendable {
    public static let nameBytesMax = 64
    public let name: String
    /// BLAKE2b-256 of the mesh key; all zero for a public mesh.
    let secret: Bytes32

    /// `name` is cut to 64 bytes of UTF-8; `key` is a private mesh's secret of any length.
    public init(name: String, key: [UInt8]? = nil) {
        var cut = name
        while cut.utf8.count > Self.nameBytesMax { cut.removeLast() }
        self.name = cut
        secret = key.map { Blake2b.hash(domain: "starling mesh key", $0) } ?? .zero
    }
}

/// The machine that made a request, and its number for it.
public enum RequestOwner: Hashable, Sendable {
    case discovery(RequestToken)
    case gossip(RequestToken)
    case market(RequestToken)
    case peer(RequestToken)
}

/// The end of a request: exactly one for each.
public struct Completion: Sendable {
    public enum Result: Sendable {
        case answered(Message, roundTrip: Interval)
        /// The peer was asked and didn't answer.
        case unanswered
        /// Our own bounds, socket or loop kept the request from the peer, or may have kept its answer from us:
        /// nothing follows for the peer.
        case notAsked
    }
    public var owner: RequestOwner
    public var peer: PeerAddress
    public var result: Result
}

/// The destination of an answer. Valid until the session ends; the handle of a first handshake message works
/// once.
public struct ReplyHandle: Hashable, Sendable {
    let association: UInt32
    let request: UInt32
    /// The most bytes that the encoded message may have, so that we send no more than we received before the
    /// sender has proven its address. A longer message is dropped and counted.
    public let messageBytesMax: Int
}

/// A message that arrived.
public struct Incoming: Sendable {
    public var peer: PeerAddress
    public var message: Message
    /// nil when no answer is expected.
    public var reply: ReplyHandle?
    /// False for a message in a first handshake message: it may be a replay from a spoofed address. It must
    /// be answered (Sessions only lets PING, FIND, GET and the unanswered CALLBACK through) and must change
    /// nothing.
    public var proven: Bool
    /// The size of the envelope, including padding.
    public var envelopeBytes: Int
}

/// The results of a call. The shell empties it after each call (`removeAll`), so that its memory is reused.
public struct SessionOutput: Sendable {
    public var datagrams: DatagramSlab
    public var completions: [Completion] = []
    /// Peers that have just proven key and endpoint to us: a session with them begins. A peer is named again
    /// when its session is renewed, or when both sides opened at once.
    public var established: [PeerAddress] = []
    /// The endpoints of peers to which we had sent nothing before and which have just proven key and
    /// endpoint.
    public var strangers: [Endpoint] = []
    /// The versions that incompatible peers say they speak: at most one entry per opening.
    public var advice: [VersionAdvice] = []

    public init(datagramsMax: Int = DatagramSlab.datagramsMaxDefault) {
        datagrams = DatagramSlab(datagramsMax: datagramsMax)
    }

    public mutating func removeAll() {
        datagrams.removeAll()
        completions.recycle()
        established.recycle()
        strangers.recycle()
        advice.recycle()
    }
}

/// A peer's statement that it speaks other wire versions than ours. Nothing proves it, and its only effect is
/// a line in the log.
public struct VersionAdvice: Hashable, Sendable {
    public var peer: PeerAddress
    /// Ascending, not empty, and without our version.
    public var versions: [UInt8]
}

/// Bounds and timers of `Sessions`; the defaults are the protocol's.
public struct SessionLimits: Sendable {
    /// Established sessions. At the bound, a new one replaces one of the most crowded prefix among eight
    /// drawn.
    public var sessions = 4_096
    /// Established sessions per source prefix; at the bound a random one of the prefix is dropped.
    public var sessionsPerPrefix = 64
    /// Handshakes begun by strangers. At the bound the oldest is dropped; if this is too small, a flood
    /// outruns an honest initiator's round trip.
    public var halfOpen = 1_024
    public var halfOpenPerPrefix = 64
    /// Peers with which we are opening sessions.
    public var openings = 1_024
    /// Requests without a completion yet.
    public var requests = 4_096
    /// Requests that may wait for one opening in any case. Beyond that they share `waitingInAll`, half of the
    /// table of requests: a burst for one new peer goes through, and peers that don't answer can't take the
    /// table from those that do.
    public var waitingPerPeer = 16
    public var waitingInAll = 2_048
    /// One-way messages that may wait for one opening.
    public var sendsPerPeer = 8
    /// Count endpoints instead of address prefixes, for a mesh on one LAN. Loopback addresses are always
    /// counted this way.
    public var countsEndpoints = false

    /// Timeout of a first message to a peer whose round trip is unknown.
    public var timeoutStart = Interval.milliseconds(300)
    /// Below this, scheduling noise on a busy machine looks like loss; each false alarm costs a handshake.
    public var timeoutMin = Interval.milliseconds(100)
    public var timeoutMax = Interval.milliseconds(1_500)
    /// The longest life of a request.
    public var requestMax = Interval.seconds(4)
    /// A half-open handshake older than this is dead.
    public var halfOpenMax = Interval.seconds(10)
    /// Age of a session at which its next use opens a new one.
    public var rekeyAfter = Interval.minutes(60)
    /// First messages a second (and burst) that are accepted without a cookie.
    public var handshakesPerSecond = 1_000
    /// Initiations of other wire versions a second (and burst) that are answered with our version.
    public var versionAnswersPerSecond = 10
    /// Cookies sent a second: 5 µs each, with the system call, where dropping costs 1. If it is larger, a
    /// flood takes the core; if smaller, a flood hides more of the honest initiations.
    public var cookiesPerSecond = 20_000
    /// Of those, cookies to one source prefix; at most 255.
    public var cookiesPerPrefix = 64

    /// For a simulation of thousands of nodes: the same packets of the same sizes, in which nothing is
    /// agreed, sealed or opened, so that anyone could forge them. Only the simulator can set it (`@_spi`),
    /// and scripts/purity.py ensures that nothing else imports that.
    @_spi(Simulation) public var carriesPlain = false
    public init() {}
}
