// Questions to the DHT whose answers are known: honest nodes look up random points and search providers, and the world
// compares what they find with who is there.

import Cryptography
import PeerCore
import Primitives
import Wire

/// Lookups or searches, evenly in time, by honest nodes drawn at random.
public struct ProbePlan: Sendable {
    public enum Kind: Sendable, Hashable {
        /// Finds the honest node nearest to a random point.
        case lookup
        /// Finds ten honest providers of a model, or all there are.
        case search(model: String)
    }
    public var kind: Kind
    public var count: Int
    public var from: Interval
    public var every: Interval

    public init(_ kind: Kind, count: Int, from: Interval, every: Interval) {
        self.kind = kind
        self.count = count
        self.from = from
        self.every = every
    }
}

struct Probe {
    let kind: ProbePlan.Kind
    var host: Int32 = -1
    var incarnation = 0
    var target = Bytes32.zero
    /// Nodes that were there when it began, of which one, or enough, have to be found.
    var known: [Int32] = []
    var found: [PublicKey] = []
    var startedAt: Int64 = 0
    var endedAt: Int64?
    /// nil: not ended, or void, since its node ended before.
    var hasSucceeded: Bool?
    var isVoid = false
}

/// How often probes of one kind found what they should.
public struct ProbeResult: Sendable {
    public let count: Int
    public let succeeded: Int
    public let times: Distribution

    /// Those whose node ended before are no one's failure; those without an end are.
    init(_ probes: [Probe]) {
        let counted = probes.filter { !$0.isVoid }
        count = counted.count
        succeeded = counted.count { $0.hasSucceeded == true }
        times = Distribution(counted.compactMap { probe in probe.endedAt.map { $0 - probe.startedAt } })
    }

    public var successPercent: Double { count > 0 ? Double(succeeded) * 100 / Double(count) : 0 }
}

extension World {
    /// Providers that are enough.
    private static let providersEnough = 10

    func plan(_ probes: ProbePlan) {
        for index in 0..<probes.count {
            queue.push(
                .probe(index: Int32(self.probes.count)),
                at: probes.from.nanoseconds + probes.every.nanoseconds * Int64(index))
            self.probes.append(Probe(kind: probes.kind))
            watch.openProbes += 1
        }
    }

    /// Nodes that others reach and can find.
    private func isFindable(_ host: Host) -> Bool {
        host.isUp && host.plan.nat == .none && host.plan.acceptsInbound && host.process?.isLeaving == false
    }

    func probe(_ index: Int32) {
        let honest = hosts.indices.filter { hosts[$0].isUp && hosts[$0].process?.isLeaving == false }
        guard !honest.isEmpty else { return void(index) }
        let host = hosts[honest[probeRandom.below(honest.count)]]
        guard let process = host.process else { return void(index) }
        var probe = probes[Int(index)]
        probe.host = Int32(host.index)
        probe.incarnation = process.incarnation
        probe.startedAt = clock
        let token: RequestToken
        switch probe.kind {
        case .lookup:
            probe.target = probeRandom.bytes32()
            probe.known = hosts.filter { $0 !== host && isFindable($0) }.map { Int32($0.index) }
            token = process.peer.lookup(probe.target, now: now(host))
        case .search(let model):
            probe.known = hosts.filter { other in
                other !== host && isFindable(other) && other.plan.serves.contains { $0.model == model }
            }.map { Int32($0.index) }
            token = process.peer.findProviders(of: TopicID(model: model), now: now(host))
        }
        probes[Int(index)] = probe
        process.probes[token] = index
        digest.mix(41, host.index, Int(index))
        flush(host, process)
    }

    func takeFindings(_ host: Host, _ process: NodeProcess) {
        for finding in process.peer.takeFindings() {
            switch finding {
            case .provider(let search, let provider):
                guard let index = process.probes[search] else { continue }
                probes[Int(index)].found.append(provider.address.key)
            case .over(let search, _): end(search, process)
            case .nearest(let lookup, let contacts):
                guard let index = process.probes[lookup] else { continue }
                probes[Int(index)].found = contacts.map(\.record.publicKey)
                end(lookup, process)
            }
        }
    }

    private func end(_ token: RequestToken, _ process: NodeProcess) {
        guard let index = process.probes.removeValue(forKey: token) else { return }
        let probe = probes[Int(index)]
        // Who left or turned meanwhile need not be found.
        let known = probe.known.map { hosts[Int($0)] }.filter { isFindable($0) }
        let found = Set(probe.found)
        let hasSucceeded: Bool
        switch probe.kind {
        case .lookup:
            let nearest = known.min { $0.nodeID.value ^ probe.target < $1.nodeID.value ^ probe.target }
            hasSucceeded = nearest.map { found.contains($0.identity.publicKey) } ?? true
        case .search:
            let honest = known.count { found.contains($0.identity.publicKey) }
            hasSucceeded = honest >= min(Self.providersEnough, known.count)
        }
        probes[Int(index)].endedAt = clock
        probes[Int(index)].hasSucceeded = hasSucceeded
        watch.openProbes -= 1
        digest.mix(42, Int(index), hasSucceeded ? 1 : 0)
        if !hasSucceeded {
            note(
                "\(hosts[Int(probe.host)].plan.name): \(probe.kind) found \(probe.found.count), not those that it should"
            )
        }
    }

    /// The process that asked is gone.
    func voidProbes(_ process: NodeProcess) {
        for (_, index) in process.probes.sorted(by: { $0.key < $1.key }) { void(index) }
        process.probes = [:]
    }

    private func void(_ index: Int32) {
        probes[Int(index)].isVoid = true
        watch.openProbes -= 1
    }
}
