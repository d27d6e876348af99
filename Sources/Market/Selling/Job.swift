import Primitives
import Wire

/// A worker's piece of work: one attempt of somebody's task, handed to the inference driver.
public struct Job: Sendable {
    /// Unique on this node.
    public var id: JobID
    public var task: TaskID
    public var attempt: UInt32
    public var buyer: PublicKey
    public var kind: TaskKind
    public var model: String
    /// The request's JSON as the client sent it: the driver passes on only the fields that it lists.
    public var body: [UInt8]
    /// Text that other workers delivered already; the answer goes on from it.
    public var delivered: [UInt8]
    /// nil: the rest of the context.
    public var maxTokens: UInt32?
    public var deadline: Interval

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

/// What the inference driver reports of a job, in order; `finished` or `failed` is the last.
public enum JobEvent: Sendable {
    /// What the backend is doing while it produces nothing: told to the buyer with the next progress frame.
    case phase(Phase)
    /// Whole tokens and whole UTF-8 characters. `extra`: the backend's `choices` as JSON when it says more than text.
    case produced(text: [UInt8], tokens: UInt32, extra: [UInt8])
    case finished(Finish)
    case failed(Fail)
}

/// What a node can serve of one model right now: kept up to date by the shell.
public struct ServedModel: Sendable {
    public var model: String
    public var price: Price
    public var slots: Int
    public var context: UInt32
    public var features: Features
    public var continues: Bool
    public var digest: Bytes32?
    public var digestSource: DigestSource
    public var quantization: String
    public var speed: Speed
    public var available: Availability
    public enum Availability: Hashable, Sendable { case up, paused, down(String), leaving }

    public init(
        model: String, price: Price, slots: Int, context: UInt32, features: Features, continues: Bool,
        digest: Bytes32?, digestSource: DigestSource = .none, quantization: String, speed: Speed,
        available: Availability = .up
    ) {
        self.model = model
        self.price = price
        self.slots = slots
        self.context = context
        self.features = features
        self.continues = continues
        self.digest = digest
        self.digestSource = digestSource
        self.quantization = quantization
        self.speed = speed
        self.available = available
    }
}
