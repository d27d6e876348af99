import Primitives

/// What this node's own clients used, in sums. They saturate.
public struct UsageSums: Hashable, Sendable {
    /// Tasks that cost something or got an answer.
    public var tasks: Int64 = 0
    public var promptTokens: Int64 = 0
    public var completionTokens: Int64 = 0
    public var cost = Money.zero

    public init(
        tasks: Int64 = 0, promptTokens: Int64 = 0, completionTokens: Int64 = 0, cost: Money = .zero
    ) {
        (self.tasks, self.cost) = (tasks, cost)
        (self.promptTokens, self.completionTokens) = (promptTokens, completionTokens)
    }

    public static func += (a: inout UsageSums, b: UsageSums) {
        a.tasks = sum(a.tasks, b.tasks)
        a.promptTokens = sum(a.promptTokens, b.promptTokens)
        a.completionTokens = sum(a.completionTokens, b.completionTokens)
        a.cost += b.cost
    }

    private static func sum(_ a: Int64, _ b: Int64) -> Int64 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : sum
    }
}

/// Usage by UTC day (days since 1970), client and model, as it comes or as it is kept.
public struct Usage: Sendable, Equatable {
    public struct Key: Hashable, Sendable {
        /// 0: on one of the days before those that are kept apart.
        public var day: Int64
        /// The name of an API key; empty: the owner.
        public var client: String
        public var model: String

        public init(day: Int64, client: String, model: String) {
            (self.day, self.client, self.model) = (day, client, model)
        }
    }

    public var sums: [Key: UsageSums] = [:]

    public init() {}

    public var isEmpty: Bool { sums.isEmpty }

    public static func += (a: inout Usage, b: Usage) {
        for (key, sums) in b.sums { a.sums[key, default: UsageSums()] += sums }
    }
}

extension Ledger {
    /// Adds `usage`, and sums days that are no longer kept apart into day 0. Sums in SQL stop at 2^53, before they overflow.
    public func add(_ usage: Usage, today: Int64) throws {
        guard !usage.isEmpty else { return }
        // Before it, not after it as in `write`: what is added twice counts twice.
        try checkPlace()
        try database.transaction {
            let statement = try database.prepare(
                """
                INSERT INTO usage VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
                  tasks = tasks + excluded.tasks,
                  prompt_tokens = min(prompt_tokens + excluded.prompt_tokens, 9007199254740992),
                  completion_tokens = min(completion_tokens + excluded.completion_tokens, 9007199254740992),
                  cost_ucr = min(cost_ucr + excluded.cost_ucr, 9007199254740992)
                """)
            for (key, sums) in usage.sums {
                try statement.run([
                    .integer(key.day), .text(key.client), .text(key.model), .integer(sums.tasks),
                    .integer(min(sums.promptTokens, 1 << 53)),
                    .integer(min(sums.completionTokens, 1 << 53)),
                    .integer(min(sums.cost.microCredits, 1 << 53)),
                ])
            }
            let oldest = DatabaseValue.integer(today - limits.saleDaysMax)
            try database.run(
                """
                INSERT INTO usage SELECT 0, client, model, sum(tasks),
                  CAST(min(total(prompt_tokens), 9007199254740992) AS INTEGER),
                  CAST(min(total(completion_tokens), 9007199254740992) AS INTEGER),
                  CAST(min(total(cost_ucr), 9007199254740992) AS INTEGER)
                FROM usage WHERE day > 0 AND day <= ? GROUP BY client, model ON CONFLICT DO UPDATE SET
                  tasks = tasks + excluded.tasks,
                  prompt_tokens = min(prompt_tokens + excluded.prompt_tokens, 9007199254740992),
                  completion_tokens = min(completion_tokens + excluded.completion_tokens, 9007199254740992),
                  cost_ucr = min(cost_ucr + excluded.cost_ucr, 9007199254740992)
                """, [oldest])
            try database.run("DELETE FROM usage WHERE day > 0 AND day <= ?", [oldest])
        }
    }

    /// All that is kept of usage.
    public func usage() throws -> Usage {
        var kept = Usage()
        try database.prepare(
            "SELECT day, client, model, tasks, prompt_tokens, completion_tokens, cost_ucr FROM usage"
        ).run { row in
            guard let day = row.integer(0), let client = row.text(1), let model = row.text(2) else { return }
            kept.sums[Usage.Key(day: day, client: client, model: model)] = UsageSums(
                tasks: row.integer(3) ?? 0, promptTokens: row.integer(4) ?? 0,
                completionTokens: row.integer(5) ?? 0, cost: Money(microCredits: row.integer(6) ?? 0))
        }
        return kept
    }
}
