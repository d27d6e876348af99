import Primitives
import Wire

@testable import Gossip

/// Many `Gossip` values in virtual time: every message takes its link's latency or is lost. What `Sessions`
/// does for requests (a timeout, one retry) is done here. The same seed gives the same run.
struct Network {
    struct Node {
        var gossip: Gossip
        var turn: Turn
        var isUp = true
        /// Milliseconds by which its wall clock is wrong.
        var wallError: Int64 = 0
        var wakesAt: MonotonicTime = .never
        var events: [String] = []

        mutating func act(
            _ now: Now, _ actions: inout [GossipAction],
            _ body: (inout Gossip, inout Turn, inout [GossipAction]) -> Void
        ) {
            turn.now = now
            body(&gossip, &turn, &actions)
        }
    }
    private struct Flight {
        var sender: Int
        var receiver: Int
        var token: RequestToken
        var message: GossipMessage
        var attempt: Int
    }
    private enum Event {
        case wake(Int)
        case request(Flight)
        case answer(to: Int, from: Int, token: RequestToken, GossipMessage)
        case timeout(Flight)
    }

    var nodes: [Node]
    var time = MonotonicTime(nanoseconds: monotonicStart * 1_000_000_000)
    var lossPerMille = 20
    /// Whether a message from the first to the second gets through at all.
    var isLinked: (Int, Int) -> Bool = { _, _ in true }
    private(set) var digest: UInt64 = 14_695_981_039_346_656_037
    private(set) var messages = 0
    private var random: SeededRandom
    private var queue = DeadlineQueue<Int>()
    private var events: [Int: Event] = [:]
    private var lastEvent = 0
    /// Requests without an outcome yet, by sender and token.
    private var waiting: Set<[UInt64]> = []

