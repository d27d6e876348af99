import Cryptography
import HeapModule
import Primitives
import Wire

@testable import Discovery

/// An in-memory mesh of `Discovery` values in virtual time. It does what Sessions does: carries requests and
/// replies with a latency, counts a pair's first exchange as unproven, and reports exactly one completion per
/// request.
struct TestNetwork {
    struct Node {
        let identity: Identity
        var contact: Verified<Contact>
        var endpoint: Endpoint
        var discovery: Discovery
        var isDown = false
        /// Replaces the replies of an honest node.
        var lie: (@Sendable (DiscoveryMessage, PeerAddress) -> DiscoveryMessage?)?
        var lookups: [RequestToken: (contacts: [Verified<Contact>], statistics: LookupStatistics)] = [:]
        var evictions: [PublicKey] = []
        var found: [RequestToken: [PublicKey]] = [:]
        var searches: [RequestToken: SearchStatistics] = [:]
        var isJoined = false
    }

    enum Event {
        case request(token: RequestToken, DiscoveryMessage, from: Int, to: PeerAddress)
        case reply(token: RequestToken, DiscoveryMessage, from: PeerAddress, to: Int, sent: MonotonicTime)
        case silence(token: RequestToken, at: Int)
        case tick(Int)
    }

    private struct Scheduled: Comparable {
        var time: MonotonicTime
        var number: UInt64
        var slot: Int
        static func < (a: Scheduled, b: Scheduled) -> Bool { (a.time, a.number) < (b.time, b.number) }
        static func == (a: Scheduled, b: Scheduled) -> Bool { a.number == b.number }
    }

    var nodes: [Node] = []
    var now = MonotonicTime.zero
    var latency = (low: Interval.milliseconds(10), high: Interval.milliseconds(50))
    /// How long Sessions takes to give up on a request, its retry included.
    var patience = Interval.seconds(1)
    /// Nodes on different sides can't talk while this is set.
    var sides: (@Sendable (Int, Int) -> Bool)?
    var digest: UInt64 = 14_695_981_039_346_656_037
    var pings = 0
    var finds = 0
    /// Bytes of message bodies, and the number of messages, in both directions.
    var payload = 0
    var messages = 0
    private var queue = Heap<Scheduled>()
    private var number: UInt64 = 0
    private var random: SeededRandom
    private var byKey: [PublicKey: Int] = [:]
    private var turns: [Turn] = []
    private var sessions: Set<Int> = []
    private var events: [Event?] = []
    private var freeSlots: [Int] = []
    private var nextTick: [MonotonicTime] = []

    var clock: Now { Now(monotonic: now, wall: WallTime(milliseconds: now.nanoseconds / 1_000_000)) }

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    static func identity(_ number: Int) -> Identity { Identity(seed: Bytes32(7, UInt64(number), 0, 0)) }

    static func contact(
        _ identity: Identity, at endpoints: [Endpoint], sequence: UInt64 = 1,
        reachability: Reachability = .direct
    ) -> Verified<Contact> {
        let contact = Contact(
            publicKey: identity.publicKey, endpoints: endpoints, reachability: reachability,
            sequence: sequence,
            issuedAt: WallTime(milliseconds: 1_700_000_000_000), name: "node")
        return Verified(signing: contact, with: identity)
    }

    mutating func add(_ count: Int, parameters: DiscoveryParameters = DiscoveryParameters()) {
        for _ in 0..<count {
            let index = nodes.count
            let identity = Self.identity(index)
            let endpoint = Endpoint.loopback(UInt16(1_000 + index))
            let contact = Self.contact(identity, at: [endpoint])
            byKey[identity.publicKey] = index
            nodes.append(
                Node(
                    identity: identity, contact: contact, endpoint: endpoint,
                    discovery: Discovery(
                        selfKey: identity.publicKey, parameters: parameters, profile: .loopback)))
            turns.append(Turn(now: clock, random: SeededRandom(seed: random.bytes32())))
            nextTick.append(.never)
            act(index) { $0.setSelf(contact, turn: &$1, out: &$2) }
        }
    }

    func address(_ index: Int) -> PeerAddress {
        PeerAddress(key: nodes[index].identity.publicKey, endpoint: nodes[index].endpoint)
    }

    /// Calls into one node and carries out the resulting actions.
    mutating func act(
        _ index: Int, _ call: (inout Discovery, inout Turn, inout [DiscoveryAction]) -> Void
    ) {
        var out: [DiscoveryAction] = []
        turns[index].now = clock
        call(&nodes[index].discovery, &turns[index], &out)
        perform(out, by: index)
    }

    /// Fills every table as the id distribution would: k random nodes of each bucket.
    mutating func presumeTables() {
        let sorted = nodes.indices.sorted { nodes[$0].identity.nodeID < nodes[$1].identity.nodeID }
        for index in nodes.indices {
            var buckets: [[Int]] = Array(repeating: [], count: 24)
            for other in sorted where other != index {
                let shared = nodes[index].identity.nodeID.bucketIndex(of: nodes[other].identity.nodeID) ?? 0
                buckets[min(shared, 23)].append(other)
            }
            let chosen = buckets.flatMap { random.sample(16, of: $0) }.map { nodes[$0].contact }
            nodes[index].discovery.presume(chosen, now: clock)
        }
    }

    /// A new process under the same key: no state, and a newer contact.
    mutating func restart(_ index: Int, port: UInt16? = nil) {
        nodes[index].isDown = false
        if let port { nodes[index].endpoint = .loopback(port) }
        let sequence = nodes[index].contact.record.sequence + 1
        let contact = Self.contact(nodes[index].identity, at: [nodes[index].endpoint], sequence: sequence)
        nodes[index].contact = contact
        let old = nodes[index].discovery
        nodes[index].discovery = Discovery(
            selfKey: old.selfKey, parameters: old.parameters, profile: old.profile)
        sessions = sessions.filter { $0 >> 20 != index && $0 & 0xfffff != index }
        act(index) { $0.setSelf(contact, turn: &$1, out: &$2) }
    }

