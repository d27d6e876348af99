import Primitives
import Wire

/// The events of a client's task, in order: `awarded` (again for each worker after a failover), deltas, then
/// exactly one of `finished` and `failed`. A quote has one event alone. A client that doesn't stream may see `restarted` in between.
public enum ClientEvent: Sendable {
    case awarded(AwardSummary)
    case delta(text: [UInt8], tokens: UInt32, extra: [UInt8])
    /// Nothing new for a while: the award stands, and the worker reports its phase.
    case progress(Progress)
    /// The deltas so far are void: the answer begins again, with other weights. Only for a task that doesn't
    /// stream.
    case restarted
    case finished(TaskSummary)
    case failed(TaskFailure)
    /// The only event of a quote.
    indirect case quoted(Result<Quote, TaskFailure>)
}

/// The answering node and its terms, for the response headers.
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
    /// Durations so far: choosing candidates, collecting bids, award.
    public var choose: Interval
    public var collect: Interval
    public var award: Interval
    public var resume: ResumeKind
    /// The one of the client's models that the worker sells.
    public var model: String
    /// The worker that had the task before; nil: this is the first.
    public var after: Failover?

    public init(
        attempt: UInt32, worker: PublicKey, workerName: String, quantization: String, digest: Bytes32?,
        price: Price, known: Int, asked: Int, bids: Int, choose: Interval, collect: Interval, award: Interval,
        resume: ResumeKind, model: String = "", after: Failover? = nil
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
        self.model = model
        self.after = after
    }
}

/// A worker that took a task and didn't end it, for the log.
public struct Failover: Sendable {
    public var worker: PublicKey
    public var name: String
    public var reason: Reason
    /// Its model server's words, or what this node saw.
    public var why: String
    /// What the client had got of the answer by then.
    public var tokens: UInt32
}

/// How a task survives its worker: in mid-stream, only before its first byte, or not at all.
public enum ResumeKind: String, Sendable { case stream, start, none }

/// The bill and the end of a delivered task.
public struct TaskSummary: Sendable {
    public var reason: String
    public var promptTokens: UInt32
    public var cachedTokens: UInt32
    public var completionTokens: UInt32
    /// Over all assignments.
    public var cost: Money
    public var workers: [PublicKey]
    public var failovers: Int
    public var firstToken: Interval
    /// The whole answer as JSON, for an embedding; else empty.
    public var extra: [UInt8]
    /// What of the cost was for answers that broke off and began again, and their tokens, which are no part of the others.
    public var discarded: (tokens: UInt32, cost: Money)

    public init(
        reason: String, promptTokens: UInt32, cachedTokens: UInt32, completionTokens: UInt32, cost: Money,
        workers: [PublicKey], failovers: Int, firstToken: Interval, extra: [UInt8],
        discarded: (tokens: UInt32, cost: Money) = (0, .zero)
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
        self.discarded = discarded
    }
}
