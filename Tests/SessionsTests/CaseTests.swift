import Cryptography
import Primitives
import Testing
import Wire

@testable import Sessions

/// The numbered hostile cases (Tests/README.md) that Sessions handles and no other suite covers.
@Suite struct CaseTests {
    private let stranger = Endpoint(ipv4: 0xc000_0201, port: 999)

    @Test("Case 3: an answer with a number never used, zero, or used before completes nothing")
    func replyNumbers() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        let used = net.nodes[0].sessions.lastRequest
        for number in [used, used &+ 1, .max] {
            net.sealRaw(Envelope(reply: number, message: .gossip(.offerReceived)).encoded(), from: 1, to: 0)
        }
        #expect(net.nodes[0].sessions.dropped[.unknownReply] == 3)
        // Zero means that it is no answer: a message like any other, and no machine takes this one.
        net.sealRaw(Envelope(message: .gossip(.offerReceived)).encoded(), from: 1, to: 0)
        #expect(net.nodes[0].completions.count == 1 && net.nodes[0].incoming.last?.reply == nil)
        // Request numbers wrap, skipping zero and those that are open.
        net.nodes[0].sessions.lastRequest = .max - 1
        net.delivers = { _ in false }
        for token in 2...4 as ClosedRange<UInt64> {
            net.request(.gossip(.offerMail([])), from: 0, to: 1, token: token)
        }
        #expect(net.nodes[0].sessions.lastRequest == 2)
        net.run()
        #expect(net.nodes[0].completions.count == 4)
    }

    @Test(
        "Case 6: a session's packet from elsewhere is not answered there, and the session stays where it was"
    )
    func otherPlace() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        net.delivers = { _ in false }
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 2)
        let packet = net.log[net.log.count - 1].bytes
        let logged = net.log.count
        net.inject(packet, into: 1, from: stranger)
        #expect(net.nodes[1].sessions.dropped[.wrongEndpoint] == 1 && net.log.count == logged)
        net.delivers = { _ in true }
        net.inject(packet, into: 1, from: net.nodes[0].endpoint)
        net.run()
        #expect(net.nodes[0].completions.last?.answer == .gossip(.offerReceived))
        #expect(net.log.count == logged + 1)
    }

    @Test("Case 7: responses to no attempt, to an older one, or sent twice open one session")
    func orphans() {
        let net = Net()
        var held: [Net.Packet] = []
        net.delivers = { packet in
            if packet.bytes[0] == 2 { held.append(packet) }
            return packet.bytes[0] != 2
        }
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run(.milliseconds(350))
        #expect(held.count == 2)
        // The response to the second attempt comes first, then the late one, then both again.
        for packet in [held[1], held[0], held[1], held[0]] {
            net.inject(packet.bytes, into: 0, from: packet.from)
        }
        #expect(net.nodes[0].sessions.sessionCount == 1 && net.nodes[0].completions.count == 1)
        #expect(net.nodes[0].sessions.dropped[.noSession] == 3)
        let other = Net.node(9)
        net.nodes.append(other)
        net.inject(held[0].bytes, into: 2, from: held[0].from)
        #expect(
            net.nodes[2].sessions.dropped[.noSession] == 1 && net.nodes[2].sessions.associations.count == 0)
    }

    @Test("Case 8: unknown kinds, a counter of 0 and the last counter are harmless")
    func counters() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        let before = net.nodes[1].sessions.dropped.total
        for kind in [0, 5, 6, 8, 255] as [UInt8] {
            net.inject(
                [kind, 1, 0, 0] + [UInt8](repeating: 0, count: 60), into: 1, from: net.nodes[0].endpoint)
        }
        #expect(net.nodes[1].sessions.dropped[.unknownKind] == 5)
        net.sealRaw([], from: 0, to: 1, counter: 0)
        net.sealRaw([], from: 0, to: 1, counter: .max)
        #expect(net.nodes[1].sessions.dropped.total == before + 7)
        #expect(net.nodes[1].sessions.nextDeadline() == .never)
    }

    @Test("Case 9: an answer whose handshake was evicted meanwhile is dropped, the newer one is sent")
    func lateReply() throws {
        var limits = SessionLimits()
        limits.halfOpen = 1
        var receiver = Net.node(1, nil, 0, MeshIdentity(name: "test"), limits)
        var handles: [ReplyHandle] = []
        for seed in [2, 3] as [UInt64] {
            var sender = Net.node(seed)
            sender.request(.discovery(.ping(contact: nil)), to: receiver.address, 1, moment(.zero))
            var bytes = sender.out.datagrams.withDatagram(0) { bytes, _ in Array(bytes) }
            let incoming = bytes.withUnsafeMutableBytes {
                receiver.sessions.receive(
                    $0, from: sender.endpoint, turn: &receiver.turn,
                    out: &receiver.out)
            }
            handles.append(try #require(incoming?.reply))
        }
        for handle in handles {
            receiver.sessions.reply(
                .discovery(.pong(contact: nil, observed: nil)), to: handle, turn: &receiver.turn,
                out: &receiver.out)
        }
        #expect(receiver.sessions.dropped[.replyLate] == 1 && receiver.out.datagrams.count == 1)
    }

    @Test("Case 11: a cookie from elsewhere changes nothing, and an old one gains nothing")
    func cookies() throws {
        var limits = SessionLimits()
        limits.handshakesPerSecond = 1
        let net = Net(3, limits: limits)
        net.request(.discovery(.ping(contact: nil)), from: 2, to: 1)
        let greedy = net.log[0].bytes
        net.delivers = { packet in packet.bytes[0] != 3 }
        net.run(.milliseconds(15))
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run(.milliseconds(15))
        let cookie = try #require(net.log.last { $0.bytes[0] == 3 })
        let logged = net.log.count
        net.inject(cookie.bytes, into: 0, from: stranger)
        #expect(net.nodes[0].sessions.dropped[.wrongEndpoint] == 1 && net.log.count == logged)
        net.delivers = { _ in false }
        net.inject(cookie.bytes, into: 0, from: cookie.from)
        let initiation = try #require(net.log.last).bytes
        #expect(net.log.count == logged + 1 && initiation[0] == 1)
        // While valid, it lets its owner in over the budget; after twice its lifetime it doesn't.
        let admitted = net.nodes[1].sessions.dropped[.cookieRequired]
        net.inject(initiation, into: 1, from: net.nodes[0].endpoint)
        #expect(net.nodes[1].sessions.dropped[.cookieRequired] == admitted)
        for _ in 0..<3 {
            net.now = net.now + .seconds(121)
            net.inject(greedy, into: 1, from: net.nodes[2].endpoint)
            net.inject(greedy, into: 1, from: net.nodes[2].endpoint)
        }
        let before = net.nodes[1].sessions.dropped[.cookieRequired]
        net.inject(initiation, into: 1, from: net.nodes[0].endpoint)
        #expect(net.nodes[1].sessions.dropped[.cookieRequired] == before + 1)
    }

    @Test(
        "Case 33: with loss, duplicates, reordering and packets 5 s late, each request ends once",
        arguments: [1, 10, 30])
    func badNetwork(_ loss: Int) {
        let net = Net(4)
        var random = SeededRandom(seed: UInt64(loss))
        net.delivers = { [unowned net] packet in
            guard !random.chance(loss, in: 100) else { return false }
            var again = packet
            if random.chance(10, in: 100) {
                again.at = again.at + random.interval(.zero, .milliseconds(80))
                net.flying.append(again)
            }
            guard random.chance(10, in: 100) else { return true }
            again.at =
                again.at
                + (random.chance(20, in: 100) ? .seconds(5) : random.interval(.zero, .milliseconds(80)))
            net.flying.append(again)
            return false
        }
        let requests = 300
        for token in 1...UInt64(requests) {
            let from = Int(token % 4)
            net.request(
                token % 3 == 0 ? .gossip(.offerMail([])) : .discovery(.ping(contact: nil)), from: from,
                to: (from + 1 + Int(token / 4) % 3) % 4,
                token: token)
            net.run(.milliseconds(40))
        }
        net.run(.seconds(20))
        let ends = net.nodes.flatMap(\.completions)
        #expect(ends.count == requests && Set(ends.map(\.owner)).count == requests)
        // A request is tried twice, and each try needs two packets: 1 - (1 - (1 - p)²)² are answered, less
        // the late ones.
        let lost = Double(loss) / 100
        let once = (1 - lost) * (1 - lost)
        let expected = 1 - (1 - once) * (1 - once)
        #expect(Double(ends.count { $0.answer != nil }) / Double(requests) > expected - 0.12)
        #expect(net.log.allSatisfy { $0.bytes.count <= 1_200 })
        #expect(net.nodes.allSatisfy { $0.sessions.pending.isEmpty && $0.sessions.openings.isEmpty })
    }

    @Test("Case 34: a node whose own request slots are all taken still answers others' requests")
    func repliesHaveTheirOwnRoom() {
        var limits = SessionLimits()
        limits.requests = 1
        let net = Net(3, limits: limits)
        net.request(.discovery(.ping(contact: nil)), from: 1, to: 0)
        net.run()
        net.delivers = { $0.to != net.nodes[2].endpoint }
        net.request(.gossip(.offerMail([])), from: 0, to: 2, token: 5)
        net.request(.gossip(.offerMail([])), from: 0, to: 2, token: 6)
        #expect(net.nodes[0].completions.count == 1 && net.nodes[0].sessions.dropped[.overBudget] == 1)
        net.request(.gossip(.offerMail([])), from: 1, to: 0, token: 7)
        net.run(.milliseconds(30))
        #expect(net.nodes[1].completions.last?.answer == .gossip(.offerReceived))
    }

    @Test("Case 34: limits of zero and of the highest number hold, whatever the first moment")
    func extremeLimits() {
        for rate in [0, 1, .max] {
            for moment in [MonotonicTime.zero, MonotonicTime(nanoseconds: .max - 1), .never] {
                var bucket = TokenBucket(rate: rate, burst: rate)
                let isTaken = bucket.take(moment)
                #expect(isTaken)
                _ = bucket.take(moment)
                _ = bucket.take(.zero)
            }
        }
        var bucket = TokenBucket(rate: 10, burst: 10)
        let late = MonotonicTime.zero + .minutes(1_000_000)
        var taken = 0
        for _ in 0..<20 where bucket.take(late) { taken += 1 }
        #expect(taken == 10, "a huge gap saves up one burst")
    }
}
