import Cryptography
import Primitives
import TestSupport
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
        case request(Flight)
        case answer(to: Int, from: Int, token: RequestToken, GossipMessage)
        case timeout(Flight)
    }

    var nodes: [Node]
    private(set) var digest = CourseDigest()
    private(set) var messages = 0
    private var network: VirtualNetwork<Event>
    /// Requests without an outcome yet, by sender and token.
    private var waiting: Set<[UInt64]> = []

    init(_ count: Int, seed: UInt64, parameters: GossipParameters = GossipParameters()) {
        // 10 to 60 ms a link, and a little jitter.
        network = VirtualNetwork(
            seed: seed, start: MonotonicTime(nanoseconds: monotonicStart * 1_000_000_000)
        ) { from, to, random in
            .milliseconds(10 + Int64((from &* 31 &+ to &* 17) % 50))
                + random.interval(.zero, .milliseconds(5))
        }
        network.lossPerMille = 20
        nodes = (0..<count).map {
            Node(
                gossip: Gossip(identity: Identity.ofNode($0), parameters: parameters),
                turn: Turn(
                    now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)),
                    random: SeededRandom(seed: seed &+ UInt64($0) &+ 1_000)))
        }
    }

    var time: MonotonicTime { network.now }
    var lossPerMille: Int {
        get { network.lossPerMille }
        set { network.lossPerMille = newValue }
    }
    /// Whether messages from the first to the second get through at all.
    var isLinked: (Int, Int) -> Bool {
        get { network.isLinked }
        set { network.isLinked = newValue }
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
                let receiver = Int(((to.endpoint.ipv4 ?? 0) &- 0x1400_0001) >> 16)
                guard receiver < nodes.count else { continue }
                waiting.insert([UInt64(index), token.rawValue])
                send(Flight(sender: index, receiver: receiver, token: token, message: message, attempt: 1))
            case .offerLearnt(let offer): nodes[index].events.append("learnt \(offer.record.model)")
            case .offerWithdrawn(_, let model): nodes[index].events.append("withdrawn \(model)")
            case .offerExpired(_, let model): nodes[index].events.append("expired \(model)")
            case .searchFinished(let token, _): nodes[index].events.append("finished \(token.rawValue)")
            case .leaveFinished: nodes[index].events.append("left")
            case .sequenceUsed, .pullEnded: break
            }
        }
        network.wake(index, at: nodes[index].gossip.nextDeadline())
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
    mutating func restart(_ index: Int, resuming models: [String] = []) {
        nodes[index].gossip = Gossip(identity: Identity.ofNode(index))
        nodes[index].gossip.resume(models)
        network.forgetAlarm(of: index)
        waiting = waiting.filter { $0[0] != UInt64(index) }
    }

    mutating func run(_ interval: Interval) {
        let end = time + interval
        while let happening = network.next(until: end) {
            switch happening {
            case .alarm(let index):
                if nodes[index].isUp { act(index) { $0.tick(turn: &$1, out: &$2) } }
            case .event(let event): perform(event)
            }
        }
    }

    private mutating func perform(_ event: Event) {
        switch event {
        case .request(let flight):
            guard nodes[flight.receiver].isUp else { return }
            trace(flight.sender, flight.receiver, flight.token)
            var reply: GossipMessage?
            act(flight.receiver) {
                reply = $0.handle(
                    flight.message, from: address(flight.sender), proven: true, turn: &$1, out: &$2
                )
            }
            guard let reply else { return }
            network.send(
                .answer(to: flight.sender, from: flight.receiver, token: flight.token, reply),
                from: flight.receiver, to: flight.sender)
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
        network.plan(.timeout(flight), after: .milliseconds(250))
        network.send(.request(flight), from: flight.sender, to: flight.receiver)
    }

    private mutating func trace(_ from: Int, _ to: Int, _ token: RequestToken) {
        for word in [UInt64(from), UInt64(to), token.rawValue, UInt64(bitPattern: time.nanoseconds)] {
            digest.mix(word)
        }
    }

    // MARK: Checks

    /// The number of (node, offer) pairs of `publishers` that are missing or differ from the publisher's own.
    func missing(among indices: Range<Int>, publishers: Range<Int>) -> Int {
        var missing = 0
        for publisher in publishers {
            let key = Identity.ofNode(publisher).publicKey
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
