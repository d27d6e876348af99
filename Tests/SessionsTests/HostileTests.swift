import Cryptography
import Primitives
import Testing
import Wire

@testable import Sessions

/// Hostile input from strangers and the network: dropped, counted under a named reason, nothing kept.
@Suite struct HostileTests {
    private let stranger = Endpoint(ipv4: 0xc000_0201, port: 999)

    /// Packets of each kind, as they were sent.
    private func real() -> (net: Net, initiation: [UInt8], response: [UInt8], transport: [UInt8]) {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 2)
        net.run()
        return (net, net.log[0].bytes, net.log[1].bytes, net.log[3].bytes)
    }

    @Test("Case 2: random bytes of any length are dropped and counted")
    func randomBytesOfAnyLengthAreDroppedAndCounted() {
        let net = Net()
        var random = SeededRandom(seed: 3)
        var lengths = Array(0...1_300) + [1_472, 9_000, 65_507]
        random.shuffle(&lengths)
        for length in lengths {
            var bytes = random.bytes(length)
            net.inject(bytes, into: 0, from: stranger)
            for kind in 0...5 as ClosedRange<UInt8> where length >= 4 {
                bytes[0] = kind
                bytes[1] = 1
                bytes[2] = 0
                bytes[3] = 0
                net.inject(bytes, into: 0, from: stranger)
            }
        }
        let dropped = net.nodes[0].sessions.dropped
        #expect(dropped.total == UInt64(lengths.count + 6 * lengths.filter { $0 >= 4 }.count))
        #expect(dropped[.oversized] > 0 && dropped[.truncated] > 0 && dropped[.unknownKind] > 0)
        #expect(dropped[.wrongVersion] > 0 && dropped[.badMac] > 0 && dropped[.noSession] > 0)
        #expect(net.log.isEmpty && net.nodes[0].sessions.associations.count == 0)
    }

    @Test("Case 2: an initiation with any bit flipped is dropped silently")
    func everyFlippedBitOfAnInitiationIsDroppedInSilence() {
        let packet = real().initiation
        var limits = SessionLimits()
        limits.handshakesPerSecond = 1_000_000
        let net = Net(2, limits: limits)
        for bit in 0..<packet.count * 8 where !(20..<36).contains(bit / 8) {
            var flipped = packet
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            net.inject(flipped, into: 1, from: stranger)
        }
        // mac2, bytes 20 to 35, is checked only under load.
        #expect(net.nodes[1].sessions.dropped.total == UInt64((packet.count - 16) * 8))
        #expect(net.nodes[1].sessions.dropped[.badHandshake] > 0)
        #expect(net.log.isEmpty && net.nodes[1].sessions.associations.count == 0)
        net.inject(packet, into: 1, from: stranger)
        #expect(net.log.count == 1)
    }

    @Test("Case 2: every truncation is dropped")
    func everyTruncationIsDropped() {
        let (_, initiation, _, _) = real()
        let net = Net(2)
        for length in 0..<initiation.count {
            net.inject(Array(initiation.prefix(length)), into: 1, from: stranger)
        }
        #expect(net.nodes[1].sessions.dropped.total == UInt64(initiation.count))
        #expect(net.log.isEmpty)
    }

    @Test("Case 8: flipped and truncated responses are dropped, and the right one still counts")
    func flippedAndTruncatedResponsesAreDroppedAndTheRightOneStillCounts() {
        let net = Net()
        var held: Net.Packet?
        net.delivers = { packet in
            if packet.bytes[0] == 2, held == nil {
                held = packet
                return false
            }
            return true
        }
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run(.milliseconds(15))
        guard let held else { return #expect(Bool(false), "no response") }
        for bit in 0..<held.bytes.count * 8 {
            var flipped = held.bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            net.inject(flipped, into: 0, from: held.from)
        }
        for length in 0..<held.bytes.count {
            net.inject(Array(held.bytes.prefix(length)), into: 0, from: held.from)
        }
        net.inject(held.bytes, into: 0, from: stranger)
        #expect(net.nodes[0].sessions.dropped.total == UInt64(held.bytes.count * 9 + 1))
        #expect(net.nodes[0].completions.isEmpty)
        net.inject(held.bytes, into: 0, from: held.from)
        #expect(net.nodes[0].completions.first?.answer != nil)
        net.inject(held.bytes, into: 0, from: held.from)
        #expect(net.nodes[0].sessions.dropped[.noSession] > 0)
        #expect(net.nodes[0].sessions.sessionCount == 1)
    }

    @Test func flippedTruncatedAndReplayedTransportPacketsAreDropped() {
        let (net, _, _, transport) = real()
        let source = net.nodes[0].endpoint
        let before = net.nodes[1].incoming.count
        let logged = net.log.count
        net.inject(transport, into: 1, from: source)
        #expect(net.nodes[1].sessions.dropped[.replayed] == 1)
        for bit in 0..<transport.count * 8 {
            var flipped = transport
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            net.inject(flipped, into: 1, from: source)
        }
        for length in 0..<transport.count {
            net.inject(Array(transport.prefix(length)), into: 1, from: source)
        }
        net.inject(transport, into: 1, from: stranger)
        #expect(net.nodes[1].incoming.count == before && net.log.count == logged)
        #expect(net.nodes[1].sessions.dropped.total == UInt64(transport.count * 9 + 2))
        // The session is still alive.
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 9)
        net.run()
        #expect(net.nodes[0].completions.last?.answer == .gossip(.offerReceived))
        #expect(net.log.count == logged + 2)
    }

    /// Message 1 is assumed replayed: its answer is no longer than itself, and it changes nothing.
    @Test("Case 10: a replayed initiation makes no session and disturbs none, wherever it comes from")
    func aReplayedInitiationMakesNoSessionAndDisturbsNone() {
        let (net, initiation, _, _) = real()
        let sessions = net.nodes[1].sessions.sessionCount
        let logged = net.log.count
        for source in [net.nodes[0].endpoint, stranger] {
            for _ in 0..<5 { net.inject(initiation, into: 1, from: source) }
        }
        net.run()
        #expect(net.nodes[1].sessions.sessionCount == sessions)
        #expect(net.nodes[1].established.count == 1)
        #expect(net.log[logged...].allSatisfy { $0.bytes[0] == 2 && $0.bytes.count <= initiation.count })
        #expect(net.nodes[1].incoming.suffix(10).allSatisfy { !$0.proven })
        net.request(.gossip(.offerMail([])), from: 1, to: 0, token: 5)
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 6)
        net.run()
        #expect(net.nodes[0].completions.last?.answer == .gossip(.offerReceived))
        #expect(net.nodes[1].completions.last?.answer == .gossip(.offerReceived))
    }

    @Test("Case 10: a replay after a restart makes no session either")
    func aReplayAfterARestartMakesNoSessionEither() {
        let (net, initiation, _, transport) = real()
        net.restart(1)
        net.inject(initiation, into: 1, from: net.nodes[0].endpoint)
        net.inject(transport, into: 1, from: net.nodes[0].endpoint)
        #expect(net.nodes[1].sessions.sessionCount == 0)
        #expect(net.nodes[1].sessions.dropped[.noSession] + net.nodes[1].sessions.dropped[.badSeal] == 1)
    }

    @Test("Case 10: an initiation for another node is dropped silently")
    func anInitiationForAnotherNodeIsSilentlyDropped() {
        let (_, initiation, _, _) = real()
        let net = Net(3)
        net.inject(initiation, into: 2, from: stranger)
        #expect(net.nodes[2].sessions.dropped[.badMac] == 1 && net.log.isEmpty)
    }

    @Test func aHandshakeWhoseNamedKeyIsNotItsStaticOneIsDropped() {
        let net = Net(3)
        let message = forged(net, payloadKey: net.nodes[2].identity.publicKey, envelope: [])
        net.inject(message, into: 1, from: stranger)
        #expect(net.nodes[1].sessions.dropped[.badIdentity] == 1 && net.log.isEmpty)
        // The other Ed25519 key with the same conversion (x negated) is another node, and no secret opens its
        // messages.
        var twin = net.nodes[0].identity.publicKey
        twin.value.w3 ^= 0x80
        let forgedTwin = forged(net, payloadKey: twin, envelope: [])
        net.inject(forgedTwin, into: 1, from: stranger)
        #expect(net.nodes[1].incoming.isEmpty)
    }

    @Test func onlyIdempotentRequestsRideInAFirstMessage() {
        let net = Net()
        let key = net.nodes[0].identity.publicKey
        let bad: [Envelope] = [
            Envelope(request: 5, message: .gossip(.offerMail([]))),
            Envelope(message: .discovery(.ping(contact: nil))),
            Envelope(reply: 5, message: .discovery(.pong(contact: nil, observed: nil))),
            Envelope(request: 5, reply: 6, message: .discovery(.ping(contact: nil))),
        ]
        for envelope in bad {
            net.inject(forged(net, payloadKey: key, envelope: envelope.encoded()), into: 1, from: stranger)
        }
        #expect(net.nodes[1].sessions.dropped[.notIdempotent] == 4)
        net.inject(forged(net, payloadKey: key, envelope: [0xff, 0xff, 0xff]), into: 1, from: stranger)
        #expect(net.nodes[1].sessions.dropped[.malformed] == 1)
        #expect(
            net.log.isEmpty && net.nodes[1].incoming.isEmpty && net.nodes[1].sessions.associations.count == 0)
    }

    @Test func aRequestOfALaterVersionInAFirstMessageIsAnsweredUnsupported() {
        let net = Net()
        // `request` 77, then field 90 as an empty message.
        let envelope: [UInt8] = [0x08, 77, 0xd2, 0x05, 0x00]
        net.inject(
            forged(net, payloadKey: net.nodes[0].identity.publicKey, envelope: envelope), into: 1,
            from: net.nodes[0].endpoint)
        #expect(net.kinds == [2] && net.nodes[1].incoming.isEmpty)
        #expect(net.nodes[1].sessions.dropped[.unknownMessage] == 1)
    }

    /// Message 1 from node 0 to node 1, made by hand.
    private func forged(_ net: Net, payloadKey: PublicKey, envelope: [UInt8], ephemeral: UInt64 = 1)
        -> [UInt8]
    {
        let mesh = MeshIdentity(name: "test")
        let start = NoiseSymmetricState(
            protocolName: NoiseIK.protocolName, prologue: Packet.prologue("starling datagram", mesh: mesh))
        let receiver = net.nodes[1].identity.publicKey
        var noise = NoiseIK(
            initiator: .init(secret: net.nodes[0].identity.agreementSecret),
            to: receiver.agreementKey ?? .zero,
            start: start)
        let payloadCount = Packet.identitySize + envelope.count
        var packet = [UInt8](repeating: 0, count: 36 + 80 + payloadCount + 16)
        packet.withUnsafeMutableBytes { bytes in
            Packet.writeHeader(bytes, .initiation)
            envelope.withUnsafeBytes { bytes.from(36 + 80).writeIdentity(payloadKey, 77, $0) }
            _ = noise.writeFirst(
                bytes.from(36), payloadCount: payloadCount, ephemeral: Secret32(Bytes32(ephemeral, 5, 5, 5)))
            Packet.mac1(bytes, key: Packet.macKey(receiver: receiver, mesh: mesh)).store(into: bytes, at: 4)
        }
        return packet
    }

    @Test("Case 12: bytes out never exceed bytes in before proof")
    func bytesOutNeverExceedBytesInBeforeProof() throws {
        let net = Net()
        net.nodes[1].pongContact = signedContact(net.nodes[1].identity, endpoints: 4)
        for message in [
            Message.discovery(.ping(contact: nil)), .discovery(.find(target: .zero)), .gossip(.offerMail([])),
        ] {
            net.restart(0)
            net.restart(1)
            net.log = []
            net.request(message, from: 0, to: 1)
            net.run()
            let first = try #require(net.log.first { $0.bytes[0] == 1 })
            let second = try #require(net.log.first { $0.bytes[0] == 2 })
            #expect(second.bytes.count <= first.bytes.count)
            #expect(net.log.allSatisfy { $0.bytes.count <= 1_200 })
            #expect(net.nodes[0].completions.last?.answer != nil)
        }
    }

    @Test func theLargestAnswersFitTheirFirstMessages() throws {
        for message in [Message.discovery(.ping(contact: nil)), .discovery(.find(target: .zero))] {
            var sender = Net.node(0)
            var receiver = Net.node(1)
            sender.request(message, to: receiver.address, 1, moment(.zero))
            var bytes = sender.out.datagrams.withDatagram(0) { bytes, _ in Array(bytes) }
            let incoming = bytes.withUnsafeMutableBytes {
                receiver.sessions.receive(
                    $0, from: sender.endpoint, turn: &receiver.turn,
                    out: &receiver.out)
            }
            let reply = try #require(incoming?.reply)
            let contact = signedContact(receiver.identity, endpoints: 4)
            var padded = contact
            padded.body += [UInt8](repeating: 0, count: 300 - contact.body.count)
            let v6 = Endpoint(high: .max, low: .max - 1, port: 65_535)
            let answer: Message
            if case .discovery(.ping) = message {
                answer = .discovery(.pong(contact: padded, observed: v6))
                #expect(reply.messageBytesMax >= Envelope(message: answer).encoded().count)
            } else {
                #expect(reply.messageBytesMax >= WireLimits.listSizeMax)
                answer = .discovery(.found(contacts: [padded, padded]))
            }
            receiver.sessions.reply(answer, to: reply, turn: &receiver.turn, out: &receiver.out)
            #expect(receiver.out.datagrams.count == 1)
            #expect(receiver.sessions.dropped.total == 0)
        }
    }

    @Test("Case 12: an answer that is too large for its question is not sent")
    func anAnswerThatIsTooLargeIsNotSent() throws {
        var sender = Net.node(0)
        var receiver = Net.node(1)
        sender.request(.discovery(.ping(contact: nil)), to: receiver.address, 1, moment(.zero))
        var bytes = sender.out.datagrams.withDatagram(0) { bytes, _ in Array(bytes) }
        let incoming = bytes.withUnsafeMutableBytes {
            receiver.sessions.receive(
                $0, from: sender.endpoint, turn: &receiver.turn, out: &receiver.out)
        }
        let reply = try #require(incoming?.reply)
        let contact = signedContact(receiver.identity)
        receiver.sessions.reply(
            .discovery(.found(contacts: Array(repeating: contact, count: 6))), to: reply,
            turn: &receiver.turn,
            out: &receiver.out)
        #expect(receiver.sessions.dropped[.replyTooLarge] == 1 && receiver.out.datagrams.isEmpty)
        // A second answer, which fits, still goes out; a third is one too many.
        receiver.sessions.reply(
            .discovery(.pong(contact: nil, observed: nil)), to: reply, turn: &receiver.turn,
            out: &receiver.out)
        receiver.sessions.reply(
            .discovery(.pong(contact: nil, observed: nil)), to: reply, turn: &receiver.turn,
            out: &receiver.out)
        #expect(receiver.out.datagrams.count == 1 && receiver.sessions.dropped[.replyLate] == 1)
    }

    @Test("Case 5: a reply from another peer or endpoint completes nothing")
    func aReplyFromAnotherPeerOrPlaceCompletesNothing() {
        let net = Net(3)
        for other in [1, 2] {
            net.request(.discovery(.ping(contact: nil)), from: 0, to: other)
            net.run()
        }
        net.delivers = { $0.to != net.nodes[1].endpoint }
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 7)
        // Node 2 guesses the request number.
        let number = net.nodes[0].sessions.lastRequest
        net.sealRaw(Envelope(reply: number, message: .gossip(.offerReceived)).encoded(), from: 2, to: 0)
        #expect(net.nodes[0].sessions.dropped[.unknownReply] == 1)
        #expect(!net.nodes[0].completions.contains { $0.owner == .peer(7) })
    }

    @Test("Case 8: a counter that jumps to its end is harmless")
    func countersAtTheirEndsAreHarmless() {
        let net = Net()
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        net.sealRaw([], from: 0, to: 1, counter: .max - 1)
        net.sealRaw([], from: 0, to: 1, counter: 5)
        #expect(net.nodes[1].sessions.dropped[.replayed] == 1)
    }

    /// Hostile case 9: the macs are right and each source is spoofed.
    @Test("Case 9: a flood of initiations fills the ring and nothing else")
    func aFloodOfInitiationsFillsTheRingAndNothingElse() {
        var limits = SessionLimits()
        limits.handshakesPerSecond = 1_000_000
        let net = Net(2, limits: limits)
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run()
        let initiation = forged(
            net, payloadKey: net.nodes[0].identity.publicKey,
            envelope: Envelope(request: 1, message: .discovery(.ping(contact: nil))).encoded(paddedTo: 400))
        var receiver = net.nodes[1]
        for index in 0..<5_000 as Range<UInt32> {
            receiver.receive(
                initiation, from: Endpoint(ipv4: 0x2000_0000 + index << 8, port: 9), moment(net.now))
            receiver.out.removeAll()
            #expect(receiver.sessions.halfOpen.count <= limits.halfOpen)
        }
        // A single prefix displaces no more of the ring than its own share.
        for index in 0..<500 as Range<UInt32> {
            receiver.receive(
                initiation, from: Endpoint(ipv4: 0x3000_0000 + index & 255, port: 9), moment(net.now))
            receiver.out.removeAll()
        }
        let group = Endpoint(ipv4: 0x3000_0000, port: 9).group(countsEndpoints: false)
        #expect(receiver.sessions.halfOpenGroups.count(group) == limits.halfOpenPerPrefix)
        #expect(receiver.sessions.halfOpenOrder.count <= 2 * limits.halfOpen)
        #expect(receiver.sessions.sessionCount == 1)
        net.nodes[1] = receiver
        net.request(.gossip(.offerMail([])), from: 0, to: 1, token: 3)
        net.run()
        #expect(net.nodes[0].completions.last?.answer == .gossip(.offerReceived))
        #expect(net.nodes[0].sessions.roundTrip(to: net.nodes[1].address) == .milliseconds(20))
    }

    /// Over the budget, a node is heard only if it can receive at its address. Any other costs us one mac and
    /// one cookie, and 100,000 of them grow no table.
    @Test("Case 9: under load a cookie is asked for, and helps")
    func underLoadACookieIsAskedForAndHelps() {
        var limits = SessionLimits()
        limits.handshakesPerSecond = 10
        let net = Net(2, limits: limits)
        let initiation = forged(
            net, payloadKey: net.nodes[0].identity.publicKey,
            envelope: Envelope(request: 1, message: .discovery(.ping(contact: nil))).encoded(paddedTo: 400))
        var receiver = net.nodes[1]
        var cookieBytes = 0
        for index in 0..<100_000 as Range<UInt32> {
            receiver.receive(
                initiation, from: Endpoint(ipv4: 0x2000_0000 + index << 8, port: 9), moment(net.now))
            if index >= 10 { cookieBytes = max(cookieBytes, receiver.out.datagrams.bytes.count) }
            receiver.out.removeAll()
        }
        #expect(receiver.sessions.dropped[.cookieRequired] == 100_000 - 10)
        #expect(receiver.sessions.halfOpen.count == 10 && receiver.sessions.associations.count == 10)
        #expect(cookieBytes == Packet.cookieSize && cookieBytes <= initiation.count)
        receiver.incoming = []
        net.nodes[1] = receiver
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run(.milliseconds(41))
        #expect(net.kinds == [1, 3, 1, 2, 4])
        #expect(net.nodes[0].completions.first?.answer != nil)
    }

    @Test("Case 11: a cookie is valid only for its own address")
    func aCookieIsGoodForItsOwnAddressAlone() {
        var limits = SessionLimits()
        limits.handshakesPerSecond = 1
        let net = Net(2, limits: limits)
        net.inject(
            forged(net, payloadKey: net.nodes[0].identity.publicKey, envelope: [], ephemeral: 9), into: 1,
            from: stranger)
        net.log = []
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
        net.run(.milliseconds(25))
        #expect(net.kinds == [1, 3, 1])
        let withCookie = net.log[2].bytes
        let fresh = net.nodes[1].sessions.dropped[.cookieRequired]
        net.inject(withCookie, into: 1, from: stranger)
        #expect(net.nodes[1].sessions.dropped[.cookieRequired] == fresh + 1)
        // A cookie with any bit flipped has no effect.
        let cookie = net.log[1].bytes
        for bit in 0..<cookie.count * 8 {
            var flipped = cookie
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            let before = net.log.count
            net.inject(flipped, into: 0, from: net.nodes[1].endpoint)
            #expect(net.log.count == before)
        }
    }

    @Test("Case 9: sessions are bounded per prefix and in all, and an honest one survives a flood")
    func sessionsAreBoundedPerPrefixAndInAll() {
        var limits = SessionLimits()
        limits.sessions = 40
        limits.sessionsPerPrefix = 4
        limits.handshakesPerSecond = 1_000_000
        let net = Net(1, limits: limits)
        // One honest node, then eight networks with many nodes each.
        let honest = net.add(1_000, endpoint: Endpoint(ipv4: 0x5000_0001, port: 1))
        net.request(.discovery(.ping(contact: nil)), from: honest, to: 0)
        net.run(.milliseconds(50))
        for index in 0..<80 as Range<UInt32> {
            let other = net.add(
                UInt64(2_000 + index), endpoint: Endpoint(ipv4: 0x6000_0000 + index << 5, port: 1))
            net.request(.discovery(.ping(contact: nil)), from: other, to: 0)
            net.run(.milliseconds(50))
            #expect(net.nodes[0].sessions.sessionCount <= limits.sessions)
            #expect(net.nodes[0].sessions.sessions(ofGroup: net.nodes[other].endpoint.prefix).count <= 4)
        }
        let holds = net.nodes[0].sessions.hasSession(to: net.nodes[honest].address)
        #expect(holds)
        #expect(net.nodes[0].sessions.byGroup.count == net.nodes[0].sessions.sessionCount)
    }

    @Test func requestsAreBounded() {
        var limits = SessionLimits()
        limits.requests = 20
        limits.openings = 5
        let net = Net(1, limits: limits)
        for token in 0..<50 as Range<UInt64> {
            let identity = Identity(seed: Bytes32(token, 8, 8, 8))
            net.request(
                .discovery(.ping(contact: nil)), from: 0,
                to: PeerAddress(key: identity.publicKey, endpoint: stranger),
                token: token)
        }
        #expect(net.nodes[0].sessions.openings.count == 5)
        net.run()
        #expect(net.nodes[0].completions.count == 50)
        #expect(net.nodes[0].completions.allSatisfy { $0.answer == nil })
        #expect(net.nodes[0].sessions.pending.isEmpty && net.nodes[0].sessions.associations.count == 0)
    }

    @Test func aKeyOfSmallOrderIsUnansweredAtOnce() {
        let net = Net(1)
        net.request(
            .discovery(.ping(contact: nil)), from: 0,
            to: PeerAddress(key: PublicKey(.zero), endpoint: stranger))
        #expect(net.nodes[0].completions.count == 1 && net.log.isEmpty)
        #expect(net.nodes[0].sessions.dropped[.badIdentity] == 1)
    }

    @Test func theSlabIsBoundedAndCounts() {
        var slab = DatagramSlab(datagramsMax: 3)
        for _ in 0..<5 { slab.append(10, to: stranger) { _ in } }
        #expect(slab.count == 3 && slab.overflowed == 2 && slab.bytes.count == 30)
        slab.removeAll()
        #expect(slab.isEmpty && slab.append(1, to: stranger) { _ in })
    }

    @Test func everyReasonHasANameOfItsOwn() {
        #expect(Set(DropReason.allCases.map(\.index)).count == DropReason.allCases.count)
        var counters = DropCounters()
        for reason in DropReason.allCases { counters.count(reason) }
        #expect(counters.counts.allSatisfy { $0.count == 1 })
    }
}
