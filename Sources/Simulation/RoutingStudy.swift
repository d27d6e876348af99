// Lookups among up to a million nodes, for `scripts/bench lookup-rounds` and `lookup-colluders`.

import Discovery
import Primitives
import Wire

/// Looks up random points from random honest nodes and reports the cost. The same plan gives the same report.
public enum RoutingStudy {
    public struct Plan: Sendable {
        public var nodes = 10_000
        public var lookups = 500
        /// Nodes that are in tables but never answer.
        public var deadPerMille = 0
        /// Nodes that name only each other, preferring those closest to the target.
        public var colludersPerMille = 0
        public var lossPerMille = 0
        public var roundTrip: Interval = .milliseconds(100)
        public var seed: UInt64 = 1
        public var parameters = DiscoveryParameters()
        public init() {}
    }

    public struct Report: Sendable {
        /// Ascending, one per lookup. `rounds` is the chain of answers that named the closest node, `chain`
        /// the longest of all.
        public var rounds: [Int] = []
        public var chain: [Int] = []
        public var asked: [Int] = []
        public var latency: [Interval] = []
        /// Lookups that found the honest node closest to their target.
        public var found = 0
        /// Mean entries of a table, and bytes of one node: its table and the rest of the value, and its
        /// contact, which all tables share here.
        public var tableEntries = 0
        public var tableBytes = 0
        public var fixedBytes = 0

        public var success: Double { rounds.isEmpty ? 0 : Double(found) / Double(rounds.count) }
        /// The value at `perMille` of an ascending list.
        public static func quantile<Value>(_ perMille: Int, of sorted: [Value]) -> Value? {
            sorted.isEmpty ? nil : sorted[min(sorted.count - 1, sorted.count * perMille / 1_000)]
        }
    }

    public static func run(_ plan: Plan) -> Report {
        var mesh = StudyMesh(seed: plan.seed, parameters: plan.parameters)
        mesh.roundTrip = plan.roundTrip
        mesh.lossPerMille = plan.lossPerMille
        let dead = plan.nodes * plan.deadPerMille / 1_000
        let colluders = plan.nodes * plan.colludersPerMille / 1_000
        let honest = max(2, plan.nodes - dead - colluders)
        mesh.add(0..<honest, .honest)
        mesh.add(honest..<honest + dead, .dead)
        mesh.add(honest + dead..<honest + dead + colluders, .lying)
        mesh.seal()

        var report = Report()
        var random = SeededRandom(seed: Bytes32(plan.seed, 0x100c, 0, 0))
        var entries = 0
        for _ in 0..<plan.lookups {
            let asker = random.below(honest)
            let target = random.bytes32()
            // Recreated each time: a node that has just done a lookup knows more than a table drawn from the
            // distribution.
            mesh.forget(asker)
            mesh.clear()
            let start = mesh.now
            let footprint = mesh.discovery(asker).footprint
            entries += mesh.discovery(asker).count
            report.tableBytes += footprint.table
            report.fixedBytes = footprint.fixed
            var token: RequestToken = 0
            mesh.act(asker) { token = $0.lookup(target, turn: &$1, out: &$2) }
            mesh.run(for: .seconds(60)) { $0.lookups[token] != nil }
            guard let result = mesh.lookups[token] else { continue }
            report.latency.append(mesh.now - start)
            report.rounds.append(result.statistics.roundsToNearest)
            report.chain.append(result.statistics.rounds)
            report.asked.append(result.statistics.asked)
            let first = result.contacts.lazy.compactMap { mesh.node($0.record.publicKey) }
                .first { mesh.behaviours[$0] == .honest }
            if first == mesh.nearestHonest(to: target, but: asker) { report.found += 1 }
            mesh.forget(asker)
        }
        report.rounds.sort()
        report.chain.sort()
        report.asked.sort()
        report.latency.sort()
        report.tableEntries = entries / max(1, plan.lookups)
        report.tableBytes /= max(1, plan.lookups)
        return report
    }
}
