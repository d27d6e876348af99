import Primitives

/// What was sold, in sums. They saturate.
public struct SaleSums: Hashable, Sendable {
    /// Finished answers, and those that ended in another way.
    public var answers: Int64 = 0
    public var broken: Int64 = 0
    public var promptTokens: Int64 = 0
    public var completionTokens: Int64 = 0
    /// According to the buyers' receipts.
    public var earned = Money.zero

    public init(
        answers: Int64 = 0, broken: Int64 = 0, promptTokens: Int64 = 0, completionTokens: Int64 = 0,
        earned: Money = .zero
    ) {
        (self.answers, self.broken, self.earned) = (answers, broken, earned)
        (self.promptTokens, self.completionTokens) = (promptTokens, completionTokens)
    }

    public static func += (a: inout SaleSums, b: SaleSums) {
        a.answers = sum(a.answers, b.answers)
        a.broken = sum(a.broken, b.broken)
        a.promptTokens = sum(a.promptTokens, b.promptTokens)
        a.completionTokens = sum(a.completionTokens, b.completionTokens)
        a.earned += b.earned
    }

    private static func sum(_ a: Int64, _ b: Int64) -> Int64 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : sum
    }
}

/// Sales and refusals by UTC day (days since 1970), as they come or as they are kept.
public struct Sales: Sendable, Equatable {
    public struct Sale: Hashable, Sendable {
        /// 0: on one of the days before those that are kept apart.
        public var day: Int64
        public var model: String
        /// All zero: buyers that are no longer kept apart.
        public var buyer: PublicKey

        public init(day: Int64, model: String, buyer: PublicKey) {
            (self.day, self.model, self.buyer) = (day, model, buyer)
        }
    }

    /// Calls for bids that were declined.
    public struct Refusal: Hashable, Sendable {
        public var day: Int64
        /// Empty: a model that isn't sold here.
        public var model: String
        public var reason: String

        public init(day: Int64, model: String, reason: String) {
            (self.day, self.model, self.reason) = (day, model, reason)
        }
    }

    public var sales: [Sale: SaleSums] = [:]
    public var refusals: [Refusal: Int64] = [:]

    public init() {}

    public var isEmpty: Bool { sales.isEmpty && refusals.isEmpty }

    public static func += (a: inout Sales, b: Sales) {
        for (key, sums) in b.sales { a.sales[key, default: SaleSums()] += sums }
        for (key, count) in b.refusals { a.refusals[key, default: 0] &+= count }
    }
}
