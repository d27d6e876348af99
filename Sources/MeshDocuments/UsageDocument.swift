// `GET /mesh/usage` and `starling usage --json`: what this node's own clients used, and what they may spend.

import Primitives

/// Sums of what was used.
public struct UsageSumsDocument: Codable, Sendable, Equatable {
    /// Tasks that cost something or got an answer.
    public var tasks: Int64
    public var promptTokens: Int64
    public var completionTokens: Int64
    public var cost: Money

    public init(
        tasks: Int64 = 0, promptTokens: Int64 = 0, completionTokens: Int64 = 0, cost: Money = .zero
    ) {
        (self.tasks, self.cost) = (tasks, cost)
        (self.promptTokens, self.completionTokens) = (promptTokens, completionTokens)
    }

    enum CodingKeys: String, CodingKey {
        case tasks
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case cost = "cost_ucr"
    }
}

/// What may be spent in a UTC day.
public struct BudgetDocument: Codable, Sendable, Equatable {
    /// Nil: any amount.
    @Nullable public var creditsPerDay: Money?
    /// What running tasks can cost at most.
    public var reserved: Money
    /// Today's, without what is reserved; nil: any amount.
    @Nullable public var left: Money?

    public init(creditsPerDay: Money? = nil, reserved: Money = .zero, left: Money? = nil) {
        self.reserved = reserved
        self.creditsPerDay = creditsPerDay
        self.left = left
    }

    enum CodingKeys: String, CodingKey {
        case creditsPerDay = "credits_per_day_ucr"
        case reserved = "reserved_ucr"
        case left = "left_ucr"
    }
}

/// What this node's own clients used, and what they may spend.
public struct UsageDocument: Codable, Sendable, Equatable {
    public struct Model: Codable, Sendable, Equatable {
        public var model: String
        public var used: PeriodsDocument<UsageSumsDocument>
        public init(model: String, used: PeriodsDocument<UsageSumsDocument>) {
            (self.model, self.used) = (model, used)
        }
    }

    public struct Client: Codable, Sendable, Equatable {
        /// The name of an API key; empty: the owner.
        public var client: String
        public var budget: BudgetDocument
        public var used: PeriodsDocument<UsageSumsDocument>
        public var models: [Model]
        public init(
            client: String, budget: BudgetDocument, used: PeriodsDocument<UsageSumsDocument>, models: [Model]
        ) {
            (self.client, self.budget, self.used, self.models) = (client, budget, used, models)
        }
    }

    /// Of all clients together; nil where only one's usage was asked for.
    @Nullable public var node: BudgetDocument?
    /// By name.
    public var clients: [Client]

    public init(node: BudgetDocument?, clients: [Client]) {
        self.clients = clients
        self.node = node
    }
}
