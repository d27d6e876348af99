// `GET /mesh/tasks/ID` and `starling why ID --json`. Holds neither the prompt nor the answer.

import Primitives

/// Everything that this node knows of one task.
public struct TaskDocument: Codable, Sendable, Equatable {
    public var task: String
    /// `bidding`, `awarded`, `streaming`, `delivered`, `refused`, `cancelled`, `failed`; the last four are final.
    public var state: String
    /// The code of the failure.
    @Nullable public var reason: String?
    /// The sentence of the failure.
    @Nullable public var message: String?
    public var model: String
    /// The name of the node that the client asked.
    public var via: String
    public var createdAt: String
    public var limits: TaskLimits
    public var call: TaskCall
    public var candidates: TaskCandidates
    /// The sellers asked in the latest auction, bids first, the best score first. A failover replaces those of
    /// the auction before it; `assignments` names every worker.
    public var bids: [TaskBid]
    public var phases: TaskPhaseTimes
    public var assignments: [TaskAssignment]
    /// What a lost worker means: `stream`: another continues the text; `start`: another can only replace it
    /// before its first byte; `none`: another can't help any more.
    public var resume: String
    public var failovers: Int
    public var usage: TaskUsage

    public init(
        task: String, state: String, reason: String? = nil, message: String? = nil, model: String,
        via: String,
        createdAt: String, limits: TaskLimits, call: TaskCall, candidates: TaskCandidates,
        bids: [TaskBid] = [], phases: TaskPhaseTimes = TaskPhaseTimes(), assignments: [TaskAssignment] = [],
        resume: String = "stream", failovers: Int = 0, usage: TaskUsage = TaskUsage()
    ) {
        self.task = task
        self.state = state
        self.reason = reason
        self.message = message
        self.model = model
        self.via = via
        self.createdAt = createdAt
        self.limits = limits
        self.call = call
        self.candidates = candidates
        self.bids = bids
        self.phases = phases
        self.assignments = assignments
        self.resume = resume
        self.failovers = failovers
        self.usage = usage
    }

    enum CodingKeys: String, CodingKey {
        case task, state, reason, message, model, via
        case createdAt = "created_at"
        case limits, call, candidates, bids
        case phases = "phases_ms"
        case assignments, resume, failovers, usage
    }
}

/// The client's limits.
public struct TaskLimits: Codable, Sendable, Equatable {
    /// Rates in credits per million tokens, as clients write them.
    public struct MaxPrice: Codable, Sendable, Equatable {
        @Nullable public var prompt: Double?
        @Nullable public var completion: Double?
        public init(prompt: Double? = nil, completion: Double? = nil) {
            self.prompt = prompt
            self.completion = completion
        }
    }
    @Nullable public var maxPrice: MaxPrice?
    @Nullable public var maxCost: Money?
    public var deadlineMilliseconds: Int64
    @Nullable public var maxTokens: Int?

    public init(
        maxPrice: MaxPrice? = nil, maxCost: Money? = nil, deadlineMilliseconds: Int64, maxTokens: Int? = nil
    ) {
        self.maxPrice = maxPrice
        self.maxCost = maxCost
        self.deadlineMilliseconds = deadlineMilliseconds
        self.maxTokens = maxTokens
    }

    enum CodingKeys: String, CodingKey {
        case maxPrice = "max_price"
        case maxCost = "max_cost_ucr"
        case deadlineMilliseconds = "deadline_ms"
        case maxTokens = "max_tokens"
    }
}

/// What the call for bids said.
public struct TaskCall: Codable, Sendable, Equatable {
    public struct Weights: Codable, Sendable, Equatable {
        public var timePerSecond: Int64
        public var trustPower: Int
        public init(timePerSecond: Int64, trustPower: Int) {
            self.timePerSecond = timePerSecond
            self.trustPower = trustPower
        }
        enum CodingKeys: String, CodingKey {
            case timePerSecond = "time_ucr_per_s"
            case trustPower = "trust_power"
        }
    }
    public var tokensIn: Int
    public var tokensOutEstimate: Int
    public var weights: Weights

    public init(tokensIn: Int, tokensOutEstimate: Int, weights: Weights) {
        self.tokensIn = tokensIn
        self.tokensOutEstimate = tokensOutEstimate
        self.weights = weights
    }

    enum CodingKeys: String, CodingKey {
        case tokensIn = "tokens_in"
        case tokensOutEstimate = "tokens_out_estimate"
        case weights
    }
}

/// How many nodes were known and asked, and why others were not.
public struct TaskCandidates: Codable, Sendable, Equatable {
    public struct Skipped: Codable, Sendable, Equatable {
        public var reason: String
        public var nodes: Int
        public init(reason: String, nodes: Int) {
            self.reason = reason
            self.nodes = nodes
        }
    }
    public var known: Int
    public var asked: Int
    public var skipped: [Skipped]

    public init(known: Int, asked: Int, skipped: [Skipped] = []) {
        self.known = known
        self.asked = asked
        self.skipped = skipped
    }
}

/// One seller's answer to the call.
public struct TaskBid: Codable, Sendable, Equatable {
    public var nodeID: String
    /// The owner's name for the seller if it is pinned, else the label that the seller gives itself.
    public var name: String
    public var isPinned: Bool
    /// `won`, `lost`, `declined`, `silent`, `late`, `refused`, `busy`, `asked`,
    /// `bid` (in a quote), `not_asked` (this node's own bounds kept the call from it), `passed_over`.
    public var outcome: String
    /// Why the node declined.
    @Nullable public var declined: String?
    @Nullable public var price: PriceDocument?
    @Nullable public var queueMilliseconds: Int?
    @Nullable public var firstTokenMilliseconds: Int?
    @Nullable public var tokensPerSecond: Double?
    /// What the auction goes by: measured here, or the bid's words blended with what the market delivers.
    @Nullable public var expectedFirstTokenMilliseconds: Int?
    @Nullable public var expectedTokensPerSecond: Double?
    @Nullable public var trust: Double?
    /// Micro-credits for the estimated tokens.
    @Nullable public var estimate: Money?
    /// Milliseconds until the estimated answer would be complete.
    @Nullable public var completionMilliseconds: Double?
    /// The lowest score wins.
    @Nullable public var score: UInt64?
    @Nullable public var signature: String?

