import Cryptography
import Primitives
import Testing
import Wire

@testable import Sessions

/// Two nodes in virtual time: first contact, retries, restarts.
@Suite struct SessionsTests {
    @Test func firstContactTakesOneRoundTrip() throws {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run(.milliseconds(21))
        let completion = try #require(net.nodes[0].completions.first)
        #expect(completion.answer == .discovery(.pong(contact: nil, observed: net.nodes[0].endpoint)))
        #expect(completion.roundTrip == .milliseconds(20))
        #expect(net.nodes[1].incoming.first?.proven == false)
        net.run()
        // Initiation, response, confirmation, nothing more.
        #expect(net.kinds == [1, 2, 4])
        #expect(net.nodes[0].established == [net.nodes[1].address])
        #expect(net.nodes[1].established == [net.nodes[0].address])
        #expect(net.nodes[0].sessions.dropped.total == 0)
        #expect(net.nodes[1].sessions.dropped.total == 0)
    }

    @Test func theNextRequestsGoOverTheSessionInBothDirections() throws {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 2)
        net.request(.gossip(.offerMail([])), from: 1, to: 0, token: 3)
        net.run()
        #expect(net.kinds == [1, 2, 4, 4, 4, 4, 4])
        #expect(net.nodes[0].completions.map(\.owner) == [.peer(1), .peer(2)])
        #expect(net.nodes[1].completions.map(\.owner) == [.peer(3)])
        #expect(net.nodes[1].incoming.map(\.proven) == [false, true])
        #expect(net.nodes[0].sessions.roundTrip(to: net.nodes[1].address) == .milliseconds(20))
    }

    @Test func aRequestThatIsNotIdempotentWaitsForTheHandshake() {
        let net = Net()
        net.request(.gossip(.offerMail([])), from: 0, to: 1)
        net.run()
        #expect(net.kinds == [1, 2, 4, 4])
        #expect(net.nodes[0].completions.first?.answer == .gossip(.offerReceived))
        #expect(net.nodes[1].incoming.map(\.proven) == [true])
    }

    @Test func oneWayMessagesOpenASessionAndFollow() {
        let net = Net()
        for task in 0..<10 as Range<UInt64> {
            net.send(
                .market(.release(Release(task: TaskID(high: 0, low: task), attempt: 1, winningScore: 0))),
                from: 0,
                to: 1)
        }
        net.run()
        // Eight wait; two exceed the bound.
        #expect(net.nodes[1].incoming.count == 8)
        #expect(net.nodes[1].incoming.allSatisfy { $0.reply == nil && $0.proven })
        #expect(net.nodes[0].sessions.dropped[.overBudget] == 2)
    }

    @Test func manyRequestsToAStrangerShareOneHandshake() {
        let net = Net()
        for token in 0..<10 as Range<UInt64> {
            net.request(.discovery(.find(target: Bytes32(token, 0, 0, 0))), from: 0, to: 1, token: token)
        }
        net.run()
        #expect(net.kinds.filter { $0 == 1 }.count == 1)
        #expect(net.nodes[0].completions.count == 10)
        #expect(net.nodes[0].completions.allSatisfy { $0.answer == .discovery(.found(contacts: [])) })
    }

    @Test func aLostFirstMessageIsSentAgain() {
        let net = Net()
        var lost = 0
        net.delivers = { packet in
            guard packet.bytes[0] == 1, lost == 0 else { return true }
            lost += 1
            return false
        }
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        #expect(net.nodes[0].completions.first?.answer != nil)
        #expect(net.kinds == [1, 1, 2, 4])
    }

    @Test("Case 7: a late response to the first try still counts")
    func aLateResponseToTheFirstTryStillCounts() {
        let net = Net()
        net.latency = .milliseconds(200)
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        #expect(net.nodes[0].completions.first?.roundTrip == .milliseconds(400))
        #expect(net.nodes[0].established.count == 1)
        #expect(net.nodes[0].sessions.sessionCount == 1)
    }

    @Test func aDeadPeerIsUnansweredOnceAndSoon() {
        let net = Net(3)
        net.delivers = { $0.to != net.nodes[1].endpoint }
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run(.milliseconds(901))
        #expect(net.nodes[0].completions.count == 1)
        #expect(net.nodes[0].completions.first?.answer == nil)
        #expect(net.kinds == [1, 1])
        #expect(net.nodes[0].sessions.associations.count == 0)
        net.run(.minutes(10))
        #expect(net.nodes[0].completions.count == 1)
    }

    @Test func aLostRequestOnASessionIsRetriedAsAFirstMessage() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        let before = net.log.count
        net.delivers = { [log = net.log.count] _ in net.log.count != log + 1 }
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1, token: 2)
        net.run()
        #expect(net.nodes[0].completions.count == 2)
        #expect(net.nodes[0].completions.last?.answer != nil)
        #expect(Array(net.kinds[before...]) == [4, 1, 2, 4])
    }

    @Test(arguments: [0, 1]) func aRestartOfEitherSideCostsOneRetry(_ who: Int) {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        net.restart(who)
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 2)
        net.run()
        #expect(net.nodes[0].completions.last?.answer == .gossip(.offerReceived))
        net.request(.gossip(.offerMail([])), from: 1, to: 0, token: 3)
        net.run()
        #expect(net.nodes[1].completions.last?.answer == .gossip(.offerReceived))
    }

    @Test func aMoveToAnotherPortCostsOneRetry() throws {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        net.nodes[0].endpoint.port = 40_000
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 2)
        net.run()
        #expect(net.nodes[0].completions.last?.answer == .gossip(.offerReceived))
        #expect(net.nodes[1].sessions.dropped[.wrongEndpoint] == 1)
        #expect(try #require(net.nodes[1].incoming.last).peer.endpoint.port == 40_000)
    }

    @Test("Case 7: crossed opens leave two sessions that both work")
    func crossedOpensLeaveTwoSessionsThatBothWork() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.request(.discovery(.ping(contact: nil)), from: 1, to: 0)
        net.run()
        for node in net.nodes {
            #expect(node.completions.count == 1 && node.completions[0].answer != nil)
            #expect(node.sessions.sessionCount == 2)
        }
        let before = net.log.count
        for round in 0..<4 as Range<UInt64> {
            net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 10 + round)
            net.request(.gossip(.offerMail([])), from: 1, to: 0, token: 20 + round)
            net.run(.minutes(3))
        }
        #expect(net.log.count == before + 16)
        #expect(net.nodes.allSatisfy { $0.completions.count == 5 && $0.sessions.dropped.total == 0 })
    }

    @Test("Case 7: a request to oneself is refused")
    func aRequestToOneselfIsRefused() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 0)
        #expect(net.nodes[0].completions.count == 1 && net.log.isEmpty)
        #expect(net.nodes[0].sessions.dropped[.selfDial] == 1)
    }

    @Test func meshesDoNotHearEachOther() {
        let net = Net(1)
        let other = net.add(5, mesh: MeshIdentity(name: "elsewhere"))
        let secret = net.add(6, mesh: MeshIdentity(name: "test", key: [1, 2, 3]))
        net.request(.discovery(.ping(contact: nil)), from: 0, to: other)
        net.request(.discovery(.ping(contact: nil)), from: 0, to: secret)
        net.run()
        #expect(net.nodes[0].completions.allSatisfy { $0.answer == nil })
        #expect(net.nodes[other].sessions.dropped[.badHandshake] == 2)
        #expect(net.nodes[secret].sessions.dropped[.badMac] == 2)
        #expect(net.kinds == [1, 1, 1, 1])
    }

    @Test func anOldSessionIsReplacedOnUse() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        net.now = net.now + .minutes(60)
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 2)
        net.run()
        #expect(net.nodes[0].completions.last?.answer == .gossip(.offerReceived))
        #expect(net.nodes[0].established.count == 2 && net.nodes[1].established.count == 2)
    }

    @Test func aRequestForALaterVersionIsAnsweredUnsupported() throws {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        // Field 90, empty, as request 77: `request` 1, then a body that this version doesn't know.
        net.sealRaw([0x08, 77, 0xd2, 0x05, 0x00], from: 0, to: 1)
        net.run()
        #expect(net.nodes[1].sessions.dropped[.unknownMessage] == 1)
        // The answer names a request that node 0 never sent.
        #expect(net.nodes[0].sessions.dropped[.unknownReply] == 1)
    }

    @Test func theSameInputsGiveTheSameBytes() {
        func play() -> [[UInt8]] {
            let net = Net()
            net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
            net.run()
            net.request(.gossip(.offerMail([])), from: 1, to: 0)
            net.run()
            return net.log.map(\.bytes)
        }
        #expect(play() == play())
    }

    @Test func twoPercentLossAndNoRequestIsLeftWithoutItsEnd() {
        let net = Net(6)
        var random = SeededRandom(seed: 11)
        net.delivers = { _ in !random.chance(2, in: 100) }
        var token: UInt64 = 0
        for _ in 0..<60 {
            for from in 0..<6 {
                token += 1
                net.request(
                    token % 3 == 0 ? .gossip(.offerMail([])) : .discovery(.ping(contact: nil)), from: from,
                    to: (from + 1 + Int(token) % 5) % 6,
                    token: token)
            }
            net.run(.milliseconds(500))
        }
        net.run(.minutes(1))
        let done = net.nodes.flatMap(\.completions)
        #expect(done.count == Int(token))
        #expect(Set(done.map(\.owner)).count == done.count)
        #expect(done.filter { $0.answer == nil }.count <= 2)
        #expect(net.nodes.allSatisfy { $0.sessions.pending.isEmpty && $0.sessions.openings.isEmpty })
    }
}