    init(_ count: Int, seed: UInt64, parameters: GossipParameters = GossipParameters()) {
        random = SeededRandom(seed: seed)
        nodes = (0..<count).map {
            Node(
                gossip: Gossip(identity: identity($0), parameters: parameters),
                turn: Turn(
                    now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)),
                    random: SeededRandom(seed: seed &+ UInt64($0) &+ 1_000)))
        }
    }

    func now(_ index: Int) -> Now {
        let elapsed = time - MonotonicTime(nanoseconds: monotonicStart * 1_000_000_000)
        return Now(
            monotonic: time,
            wall: WallTime(milliseconds: wallStart + elapsed.milliseconds + nodes[index].wallError))
    }

    /// Calls one node and carries out the resulting actions.
    mutating func act(
        _ index: Int, _ body: (inout Gossip, inout Turn, inout [GossipAction]) -> Void
    ) {
        var actions: [GossipAction] = []
        let now = now(index)
        nodes[index].act(now, &actions, body)
        for action in actions {
            switch action {
            case .request(let token, let message, let to):
                let receiver = Int((to.endpoint.ipv4 ?? 0) >> 8 & 0xffff)
                guard receiver < nodes.count else { continue }
                waiting.insert([UInt64(index), token.rawValue])
                send(Flight(sender: index, receiver: receiver, token: token, message: message, attempt: 1))
            case .offerLearnt(let offer): nodes[index].events.append("learnt \(offer.record.model)")
            case .offerWithdrawn(_, let model): nodes[index].events.append("withdrawn \(model)")
            case .offerExpired(_, let model): nodes[index].events.append("expired \(model)")
            case .searchFinished(let token, _): nodes[index].events.append("finished \(token)")
            case .leaveFinished: nodes[index].events.append("left")
            case .sequenceUsed, .pullEnded: break
            }
        }
        let next = nodes[index].gossip.nextDeadline()
        if next < nodes[index].wakesAt {
            nodes[index].wakesAt = next
            schedule(.wake(index), at: next)
        }
    }

    mutating func join(_ index: Int, _ other: Int) {
        act(index) { $0.memberJoined(address(other), turn: &$1, out: &$2) }
    }
    mutating func joinAll() {
        for index in nodes.indices { for other in nodes.indices where other != index { join(index, other) } }
    }
    mutating func announce(_ index: Int, _ draft: Offer) {
        act(index) { $0.announce(draft, turn: &$1, out: &$2) }
    }

    /// A new process under the same key.
    mutating func restart(_ index: Int) {
        nodes[index].gossip = Gossip(identity: identity(index))
        nodes[index].wakesAt = .never
        waiting = waiting.filter { $0[0] != UInt64(index) }
    }

    mutating func run(_ interval: Interval) {
        let end = time + interval
        while queue.next() <= end {
            time = max(time, queue.next())
            guard let number = queue.popDue(time), let event = events.removeValue(forKey: number) else {
                break
            }
            perform(event)
        }
        time = end
    }

    private mutating func perform(_ event: Event) {
        switch event {
        case .wake(let index):
            guard nodes[index].isUp, nodes[index].wakesAt <= time else { return }
            nodes[index].wakesAt = .never
            act(index) { $0.tick(turn: &$1, out: &$2) }
        case .request(let flight):
            guard nodes[flight.receiver].isUp else { return }
            trace(flight.sender, flight.receiver, flight.token)
            var reply: GossipMessage?
            act(flight.receiver) {
                reply = $0.handle(
                    flight.message, from: address(flight.sender), proven: true, turn: &$1, out: &$2
                )
            }
            guard let reply, isPassed(flight.receiver, flight.sender) else { return }
            schedule(
                .answer(to: flight.sender, from: flight.receiver, token: flight.token, reply),
                at: time + latency(flight.receiver, flight.sender))
        case .answer(let index, let from, let token, let message):
            guard nodes[index].isUp, waiting.remove([UInt64(index), token.rawValue]) != nil else { return }
            trace(from, index, token)
            act(index) {
                $0.answered(
                    token, message, from: address(from), roundTrip: .milliseconds(50), turn: &$1, out: &$2)
            }
        case .timeout(let flight):
            guard nodes[flight.sender].isUp, waiting.contains([UInt64(flight.sender), flight.token.rawValue])
            else {
                return
            }
            if flight.attempt == 1 {
                var again = flight
                again.attempt = 2
                send(again)
            } else {
                waiting.remove([UInt64(flight.sender), flight.token.rawValue])
                act(flight.sender) { $0.unanswered(flight.token, turn: &$1, out: &$2) }
            }
        }
    }

    private mutating func send(_ flight: Flight) {
        messages += 1
        schedule(.timeout(flight), at: time + .milliseconds(250))
        if isPassed(flight.sender, flight.receiver) {
            schedule(.request(flight), at: time + latency(flight.sender, flight.receiver))
        }
    }

    private mutating func isPassed(_ from: Int, _ to: Int) -> Bool {
        !random.chance(lossPerMille, in: 1_000) && isLinked(from, to)
    }

    /// 10 to 60 ms a link, plus a little jitter.
    private mutating func latency(_ from: Int, _ to: Int) -> Interval {
        .milliseconds(10 + Int64((from &* 31 &+ to &* 17) % 50)) + random.interval(.zero, .milliseconds(5))
    }

    private mutating func schedule(_ event: Event, at time: MonotonicTime) {
        lastEvent += 1
        events[lastEvent] = event
        queue.set(lastEvent, at: time)
    }

    private mutating func trace(_ from: Int, _ to: Int, _ token: RequestToken) {
        for word in [UInt64(from), UInt64(to), token.rawValue, UInt64(bitPattern: time.nanoseconds)] {
            digest = (digest ^ word) &* 1_099_511_628_211
        }
    }

    // MARK: Checks

    /// The number of (node, offer) pairs of `publishers` that are missing or differ from the publisher's own.
    func missing(among indices: Range<Int>, publishers: Range<Int>) -> Int {
        var missing = 0
        for publisher in publishers {
            let key = identity(publisher).publicKey
            let own = nodes[publisher].gossip.allOffers.filter { $0.record.publicKey == key }.map(\.signed)
            for index in indices {
                let held = nodes[index].gossip.allOffers.filter { $0.record.publicKey == key }.map(\.signed)
                if held != own { missing += 1 }
            }
        }
        return missing
    }

    var offersReceived: UInt64 { nodes.reduce(0) { $0 + $1.gossip.statistics.offersReceived } }
    var signaturesChecked: UInt64 { nodes.reduce(0) { $0 + $1.gossip.statistics.signaturesChecked } }
}