    public init(
        nodeID: String, name: String, isPinned: Bool = false, outcome: String, declined: String? = nil,
        price: PriceDocument? = nil,
        queueMilliseconds: Int? = nil, firstTokenMilliseconds: Int? = nil, tokensPerSecond: Double? = nil,
        expectedFirstTokenMilliseconds: Int? = nil, expectedTokensPerSecond: Double? = nil,
        trust: Double? = nil, estimate: Money? = nil, completionMilliseconds: Double? = nil,
        score: UInt64? = nil, signature: String? = nil
    ) {
        self.nodeID = nodeID
        self.name = name
        self.isPinned = isPinned
        self.outcome = outcome
        self.declined = declined
        self.price = price
        self.queueMilliseconds = queueMilliseconds
        self.firstTokenMilliseconds = firstTokenMilliseconds
        self.tokensPerSecond = tokensPerSecond
        self.expectedFirstTokenMilliseconds = expectedFirstTokenMilliseconds
        self.expectedTokensPerSecond = expectedTokensPerSecond
        self.trust = trust
        self.estimate = estimate
        self.completionMilliseconds = completionMilliseconds
        self.score = score
        self.signature = signature
    }

    enum CodingKeys: String, CodingKey {
        case nodeID = "node_id"
        case name
        case isPinned = "pinned"
        case outcome, declined
        case price = "price_ucr_per_million"
        case queueMilliseconds = "queue_ms"
        case firstTokenMilliseconds = "first_token_ms"
        case tokensPerSecond = "tokens_per_s"
        case expectedFirstTokenMilliseconds = "expected_first_token_ms"
        case expectedTokensPerSecond = "expected_tokens_per_s"
        case trust
        case estimate = "estimate_ucr"
        case completionMilliseconds = "completion_ms"
        case score, signature
    }
}

/// Milliseconds: of each phase of the first attempt, and of the whole task; nil for a phase that was not reached.
public struct TaskPhaseTimes: Codable, Sendable, Equatable {
    @Nullable public var choose: Double?
    @Nullable public var bids: Double?
    @Nullable public var award: Double?
    @Nullable public var firstToken: Double?
    @Nullable public var stream: Double?
    /// From the submission to the end; nil: it runs.
    @Nullable public var total: Double?

    public init(
        choose: Double? = nil, bids: Double? = nil, award: Double? = nil, firstToken: Double? = nil,
        stream: Double? = nil, total: Double? = nil
    ) {
        self.choose = choose
        self.bids = bids
        self.award = award
        self.firstToken = firstToken
        self.stream = stream
        self.total = total
    }

    /// How much of an answer's time lies between the phases: nobody had a slot, or workers came to nothing.
    public var waited: Double? {
        guard let total, let firstToken, let stream else { return nil }
        return max(0, total - [choose, bids, award, firstToken, stream].reduce(0) { $0 + ($1 ?? 0) })
    }

    enum CodingKeys: String, CodingKey {
        case choose, bids, award
        case firstToken = "first_token"
        case stream, total
    }
}

/// One award and its outcome.
public struct TaskAssignment: Codable, Sendable, Equatable {
    public var nodeID: String
    public var name: String
    public var isPinned: Bool
    public var fromToken: Int
    public var tokens: Int
    /// `running`, `finished`, `lost`, `stalled`, `failed`, `refused`, `cancelled`, `left`.
    public var ended: String
    /// Why it didn't finish.
    @Nullable public var why: String?
    public var cost: Money
    /// From the last byte of the previous worker to the first of this one.
    @Nullable public var gapMilliseconds: Double?
    @Nullable public var receipt: String?
    /// Request fields that the worker did not pass on.
    public var droppedFields: [String]

    public init(
        nodeID: String, name: String, isPinned: Bool = false, fromToken: Int, tokens: Int, ended: String,
        why: String? = nil, cost: Money,
        gapMilliseconds: Double? = nil, receipt: String? = nil, droppedFields: [String] = []
    ) {
        self.nodeID = nodeID
        self.name = name
        self.isPinned = isPinned
        self.fromToken = fromToken
        self.tokens = tokens
        self.ended = ended
        self.why = why
        self.cost = cost
        self.gapMilliseconds = gapMilliseconds
        self.receipt = receipt
        self.droppedFields = droppedFields
    }

    enum CodingKeys: String, CodingKey {
        case nodeID = "node_id"
        case name
        case isPinned = "pinned"
        case fromToken = "from_token"
        case tokens, ended, why
        case cost = "cost_ucr"
        case gapMilliseconds = "gap_ms"
        case receipt
        case droppedFields = "dropped_fields"
    }
}

/// What the task consumed, and what it costs.
public struct TaskUsage: Codable, Sendable, Equatable {
    public var promptTokens: Int
    public var completionTokens: Int
    public var cachedTokens: Int
    public var cost: Money

    public init(promptTokens: Int = 0, completionTokens: Int = 0, cachedTokens: Int = 0, cost: Money = .zero)
    {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        self.cachedTokens = cachedTokens
        self.cost = cost
    }

    enum CodingKeys: String, CodingKey {
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case cachedTokens = "cached_tokens"
        case cost = "cost_ucr"
    }
}
