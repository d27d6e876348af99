import Primitives
import Wire

/// What a task costs its client: the sum of its assignments' bills.
struct TaskBill: Sendable {
    private(set) var promptTokens: UInt32 = 0
    private(set) var cachedTokens: UInt32 = 0
    private(set) var completionTokens: UInt32 = 0
    /// Over all assignments.
    private(set) var cost = Money.zero
    /// Of these, for answers that began again.
    private(set) var discarded: (tokens: UInt32, cost: Money) = (0, .zero)
    /// Workers that are paid or that finished, in order.
    private(set) var workers: [PublicKey] = []

    /// Adds an ended assignment. `continued` is the number of tokens that other workers had delivered before
    /// it: they were prompt for its worker, but not for the client.
    mutating func add(_ bill: Bill, of worker: PublicKey, continued: UInt32, finished: Bool) {
        cost += bill.cost
        completionTokens = completionTokens &+ UInt32(clamping: bill.completion)
        if bill.prompt > 0 {
            let repeated = UInt64(continued)
            promptTokens = UInt32(clamping: bill.prompt > repeated ? bill.prompt - repeated : bill.prompt)
            cachedTokens = min(promptTokens, UInt32(clamping: bill.cached))
        }
        if !bill.isEmpty || finished { workers.append(worker) }
    }

    /// The answer begins again: what was delivered so far has its price, but is no part of the answer.
    mutating func restart() {
        discarded = (discarded.tokens &+ completionTokens, cost)
        completionTokens = 0
    }
}
