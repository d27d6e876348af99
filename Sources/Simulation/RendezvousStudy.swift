// Finding providers among ids ground next to their topic: `scripts/bench rendezvous-ground-ids`.

import Cryptography
import Discovery
import Primitives
import Wire

/// Registers providers of one topic and searches for them, with hostile nodes placed by their distance to it.
/// For comparison, makes the same attack on the storage of other DHTs, the k nodes closest to the key.
public enum RendezvousStudy {
    /// Where the hostile ids are.
    public enum Placement: Sendable {
        /// The closest that could be ground, after trying `population` keys.
        case nearest
        /// Spread evenly over the distance buckets where provider and searcher would meet: those of 5 to 80
        /// honest nodes.
        case meeting
    }

    public struct Plan: Sendable {
        public var nodes = 10_000
        public var hostile = 64
        public var placement = Placement.nearest
        /// Half of the hostile nodes lie and half drop, or all do the same.
        public var behaviours: [StudyBehaviour] = [.lying, .dropping]
        public var providers = 20
        public var searches = 100
        /// Keys that the attacker tried.
        public var population = 400_000
        public var seed: UInt64 = 1
        public var parameters = DiscoveryParameters()
        public init() {}
    }

    public struct Report: Sendable {
        /// Searches that found at least ten honest providers, or all if there are fewer.
        public var succeeded = 0
        public var searches = 0
        /// Honest and false providers found by each search, and questions asked, ascending.
        public var honest: [Int] = []
        public var lies: [Int] = []
        public var asked: [Int] = []
        /// Milliseconds until the first honest provider was found, ascending; without searches that found
        /// none.
        public var firstHonest: [Int] = []
        /// The same searches with closest-k storage.
        public var closestSucceeded = 0
        public var closestHonest: [Int] = []
        /// Mean number of registrars per provider.
        public var registrars = 0
    }

    public static func run(_ plan: Plan) -> Report {
        var mesh = StudyMesh(seed: plan.seed, parameters: plan.parameters)
        let topic = TopicID(model: "study-\(plan.seed)")
        mesh.tablesMax = plan.nodes + plan.hostile
        let ground = ground(plan, mesh, topic)
        // With enough keys tried, no honest id is closer than the ground ones. Those that are closer by
        // chance are left out, so that a study can try fewer keys.
        var zone = Bytes32.zero
        if plan.placement == .nearest {
            zone = ground.map { mesh.identity($0).nodeID.value ^ topic.value }.max() ?? .zero
        }
        mesh.add((0..<plan.nodes).filter { !(mesh.identity($0).nodeID.value ^ topic.value < zone) }, .honest)
        let honest = mesh.count
        for (place, number) in ground.enumerated() {
            mesh.add([number], plan.behaviours[place % plan.behaviours.count])
        }
        mesh.seal()

        var random = SeededRandom(seed: Bytes32(plan.seed, 0x2e9d, 0, 0))
        let everybody = random.sample(plan.providers + plan.searches, of: Array(0..<honest))
        let providers = Array(everybody.prefix(plan.providers))
        let keys = Set(providers.map { mesh.contacts[$0].record.publicKey })
        for provider in providers {
            let registration = mesh.registration(provider, topic)
            mesh.act(provider) { $0.provide(registration, turn: &$1, out: &$2) }
        }
        mesh.run(for: .seconds(20))
        var report = Report()
        for provider in providers {
            report.registrars += mesh.discovery(provider).registrars(topic, now: mesh.clock)
        }
        report.registrars /= max(1, providers.count)

        let enough = min(10, plan.providers)
        for searcher in everybody.dropFirst(plan.providers) {
            var token: RequestToken = 0
            mesh.act(searcher) { token = $0.findProviders(of: topic, turn: &$1, out: &$2) }
            let key = StudyMesh.Key(node: searcher, token: token)
            let started = mesh.now
            mesh.run(for: .seconds(60)) { $0.searches[key] != nil }
            let found = mesh.found[key] ?? []
            let honest = found.count { keys.contains($0.provider) }
            if let first = found.first(where: { keys.contains($0.provider) }) {
                report.firstHonest.append(Int((first.at - started).milliseconds))
            }
            report.searches += 1
            report.honest.append(honest)
            report.lies.append(found.count - honest)
            report.asked.append(mesh.searches[key]?.asked ?? 0)
            if honest >= enough { report.succeeded += 1 }
        }
        closest(plan, &mesh, topic, providers, Array(everybody.dropFirst(plan.providers)), enough, &report)
        report.honest.sort()
        report.lies.sort()
        report.asked.sort()
        report.firstHonest.sort()
        report.closestHonest.sort()
        return report
    }

    /// Numbers of the population whose ids the attacker uses.
    private static func ground(_ plan: Plan, _ mesh: StudyMesh, _ topic: TopicID) -> [Int] {
        guard plan.hostile > 0 else { return [] }
        let tried = plan.nodes..<plan.nodes + plan.population
        switch plan.placement {
        case .nearest:
            let distances = tried.map { (mesh.identity($0).nodeID.value ^ topic.value, $0) }
            return distances.sorted { $0.0 < $1.0 }.prefix(plan.hostile).map(\.1)
        case .meeting:
            // Bucket i holds nodes / 2^(i+1) honest ids: those with 80 down to 5 are four or five buckets.
            var last = 0
            while plan.nodes >> (last + 2) >= 5 { last += 1 }
            let buckets = max(0, last - 4)...last
            let each = (plan.hostile + buckets.count - 1) / buckets.count
            var left = [Int](repeating: each, count: buckets.count)
            var chosen: [Int] = []
            for number in tried where chosen.count < plan.hostile {
                let bucket = (mesh.identity(number).nodeID.value ^ topic.value).leadingZeroBitCount
                guard buckets.contains(bucket), left[bucket - buckets.lowerBound] > 0 else { continue }
                left[bucket - buckets.lowerBound] -= 1
                chosen.append(number)
            }
            return chosen
        }
    }

    /// Closest-k storage, for comparison: a provider stores at the k nodes that its lookup of the topic
    /// returns, and a searcher asks those that its own returns; hostile nodes keep nothing.
    private static func closest(
        _ plan: Plan, _ mesh: inout StudyMesh, _ topic: TopicID, _ providers: [Int], _ searchers: [Int],
        _ enough: Int, _ report: inout Report
    ) {
        func lookup(_ node: Int) -> [Int] {
            var token: RequestToken = 0
            mesh.clear()
            mesh.forget(node)
            mesh.act(node) { token = $0.lookup(topic.value, turn: &$1, out: &$2) }
            mesh.run(for: .seconds(60)) { $0.lookups[token] != nil }
            return (mesh.lookups[token]?.contacts ?? []).compactMap { mesh.node($0.record.publicKey) }
        }
        var stored: [Int: Set<Int>] = [:]
        for provider in providers {
            for node in lookup(provider) where mesh.behaviours[node] == .honest {
                stored[node, default: []].insert(provider)
            }
        }
        for searcher in searchers {
            let found = lookup(searcher).reduce(into: Set<Int>()) { $0.formUnion(stored[$1] ?? []) }
            report.closestHonest.append(found.count)
            if found.count >= enough { report.closestSucceeded += 1 }
        }
    }
}
