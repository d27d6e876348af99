import Cryptography
import Primitives
import Testing
import Wire

@testable import Sessions

/// Two nodes and a carrier that delivers in order, in pieces of any size.
final class Carriers {
    struct Node {
        var identity: Identity
        var endpoint: Endpoint
        var channels: Channels
        var events: [ChannelAction] = []
        var address: PeerAddress { PeerAddress(key: identity.publicKey, endpoint: endpoint) }
    }
    var nodes: [Node] = []
    var now = MonotonicTime(nanoseconds: 1_000_000_000)
    /// The dialler's node and channel, then the acceptor's node and channel.
    var links: [(Int, ChannelID, Int, ChannelID)] = []
    var pieces = 100_000
    var refuses = false
    var wire: [[UInt8]] = []
    /// Alters the bytes carried.
    var tamper: ([UInt8]) -> [UInt8] = { $0 }

    init(
        limits: ChannelLimits = .init(),
        mesh: [MeshIdentity] = [MeshIdentity(name: "test"), MeshIdentity(name: "test")]
    ) {
        for (index, mesh) in mesh.enumerated() {
            let identity = Identity(seed: Bytes32(UInt64(index), 4, 4, 4))
            nodes.append(
                Node(
                    identity: identity, endpoint: Endpoint(ipv4: 0x0a00_0001 + UInt32(index), port: 7827),
                    channels: Channels(
                        identity: identity, mesh: mesh, entropy: Bytes32(UInt64(index), 5, 5, 5),
                        limits: limits)))
        }
    }

    func run(_ index: Int, _ body: (inout Channels, inout Turn, inout [ChannelAction]) -> Void) {
        var out: [ChannelAction] = []
        var turn = turn(at: now)
        body(&nodes[index].channels, &turn, &out)
        carry(index, out)
    }

    func open(_ index: Int, to other: Int) -> ChannelID {
        var id = ChannelID(rawValue: 0)
        let peer = nodes[other].address
        run(index) { channels, turn, out in id = channels.open(to: peer, turn: &turn, out: &out) }
        return id
    }

    func send(_ frame: Frame, _ index: Int, _ id: ChannelID) -> Bool {
        var sent = false
        run(index) { sent = $0.send(frame, on: id, turn: &$1, out: &$2) }
        return sent
    }

    func end(of index: Int, _ id: ChannelID) -> (Int, ChannelID)? {
        for link in links {
            if link.0 == index, link.1 == id { return (link.2, link.3) }
            if link.2 == index, link.3 == id { return (link.0, link.1) }
        }
        return nil
    }

    private func carry(_ index: Int, _ actions: [ChannelAction]) {
        for action in actions {
            switch action {
            case .dial(let id, let endpoint):
                guard !refuses, let other = nodes.firstIndex(where: { $0.endpoint == endpoint }) else {
                    run(index) { $0.closed(id, turn: &$1, out: &$2) }
                    continue
                }
                var accepted: ChannelID?
                let source = nodes[index].endpoint
                run(other) { accepted = $0.accept(from: source, turn: &$1, out: &$2) }
                guard let accepted else {
                    run(index) { $0.closed(id, turn: &$1, out: &$2) }
                    continue
                }
                links.append((index, id, other, accepted))
                run(index) { $0.connected(id, turn: &$1, out: &$2) }
            case .write(let id, let bytes):
                wire.append(bytes)
                nodes[index].channels.written(id, bytes: bytes.count, now: now)
                var rest = tamper(bytes)[...]
                while !rest.isEmpty, let (other, far) = end(of: index, id) {
                    let piece = Array(rest.prefix(pieces))
                    rest = rest.dropFirst(pieces)
                    run(other) { channels, turn, out in
                        piece.withUnsafeBytes { channels.received(far, $0, turn: &turn, out: &out) }
                    }
                }
            case .close(let id):
                if let (other, far) = end(of: index, id) {
                    links.removeAll { $0.0 == index && $0.1 == id || $0.2 == index && $0.3 == id }
                    run(other) { $0.closed(far, turn: &$1, out: &$2) }
                }
            case .opened, .frame, .failed:
                nodes[index].events.append(action)
            }
        }
    }

