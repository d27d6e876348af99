// `GET /mesh/offers?model=…` and `starling offers --json`.

/// The offers that this node holds.
public struct OffersDocument: Codable, Sendable, Equatable {
    public var asOf: String
    public var offers: [OfferDocument]

    public init(asOf: String, offers: [OfferDocument] = []) {
        self.asOf = asOf
        self.offers = offers
    }

    enum CodingKeys: String, CodingKey {
        case asOf = "as_of"
        case offers
    }
}

/// Micro-credits per million tokens.
public struct PriceDocument: Codable, Sendable, Equatable {
    public var input: Int64
    public var cachedInput: Int64
    public var output: Int64

    public init(input: Int64, cachedInput: Int64 = 0, output: Int64) {
        self.input = input
        self.cachedInput = cachedInput
        self.output = output
    }

    enum CodingKeys: String, CodingKey {
        case input
        case cachedInput = "cached_input"
        case output
    }
}

/// One node's terms for one model.
public struct OfferDocument: Codable, Sendable, Equatable {
    public struct Digest: Codable, Sendable, Equatable {
        /// `sha256:` followed by hexadecimal digits.
        public var value: String
        /// `file`, `backend` or `none`.
        public var how: String
        public init(value: String, how: String) {
            self.value = value
            self.how = how
        }
    }

    public struct Measured: Codable, Sendable, Equatable {
        public var firstTokenMilliseconds: Int
        public var tokensPerSecond: Double
        @Nullable public var coldMilliseconds: Int?
        /// How fast it reads a prompt.
        @Nullable public var promptTokensPerSecond: Int?
        public init(
            firstTokenMilliseconds: Int, tokensPerSecond: Double, coldMilliseconds: Int? = nil,
            promptTokensPerSecond: Int? = nil
        ) {
            self.firstTokenMilliseconds = firstTokenMilliseconds
            self.tokensPerSecond = tokensPerSecond
            self.coldMilliseconds = coldMilliseconds
            self.promptTokensPerSecond = promptTokensPerSecond
        }
        enum CodingKeys: String, CodingKey {
            case firstTokenMilliseconds = "first_token_ms"
            case tokensPerSecond = "tokens_per_s"
            case coldMilliseconds = "cold_ms"
            case promptTokensPerSecond = "prompt_tokens_per_s"
        }
    }

    public var model: String
    public var nodeID: String
    /// The owner's name for the seller if it is pinned, else the label that the seller gives itself.
    public var name: String
    public var isPinned: Bool
    /// Whether this node's owner denies the seller: it is never asked.
    public var isDenied: Bool
    public var quantization: String
    public var context: Int
    @Nullable public var digest: Digest?
    /// `chat`, `completion`, `embedding`, `tools`, `logprobs`, `json_schema`, `images`.
    public var features: [String]
    public var continues: Bool
    public var price: PriceDocument
    public var slots: Int
    public var measured: Measured
    public var sequence: UInt64
    public var issuedAt: String
    public var notAfter: String
    /// `self` for an own offer, else `gossip`.
    public var heardVia: String
    public var ageMilliseconds: Int64

    public init(
        model: String, nodeID: String, name: String, isPinned: Bool = false, isDenied: Bool = false,
        quantization: String,
        context: Int,
        digest: Digest? = nil,
        features: [String], continues: Bool, price: PriceDocument, slots: Int, measured: Measured,
        sequence: UInt64, issuedAt: String, notAfter: String, heardVia: String, ageMilliseconds: Int64
    ) {
        self.model = model
        self.nodeID = nodeID
        self.name = name
        self.isPinned = isPinned
        self.isDenied = isDenied
        self.quantization = quantization
        self.context = context
        self.digest = digest
        self.features = features
        self.continues = continues
        self.price = price
        self.slots = slots
        self.measured = measured
        self.sequence = sequence
        self.issuedAt = issuedAt
        self.notAfter = notAfter
        self.heardVia = heardVia
        self.ageMilliseconds = ageMilliseconds
    }

    enum CodingKeys: String, CodingKey {
        case model
        case nodeID = "node_id"
        case name
        case isPinned = "pinned"
        case isDenied = "denied"
        case quantization, context, digest, features, continues
        case price = "price_ucr_per_million"
        case slots, measured, sequence
        case issuedAt = "issued_at"
        case notAfter = "not_after"
        case heardVia = "heard_via"
        case ageMilliseconds = "age_ms"
    }
}

/// What a node knows of one model's market: one entry of `/v1/models`. It informs clients and never routes a
/// task.
public struct ModelSummaryDocument: Codable, Sendable, Equatable {
    public var model: String
    /// The largest context on offer, in tokens.
    public var context: Int
    public var providers: Int
    public var quantizations: [String]
    public var features: [String]
    /// The range over all offers, in micro-credits per million tokens.
    public var lowestPrice: PriceDocument
    public var highestPrice: PriceDocument

    public init(
        model: String, context: Int, providers: Int, quantizations: [String] = [], features: [String] = [],
        lowestPrice: PriceDocument, highestPrice: PriceDocument
    ) {
        self.model = model
        self.context = context
        self.providers = providers
        self.quantizations = quantizations
        self.features = features
        self.lowestPrice = lowestPrice
        self.highestPrice = highestPrice
    }

    enum CodingKeys: String, CodingKey {
        case model, context, providers, quantizations, features
        case lowestPrice = "lowest_price_ucr_per_million"
        case highestPrice = "highest_price_ucr_per_million"
    }
}
