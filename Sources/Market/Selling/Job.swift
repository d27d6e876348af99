import Primitives
import Wire

/// A worker's job for its inference driver: one assignment of a buyer's task.
public struct Job: Sendable {
    public var id: JobID
    public var task: TaskID
    public var attempt: UInt32
    public var buyer: PublicKey
    public var kind: TaskKind
    public var model: String
    /// The request's JSON as the client sent it. The driver passes on only the fields that it knows.
    public var body: [UInt8]
    /// Text that other workers have delivered already; the answer continues from it.
    public var delivered: [UInt8]
    /// nil: whatever is left of the context.
    public var maxTokens: UInt32?
    public var deadline: Interval
    /// Its bid's.
    public var price = Price()

    public init(
        id: JobID, task: TaskID, attempt: UInt32, buyer: PublicKey, kind: TaskKind, model: String,
        body: [UInt8],
        delivered: [UInt8], maxTokens: UInt32?, deadline: Interval
    ) {
        self.id = id
        self.task = task
        self.attempt = attempt
        self.buyer = buyer
        self.kind = kind
        self.model = model
        self.body = body
        self.delivered = delivered
        self.maxTokens = maxTokens
        self.deadline = deadline
    }
}

/// What the inference driver reports about a job, in order; the last is `finished` or `failed`.
public enum JobEvent: Sendable {
    /// What the backend is doing while it produces nothing; sent to the buyer with the next progress frame. `amount` as
    /// in `Progress`: prompt tokens read, or milliseconds until its turn; 0: unknown.
    case phase(Phase, amount: UInt32 = 0)
    /// Whole tokens and whole UTF-8 characters. `extra`: the backend's `choices` as JSON, if they contain
    /// more than text.
    case produced(text: [UInt8], tokens: UInt32, extra: [UInt8])
    case finished(Finish)
    case failed(Fail)
}
