// `GET /mesh/status` and `starling status --json`: one screen for the operator.

import Primitives

/// How this node is doing, and the one thing to change.
public struct StatusDocument: Codable, Sendable, Equatable {
    /// A node's activity. `asking` means that it serves nothing.
    public enum State: String, Codable, Sendable { case serving, paused, asking, leaving }

    public var name: String
    public var nodeID: String
    public var publicKey: String
    public var mesh: String
    public var version: String
    public var uptimeSeconds: Int64
    public var state: State
    public var reach: ReachDocument
    /// Number of live peers.
    public var peers: Int
    public var models: [ServedModelDocument]
    public var tasks: TaskCountsDocument
    public var earned: Money
    /// Number of nodes that paid us.
    public var earnedFrom: Int
    public var spent: Money
    public var owedToUs: Money
    public var owedByUs: Money
    /// What was sold and refused; nil while the database can't tell.
    @Nullable public var sold: SalesDocument?
    /// The nodes of `mesh.join`.
    public var join: [JoinDocument]
    /// One sentence naming the one thing to change; nil if there is none.
    @Nullable public var next: String?

    public init(
        name: String, nodeID: String, publicKey: String, mesh: String, version: String, uptimeSeconds: Int64,
        state: State, reach: ReachDocument, peers: Int, models: [ServedModelDocument] = [],
        tasks: TaskCountsDocument = TaskCountsDocument(), earned: Money = .zero, earnedFrom: Int = 0,
        spent: Money = .zero,
        owedToUs: Money = .zero, owedByUs: Money = .zero, sold: SalesDocument? = nil,
        join: [JoinDocument] = [], next: String? = nil
    ) {
        self.name = name
        self.nodeID = nodeID
        self.publicKey = publicKey
        self.mesh = mesh
        self.version = version
        self.uptimeSeconds = uptimeSeconds
        self.state = state
        self.reach = reach
        self.peers = peers
        self.models = models
        self.tasks = tasks
        self.earned = earned
        self.earnedFrom = earnedFrom
        self.spent = spent
        self.owedToUs = owedToUs
        self.owedByUs = owedByUs
        self.sold = sold
        self.join = join
        self.next = next
    }

    enum CodingKeys: String, CodingKey {
        case name
        case nodeID = "node_id"
        case publicKey = "public_key"
        case mesh, version
        case uptimeSeconds = "uptime_s"
        case state, reach, peers, models, tasks
        case earned = "earned_ucr"
        case earnedFrom = "earned_from"
        case spent = "spent_ucr"
        case owedToUs = "owed_to_us_ucr"
        case owedByUs = "owed_by_us_ucr"
        case sold, join, next
    }
}

/// Tasks submitted to this node since it started, by state.
public struct TaskCountsDocument: Codable, Sendable, Equatable {
    public var running: Int
    public var delivered: Int
    public var refused: Int
    public var cancelled: Int
    public var failed: Int

    public init(running: Int = 0, delivered: Int = 0, refused: Int = 0, cancelled: Int = 0, failed: Int = 0) {
        self.running = running
        self.delivered = delivered
        self.refused = refused
        self.cancelled = cancelled
        self.failed = failed
    }
}

/// One model that this node sells.
public struct ServedModelDocument: Codable, Sendable, Equatable {
    public struct Backend: Codable, Sendable, Equatable {
        /// `llama.cpp`, `ollama`, `vllm`, `openai`, `managed`.
        public var kind: String
        public var url: String
        /// `ok`, `busy` (it refused a request because it has too much to do), `starting`, `down`.
        public var state: String
        /// When a busy one is asked again.
        @Nullable public var busyUntil: String?
        @Nullable public var error: String?
        /// What the configuration says otherwise than the server, each with the fix.
        public var differences: [String]
        public init(
            kind: String, url: String, state: String, busyUntil: String? = nil, error: String? = nil,
            differences: [String] = []
        ) {
            self.kind = kind
            self.url = url
            self.state = state
            self.busyUntil = busyUntil
            self.error = error
            self.differences = differences
        }

        enum CodingKeys: String, CodingKey {
            case kind, url, state
            case busyUntil = "busy_until"
            case error, differences
        }
    }

    /// Calls for bids since the start: those made and those declined are all of them.
    public struct Bids: Codable, Sendable, Equatable {
        public var calls: Int
        public var declined: Int
        public var made: Int
        public var won: Int
        public var lost: Int
        public init(calls: Int = 0, declined: Int = 0, made: Int = 0, won: Int = 0, lost: Int = 0) {
            (self.calls, self.declined) = (calls, declined)
            self.made = made
            self.won = won
            self.lost = lost
        }
    }

    public var model: String
    public var slots: Int
    public var slotsBusy: Int
    /// Tasks that may wait for a slot, and those that do now, bids and awards included.
    public var places: Int
    public var waiting: Int
    public var backend: Backend
    @Nullable public var tokensPerSecond: Double?
    @Nullable public var firstTokenMilliseconds: Int?
    /// While no slot is taken.
    @Nullable public var price: PriceDocument?
    public var terms: TermsDocument
    public var bids: Bids

    public init(
        model: String, slots: Int, slotsBusy: Int, places: Int = 0, waiting: Int = 0, backend: Backend,
        tokensPerSecond: Double? = nil,
        firstTokenMilliseconds: Int? = nil, price: PriceDocument? = nil,
        terms: TermsDocument = TermsDocument(), bids: Bids = Bids()
    ) {
        self.model = model
        self.slots = slots
        self.slotsBusy = slotsBusy
        self.places = places
        self.waiting = waiting
        self.backend = backend
        self.tokensPerSecond = tokensPerSecond
        self.firstTokenMilliseconds = firstTokenMilliseconds
        self.price = price
        self.terms = terms
        self.bids = bids
    }

    enum CodingKeys: String, CodingKey {
        case model, slots
        case slotsBusy = "slots_busy"
        case places, waiting, backend
        case tokensPerSecond = "tokens_per_s"
        case firstTokenMilliseconds = "first_token_ms"
        case price = "price_ucr_per_million"
        case terms, bids
    }
}

/// What a seller asks of a model's buyers beyond its price.
public struct TermsDocument: Codable, Sendable, Equatable {
    public struct PerParty: Codable, Sendable, Equatable {
        public var buyer: Int
        public var network: Int
        public init(buyer: Int = 0, network: Int = 0) { (self.buyer, self.network) = (buyer, network) }
    }

    /// Times the price that is asked while every slot is taken.
    public var surge: Double
    public var reserve: Money
    /// 0: any number.
    public var tasksPerMinute: PerParty
    /// Hours of each day by the seller's clock, as `22:00-08:00`.
    public var quiet: [String]
    /// Until the quiet hours end; nil: it has none now.
    @Nullable public var quietMinutes: Int?
    /// Nodes listed.
    public var allowed: Int
    public var denied: Int

    public init(
        surge: Double = 1, reserve: Money = .zero, tasksPerMinute: PerParty = PerParty(),
        quiet: [String] = [], quietMinutes: Int? = nil, allowed: Int = 0, denied: Int = 0
    ) {
        (self.surge, self.reserve, self.tasksPerMinute) = (surge, reserve, tasksPerMinute)
        (self.quiet, self.allowed, self.denied) = (quiet, allowed, denied)
        self.quietMinutes = quietMinutes
    }

    enum CodingKeys: String, CodingKey {
        case surge
        case reserve = "reserve_ucr"
        case tasksPerMinute = "tasks_per_minute"
        case quiet
        case quietMinutes = "quiet_minutes_left"
        case allowed, denied
    }
}
