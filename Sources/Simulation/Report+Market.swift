// A run's market figures: how long clients waited, what they paid, and which sellers earned it.

import Primitives
import Wire

/// Figures of the market, from its clients and from the receipts that nodes keep.
public struct MarketFigures: Sendable {
    /// Sellers of one speed.
    public struct SellerClass: Sendable {
        public var tokensPerSecond: Int
        public var sellers = 0
        /// Tasks that such a seller delivered; with several workers, the last one counts.
        public var tasks = 0
        /// What was paid, and the tokens that it paid for.
        public var cost = Money.zero
        public var tokens = 0

        /// Credits per million tokens, which is micro-credits per token.
        public var price: Double { tokens > 0 ? Double(cost.microCredits) / Double(tokens) : 0 }
    }

    /// From a delivered task's submission to its end.
    public let completions: Distribution
    /// Tasks without a seller, among those whose client stayed and whose asker lived.
    public let refused: Int
    public let cost: Money
    public let tokens: Int
    /// The slowest first; a node that sells several models counts by its first.
    public let classes: [SellerClass]
    /// By node: what others owe it less what it owes.
    public let balances: [Money]

    init(_ world: World) {
        let clients = world.clients
        let delivered = clients.filter { $0.outcome == .delivered }
        completions = Distribution(
            delivered.compactMap { client in client.endedAt.map { $0 - client.submittedAt } })
        refused = clients.count { if case .refused = $0.outcome { true } else { false } }
        cost = delivered.reduce(.zero) { $0 + $1.cost }
        tokens = delivered.reduce(0) { $0 + $1.billedTokens }
        balances = world.hosts.map(\.balances.net)
        classes = Self.classes(delivered, world.hosts)
    }

    private static func classes(_ delivered: [Client], _ hosts: [Host]) -> [SellerClass] {
        var list: [SellerClass] = []
        var places: [PublicKey: Int] = [:]
        let sellers = hosts.filter { !$0.plan.serves.isEmpty }
            .sorted { $0.plan.serves[0].tokensPerSecond < $1.plan.serves[0].tokensPerSecond }
        for host in sellers {
            let speed = host.plan.serves[0].tokensPerSecond
            if list.last?.tokensPerSecond != speed { list.append(SellerClass(tokensPerSecond: speed)) }
            list[list.count - 1].sellers += 1
            places[host.identity.publicKey] = list.count - 1
        }
        for client in delivered {
            guard let worker = client.worker, let place = places[worker] else { continue }
            list[place].tasks += 1
            list[place].cost += client.cost
            list[place].tokens += client.billedTokens
        }
        return list
    }

    /// Credits per million tokens, over all delivered tasks.
    public var price: Double { tokens > 0 ? Double(cost.microCredits) / Double(tokens) : 0 }

    /// The names of `measures`.
    static let measureNames = [
        "completion_mean", "completion_p50", "completion_p95", "completion_p99", "refused", "price_per_mtok",
        "cost_total", "balance_max", "balance_sum",
    ]

    /// `answerable`: tasks whose client stayed and whose asker lived.
    func measures(answerable: Int) -> [Measure] {
        var list = Self.measures("completion", completions)
        if answerable > 0 {
            list.append(Measure("refused", Double(refused) * 100 / Double(answerable), "%"))
        }
        if tokens > 0 { list.append(Measure("price_per_mtok", price, "cr/Mtok")) }
        list.append(Measure("cost_total", Double(cost.microCredits), "µcr"))
        let largest = balances.map(\.magnitude).max() ?? .zero
        list.append(Measure("balance_max", Double(largest.microCredits), "µcr"))
        list.append(Measure("balance_sum", Double(balances.reduce(.zero, +).microCredits), "µcr"))
        return list
    }

    /// Mean and quantiles in seconds; empty for an empty distribution.
    static func measures(_ name: String, _ distribution: Distribution) -> [Measure] {
        guard distribution.count > 0 else { return [] }
        return [("mean", distribution.mean)].map { Measure("\(name)_\($0.0)", Double($0.1) / 1e9, "s") }
            + [50, 95, 99].map { percent in
                Measure("\(name)_p\(percent)", Double(distribution.percentile(percent)) / 1e9, "s")
            }
    }

    /// One JSON object.
    var json: String {
        let rows = classes.map { row in
            "{\"tokens_per_s\": \(row.tokensPerSecond), \"sellers\": \(row.sellers), \"tasks\": \(row.tasks), "
                + "\"cost_cr\": \(Report.decimal(Double(row.cost.microCredits) / 1e6)), "
                + "\"price_per_mtok\": \(Report.decimal(row.price))}"
        }
        return "{\"refused\": \(refused), \"cost_ucr\": \(cost), \"tokens\": \(tokens), \"classes\": ["
            + rows.joined(separator: ", ") + "], \"balances_ucr\": ["
            + balances.map { "\($0)" }.joined(separator: ", ") + "]}"
    }

    /// Rows for the text report.
    var lines: [String] {
        guard tokens > 0 else { return [] }
        let sold = classes.filter { $0.tasks > 0 }.map {
            "\(counted($0.tasks, "task")) by sellers of \($0.tokensPerSecond) tokens/s"
        }
        return [
            "  price paid               \(Report.decimal(price)) credits per million tokens; \(cost) µcr in total",
            "  delivered by             " + sold.joined(separator: ", "),
        ]
    }
}

extension World {
    /// The balances of all nodes sum to zero, because one node's debt is another's claim. A receipt that
    /// never reached its worker leaves the sum below zero, which happens when a node died or was cut off. A
    /// sum above zero means that a node claims something that no buyer signed.
    func checkBalances() {
        let sum = hosts.reduce(Money.zero) { $0 + $1.balances.net }
        let isUndisturbed =
            scenario.events.isEmpty && clients.allSatisfy { $0.outcome == .delivered || $0.awards == 0 }
        if sum > .zero || sum < .zero && isUndisturbed {
            violate(.balancesSum, host: nil, "balances sum to \(sum) micro-credits over all nodes")
        }
    }
}
