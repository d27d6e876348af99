import Cryptography
import Primitives
import Wire

/// The mesh that a node belongs to. Nodes of different meshes don't hear each other: the name goes into every
/// handshake, and the secret of a private mesh into the mac as well, so that outsiders are dropped before any work.
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

/// Which sub-machine asked, and the number that it knows its request by.
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
        case unanswered
    }
    public var owner: RequestOwner
    public var peer: PeerAddress
    public var result: Result
}

/// Where an answer goes. Valid until the session ends; a handle of a first handshake message serves once.
public struct ReplyHandle: Hashable, Sendable {
    let association: UInt32
    let request: UInt32
    /// The most bytes that the encoded message may have, so that out ≤ in before the sender has proven its address;
    /// a longer one is dropped and counted.
    public let messageBytesMax: Int
}

/// A message that arrived.
public struct Incoming: Sendable {
    public var peer: PeerAddress
    public var message: Message
    /// nil: no answer is expected.
    public var reply: ReplyHandle?
    /// False for a message that rode in a first handshake message: it may be a replay from a spoofed address. It must
    /// be answered (Sessions lets only PING, FIND, GET and the unanswered CALLBACK through) and must change nothing.
    public var proven: Bool
    /// What the envelope weighed, padding included.
    public var envelopeBytes: Int
}

/// What a call leaves to be done. The shell empties it after each call (`removeAll`), so that its memory is reused.
public struct SessionOutput: Sendable {
    public var datagrams: DatagramSlab
    public var completions: [Completion] = []
    /// Peers that have just proven key and endpoint to us: a session with them begins. Named again when one is renewed,
    /// or when both sides opened at once.
    public var established: [PeerAddress] = []
    /// From where somebody whom we had sent nothing before has just proven key and endpoint to us.
    public var strangers: [Endpoint] = []
    /// What peers that we can't talk to say that they speak: at most one for each opening.
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

/// A peer's word that it speaks other wire versions than ours. Nothing proves it, and nothing follows from it but a
/// line for people.
public struct VersionAdvice: Hashable, Sendable {
    public var peer: PeerAddress
    /// Ascending; not empty; without ours.
    public var versions: [UInt8]
}

/// Bounds and timers of `Sessions`; the defaults are the protocol's.
public struct SessionLimits: Sendable {
    /// Proven sessions. At the bound, the newcomer replaces one of the most crowded prefix among eight drawn.
    public var sessions = 4_096
    /// Proven sessions per source prefix; at the bound a random one of the prefix goes.
    public var sessionsPerPrefix = 64
    /// Handshakes that strangers began. At the bound the oldest goes; too small, and a flood outruns an honest
    /// initiator's round trip.
    public var halfOpen = 1_024
    public var halfOpenPerPrefix = 64
    /// Peers that we are opening sessions to.
    public var openings = 1_024
    /// Requests without an end yet.
    public var requests = 4_096
    /// Requests that wait for one opening, and one-way messages that do.
    public var waitingPerPeer = 16
    public var sendsPerPeer = 8
    /// Count endpoints instead of address prefixes: for a mesh on one LAN. Loopback addresses are always counted so.
    public var countsEndpoints = false

    /// Patience with a first message to a peer whose round trip is unknown.
    public var timeoutStart = Interval.milliseconds(300)
    /// Below it, scheduling noise of a busy machine looks like loss; each false alarm costs a handshake.
    public var timeoutMin = Interval.milliseconds(100)
    public var timeoutMax = Interval.milliseconds(1_500)
    /// Hard bound on the life of a request.
    public var requestMax = Interval.seconds(4)
    /// A half-open handshake older than this is dead.
    public var halfOpenMax = Interval.seconds(10)
    /// Age of a session at which its next use opens a fresh one.
    public var rekeyAfter = Interval.minutes(60)
    /// First messages a second (and burst) that are taken without a cookie.
    public var handshakesPerSecond = 1_000
    /// Initiations of other wire versions a second (and burst) that are told which one we speak.
    public var versionAnswersPerSecond = 10
    /// Cookies sent a second: 5 µs each, with the system call, where dropping costs 1. Larger: a flood takes the core;
    /// smaller: it hides more of the honest initiations beside it.
    public var cookiesPerSecond = 20_000
    /// Of those, to one source prefix; at most 255.
    public var cookiesPerPrefix = 64

    /// A simulation's carrier for thousands of nodes: the same packets of the same sizes, in which nothing is agreed on,
    /// sealed or opened; whoever could write one could forge it. Only the simulator can say so (`@_spi`), and
    /// scripts/purity.py sees to it that nobody else imports that.
    @_spi(Simulation) public var carriesPlain = false
    public init() {}
}
