// Can an attacker with many ids in few networks own a node's table, or a restarting node's view of the mesh?
// Issue 3, `eclipse`. (Ethereum's nodes fell to the second: arXiv 2601.16560.)

import Cryptography
import Discovery
import Primitives
import Wire

/// A mesh of honest nodes, each in its own network, and attackers in few networks that answer everything,
/// name only each other, and introduce themselves to their victims all the time.
///
/// First, long-standing nodes are attacked. Then victims restart during the attack, with an empty table,
/// saved anchors of which most are dead or the attackers', and a bootstrap list without honest nodes.
public enum EclipseStudy {
    public struct Plan: Sendable {
        public var nodes = 1_000
        public var hostile = 1_000
        /// Number of the attackers' /24s.
        public var networks = 4
        /// Introductions by attackers per second and victim.
        public var pushesPerSecond = 200
        /// Long-standing nodes with full tables that are attacked, and for how long.
        public var settled = 4
        public var pushedFor: Interval = .minutes(10)
        public var restarts = 200
        /// Of the 64 anchors of a restarting node; the others are dead.
        public var anchorsHonest = 8
        public var anchorsHostile = 24
        /// Of its bootstrap list; the others are dead.
        public var bootstrap = 4
        public var bootstrapHostile = 2
        /// Time from a restart until the node is examined.
        public var time: Interval = .seconds(30)
        /// Lookups by each restarted node.
        public var lookups = 5
        public var seed: UInt64 = 1
        public var parameters = DiscoveryParameters()
        public init() { parameters.testsReachability = false }
    }

    public struct Report: Sendable {
        /// The most contacts of one hostile /24 that any table ever held.
        public var slotsMax = 0
        /// The largest hostile share of the table of a long-standing node, and of restarted ones when
        /// examined, per mille.
        public var hostileSettled = 0
        public var hostileRestarted = 0
        public var restarts = 0
        /// Restarts in which at least two honest anchors returned to the table.
        public var reachedTwo = 0
        /// Milliseconds until the second of them did, ascending.
        public var reachedAfter: [Int] = []
        public var lookups = 0
        /// Lookups that found the honest node closest to their target.
        public var found = 0
    }

    public static func run(_ plan: Plan) -> Report {
        var mesh = StudyMesh(seed: plan.seed, parameters: plan.parameters)
        let anchorsMax = plan.parameters.anchorsMax
        mesh.add(0..<plan.nodes, .honest)
        let dead = mesh.count..<mesh.count + anchorsMax + plan.bootstrap
        mesh.add(dead, .dead)
        let hostile = mesh.count..<mesh.count + plan.hostile
        mesh.add(hostile, .lying) { number in
            let place = UInt32(number - hostile.lowerBound)
            let network = place % UInt32(max(1, plan.networks))
            return Endpoint(
                ipv4: 0x0505_0001 + network << 8 + place / UInt32(max(1, plan.networks)) % 254, port: 7827)
        }
        mesh.seal()

        var random = SeededRandom(seed: Bytes32(plan.seed, 0xec11, 0, 0))
        var report = Report()
        for victim in random.sample(plan.settled, of: Array(0..<plan.nodes)) {
            push(plan, &mesh, victim, hostile, for: plan.pushedFor, &random) { mesh in
                report.hostileSettled = max(
                    report.hostileSettled, note(mesh, victim, hostile, &report.slotsMax))
            }
            mesh.forget(victim)
            mesh.clear()
        }
        for _ in 0..<plan.restarts {
            let victim = random.below(plan.nodes)
            let drawn = random.sample(plan.anchorsHonest + 1, of: Array(0..<plan.nodes))
            let honest = drawn.filter { $0 != victim }.prefix(plan.anchorsHonest)
            let bad = random.sample(plan.anchorsHostile + plan.bootstrapHostile, of: Array(hostile))
            let gone = random.sample(anchorsMax + plan.bootstrap, of: Array(dead))
            var anchors = Array(honest) + bad.prefix(plan.anchorsHostile)
            anchors += gone.prefix(max(0, anchorsMax - anchors.count))
            random.shuffle(&anchors)
            let bootstrap =
                bad.suffix(plan.bootstrapHostile) + gone.suffix(plan.bootstrap - plan.bootstrapHostile)

            mesh.clear()
            let started = mesh.now
            mesh.restart(victim, anchors: anchors, bootstrap: Array(bootstrap))
            var second: Int?
            var share = 0
            push(plan, &mesh, victim, hostile, for: plan.time, &random) { mesh in
                share = note(mesh, victim, hostile, &report.slotsMax)
                let back = honest.count { mesh.isContact($0, of: victim) }
                if back >= 2, second == nil { second = Int((mesh.now - started).milliseconds) }
            }
            report.restarts += 1
            report.hostileRestarted = max(report.hostileRestarted, share)
            if let second {
                report.reachedTwo += 1
                report.reachedAfter.append(second)
            }
            for _ in 0..<plan.lookups {
                let target = random.bytes32()
                var token: RequestToken = 0
                mesh.act(victim) { token = $0.lookup(target, turn: &$1, out: &$2) }
                mesh.run(for: .seconds(30)) { $0.lookups[token] != nil }
                let first = (mesh.lookups[token]?.contacts ?? []).lazy
                    .compactMap { mesh.node($0.record.publicKey) }
                    .first { mesh.behaviours[$0] == .honest }
                report.lookups += 1
                if first != nil, first == mesh.nearestHonest(to: target, but: victim) { report.found += 1 }
            }
            mesh.forget(victim)
        }
        report.reachedAfter.sort()
        return report
    }

    /// Attackers introduce themselves for `length`; `look` is called ten times a second.
    private static func push(
        _ plan: Plan, _ mesh: inout StudyMesh, _ victim: Int, _ hostile: Range<Int>, for length: Interval,
        _ random: inout SeededRandom, _ look: (inout StudyMesh) -> Void
    ) {
        let end = mesh.now + length
        while mesh.now < end {
            for _ in 0..<max(1, plan.pushesPerSecond / 10) {
                mesh.introduce(hostile.lowerBound + random.below(hostile.count), to: victim)
            }
            mesh.run(for: .milliseconds(100))
            look(&mesh)
        }
    }

    /// Records and returns the hostile share of the victim's table, per mille.
    private static func note(
        _ mesh: StudyMesh, _ victim: Int, _ hostile: Range<Int>, _ slotsMax: inout Int
    ) -> Int {
        var networks: [(prefix: UInt64, count: Int)] = []
        var all = 0
        let contacts = mesh.contacts(of: victim)
        for node in contacts where hostile.contains(node) {
            all += 1
            let prefix = mesh.address(node).endpoint.prefix
            if let known = networks.firstIndex(where: { $0.prefix == prefix }) {
                networks[known].count += 1
            } else {
                networks.append((prefix, 1))
            }
        }
        slotsMax = max(slotsMax, networks.map(\.count).max() ?? 0)
        return contacts.isEmpty ? 0 : all * 1_000 / contacts.count
    }
}