    func opened(_ index: Int) -> [(ChannelID, PublicKey, Bool)] {
        nodes[index].events.compactMap {
            if case .opened(let id, let peer, let inbound) = $0 { (id, peer, inbound) } else { nil }
        }
    }
    func frames(_ index: Int) -> [Frame] {
        nodes[index].events.compactMap { if case .frame(_, _, let frame) = $0 { frame } else { nil } }
    }
    func failures(_ index: Int) -> [ChannelFailure] {
        nodes[index].events.compactMap { if case .failed(_, let reason) = $0 { reason } else { nil } }
    }
    func tick(after interval: Interval) {
        now = now + interval
        for index in nodes.indices { run(index) { $0.tick(turn: &$1, out: &$2) } }
    }
}

@Suite struct ChannelsTests {
    private let frame = Frame(
        task: TaskID(high: 1, low: 2), attempt: 1, body: .progress(Progress(phase: .queued, tokens: 0)))
    private let large = Frame(
        task: TaskID(high: 1, low: 2), attempt: 1, body: .bodyPart([UInt8](repeating: 7, count: 15_000)))

    @Test(arguments: [1, 3, 1_000, 100_000]) func framesArriveInBothDirectionsInPiecesOfAnySize(_ pieces: Int)
        throws
    {
        let net = Carriers()
        net.pieces = pieces
        let id = net.open(0, to: 1)
        #expect(net.opened(0).first?.1 == net.nodes[1].identity.publicKey)
        let inbound = try #require(net.opened(1).first)
        #expect(inbound.1 == net.nodes[0].identity.publicKey && inbound.2)
        #expect(net.send(frame, 0, id))
        #expect(net.send(large, 0, id))
        #expect(net.send(frame, 1, inbound.0))
        #expect(net.frames(1) == [frame, large])
        #expect(net.frames(0) == [frame])
        // Hello 148, answer 84, an empty record 18.
        #expect(net.wire.prefix(3).map(\.count) == [148, 84, 18])
    }

    @Test func aReleasedChannelIsUsedAgainByItsDialler() throws {
        let net = Carriers()
        let first = net.open(0, to: 1)
        _ = net.send(frame, 0, first)
        net.run(0) { $0.release(first, turn: &$1, out: &$2) }
        #expect(net.open(0, to: 1) == first)
        #expect(net.opened(0).count == 2)
        // It is in use, so the next one dials.
        let second = net.open(0, to: 1)
        #expect(second != first && net.links.count == 2)
        // The acceptor doesn't begin tasks on it.
        let inbound = try #require(net.opened(1).first).0
        net.run(1) { $0.release(inbound, turn: &$1, out: &$2) }
        let third = net.open(1, to: 0)
        #expect(third != inbound && net.links.count == 3)
    }

    @Test func idleChannelsAreCappedAndClosedByTheirDiallerFirst() {
        var limits = ChannelLimits()
        limits.idlePerPeer = 4
        let net = Carriers(limits: limits)
        let ids = (0..<6).map { _ in net.open(0, to: 1) }
        for id in ids { net.run(0) { $0.release(id, turn: &$1, out: &$2) } }
        #expect(net.nodes[0].channels.count == 4 && net.links.count == 4)
        net.tick(after: .seconds(61))
        #expect(net.nodes[0].channels.count == 0 && net.nodes[1].channels.count == 0)
        #expect(net.failures(0).isEmpty)
    }

    @Test func aPeerKeepsFewIdleChannelsWhenManyAreIdleInAll() {
        var limits = ChannelLimits()
        limits.idleInAll = 3
        limits.idlePerPeerCrowded = 1
        let net = Carriers(limits: limits)
        let ids = (0..<6).map { _ in net.open(0, to: 1) }
        for id in ids { net.run(0) { $0.release(id, turn: &$1, out: &$2) } }
        #expect(net.nodes[0].channels.count == 3 && net.links.count == 3)
    }

    @Test func nobodyThereIsAFailure() {
        let net = Carriers()
        net.refuses = true
        _ = net.open(0, to: 1)
        #expect(net.failures(0) == [.closed])
        #expect(net.nodes[0].channels.count == 0)
    }

