import Credit
import Cryptography
import PeerCore
import Primitives
import Sessions
import Wire

/// One machine: what outlives the process on it.
final class Host {
    enum State {
        /// Its process has not started yet.
        case planned
        case running
        case frozen
        /// No process; the machine refuses connections.
        case dead
        /// No machine.
        case off
        /// It took its leave and ended.
        case left
        /// No process but an attacker's program.
        case hostile
    }

    let index: Int
    let plan: NodePlan
    let identity: Identity
    let nodeID: NodeID
    let endpoint: Endpoint
    /// Its monotonic clock starts elsewhere than everybody else's.
    let monotonicOffset: Int64
    var state = State.planned
    var process: NodeProcess?
    var impostor: Impostor?
    var incarnation = 0
    var backend: SimulatedBackend
    /// Which side of a partition it is on.
    var side = 0
    /// It drops what it hears.
    var isSilent = false
    /// It says that it calls others back, and sends nothing.
    var callsNobody = false

    // What the process keeps on disk.
    var anchors: [Verified<Contact>] = []
    var sequences: [(model: String, sequence: UInt64)] = []
    /// From the receipts that it keeps.
    var balances: Balances

    var traffic = Traffic()
    /// Drop counters of processes that ended.
    var droppedBefore: [(name: String, count: UInt64)] = []

    init(
        index: Int, plan: NodePlan, identity: Identity, endpoint: Endpoint, monotonicOffset: Int64,
        random: SeededRandom
    ) {
        self.index = index
        self.plan = plan
        self.identity = identity
        nodeID = identity.nodeID
        balances = Balances(of: identity.publicKey)
        self.endpoint = endpoint
        self.monotonicOffset = monotonicOffset
        backend = SimulatedBackend(random: random)
    }

    /// A process that other nodes can count on.
    var isUp: Bool { state == .running && !isSilent }
    var isSelling: Bool { isUp && !plan.serves.isEmpty && process?.isLeaving == false }
}

struct Traffic {
    var datagramsSent = 0
    var datagramBytesSent = 0
    var datagramsReceived = 0
    var streamBytesSent = 0
}

/// One run of the node program: the peer and what its shell holds around it.
final class NodeProcess {
    /// Datagrams that the kernel keeps for a process that doesn't read: 208 KiB of Linux' `rmem_default`, each counted
    /// with its buffer.
    static let socketDatagramsMax = 166

    let incarnation: Int
    let startedAt: Int64
    var effects: [Effect] = []
    var isFlushing = false
    /// When the timer fires; `.max`: not set.
    var armedAt = Int64.max
    /// When the core must be woken; its timer may fire sooner, for nothing.
    var dueAt = Int64.max
    var idleTicks = 0
    var channels: [ChannelID: Int32] = [:]
    var tasks: [TaskID: Int32] = [:]
    var paths = PathAccounts()
    var isLeaving = false
    /// Lookups and searches that run, by their numbers.
    var probes: [RequestToken: Int32] = [:]

    // Frozen
    var inbox: [Event] = []
    var inboxDatagrams = 0
    var stoodStillSince: Int64?

    /// Behind the rest, which is looked at more often: it takes kilobytes.
    var peer: Peer

    init(incarnation: Int, startedAt: Int64, peer: consuming Peer) {
        self.incarnation = incarnation
        self.startedAt = startedAt
        self.peer = peer
    }
}
