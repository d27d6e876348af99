// A mesh of `Discovery` values alone, for studies of routing and rendezvous at sizes that whole peers don't reach.
//
// Nobody joins: every table is what the id distribution makes of it, up to k random nodes of each distance bucket, at
// most two of a /24. A table is a function of the seed and the node's number, so it is made when the node is first
// asked and may be thrown away after: a million nodes cost their contacts (about half a kilobyte each), and only those
// that take part have tables. Questions, timeouts and answers run in virtual time through the code that ships,
// signature checks included; Sessions is left out, and what it does is a round trip, a repetition and a silence.

import Cryptography
import Discovery
import HeapModule
import Primitives
import Wire

/// What a node of a study does.
public enum StudyBehaviour: UInt8, Sendable {
    case honest
    /// Answers nothing.
    case dead
    /// Answers PING and FIND as an honest node does, and neither keeps nor names a provider.
    case dropping
    /// Names its own kind only: as contacts, and as providers.
    case lying
}

public struct StudyMesh {
    struct Key: Hashable {
        var node: Int
        var token: RequestToken
    }

    final class Box {
        var discovery: Discovery
        var turn: Turn
        var nextTick = MonotonicTime.never
        /// It has timers or others' registrations: not to be made anew.
        var isUsed = false
        init(_ discovery: Discovery, _ turn: Turn) {
            self.discovery = discovery
            self.turn = turn
        }
    }

    private enum Event {
        case question(RequestToken, DiscoveryMessage, from: Int, to: Int)
        case answer(RequestToken, DiscoveryMessage, from: Int, to: Int, took: Interval)
        case silence(RequestToken, to: Int)
        case tick(Int)
    }

    private struct Scheduled: Comparable {
        var time: MonotonicTime
        var number: UInt64
        var event: Event
        static func < (a: Scheduled, b: Scheduled) -> Bool { (a.time, a.number) < (b.time, b.number) }
        static func == (a: Scheduled, b: Scheduled) -> Bool { a.number == b.number }
    }

    public let seed: UInt64
    public let parameters: DiscoveryParameters
    public private(set) var contacts: [Verified<Contact>] = []
    public private(set) var ids: [NodeID] = []
    public private(set) var behaviours: [StudyBehaviour] = []
    /// Node numbers by ascending id.
    var order: [Int32] = []
    var byKey: [PublicKey: Int32] = [:]
    var liars: [Int32] = []

    public var roundTrip: Interval = .milliseconds(100)
    /// Of questions and answers together; a lost one is repeated once.
    public var lossPerMille = 0
    /// After how long Sessions repeats, and gives up.
    public var repetition: Interval = .milliseconds(300)
    public var patience: Interval = .milliseconds(900)
    /// Tables kept of nodes that only answer.
    public var tablesMax = 4_096

    public private(set) var now = MonotonicTime.zero
    public private(set) var questions = 0
    private var boxes: [Int: Box] = [:]
    private var idle: [Int] = []
    private var queue = Heap<Scheduled>()
    private var number: UInt64 = 0
    private var random: SeededRandom

    public internal(set) var lookups:
        [RequestToken: (contacts: [Verified<Contact>], statistics: LookupStatistics)] = [:]
    var found: [Key: [(provider: PublicKey, at: MonotonicTime)]] = [:]
    var searches: [Key: SearchStatistics] = [:]

    public init(seed: UInt64, parameters: DiscoveryParameters = DiscoveryParameters()) {
        self.seed = seed
        self.parameters = parameters
        random = SeededRandom(seed: Bytes32(seed, 0x5eed, 0, 0))
    }

    // MARK: Nodes

    /// The identity with this number in the study's population, of which `add` takes some.
    public func identity(_ number: Int) -> Identity { Identity(seed: Bytes32(seed, UInt64(number), 0x1d, 0)) }

