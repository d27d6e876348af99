import Primitives

/// How far a node can be reached. `records.proto`.
public enum Reachability: UInt32, Sendable {
    case unknown = 0, direct, outbound
    /// Answers datagrams from strangers, but accepts no channels.
    case datagrams

    /// False for a node that is only a client of the DHT.
    public var answersStrangers: Bool { self != .outbound }
    /// Whether others may dial it.
    public var acceptsChannels: Bool { self != .outbound && self != .datagrams }
}

/// How to reach a node: key, endpoints and a sequence number, signed by the node itself. `records.proto`.
public struct Contact: Hashable, Sendable {
    public var publicKey: PublicKey
    public var endpoints: [Endpoint]
    public var reachability: Reachability
    public var sequence: UInt64
    public var issuedAt: WallTime
    public var name: String
    public var versions: [UInt32]

    public init(
        publicKey: PublicKey, endpoints: [Endpoint] = [], reachability: Reachability = .unknown,
        sequence: UInt64 = 0,
        issuedAt: WallTime = WallTime(milliseconds: 0), name: String = "", versions: [UInt32] = [1]
    ) {
        self.publicKey = publicKey
        self.endpoints = endpoints
        self.reachability = reachability
        self.sequence = sequence
        self.issuedAt = issuedAt
        self.name = name
        self.versions = versions
    }
}

/// A node's statement that it serves a topic, which registrars keep and searchers verify.
public struct Registration: Hashable, Sendable {
    public var publicKey: PublicKey
    public var topic: TopicID
    public var endpoints: [Endpoint]
    public var issuedAt: WallTime

    public init(
        publicKey: PublicKey, topic: TopicID, endpoints: [Endpoint] = [],
        issuedAt: WallTime = WallTime(milliseconds: 0)
    ) {
        self.publicKey = publicKey
        self.topic = topic
        self.endpoints = endpoints
        self.issuedAt = issuedAt
    }
}

/// Micro-credits per million tokens.
public struct Price: Hashable, Sendable {
    public var input: Int64
    public var cachedInput: Int64
    public var output: Int64
    public init(input: Int64 = 0, cachedInput: Int64 = 0, output: Int64 = 0) {
        self.input = input
        self.cachedInput = cachedInput
        self.output = output
    }
}

/// Where a model digest comes from.
public enum DigestSource: UInt32, Sendable { case none = 0, file, backend }

/// A backend's speed, measured by its node on one answer at a time.
public struct Speed: Hashable, Sendable {
    public var firstTokenMilliseconds: UInt32
    /// Tokens per second × 1000.
    public var millitokensPerSecond: UInt32
    /// First token of a model that is not loaded; 0: unknown.
    public var coldFirstTokenMilliseconds: UInt32
    /// How fast it reads a prompt; 0: unknown.
    public var promptTokensPerSecond: UInt32
    public init(
        firstTokenMilliseconds: UInt32 = 0, millitokensPerSecond: UInt32 = 0,
        coldFirstTokenMilliseconds: UInt32 = 0, promptTokensPerSecond: UInt32 = 0
    ) {
        self.firstTokenMilliseconds = firstTokenMilliseconds
        self.millitokensPerSecond = millitokensPerSecond
        self.coldFirstTokenMilliseconds = coldFirstTokenMilliseconds
        self.promptTokensPerSecond = promptTokensPerSecond
    }
}

/// A node's signed, expiring statement that it serves one model on these terms. `records.proto`.
public struct Offer: Hashable, Sendable {
    public var publicKey: PublicKey
    public var model: String
    public var digest: Bytes32?
    public var digestSource: DigestSource
    public var quantization: String
    public var context: UInt32
    public var features: Features
    public var continues: Bool
    public var price: Price
    public var slots: UInt32
    public var speed: Speed
    public var endpoints: [Endpoint]
    public var reachability: Reachability
    public var name: String
    public var sequence: UInt64
    public var issuedAt: WallTime
    public var notAfter: WallTime
    public var withdrawn: Bool

