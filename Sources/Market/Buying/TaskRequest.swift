import Primitives
import Wire

/// One client's request with its limits, as the gateway hands it to the auctioneer.
public struct TaskRequest: Sendable {
    public var kind: TaskKind
    /// Canonical model name.
    public var model: String
    /// The request's JSON as the client sent it, without routing preferences. Opaque to the core.
    public var body: [UInt8]
    public var tokensIn: UInt32
    /// What prices are compared for.
    public var tokensOutEstimate: UInt32
    /// The client's own limit; nil: the rest of the worker's context.
    public var tokensOutMax: UInt32?
    public var features: Features
    /// Plain text with one choice: may be continued by another worker in mid-stream.
    public var resumable: Bool
    public var deadline: Interval
    public var preferences: Preferences

    public init(
        kind: TaskKind, model: String, body: [UInt8], tokensIn: UInt32 = 0, tokensOutEstimate: UInt32 = 64,
        tokensOutMax: UInt32? = nil, features: Features = [], resumable: Bool = true,
        deadline: Interval = .seconds(600),
        preferences: Preferences = Preferences()
    ) {
        self.kind = kind
        self.model = model
        self.body = body
        self.tokensIn = tokensIn
        self.tokensOutEstimate = tokensOutEstimate
        self.tokensOutMax = tokensOutMax
        self.features = features
        self.resumable = resumable
        self.deadline = deadline
        self.preferences = preferences
    }
}

/// Whom a client accepts, and what it weighs. Every filter left nil or empty accepts everybody.
public struct Preferences: Hashable, Sendable {
    /// Rates, micro-credits per million tokens; cached input is not limited.
    public var maxInputPrice: Int64?
    public var maxOutputPrice: Int64?
    /// Micro-credits for the whole task, judged on the estimate.
    public var maxCost: Int64?
    public var quantizations: [String] = []
    public var digest: Bytes32?
    /// Full keys; the gateway resolves prefixes and names. `order` first, in order, then the rest unless fallbacks are off.
    public var order: [PublicKey] = []
    public var only: [PublicKey] = []
    public var ignore: [PublicKey] = []
    public var allowFallbacks = true
    /// Tokens per second × 1000.
    public var minMillitokensPerSecond: UInt32?
    public var maxFirstTokenMilliseconds: UInt32?
    public var weights = Weights()
    /// Trust × 1000; nodes below are not asked.
    public var minMillitrust: UInt32 = 0

    public init() {}
}

/// What a client sees of its task, in order: `awarded` (again for each worker after a failover), deltas, then exactly
/// one of `finished` and `failed`.
public enum ClientEvent: Sendable {
    case awarded(AwardSummary)
    case delta(text: [UInt8], tokens: UInt32, extra: [UInt8])
    /// Nothing new for a while: the award stands and the worker says what it is doing.
    case progress(Phase)
    case finished(TaskSummary)
    case failed(TaskFailure)
}

/// Who answers and on what terms: what the response headers say.
public struct AwardSummary: Sendable {
    public var attempt: UInt32
    public var worker: PublicKey
    public var workerName: String
    public var quantization: String
    public var digest: Bytes32?
    public var price: Price
    public var known: Int
    public var asked: Int
    public var bids: Int
    /// Phases so far: choosing candidates, collecting bids, award.
    public var choose: Interval
    public var collect: Interval
    public var award: Interval
    public var resume: ResumeKind

    public init(
        attempt: UInt32, worker: PublicKey, workerName: String, quantization: String, digest: Bytes32?,
        price: Price,
        known: Int, asked: Int, bids: Int, choose: Interval, collect: Interval, award: Interval,
        resume: ResumeKind
    ) {
        self.attempt = attempt
        self.worker = worker
        self.workerName = workerName
        self.quantization = quantization
        self.digest = digest
        self.price = price
        self.known = known
        self.asked = asked
        self.bids = bids
        self.choose = choose
        self.collect = collect
        self.award = award
        self.resume = resume
    }
}

/// How a task survives its worker: in mid-stream, only before its first byte, or not at all.
public enum ResumeKind: String, Sendable { case stream, start, none }

/// The bill and the end of a delivered task.
public struct TaskSummary: Sendable {
    public var reason: String
    public var promptTokens: UInt32
    public var cachedTokens: UInt32
    public var completionTokens: UInt32
    /// Micro-credits over all attempts.
    public var cost: Int64
    public var workers: [PublicKey]
    public var failovers: Int
    public var firstToken: Interval
    /// The whole answer as JSON, for an embedding; else empty.
    public var extra: [UInt8]

    public init(
        reason: String, promptTokens: UInt32, cachedTokens: UInt32, completionTokens: UInt32, cost: Int64,
        workers: [PublicKey], failovers: Int, firstToken: Interval, extra: [UInt8]
    ) {
        self.reason = reason
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.completionTokens = completionTokens
        self.cost = cost
        self.workers = workers
        self.failovers = failovers
        self.firstToken = firstToken
        self.extra = extra
    }
}

/// Why a known node was not asked or did not bid; the order is the order in which filters apply, and each known
/// node is counted once, under the first that it failed. Raw values are JSON keys.
public enum ExclusionReason: String, CaseIterable, Sendable {
    case otherModel = "other_model"
    case excluded = "excluded"
    case lacksParameter = "lacks_parameter"
    case contextTooSmall = "context_too_small"
    case overMaxPrice = "over_max_price"
    case tooSlow = "too_slow"
    case untrusted = "untrusted"
    case busy = "busy"
    case unreachable = "unreachable"
    case notSampled = "not_sampled"
}

/// Why a task ended without (the rest of) its answer.
public struct TaskFailure: Error, Sendable {
    public enum Code: String, Sendable {
        case modelNotFound = "model_not_found"
        case noBid = "no_bid"
        case overMaxPrice = "over_max_price"
        case tooSlow = "too_slow"
        case untrusted = "untrusted"
        case lacksParameter = "lacks_parameter"
        case excluded = "excluded"
        case busy = "busy"
        case unreachable = "unreachable"
        case contextLengthExceeded = "context_length_exceeded"
        case deadlineExceeded = "deadline_exceeded"
        case workerLost = "worker_lost"
        case invalidRequest = "invalid_request"
        case backendError = "backend_error"
        case cancelled = "cancelled"
        case tooManyTasks = "rate_limited"
        case leaving = "leaving"
    }
    public var code: Code
    /// A sentence for the client that names the thing and the fix.
    public var message: String
    public var known: Int = 0
    public var asked: Int = 0
    public var bids: Int = 0
    /// In the order of `ExclusionReason`; the counts add up to `known`.
    public var reasons: [(reason: ExclusionReason, nodes: Int)] = []
    public var nearest: NearestOffer?
    /// Models that can be had instead, with their lowest output price.
    public var alternatives: [(model: String, outputPrice: Int64)] = []
    public var largestContext: UInt32?
    public var retryAfter: Interval?
    /// Whether bytes had been delivered, and what they cost.
    public var delivered: TaskSummary?

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }
}

/// The seller that would have been acceptable with the smallest change, and the change.
public struct NearestOffer: Sendable {
    public var worker: PublicKey
    public var name: String
    /// A preference's path and the value that would do: ("provider.max_price.completion", 1 600 000).
    public var parameter: String
    public var value: Int64
    public init(worker: PublicKey, name: String, parameter: String, value: Int64) {
        self.worker = worker
        self.name = name
        self.parameter = parameter
        self.value = value
    }
}