    mutating func lookup(_ target: Bytes32, at index: Int) -> RequestToken {
        var token: RequestToken = 0
        act(index) { token = $0.lookup(target, turn: &$1, out: &$2) }
        return token
    }

    mutating func provide(_ topic: TopicID, at index: Int) {
        let registration = Registration(
            publicKey: nodes[index].identity.publicKey, topic: topic, endpoints: [nodes[index].endpoint],
            issuedAt: clock.wall)
        let signed = Verified(signing: registration, with: nodes[index].identity)
        act(index) { $0.provide(signed, turn: &$1, out: &$2) }
    }

    mutating func search(_ topic: TopicID, at index: Int) -> RequestToken {
        var token: RequestToken = 0
        act(index) { token = $0.findProviders(of: topic, turn: &$1, out: &$2) }
        return token
    }

    mutating func run(for interval: Interval) {
        let end = now + interval
        while let next = queue.min, next.time <= end {
            queue.removeMin()
            now = next.time
            guard let event = events[next.slot] else { continue }
            events[next.slot] = nil
            freeSlots.append(next.slot)
            deliver(event)
        }
        now = end
    }

    // MARK: Machinery

    private mutating func perform(_ actions: [DiscoveryAction], by index: Int) {
        for action in actions {
            switch action {
            case .request(let token, let message, let peer):
                mix(token.rawValue)
                mix(peer.key.value.w0)
                count(message)
                schedule(after: delay(), .request(token: token, message, from: index, to: peer))
            case .admitted(let contact, _), .updated(let contact, _):
                mix(contact.record.publicKey.value.w1)
            case .evicted(let key):
                mix(key.value.w2)
                nodes[index].evictions.append(key)
            case .lookupFinished(let token, let contacts, let statistics):
                for contact in contacts { mix(contact.record.publicKey.value.w3) }
                nodes[index].lookups[token] = (contacts, statistics)
            case .providerFound(let token, let provider):
                mix(provider.address.key.value.w0)
                nodes[index].found[token, default: []].append(provider.address.key)
            case .searchFinished(let token, let statistics):
                mix(UInt64(statistics.asked))
                nodes[index].searches[token] = statistics
            case .joined: nodes[index].isJoined = true
            case .observedEndpointChanged(let endpoint): mix(endpoint.low)
            case .send, .callBack, .reachabilityTested: break
            }
        }
        let next = nodes[index].discovery.nextDeadline()
        if next != .never, next < nextTick[index] || nextTick[index] <= now {
            nextTick[index] = next
            schedule(at: next, .tick(index))
        }
    }

    private mutating func deliver(_ event: Event) {
        switch event {
        case .request(let token, let message, let from, let peer):
            guard let to = byKey[peer.key], nodes[to].endpoint == peer.endpoint, !nodes[to].isDown,
                !nodes[from].isDown, sides?(from, to) ?? true
            else { return schedule(after: patience, .silence(token: token, at: from)) }
            let pair = min(from, to) << 20 | max(from, to)
            var proven = !sessions.insert(pair).inserted
            if case .register = message { proven = true }  // waits for its session
            let asker = address(from)
            var reply: DiscoveryMessage?
            if let lie = nodes[to].lie {
                reply = lie(message, asker)
            } else {
                act(to) {
                    reply = $0.handle(message, from: asker, proven: proven, turn: &$1, out: &$2)
                }
            }
            guard let reply else { return schedule(after: patience, .silence(token: token, at: from)) }
            count(reply)
            schedule(after: delay(), .reply(token: token, reply, from: peer, to: from, sent: now))
        case .reply(let token, let message, let peer, let to, let sent):
            guard !nodes[to].isDown else { return }
            let roundTrip = now - sent
            act(to) {
                $0.answered(token, message, from: peer, roundTrip: roundTrip, turn: &$1, out: &$2)
            }
        case .silence(let token, let index):
            guard !nodes[index].isDown else { return }
            act(index) { $0.unanswered(token, turn: &$1, out: &$2) }
        case .tick(let index):
            nextTick[index] = .never
            guard !nodes[index].isDown else { return }
            act(index) { $0.tick(turn: &$1, out: &$2) }
        }
    }

    private mutating func count(_ message: DiscoveryMessage) {
        messages += 1
        switch message {
        case .ping(let contact, _):
            pings += 1
            payload += contact.map { $0.body.count + 72 } ?? 0
        case .pong(let contact, _): payload += 12 + (contact.map { $0.body.count + 72 } ?? 0)
        case .find:
            finds += 1
            payload += 34
        case .found(let contacts): payload += contacts.reduce(0) { $0 + $1.body.count + 72 }
        default: break
        }
    }

    private mutating func delay() -> Interval { random.interval(latency.low, latency.high) }

    private mutating func schedule(after interval: Interval, _ event: Event) {
        schedule(at: now + interval, event)
    }

    private mutating func schedule(at time: MonotonicTime, _ event: Event) {
        number += 1
        let slot = freeSlots.popLast() ?? events.count
        if slot == events.count { events.append(event) } else { events[slot] = event }
        queue.insert(Scheduled(time: max(time, now), number: number, slot: slot))
    }

    private mutating func mix(_ value: UInt64) {
        digest = (digest ^ value ^ UInt64(bitPattern: now.nanoseconds)) &* 1_099_511_628_211
    }
}
