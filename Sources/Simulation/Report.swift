import Primitives

/// The results of a run in numbers; `text` is for people, `json` for scripts. Times are virtual.
public struct Report: Sendable {
    public let scenario: String
    public let seed: UInt64
    public let nodes: Int
    public let carrierKind: Carrier
    public let violations: [Violation]
    public let digest: String
    public let virtualTime: Interval
    public let events: Int
    /// From the last node's start until every node knew every offer.
    public let convergence: Interval?
    /// From each leave until no node listed the leaver's offers.
    public let leaves: [Interval]
    /// From a seller's restart until every node that had joined knew its newest offers.
    public let returns: [Interval]
    /// Outcomes with their counts, most frequent first.
    public let outcomes: [(name: String, count: Int)]
    public let tasks: Int
    public let delivered: Int
    /// Tasks that could be delivered: their client stayed and their asker lived.
    public let answerable: Int
    /// The most unanswered calls of one asker to one dead node; counted when a threshold asks for it.
    public let silentCalls: Int
    public let curves: Curves
    public let failovers: Int
    /// From a task's submission to its award, and to its first byte; from the last byte of a lost worker to
    /// the next byte.
    public let auctions: Distribution
    public let firstBytes: Distribution
    public let failoverGaps: Distribution
    public let market: MarketFigures
    public let carrier: CarrierCounts
    public let sentPerNode: Distribution
    public let upkeep: Upkeep
    /// Lookups and searches of the DHT that have ended, those that succeeded, and their times.
    public let lookups: ProbeResult
    public let searches: ProbeResult
    /// Drop counters over all nodes, without zeros.
    public let dropped: [(name: String, count: UInt64)]

    init(_ world: World, upkeep: Upkeep) {
        self.upkeep = upkeep
        scenario = world.scenario.name
        seed = world.scenario.seed
        nodes = world.hosts.count
        carrierKind = world.scenario.carrier
        violations = world.violations
        digest = world.digest.text
        virtualTime = Interval(nanoseconds: world.clock)
        events = world.counts.events
        convergence = world.watch.convergedAt.map {
            Interval(nanoseconds: max(0, $0 - world.watch.lastStart))
        }
        leaves = world.watch.leaves.compactMap { $0.knownAfter.map { Interval(nanoseconds: $0) } }
        returns = world.watch.returns.compactMap { back in
            back.knownAfter.flatMap { $0 < .max ? Interval(nanoseconds: $0) : nil }
        }
        let clients = world.clients
        tasks = clients.count
        delivered = clients.count { $0.outcome == .delivered }
        answerable = clients.count {
            $0.outcome != .cancelled && $0.outcome != .askerLost && $0.outcome != .notSubmitted
        }
        silentCalls = world.watch.silences.map(\.calls).max() ?? 0
        curves = world.curves
        failovers = clients.reduce(0) { $0 + $1.failovers }
        outcomes = Self.tally(clients)
        auctions = Distribution(
            clients.compactMap { client in client.awardedAt.map { $0 - client.submittedAt } })
        firstBytes = Distribution(
            clients.compactMap { client in client.firstByteAt.map { $0 - client.submittedAt } })
        failoverGaps = Distribution(clients.map(\.longestFailoverGap).filter { $0 > 0 })
        market = MarketFigures(world)
        carrier = world.counts
        sentPerNode = Distribution(
            world.hosts.filter { $0.impostor == nil }.map { host in
                let bytes = Int64(host.traffic.datagramBytesSent + host.traffic.streamBytesSent)
                return world.clock > 0 ? bytes * 1_000 / max(1, world.clock / 1_000_000) : 0
            })
        lookups = ProbeResult(world.probes.filter { $0.kind == .lookup })
        searches = ProbeResult(world.probes.filter { $0.kind != .lookup })
        var sums: [(name: String, count: UInt64)] = []
        for host in world.hosts {
            for (name, count) in world.dropped(host) where count > 0 {
                if let index = sums.firstIndex(where: { $0.name == name }) {
                    sums[index].count += count
                } else {
                    sums.append((name, count))
                }
            }
        }
        dropped = sums.sorted { ($1.count, $0.name) < ($0.count, $1.name) }
    }

    public var holds: Bool { violations.isEmpty }

    private static func tally(_ clients: [Client]) -> [(name: String, count: Int)] {
        var tally: [(name: String, count: Int)] = []
        for client in clients {
            let name = client.outcome.map(\.name) ?? "no_end"
            if let index = tally.firstIndex(where: { $0.name == name }) {
                tally[index].count += 1
            } else {
                tally.append((name, 1))
            }
        }
        return tally.sorted { ($1.count, $0.name) < ($0.count, $1.name) }
    }

    /// `value / unit` with `decimals` decimals, rounded down.
    static func number(_ value: Int64, unit: Int64, decimals: Int) -> String {
        let whole = value / unit
        guard decimals > 0 else { return "\(whole)" }
        var scale: Int64 = 1
        for _ in 0..<decimals { scale *= 10 }
        let digits = String(scale + (value % unit) * scale / unit).dropFirst()
        return "\(whole).\(digits)"
    }
}

extension Outcome {
    /// For example `refused:no_bid`.
    public var name: String {
        switch self {
        case .delivered: "delivered"
        case .refused(let code): "refused:\(code)"
        case .cancelled: "cancelled"
        case .failed(let code): "failed:\(code)"
        case .askerLost: "asker_lost"
        case .notSubmitted: "not_submitted"
        }
    }
}

/// Sorted values with their quantiles.
public struct Distribution: Sendable {
    public let sorted: [Int64]
    public init(_ values: [Int64]) { sorted = values.sorted() }
    public var count: Int { sorted.count }
    public var mean: Int64 { sorted.isEmpty ? 0 : sorted.reduce(0, +) / Int64(sorted.count) }
    /// The smallest value that `percent` % of all don't exceed; 0 if there are none.
    public func percentile(_ percent: Int) -> Int64 {
        guard !sorted.isEmpty else { return 0 }
        return sorted[max(0, min(sorted.count - 1, (sorted.count * percent + 99) / 100 - 1))]
    }
    public var largest: Int64 { sorted.last ?? 0 }
}
