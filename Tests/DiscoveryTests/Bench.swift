import Cryptography
import Primitives
import Testing
import Wire

@testable import Discovery

/// One `Discovery` with scripted peers.
struct Bench {
    var discovery: Discovery
    var turn = Turn(
        now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)), random: SeededRandom(seed: 5))
    var out: [DiscoveryAction] = []
    var now: MonotonicTime {
        get { turn.monotonic }
        set { turn.now.monotonic = newValue }
    }
    let identity = TestNetwork.identity(2_000_000)
    let own: Verified<Contact>

    var clock: Now { turn.now }

    init(_ profile: DiscoveryProfile = .loopback, parameters: DiscoveryParameters = DiscoveryParameters()) {
        discovery = Discovery(selfKey: identity.publicKey, parameters: parameters, profile: profile)
        own = TestNetwork.contact(identity, at: [Self.endpoint(999, profile)])
        discovery.setSelf(own, turn: &turn, out: &out)
    }

    static func endpoint(_ number: Int, _ profile: DiscoveryProfile = .loopback) -> Endpoint {
        switch profile {
        case .loopback: .loopback(UInt16(1_000 + number))
        case .internet: Endpoint(ipv4: 0x0800_0001 + UInt32(number) << 8, port: 7827)
        }
    }

    func contact(_ number: Int, sequence: UInt64 = 1, at endpoint: Endpoint? = nil) -> Verified<Contact> {
        TestNetwork.contact(
            TestNetwork.identity(number), at: [endpoint ?? Self.endpoint(number, discovery.profile)],
            sequence: sequence)
    }

    func address(_ contact: Verified<Contact>) -> PeerAddress {
        PeerAddress(key: contact.record.publicKey, endpoint: contact.record.endpoints[0])
    }

    /// Returns the requests since the last call, and discards all other actions.
    mutating func requests() -> [(token: RequestToken, message: DiscoveryMessage, peer: PeerAddress)] {
        defer { out = [] }
        return out.compactMap {
            guard case .request(let token, let message, let peer) = $0 else { return nil }
            return (token, message, peer)
        }
    }

    mutating func answer(_ token: RequestToken, _ message: DiscoveryMessage?, from peer: PeerAddress) {
        discovery.answered(
            token, message, from: peer, roundTrip: .milliseconds(20), turn: &turn, out: &out)
    }

    mutating func fail(_ token: RequestToken) {
        discovery.unanswered(token, turn: &turn, out: &out)
    }

    /// A request in an established session.
    mutating func ask(_ message: DiscoveryMessage, from peer: PeerAddress, proven: Bool = true)
        -> DiscoveryMessage?
    {
        discovery.handle(message, from: peer, proven: proven, turn: &turn, out: &out)
    }

    /// Puts `contact` into the table the usual way, and discards the resulting actions.
    mutating func admit(_ contact: Verified<Contact>) {
        discovery.prove(
            contact, at: address(contact), NodeID(of: contact.record.publicKey), .milliseconds(20), &turn,
            &out)
        out = []
    }

    mutating func tick(after interval: Interval) {
        now = now + interval
        discovery.tick(turn: &turn, out: &out)
    }

    /// Ticks until `key` is sent a PING, for at most `limit`. Meanwhile lookups find no new contact and other
    /// requests fail.
    mutating func nextRequest(to key: PublicKey, within limit: Interval) -> (
        token: RequestToken, message: DiscoveryMessage
    )? {
        let end = now + limit
        while discovery.nextDeadline() <= end {
            now = max(now, discovery.nextDeadline())
            discovery.tick(turn: &turn, out: &out)
            for request in requests() {
                if case .find = request.message {
                    answer(request.token, .found(contacts: []), from: request.peer)
                } else if request.peer.key == key {
                    return (request.token, request.message)
                } else {
                    fail(request.token)
                }
            }
        }
        now = end
        return nil
    }
}

extension Bench {
    mutating func expectRequest(to key: PublicKey, within limit: Interval) throws -> (
        token: RequestToken, message: DiscoveryMessage
    ) {
        let request = nextRequest(to: key, within: limit)
        return try #require(request)
    }
}