    @Test func aHandshakeThatHangsTimesOut() {
        let net = Carriers()
        net.tamper = { _ in [] }
        _ = net.open(0, to: 1)
        net.tick(after: .seconds(6))
        #expect(net.failures(0) == [.timeout] && net.failures(1).isEmpty)
        #expect(net.nodes[0].channels.count == 0 && net.nodes[1].channels.count == 0)
    }

    @Test func aCallToOneselfIsRefused() {
        let net = Carriers()
        _ = net.open(0, to: 0)
        #expect(net.failures(0) == [.selfDial])
    }

    @Test func anotherKeyThanTheOneDialledIsRefused() {
        let net = Carriers()
        let other = Identity(seed: Bytes32(9, 9, 9, 9))
        let wrong = PeerAddress(key: other.publicKey, endpoint: net.nodes[1].endpoint)
        net.run(0) { _ = $0.open(to: wrong, turn: &$1, out: &$2) }
        #expect(net.failures(0) == [.closed] && net.opened(1).isEmpty)
        #expect(net.nodes[1].channels.count == 0)
    }

    @Test func anotherMeshIsRefused() {
        let net = Carriers(mesh: [MeshIdentity(name: "a"), MeshIdentity(name: "b")])
        _ = net.open(0, to: 1)
        #expect(net.failures(0) == [.closed] && net.opened(1).isEmpty)
    }

    @Test func everyFlippedBitOfHandshakeAndRecordClosesTheChannel() {
        let reference = Carriers()
        let id = reference.open(0, to: 1)
        _ = reference.send(frame, 0, id)
        let lengths = reference.wire.map(\.count)
        #expect(lengths.count == 4)
        for (position, length) in lengths.enumerated() {
            for bit in 0..<length * 8 {
                let net = Carriers()
                var written = -1
                net.tamper = { bytes in
                    written += 1
                    guard written == position else { return bytes }
                    var flipped = bytes
                    flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                    return flipped
                }
                let id = net.open(0, to: 1)
                _ = net.send(frame, 0, id)
                // A longer length means waiting for the rest; any other change is noticed at once.
                if position >= 2, bit < 16 { net.tick(after: .seconds(100)) }
                #expect(net.frames(1).isEmpty, "message \(position) bit \(bit)")
                #expect(net.nodes[1].channels.count == 0, "message \(position) bit \(bit)")
            }
        }
    }

    @Test(arguments: [0, 1, 15, 16_401, 65_535]) func aRecordOfAForbiddenLengthClosesTheChannel(_ length: Int)
        throws
    {
        let net = Carriers()
        _ = net.open(0, to: 1)
        let inbound = try #require(net.opened(1).first).0
        net.run(1) { channels, turn, out in
            channels.claim(inbound)
            [UInt8(length & 255), UInt8(length >> 8)].withUnsafeBytes {
                channels.received(inbound, $0, turn: &turn, out: &out)
            }
        }
        #expect(net.failures(1) == [.badRecord] && net.failures(0) == [.closed])
        #expect(net.links.isEmpty)
    }

    @Test func randomStreamsAreClosedAtTheFirstHello() {
        let net = Carriers()
        var random = SeededRandom(seed: 5)
        for _ in 0..<200 {
            net.run(0) { channels, turn, out in
                guard let id = channels.accept(from: Endpoint(ipv4: 1 << 24, port: 5), turn: &turn, out: &out)
                else {
                    return #expect(Bool(false), "over the limit")
                }
                random.bytes(1 + random.below(3_000)).withUnsafeBytes {
                    channels.received(id, $0, turn: &turn, out: &out)
                }
                channels.closed(id, turn: &turn, out: &out)
            }
        }
        #expect(net.nodes[0].events.isEmpty && net.nodes[0].channels.count == 0)
    }

