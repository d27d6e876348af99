// The measures that a scenario's thresholds can name, and distributions as text.

import Primitives

/// One figure of a run. `unit` says whether `value` is percent, seconds, bytes a second or a count.
public struct Measure: Sendable {
    public var name: String
    public var value: Double
    public var unit: String
    public init(_ name: String, _ value: Double, _ unit: String) {
        self.name = name
        self.value = value
        self.unit = unit
    }
}

extension Report {
    /// The names of `measures`.
    public static let measureNames =
        MarketFigures.measureNames + [
            "answered", "convergence", "leave", "award_mean", "award_p50", "award_p95", "award_p99",
            "first_byte_mean", "first_byte_p50", "first_byte_p95", "first_byte_p99", "failovers",
            "failover_gap",
            "lookup_success", "lookup_p50", "lookup_p99", "search_success", "search_p50",
            "search_p99", "silent_calls", "sent_mean", "sent_max", "upkeep_bytes", "upkeep_packets",
        ]

    /// The measures of this run; those of events that didn't happen are missing.
    public var measures: [Measure] {
        var list: [Measure] = []
        func seconds(_ name: String, _ nanoseconds: Int64) {
            list.append(Measure(name, Double(nanoseconds) / 1e9, "s"))
        }
        if answerable > 0 {
            list.append(Measure("answered", Double(delivered) * 100 / Double(answerable), "%"))
        }
        if let convergence { seconds("convergence", convergence.nanoseconds) }
        if let slowest = leaves.max() { seconds("leave", slowest.nanoseconds) }
        for (name, distribution) in [("award", auctions), ("first_byte", firstBytes)] {
            list += MarketFigures.measures(name, distribution)
        }
        list += market.measures(answerable: answerable)
        list.append(Measure("failovers", Double(failovers), ""))
        seconds("failover_gap", failoverGaps.largest)
        for (name, result) in [("lookup", lookups), ("search", searches)] where result.count > 0 {
            list.append(Measure("\(name)_success", result.successPercent, "%"))
            seconds("\(name)_p50", result.times.percentile(50))
            seconds("\(name)_p99", result.times.percentile(99))
        }
        list.append(Measure("silent_calls", Double(silentCalls), ""))
        list.append(Measure("sent_mean", Double(sentPerNode.mean), "B/s"))
        list.append(Measure("sent_max", Double(sentPerNode.largest), "B/s"))
        list.append(Measure("upkeep_bytes", upkeep.perNode(upkeep.bytes, nodes: nodes), "B/s"))
        list.append(Measure("upkeep_packets", upkeep.perNode(upkeep.datagrams, nodes: nodes), "1/s"))
        return list
    }

    /// With at most three decimals.
    public static func decimal(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 9e15 else { return "null" }
        let thousandths = Int64((value * 1_000).rounded())
        let sign = thousandths < 0 ? "-" : ""
        let text = number(abs(thousandths), unit: 1_000, decimals: 3)
        var digits = text[...]
        while digits.hasSuffix("0") { digits.removeLast() }
        if digits.hasSuffix(".") { digits.removeLast() }
        return sign + digits
    }

    /// One row with a bar for each power of two.
    public static func histogram(_ title: String, _ distribution: Distribution, unit: Int64, _ name: String)
        -> [String]
    {
        guard distribution.count > 1 else { return [] }
        var rows: [(edge: Int64, count: Int)] = []
        for value in distribution.sorted {
            var edge = rows.last?.edge ?? unit
            let isNew = rows.isEmpty || value > edge
            while value > edge, edge < Int64.max / 2 { edge *= 2 }
            if isNew { rows.append((edge, 0)) }
            rows[rows.count - 1].count += 1
        }
        let most = rows.map(\.count).max() ?? 1
        func padded(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(0, width - text.count)) + text
        }
        return ["  \(title) (\(distribution.count)):"]
            + rows.map { row in
                "    <= " + padded("\(row.edge / unit)", 8) + " \(name) " + padded("\(row.count)", 7) + "  "
                    + String(repeating: "#", count: max(1, row.count * 40 / most))
            }
    }
}