    /// Each in its own /24.
    public static func endpoint(_ number: Int) -> Endpoint {
        Endpoint(ipv4: 0x2000_0001 &+ UInt32(truncatingIfNeeded: number) << 8, port: 7827)
    }

    /// Adds nodes by their numbers in the population. `seal` follows when all are there.
    public mutating func add(
        _ numbers: some Collection<Int>, _ behaviour: StudyBehaviour,
        at endpoint: (Int) -> Endpoint = StudyMesh.endpoint
    ) {
        contacts.reserveCapacity(contacts.count + numbers.count)
        for number in numbers {
            let identity = identity(number)
            let contact = Contact(
                publicKey: identity.publicKey, endpoints: [endpoint(number)], reachability: .direct,
                sequence: 1, issuedAt: WallTime(milliseconds: 1_800_000_000_000))
            byKey[identity.publicKey] = Int32(contacts.count)
            contacts.append(Verified(signing: contact, with: identity))
            ids.append(identity.nodeID)
            behaviours.append(behaviour)
            numberOf.append(Int32(number))
        }
    }
    private var numberOf: [Int32] = []

    public mutating func seal() {
        order = (0..<Int32(contacts.count)).sorted { ids[Int($0)] < ids[Int($1)] }
        liars = order.filter { behaviours[Int($0)] == .lying || behaviours[Int($0)] == .dropping }
    }

    public var count: Int { contacts.count }

    func address(_ node: Int) -> PeerAddress {
        PeerAddress(key: contacts[node].record.publicKey, endpoint: contacts[node].record.endpoints[0])
    }

    public func node(_ key: PublicKey) -> Int? { byKey[key].map(Int.init) }

    func identityOf(_ node: Int) -> Identity { identity(Int(numberOf[node])) }

    mutating func box(_ node: Int) -> Box {
        if let box = boxes[node] { return box }
        var turn = Turn(
            now: clock, random: SeededRandom(seed: Bytes32(seed, UInt64(node), 0xb0, 0)))
        var discovery = Discovery(
            selfKey: contacts[node].record.publicKey, parameters: parameters, profile: .internet)
        var out: [DiscoveryAction] = []
        discovery.setSelf(contacts[node], turn: &turn, out: &out)
        discovery.presume(table(of: node, &turn.random), roundTrip: roundTrip, now: clock)
        let box = Box(discovery, turn)
        boxes[node] = box
        idle.append(node)
        if idle.count > tablesMax {
            for old in idle.prefix(tablesMax / 2) where boxes[old]?.isUsed == false { boxes[old] = nil }
            idle.removeFirst(tablesMax / 2)
        }
        return box
    }

    /// Throws a node's state away: it is made anew when it is needed.
    public mutating func forget(_ node: Int) { boxes[node] = nil }

    public mutating func discovery(_ node: Int) -> Discovery { box(node).discovery }

    /// A node begins anew: an empty table, what it saved, and a list to join by.
    mutating func restart(_ node: Int, anchors: [Int], bootstrap: [Int]) {
        let discovery = Discovery(
            selfKey: contacts[node].record.publicKey, parameters: parameters, profile: .internet)
        boxes[node] = Box(
            discovery, Turn(now: clock, random: SeededRandom(seed: random.bytes32())))
        let own = contacts[node]
        let addresses = bootstrap.map { address($0) }
        let saved = anchors.map { contacts[$0] }
        act(node) { discovery, turn, out in
            discovery.setSelf(own, turn: &turn, out: &out)
            discovery.join(bootstrap: addresses, turn: &turn, out: &out)
            discovery.restore(anchors: saved, turn: &turn, out: &out)
        }
    }

    /// `node` sends PING with its contact, in a session that it has proven.
    mutating func introduce(_ node: Int, to other: Int) {
        let ping = DiscoveryMessage.ping(contact: contacts[node].signed, known: 0)
        let peer = address(node)
        act(other) {
            _ = $0.handle(ping, from: peer, proven: true, turn: &$1, out: &$2)
        }
    }

