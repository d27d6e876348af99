// `World` runs many real `Peer`s on virtual time: the very core that ships, with full cryptography, on a network, on
// clocks, backends and clients that are scripted and broken by a seed.
//
// One loop: take the earliest event, hand it to one node, drain that node, plan what follows from its effects. Nothing
// depends on anything but the scenario: no clock is read, no hash order is walked, each source of chance has its own
// generator (the network, each node, each backend, the load, the faults), so that changing one leaves the draws of the
// others alone. `digest` sums up the course of a run.
//
// Read on: `World+Nodes` (the shell of a node), `World+Carrier` (datagrams), `World+Streams` (channels),
// `World+Backends`, `World+Clients`, `World+Faults`, `World+Checks` (what must hold).

import Cryptography
import Market
import PeerCore
import Primitives
import Sessions
import Wire

public final class World {
    public let scenario: Scenario
    public internal(set) var digest = TraceDigest()
    /// Broken invariants, in the order of their discovery; the first `violationsMax`.
    public internal(set) var violations: [Violation] = []
    /// Called ten times a virtual second, for a person who waits.
    public var progress: ((MonotonicTime) -> Void)?
    /// Called with a line for each thing worth one: for people who look into a run.
    public var observer: ((MonotonicTime, String) -> Void)?

    var clock: Int64 = 0
    var queue = EventQueue()
    var hosts: [Host] = []
    var links: LinkModel
    var translators: Translators
    let pool = DatagramPool()
    var streams: [Stream] = []
    var clients: [Client] = []
    var faults: [Fault] = []
    var faultRandom: SeededRandom
    var isPartitioned = false
    var counts = CarrierCounts()
    var watch = Watch()
    var curves = Curves()
    let memo = SharedMemo()
    /// Handshakes heard, for those who send them again.
    var recorded: [(bytes: [UInt8], to: Int32)] = []
    var recordsHandshakes = false
    /// Hostile machines that lie together, in the order of their turning.
    var liars: [Int32] = []
    var hostileRandom: SeededRandom
    /// What attackers overheard, if there are any who do.
    var overhears = false
    var overheard: [(bytes: [UInt8], from: Int32, to: Int32)] = []
    /// Datagrams in flight that don't come from where they say.
    var forged: Set<Int32> = []
    var probes: [Probe] = []
    var probeRandom: SeededRandom
    /// Jobs that backends run, by task: what a hang-up must end.
    var jobsByTask: [TaskID: Int] = [:]
    var lastTicket: UInt32 = 0

    /// True time at the start: 1 January 2026.
    static let meshName = "simulation"
    static let epochMilliseconds: Int64 = 1_767_225_600_000
    /// Of a machine without a battery for its clock.
    public static let skewTo1970 = Interval.milliseconds(-epochMilliseconds)

    public init(_ scenario: Scenario) {
        self.scenario = scenario
        let seed = Blake2b.hash(domain: "starling simulation", World.words(scenario.seed))
        func generator(_ purpose: UInt64, _ index: Int = 0) -> SeededRandom {
            SeededRandom(
                seed: Blake2b.hash(
                    domain: "starling simulation part", seed.bytes, World.words(purpose, UInt64(index))))
        }
        links = LinkModel(
            plan: scenario.network, regions: scenario.nodes.map(\.region), random: generator(1))
        translators = Translators(idle: scenario.network.natIdle, random: generator(6))
        faultRandom = generator(2)
        hostileRandom = generator(7)
        probeRandom = generator(8)
        var setting = generator(3)
        let ground = World.ground(scenario, seed)
        for (index, plan) in scenario.nodes.enumerated() {
            let identity = ground[index] ?? World.identity(seed, index)
            let host = Host(
                index: index, plan: plan, identity: identity,
                endpoint: plan.nat == .none ? World.endpoint(Int32(index)) : World.inside(Int32(index)),
                monotonicOffset: Int64(setting.below(1 << 40)), random: generator(4, index))
            hosts.append(host)
            if ground[index] == nil {
                queue.push(.start(host: Int32(index)), at: plan.startsAt.nanoseconds)
            }
        }
        for event in scenario.events {
            queue.push(.fault(index: Int32(faults.count)), at: event.at.nanoseconds)
            faults.append(event.fault)
            if case .spoof = event.fault { recordsHandshakes = true }
        }
        var loadRandom = generator(5)
        for load in scenario.load { plan(load, &loadRandom) }
        for probes in scenario.probes { plan(probes) }
        watch.lastStart =
            scenario.nodes.filter { $0.groundNear == nil }.map(\.startsAt.nanoseconds).max() ?? 0
        queue.push(.watch, at: Watch.every)
    }

    static func identity(_ seed: Bytes32, _ number: Int) -> Identity {
        Identity(seed: Blake2b.hash(domain: "starling simulation key", seed.bytes, words(UInt64(number))))
    }

    private static func words(_ words: UInt64...) -> [UInt8] {
        words.flatMap { Bytes32($0, 0, 0, 0).bytes.prefix(8) }
    }

    // MARK: Time

    public var now: MonotonicTime { MonotonicTime(nanoseconds: clock) }

    /// The moment as the clocks of `host` show it.
    func now(_ host: Host) -> Now {
        Now(
            monotonic: MonotonicTime(nanoseconds: clock + host.monotonicOffset),
            wall: WallTime(
                milliseconds: max(
                    0, Self.epochMilliseconds + clock / 1_000_000 + host.plan.clockSkew.milliseconds)))
    }

    // MARK: Running

