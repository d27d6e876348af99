// What a node sold and refused, in its status.

import Primitives

/// Sums of sales.
public struct SaleSumsDocument: Codable, Sendable, Equatable {
    /// Finished answers, and those that ended in another way.
    public var answers: Int64
    public var broken: Int64
    public var promptTokens: Int64
    public var completionTokens: Int64
    /// According to the buyers' receipts.
    public var earned: Money

    public init(
        answers: Int64 = 0, broken: Int64 = 0, promptTokens: Int64 = 0, completionTokens: Int64 = 0,
        earned: Money = .zero
    ) {
        (self.answers, self.broken, self.earned) = (answers, broken, earned)
        (self.promptTokens, self.completionTokens) = (promptTokens, completionTokens)
    }

    enum CodingKeys: String, CodingKey {
        case answers, broken
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case earned = "earned_ucr"
    }
}

/// A value for this UTC day, for it and the six before, and for all days.
public struct PeriodsDocument<Value: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
    public var today: Value
    public var week: Value
    public var all: Value

    public init(today: Value, week: Value, all: Value) {
        (self.today, self.week, self.all) = (today, week, all)
    }

    enum CodingKeys: String, CodingKey {
        case today
        case week = "days_7"
        case all
    }
}

/// What this node sold and refused.
public struct SalesDocument: Codable, Sendable, Equatable {
    public struct Model: Codable, Sendable, Equatable {
        public var model: String
        public var sold: PeriodsDocument<SaleSumsDocument>
        public init(model: String, sold: PeriodsDocument<SaleSumsDocument>) {
            (self.model, self.sold) = (model, sold)
        }
    }

    public struct Buyer: Codable, Sendable, Equatable {
        /// Nil: buyers that are no longer kept apart.
        @Nullable public var nodeID: String?
        public var name: String
        public var isPinned: Bool
        public var sold: PeriodsDocument<SaleSumsDocument>

        public init(
            nodeID: String?, name: String, isPinned: Bool, sold: PeriodsDocument<SaleSumsDocument>
        ) {
            (self.nodeID, self.name, self.isPinned, self.sold) = (nodeID, name, isPinned, sold)
        }

        enum CodingKeys: String, CodingKey {
            case nodeID = "node_id"
            case name
            case isPinned = "pinned"
            case sold
        }
    }

    public struct Refusal: Codable, Sendable, Equatable {
        public var reason: String
        public var calls: PeriodsDocument<Int64>
        public init(reason: String, calls: PeriodsDocument<Int64>) {
            (self.reason, self.calls) = (reason, calls)
        }
    }

    public var total: PeriodsDocument<SaleSumsDocument>
    public var models: [Model]
    /// Those with the most tokens of the last seven days, then of all.
    public var buyers: [Buyer]
    /// Calls for bids that were declined, by reason, the most frequent first.
    public var refused: [Refusal]

    public init(
        total: PeriodsDocument<SaleSumsDocument>, models: [Model], buyers: [Buyer], refused: [Refusal]
    ) {
        (self.total, self.models, self.buyers, self.refused) = (total, models, buyers, refused)
    }
}

/// One node of `mesh.join`.
public struct JoinDocument: Codable, Sendable, Equatable {
    /// `starling://PUBLICKEY@address:port`
    public var url: String
    public var reached: Bool
    /// Why it isn't reached, and the fix; nil while it is being tried.
    @Nullable public var problem: String?

    public init(url: String, reached: Bool, problem: String? = nil) {
        (self.url, self.reached) = (url, reached)
        self.problem = problem
    }
}
