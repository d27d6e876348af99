// `GET /mesh/peers` and `starling peers --json`.

import Primitives

/// This node, the nodes that it knows, and the datagrams that it dropped.
public struct PeersDocument: Codable, Sendable, Equatable {
    public var own: SelfDocument
    public var peers: [PeerDocument]
    /// Dropped datagrams by reason.
    public var dropped: [String: UInt64]

    public init(own: SelfDocument, peers: [PeerDocument] = [], dropped: [String: UInt64] = [:]) {
        self.own = own
        self.peers = peers
        self.dropped = dropped
    }

    enum CodingKeys: String, CodingKey {
        case own = "self"
        case peers, dropped
    }
}

/// The answering node itself.
public struct SelfDocument: Codable, Sendable, Equatable {
    public var nodeID: String
    public var publicKey: String
    public var name: String
    public var mesh: String
    public var version: String
    public var reach: ReachDocument

    public init(
        nodeID: String, publicKey: String, name: String, mesh: String, version: String, reach: ReachDocument
    ) {
        self.nodeID = nodeID
        self.publicKey = publicKey
        self.name = name
        self.mesh = mesh
        self.version = version
        self.reach = reach
    }

    enum CodingKeys: String, CodingKey {
        case nodeID = "node_id"
        case publicKey = "public_key"
        case name, mesh, version, reach
    }
}

/// How a node can be reached, how that is known, and what would fix a fault.
public struct ReachDocument: Codable, Sendable, Equatable {
    /// The outcome of the last test, in which other nodes called this one back.
    public struct Test: Codable, Sendable, Equatable {
        /// Whether unsolicited datagrams arrive, and whether unsolicited connections do: `yes`, `no` or
        /// `unknown`.
        public var datagrams: String
        public var channels: String
        public var endpoint: String
        /// Number of networks that took part.
        public var networks: Int
        public var ageSeconds: Int64

        public init(datagrams: String, channels: String, endpoint: String, networks: Int, ageSeconds: Int64) {
            self.datagrams = datagrams
            self.channels = channels
            self.endpoint = endpoint
            self.networks = networks
            self.ageSeconds = ageSeconds
        }

        enum CodingKeys: String, CodingKey {
            case datagrams, channels, endpoint, networks
            case ageSeconds = "age_s"
        }
    }

    /// What the node announces: `direct`, `datagrams` (it accepts no channels), `outbound` or `unknown`; or `alone`:
    /// none of its bootstrap nodes has answered for ten seconds, and it knows no other node.
    public var state: String
    @Nullable public var endpoint: String?
    /// How the endpoint is known: `configured`, `loopback` or `observed`.
    @Nullable public var how: String?
    /// Networks of the last test; before the first test, contacts.
    public var confirmedBy: Int
    @Nullable public var tested: Test?
    @Nullable public var fix: String?

    public init(
        state: String, endpoint: String? = nil, how: String? = nil, confirmedBy: Int = 0,
        tested: Test? = nil, fix: String? = nil
    ) {
        self.state = state
        self.endpoint = endpoint
        self.how = how
        self.confirmedBy = confirmedBy
        self.tested = tested
        self.fix = fix
    }

    enum CodingKeys: String, CodingKey {
        case state, endpoint, how
        case confirmedBy = "confirmed_by"
        case tested, fix
    }
}

/// One known node.
public struct PeerDocument: Codable, Sendable, Equatable {
    public struct Tasks: Codable, Sendable, Equatable {
        public var won: Int
        public var failed: Int
        public init(won: Int = 0, failed: Int = 0) {
            self.won = won
            self.failed = failed
        }
    }

    public var nodeID: String
    public var publicKey: String
    /// The owner's name for the node if it is pinned, else the label that it gives itself.
    public var name: String
    public var isPinned: Bool
    /// `udp://…` and `tcp://…`.
    public var endpoints: [String]
    public var reach: String
    /// `live`, or `suspect`: it did not answer lately.
    public var state: String
    public var inTable: Bool
    @Nullable public var roundTripMilliseconds: Double?
    @Nullable public var lastHeard: String?
    public var sells: [String]
    public var trust: Double
    public var tasks: Tasks
    /// Micro-credits; positive when the peer owes us.
    public var balance: Money

    public init(
        nodeID: String, publicKey: String, name: String, isPinned: Bool = false, endpoints: [String] = [],
        reach: String = "unknown", state: String = "live", inTable: Bool = false,
        roundTripMilliseconds: Double? = nil, lastHeard: String? = nil, sells: [String] = [],
        trust: Double = 1,
        tasks: Tasks = Tasks(), balance: Money = .zero
    ) {
        self.nodeID = nodeID
        self.publicKey = publicKey
        self.name = name
        self.isPinned = isPinned
        self.endpoints = endpoints
        self.reach = reach
        self.state = state
        self.inTable = inTable
        self.roundTripMilliseconds = roundTripMilliseconds
        self.lastHeard = lastHeard
        self.sells = sells
        self.trust = trust
        self.tasks = tasks
        self.balance = balance
    }

    enum CodingKeys: String, CodingKey {
        case nodeID = "node_id"
        case publicKey = "public_key"
        case name
        case isPinned = "pinned"
        case endpoints, reach, state
        case inTable = "in_table"
        case roundTripMilliseconds = "rtt_ms"
        case lastHeard = "last_heard"
        case sells, trust, tasks
        case balance = "balance_ucr"
    }
}