    func contacts(of node: Int) -> [Int] {
        boxes[node]?.discovery.contacts.filter(\.inTable).compactMap { self.node($0.publicKey) } ?? []
    }

    func isContact(_ other: Int, of node: Int) -> Bool {
        boxes[node]?.discovery.contact(of: contacts[other].record.publicKey) != nil
    }

    // MARK: Time

    var clock: Now {
        Now(monotonic: now, wall: WallTime(milliseconds: 1_800_000_000_000 + (now - .zero).milliseconds))
    }

    public mutating func act(
        _ node: Int, _ call: (inout Discovery, inout Turn, inout [DiscoveryAction]) -> Void
    ) {
        let box = box(node)
        box.isUsed = true
        var out: [DiscoveryAction] = []
        box.turn.now = clock
        call(&box.discovery, &box.turn, &out)
        for action in out { perform(action, by: node) }
        let next = box.discovery.nextDeadline()
        if next < box.nextTick {
            box.nextTick = next
            schedule(max(next, now), .tick(node))
        }
    }

    /// Runs until `isDone` or nothing happens any longer, at most for `limit`.
    public mutating func run(for limit: Interval, until isDone: (StudyMesh) -> Bool = { _ in false }) {
        let end = now + limit
        while let next = queue.min, next.time <= end {
            queue.removeMin()
            now = next.time
            deliver(next.event)
            if isDone(self) { return }
        }
        now = end
    }

    /// Drops what is on its way: the next study begins.
    public mutating func clear() {
        queue = Heap<Scheduled>()
        lookups = [:]
    }

    private mutating func schedule(_ time: MonotonicTime, _ event: Event) {
        number += 1
        queue.insert(Scheduled(time: time, number: number, event: event))
    }

    private mutating func perform(_ action: DiscoveryAction, by node: Int) {
        switch action {
        case .request(let token, let message, let peer):
            questions += 1
            guard let to = self.node(peer.key), address(to) == peer else {
                return schedule(now + patience, .silence(token, to: node))
            }
            schedule(now + transit(), .question(token, message, from: node, to: to))
        case .lookupFinished(let token, let contacts, let statistics):
            lookups[token] = (contacts, statistics)
        case .providerFound(let token, let provider):
            found[Key(node: node, token: token), default: []].append((provider.address.key, now))
        case .searchFinished(let token, let statistics):
            searches[Key(node: node, token: token)] = statistics
        case .admitted, .updated, .evicted, .joined, .observedEndpointChanged, .send, .callBack,
            .reachabilityTested:
            break
        }
    }

    private mutating func transit() -> Interval {
        let half = roundTrip / 2
        let jitter = random.interval(.zero, half / 5)
        return half * 9 / 10 + jitter + (random.chance(lossPerMille, in: 2_000) ? repetition : .zero)
    }

    private mutating func deliver(_ event: Event) {
        switch event {
        case .question(let token, let message, let from, let to):
            guard let reply = reply(to: message, at: to, from: from) else {
                return schedule(now + patience, .silence(token, to: from))
            }
            // What Sessions measures: a repetition starts the clock anew.
            let took = random.interval(roundTrip * 19 / 20, roundTrip * 21 / 20)
            schedule(now + transit(), .answer(token, reply, from: to, to: from, took: took))
        case .answer(let token, let message, let from, let to, let took):
            guard boxes[to] != nil else { return }
            let peer = address(from)
            act(to) {
                $0.answered(token, message, from: peer, roundTrip: took, turn: &$1, out: &$2)
            }
        case .silence(let token, let node):
            guard boxes[node] != nil else { return }
            act(node) { $0.unanswered(token, turn: &$1, out: &$2) }
        case .tick(let node):
            guard let box = boxes[node], box.nextTick <= now else { return }
            box.nextTick = .never
            act(node) { $0.tick(turn: &$1, out: &$2) }
        }
    }
}