    /// A replayed hello gets an answer but never opens the channel.
    @Test func aReplayedHelloOpensNothing() {
        let net = Carriers()
        _ = net.open(0, to: 1)
        let hello = net.wire[0]
        let record = net.wire[2]
        net.nodes[1].events = []
        net.run(1) { channels, turn, out in
            let id = channels.accept(from: Endpoint(ipv4: 1 << 24, port: 5), turn: &turn, out: &out)
            (hello + record).withUnsafeBytes {
                channels.received(id ?? ChannelID(rawValue: 0), $0, turn: &turn, out: &out)
            }
        }
        #expect(net.nodes[1].events.isEmpty && net.nodes[1].channels.count == 1)
    }

    @Test func strangersHandshakesAreBoundedAndTheMostCrowdedPrefixGivesWay() {
        let net = Carriers()
        var crowd: [ChannelID] = []
        net.run(0) { channels, turn, out in
            for index in 0..<1_000 as Range<UInt32> {
                let endpoint = Endpoint(ipv4: 0x0101_0000 + index & 255, port: UInt16(1 + index))
                if let id = channels.accept(from: endpoint, turn: &turn, out: &out) { crowd.append(id) }
            }
        }
        #expect(crowd.count == 256)
        var others: [ChannelID] = []
        net.run(0) { channels, turn, out in
            for index in 0..<384 as Range<UInt32> {
                let endpoint = Endpoint(ipv4: 0x0200_0000 + index << 8, port: 1)
                if let id = channels.accept(from: endpoint, turn: &turn, out: &out) { others.append(id) }
            }
        }
        #expect(others.count == 384)
        let channels = net.nodes[0].channels
        #expect(channels.count == 512)
        let lost = others.count { channels.endpoint(of: $0) == nil }
        #expect(lost < 13, "\(lost) of 384 single strangers gave way")
        net.tick(after: .seconds(6))
        #expect(net.nodes[0].channels.count == 0)
    }

    @Test func whatTheCarrierDoesNotTakeIsBounded() {
        let net = Carriers()
        let id = net.open(0, to: 1)
        var sent = 0
        net.run(0) { channels, turn, _ in
            // The actions are dropped, as if the carrier were stuck.
            var lost: [ChannelAction] = []
            while channels.send(large, on: id, turn: &turn, out: &lost) { sent += 1 }
            #expect(channels.queuedBytes(on: id) < (1 << 20) + 16_402)
            channels.written(id, bytes: 1 << 20, now: turn.monotonic)
            #expect(channels.send(frame, on: id, turn: &turn, out: &lost))
        }
        #expect(sent == 70)
    }

    @Test func onlyTheDiallerBeginsTasksAnAcceptorThatDoesLosesTheChannelInUseOrIdle() throws {
        let task = TaskID(high: 1, low: 1)
        let other = TaskID(high: 2, low: 2)
        func frame(_ body: FrameBody, _ task: TaskID) -> Frame { Frame(task: task, attempt: 1, body: body) }
        let open = FrameBody.open(TaskOpen(kind: .chat, bodyBytes: 2))
        // The dialler's first frame, whether it then releases the channel, and the acceptor's answer.
        let cases: [(first: Frame, isIdle: Bool, answer: Frame, isAllowed: Bool)] = [
            (frame(.hello, task), false, frame(open, task), true),
            (frame(.hello, task), true, frame(open, task), true),
            (frame(.hello, task), false, frame(open, other), false),
            (frame(open, task), false, frame(open, task), false),
            (frame(open, task), false, frame(open, other), false),
            (frame(open, task), true, frame(open, other), false),
            (frame(open, task), true, frame(.hello, other), false),
            (frame(open, task), true, frame(.cancel, task), true),
            (frame(open, task), true, frame(.progress(Progress(phase: .queued, tokens: 0)), task), true),
        ]
        for (number, entry) in cases.enumerated() {
            let carriers = Carriers()
            let dialled = carriers.open(0, to: 1)
            let accepted = try #require(carriers.links.first?.3)
            #expect(carriers.send(entry.first, 0, dialled))
            if entry.isIdle { carriers.run(0) { $0.release(dialled, turn: &$1, out: &$2) } }
            _ = carriers.send(entry.answer, 1, accepted)
            #expect(
                (carriers.nodes[0].channels.peer(of: dialled) != nil) == entry.isAllowed, "case \(number)")
        }
    }
}
