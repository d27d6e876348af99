import Primitives

/// What an answer took and cost: OpenAI's `usage` extended by OpenRouter's `cost`, and our own object
/// `starling`.
public struct Usage: Hashable, Sendable {
    public var promptTokens: UInt32
    public var cachedTokens: UInt32
    public var completionTokens: UInt32
    /// Over all attempts.
    public var cost: Money
    public var task: String
    /// Node ids, in the order in which they answered.
    public var workers: [String]
    public var failovers: Int
    /// Of the cost, what was for answers that broke off and began again; their tokens are no part of the others.
    public var discardedTokens: UInt32
    public var discardedCost: Money

    public init(
        promptTokens: UInt32, cachedTokens: UInt32, completionTokens: UInt32, cost: Money, task: String,
        workers: [String], failovers: Int, discardedTokens: UInt32 = 0, discardedCost: Money = .zero
    ) {
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.completionTokens = completionTokens
        self.cost = cost
        self.task = task
        self.workers = workers
        self.failovers = failovers
        self.discardedTokens = discardedTokens
        self.discardedCost = discardedCost
    }

    /// The value of `usage`.
    var json: JSONTree {
        .object([
            .init("prompt_tokens", .number(String(promptTokens))),
            .init("completion_tokens", .number(String(completionTokens))),
            .init("total_tokens", .number(String(UInt64(promptTokens) + UInt64(completionTokens)))),
            .init("prompt_tokens_details", .object([.init("cached_tokens", .number(String(cachedTokens)))])),
            .init("cost", .number(Credits.text(cost.microCredits))),
            .init("cost_ucr", .number(cost.description)),
        ])
    }

    /// The value of `starling`.
    var starling: JSONTree {
        var members: [JSONTree.Member] = [
            .init("task", .string(task)),
            .init("workers", .array(workers.map { .string($0) })),
            .init("failovers", .number(String(failovers))),
        ]
        if discardedTokens > 0 || discardedCost > .zero {
            let lost: [JSONTree.Member] = [
                .init("completion_tokens", .number(String(discardedTokens))),
                .init("cost_ucr", .number(discardedCost.description)),
            ]
            members.append(.init("discarded", .object(lost)))
        }
        return .object(members)
    }
}