    /// Runs everything that happens up to and at `time`.
    public func run(until time: MonotonicTime) {
        while let next = queue.nextTime, next <= time.nanoseconds { step() }
        clock = max(clock, time.nanoseconds)
    }

    /// Runs the scenario to its end: all tasks ended, all events past, the calm over; then the final checks.
    public func run() -> Report {
        let limit = scenario.timeLimit.nanoseconds
        let lastEvent = scenario.events.map(\.at.nanoseconds).max() ?? 0
        let busyUntil = max(lastEvent, watch.lastStart)
        while let next = queue.nextTime, next <= limit {
            if watch.openClients == 0, watch.openProbes == 0, clock >= busyUntil, isSettled { break }
            step()
        }
        let calmFrom = clock
        let end = min(clock, limit) + scenario.calm.nanoseconds
        run(until: MonotonicTime(nanoseconds: calmFrom + (end - calmFrom) / 2))
        let (middle, before) = (clock, counts)
        run(until: MonotonicTime(nanoseconds: end))
        let upkeep = Upkeep(from: middle, before, until: clock, counts)
        finalChecks(calmFrom: calmFrom)
        return Report(self, upkeep: upkeep)
    }

    /// Does the next thing.
    func step() {
        guard let entry = queue.pop() else { return }
        clock = entry.time
        counts.events += 1
        dispatch(entry.event)
    }

    func dispatch(_ event: Event) {
        switch event {
        case .start(let host): start(hosts[Int(host)])
        case .datagram(let slot, let length, let to, let from):
            arrive(slot, length, to: to, from: from)
        case .wake(let host): wake(hosts[Int(host)])
        case .caughtUp(let host): caughtUp(hosts[Int(host)])
        case .handOver(let host, let incarnation): handOver(hosts[Int(host)], incarnation)
        case .connect(let stream): connect(stream)
        case .accepted(let stream): accepted(stream, event)
        case .connected(let stream): connected(stream, event)
        case .dialFailed(let stream): dialFailed(stream, event)
        case .stream(let stream, let direction): arrive(stream, direction, event)
        case .backend(let host, let job, let ticket): stepBackend(hosts[Int(host)], job, ticket)
        case .report(let host, let job, let from, let to):
            report(hosts[Int(host)], job, Int(from), Int(to), event)
        case .submit(let client): submit(client, event)
        case .read(let client): read(client)
        case .hangUp(let client): hangUp(client, event)
        case .cancelDue(let client): checkCancelled(client)
        case .fault(let index): happen(faults[Int(index)])
        case .hostile(let host): actHostile(hosts[Int(host)])
        case .probe(let index): probe(index)
        case .thaw(let host): thaw(hosts[Int(host)])
        case .watch:
            lookAround()
            sampleCurves()
            progress?(now)
            queue.push(.watch, at: clock + Watch.every)
        }
    }

    func note(_ line: @autoclosure () -> String) {
        if let observer { observer(now, line()) }
    }

    // MARK: Addresses

    static let port: UInt16 = 7_827
    private static let network: UInt32 = 0x1400_0001

    /// Each machine in a network of its own, and 256 in a row in different /16s; beyond the machines lie
    /// addresses where nobody is.
    static func endpoint(_ machine: Int32, port: UInt16 = port) -> Endpoint {
        Endpoint(ipv4: network &+ spread(UInt32(machine)) << 8, port: port)
    }

    /// Exchanges the two low bytes of three; its own inverse.
    private static func spread(_ number: UInt32) -> UInt32 {
        number & 0xff0000 | number >> 8 & 0xff | (number & 0xff) << 8
    }

    /// What a machine behind a NAT is called at home.
    static func inside(_ machine: Int32) -> Endpoint {
        Endpoint(ipv4: 0x0a00_0001 + UInt32(machine), port: port)
    }

    /// What others see of an address: a machine's own, or that of a mapping.
    func endpoint(of address: Int32) -> Endpoint {
        Self.endpoint(translators.machine(of: address), port: translators.port(of: address))
    }

    private func machine(at endpoint: Endpoint) -> Int32? {
        guard let v4 = endpoint.ipv4, v4 >= Self.network, v4 & 0xff == 1 else { return nil }
        return Int32(Self.spread((v4 - Self.network) >> 8))
    }

    /// Who is at, or behind, `endpoint`; nil: no machine.
    func host(at endpoint: Endpoint) -> Host? {
        guard let number = machine(at: endpoint), hosts.indices.contains(Int(number)) else { return nil }
        let host = hosts[Int(number)]
        return endpoint.port == Self.port || host.plan.nat != .none ? host : nil
    }

    func address(of endpoint: Endpoint) -> Int32? {
        guard let number = machine(at: endpoint) else { return nil }
        let isTranslated = hosts.indices.contains(Int(number)) && hosts[Int(number)].plan.nat != .none
        if isTranslated { return translators.number(number, port: endpoint.port) }
        return endpoint.port == Self.port ? number : nil
    }
}

/// What the carrier did.
public struct CarrierCounts: Sendable {
    public var events = 0
    public var datagrams = 0
    public var datagramBytes = 0
    public var delivered = 0
    public var lost = 0
    public var duplicated = 0
    public var cutOff = 0
    public var unheard = 0
    /// By NATs.
    public var filtered = 0
    /// Sent by attackers' programs, and among none of the other counts of what was sent.
    public var hostile = 0
    public var socketFull = 0
    public var streams = 0
    public var streamBytes = 0
    public var receipts = 0
    public var pauses = 0
    public init() {}
}