extension Net {
    /// Sends arbitrary plaintext on the session between two nodes.
    func sealRaw(_ plain: [UInt8], from: Int, to: Int, counter: UInt64? = nil) {
        guard let number = nodes[from].sessions.session(to: nodes[to].address),
            let session = nodes[from].sessions.associations[number]
        else { return }
        let counter = counter ?? session.sendCounter
        nodes[from].sessions.associations[number]?.sendCounter = counter &+ 1
        var packet = [UInt8](repeating: 0, count: 16) + plain + [UInt8](repeating: 0, count: 16)
        packet.withUnsafeMutableBytes { bytes in
            Sessions.packetHeader(bytes, session.remoteNumber, counter)
            Aead.seal(
                bytes.from(16), count: plain.count, key: session.keys?.value.send ?? Secret32(.zero),
                counter: counter)
        }
        inject(packet, into: to, from: nodes[from].endpoint)
    }
}

extension Sessions {
    static func packetHeader(_ bytes: UnsafeMutableRawBufferPointer, _ number: UInt32, _ counter: UInt64) {
        Packet.writeHeader(bytes, .transport)
        bytes.storeBytes(of: number.littleEndian, toByteOffset: 4, as: UInt32.self)
        bytes.storeBytes(of: counter.littleEndian, toByteOffset: 8, as: UInt64.self)
    }
}