    public init(
        publicKey: PublicKey, model: String, digest: Bytes32? = nil, digestSource: DigestSource = .none,
        quantization: String = "", context: UInt32 = 0, features: Features = [], continues: Bool = false,
        price: Price = Price(), slots: UInt32 = 0, speed: Speed = Speed(), endpoints: [Endpoint] = [],
        reachability: Reachability = .unknown, name: String = "", sequence: UInt64 = 0,
        issuedAt: WallTime = WallTime(milliseconds: 0), notAfter: WallTime = WallTime(milliseconds: 0),
        withdrawn: Bool = false
    ) {
        self.publicKey = publicKey
        self.model = model
        self.digest = digest
        self.digestSource = digestSource
        self.quantization = quantization
        self.context = context
        self.features = features
        self.continues = continues
        self.price = price
        self.slots = slots
        self.speed = speed
        self.endpoints = endpoints
        self.reachability = reachability
        self.name = name
        self.sequence = sequence
        self.issuedAt = issuedAt
        self.notAfter = notAfter
        self.withdrawn = withdrawn
    }
}

/// A sealed price and speed for one task, which holds a slot until the call closes. `records.proto`.
public struct Bid: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    public var bidder: PublicKey
    public var buyer: PublicKey
    public var price: Price
    public var queueMilliseconds: UInt32
    public var firstTokenMilliseconds: UInt32
    public var millitokensPerSecond: UInt32
    public var cachedTokens: UInt32
    public var workerDials: Bool
    public var digest: Bytes32?
    public var quantization: String
    public var continues: Bool
    public var context: UInt32
    /// How fast the prompt is read; 0: unknown.
    public var promptTokensPerSecond: UInt32

    public init(
        task: TaskID, attempt: UInt32, bidder: PublicKey, buyer: PublicKey, price: Price = Price(),
        queueMilliseconds: UInt32 = 0, firstTokenMilliseconds: UInt32 = 0, millitokensPerSecond: UInt32 = 0,
        cachedTokens: UInt32 = 0, workerDials: Bool = false, digest: Bytes32? = nil,
        quantization: String = "",
        continues: Bool = false, context: UInt32 = 0, promptTokensPerSecond: UInt32 = 0
    ) {
        self.task = task
        self.attempt = attempt
        self.bidder = bidder
        self.buyer = buyer
        self.price = price
        self.queueMilliseconds = queueMilliseconds
        self.firstTokenMilliseconds = firstTokenMilliseconds
        self.millitokensPerSecond = millitokensPerSecond
        self.cachedTokens = cachedTokens
        self.workerDials = workerDials
        self.digest = digest
        self.quantization = quantization
        self.continues = continues
        self.context = context
        self.promptTokensPerSecond = promptTokensPerSecond
    }
}

/// The buyer's cumulative acknowledgement of what one attempt delivered. `records.proto`.
public struct Receipt: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    public var buyer: PublicKey
    public var worker: PublicKey
    public var sequence: UInt64
    public var promptTokens: UInt64
    public var cachedTokens: UInt64
    public var completionTokens: UInt64
    public var cost: Money
    public var final: Bool
    public var issuedAt: WallTime

    public init(
        task: TaskID, attempt: UInt32, buyer: PublicKey, worker: PublicKey, sequence: UInt64 = 0,
        promptTokens: UInt64 = 0,
        cachedTokens: UInt64 = 0, completionTokens: UInt64 = 0, cost: Money = .zero, final: Bool = false,
        issuedAt: WallTime = WallTime(milliseconds: 0)
    ) {
        self.task = task
        self.attempt = attempt
        self.buyer = buyer
        self.worker = worker
        self.sequence = sequence
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.completionTokens = completionTokens
        self.cost = cost
        self.final = final
        self.issuedAt = issuedAt
    }
}
