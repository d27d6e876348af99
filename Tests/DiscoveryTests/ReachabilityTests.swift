import Primitives
import Testing
import Wire

@testable import Discovery

/// The test of whether strangers can reach a node: Protocol/discovery.md, Reachability.
@Suite struct ReachabilityTests {
    /// A node on the internet that has joined, with `contacts` contacts, each in a network of its own.
    static func bench(contacts: Int = 12) -> Bench {
        var bench = Bench(.internet)
        for number in 0..<contacts { bench.admit(bench.contact(number)) }
        bench.discovery.hasJoined = true
        bench.discovery.beginReachabilityTests(bench.now)
        return bench
    }

    static var own: Endpoint { Bench.endpoint(999, .internet) }
    /// A node that no other knows, at a port of its own.
    static func stranger(_ number: Int) -> Endpoint { Bench.endpoint(5_000 + number, .internet) }

    typealias Asked = (request: CallbackRequest, peer: PeerAddress)

    /// The questions of the next round. Meanwhile PINGs are answered and lookups are not.
    static func round(_ bench: inout Bench, within limit: Interval = .minutes(2)) -> [Asked] {
        let end = bench.now + limit
        while bench.discovery.nextDeadline() <= end {
            bench.now = max(bench.now, bench.discovery.nextDeadline())
            bench.discovery.tick(turn: &bench.turn, out: &bench.out)
            let asked = questions(bench)
            for action in bench.out {
                guard case .request(let token, .ping, let peer) = action else { continue }
                bench.answer(token, .pong(contact: nil, observed: nil), from: peer)
            }
            findings(&bench)
            if !asked.isEmpty { return asked }
        }
        return []
    }

    static func questions(_ bench: Bench) -> [Asked] {
        bench.out.compactMap {
            guard case .send(.callbackRequest(let request), let peer) = $0 else { return nil }
            return (request, peer)
        }
    }

    /// Takes the reachability findings of the last actions and discards the other actions.
    @discardableResult
    static func findings(_ bench: inout Bench) -> [ReachabilityFinding] {
        defer { bench.out = [] }
        return bench.out.compactMap { if case .reachabilityTested(let finding) = $0 { finding } else { nil } }
    }

    static func call(_ bench: inout Bench, _ nonce: UInt64, from source: Endpoint, isStranger: Bool = true) {
        bench.discovery.calledBack(
            nonce, from: source, isStranger: isStranger, turn: &bench.turn,
            out: &bench.out)
    }

    static func dial(_ bench: inout Bench, from source: Endpoint) {
        bench.discovery.channelCame(
            from: source, turn: &bench.turn, out: &bench.out)
    }

    /// Ends a round: the finding, and the questions of the next round if there is one.
    static func endRound(_ bench: inout Bench) -> (finding: ReachabilityFinding?, asked: [Asked]) {
        bench.out = []
        bench.tick(after: .seconds(12))
        let asked = questions(bench)
        return (findings(&bench).first, asked)
    }

    static func acknowledge(_ bench: inout Bench, _ asked: [Asked]) {
        for (request, peer) in asked {
            _ = bench.ask(.callbackAnswer(nonce: request.nonce, called: own), from: peer)
        }
    }

    /// Lets rounds pass in which every peer reports a call and none arrives; returns the finding.
    static func silence(_ bench: inout Bench) -> ReachabilityFinding? {
        var asked = round(&bench)
        for _ in 0..<3 {
            acknowledge(&bench, asked)
            let end = endRound(&bench)
            if let finding = end.finding { return finding }
            asked = end.asked
        }
        return nil
    }

    @Test("Two strangers' calls and dials make a node reachable; each question goes to another network")
    func direct() {
        var bench = Self.bench()
        let asked = Self.round(&bench)
        #expect(asked.count == 4 && Set(asked.map(\.peer.endpoint.prefix)).count == 4)
        #expect(Set(asked.map(\.request.nonce)).count == 4)
        #expect(asked.allSatisfy { $0.request.port == Self.own.port && $0.request.channel })
        Self.call(&bench, asked[0].request.nonce, from: Self.stranger(0))
        Self.call(&bench, asked[1].request.nonce, from: Self.stranger(1))
        Self.dial(&bench, from: Self.stranger(0))
        #expect(Self.findings(&bench).isEmpty)
        Self.dial(&bench, from: Self.stranger(1))
        let finding = Self.findings(&bench).first
        #expect(finding?.datagrams == .yes && finding?.channels == .yes && finding?.networks == 2)
        #expect(finding?.endpoint == Self.own)
    }

    @Test("Datagrams arrive and channels don't: decided after two rounds that agree")
    func datagramsOnly() {
        var bench = Self.bench()
        let asked = Self.round(&bench)
        Self.acknowledge(&bench, asked)
        for (index, question) in asked.enumerated() {
            Self.call(&bench, question.request.nonce, from: Self.stranger(index))
        }
        let first = Self.endRound(&bench)
        #expect(first.finding == nil && first.asked.count == 4)
        Self.acknowledge(&bench, first.asked)
        let finding = Self.endRound(&bench).finding
        #expect(finding?.datagrams == .yes && finding?.channels == .no)
    }

    @Test("Silence counts only when repeated, and only from networks that report having called")
    func outbound() {
        var bench = Self.bench()
        let asked = Self.round(&bench)
        Self.acknowledge(&bench, asked)
        let first = Self.endRound(&bench)
        #expect(first.finding == nil && first.asked.count == 4)
        #expect(Set(first.asked.map(\.peer.endpoint)).isDisjoint(with: asked.map(\.peer.endpoint)))
        Self.acknowledge(&bench, first.asked)
        let finding = Self.endRound(&bench).finding
        #expect(finding?.datagrams == .no && finding?.channels == .no && finding?.networks == 8)
    }

    @Test("Peers that refuse, call elsewhere or don't answer prove nothing: the state stays unknown")
    func refusals() {
        var bench = Self.bench()
        for _ in 0..<6 {
            let other = bench.address(bench.contact(20))
            for (index, (request, peer)) in Self.round(&bench, within: .minutes(90)).enumerated() {
                let answer = DiscoveryMessage.callbackAnswer(
                    nonce: request.nonce, called: index == 0 ? nil : Self.own)
                let elsewhere = DiscoveryMessage.callbackAnswer(
                    nonce: request.nonce, called: Self.stranger(7))
                switch index {
                case 0: _ = bench.ask(answer, from: peer)
                case 1: _ = bench.ask(elsewhere, from: peer)
                case 2: _ = bench.ask(answer, from: other)
                default: _ = bench.ask(answer, from: peer, proven: false)
                }
            }
            bench.out = []
        }
        #expect(bench.discovery.reachability.finding.map { $0.datagrams == .unknown } ?? true)
    }

    @Test("Case 13: liars of one network that claim a call or call themselves change nothing")
    func liars() {
        var bench = Self.bench()
        let asked = Self.round(&bench)
        // One peer claims a call that was never made; the others' callers do call.
        Self.acknowledge(&bench, [asked[0]])
        for index in 1..<4 {
            Self.call(&bench, asked[index].request.nonce, from: Self.stranger(index))
            Self.dial(&bench, from: Self.stranger(index))
        }
        #expect(Self.findings(&bench).first?.datagrams == .yes)

        // A NAT lets in only the network that was asked: a call from there doesn't count.
        var second = Self.bench()
        let questions = Self.round(&second)
        Self.acknowledge(&second, questions)
        for (request, peer) in questions {
            Self.call(&second, request.nonce, from: Endpoint(high: 0, low: peer.endpoint.low, port: 9))
        }
        #expect(second.discovery.dropped[.wrongCaller] == 4)
        #expect(second.discovery.reachability.test?.arrivals == 0)
        #expect(!second.discovery.awaitsCallback(12_345))
    }

    @Test("Case 13: calls only from networks that the node writes to are not strangers' calls")
    func restricted() {
        var bench = Self.bench()
        var asked = Self.round(&bench)
        var finding: ReachabilityFinding?
        while finding == nil, !asked.isEmpty {
            Self.acknowledge(&bench, asked)
            // One in four comes from a network that our own packets opened the NAT for.
            Self.call(&bench, asked[0].request.nonce, from: Self.stranger(0), isStranger: false)
            (finding, asked) = Self.endRound(&bench)
        }
        #expect(finding?.datagrams == .no)
        // Where every network is known, calls from all of them are the best evidence available.
        var known = Self.bench()
        let questions = Self.round(&known)
        Self.acknowledge(&known, questions)
        for (request, peer) in questions {
            Self.call(&known, request.nonce, from: Self.stranger(0), isStranger: false)
            Self.dial(&known, from: peer.endpoint)
        }
        #expect(Self.endRound(&known).finding?.datagrams == .yes)
    }

    @Test("A mesh with fewer than three other networks has no test")
    func small() {
        var bench = Self.bench(contacts: 2)
        #expect(Self.round(&bench, within: .minutes(120)).isEmpty)
        #expect(bench.discovery.reachability.finding == nil)
        var local = Bench(.loopback)
        for number in 0..<8 { local.admit(local.contact(number)) }
        local.discovery.hasJoined = true
        local.discovery.beginReachabilityTests(local.now)
        #expect(local.discovery.reachability.plannedAt == .never)
    }

    @Test("A contradiction or a changed endpoint starts a test soon; otherwise half an hour passes")
    func again() {
        var bench = Self.bench()
        let first = Self.silence(&bench)
        #expect(first?.datagrams == .no)
        let tested = bench.now
        bench.discovery.strangerCame(
            from: Self.stranger(3), turn: &bench.turn, out: &bench.out)
        #expect(bench.discovery.reachability.plannedAt > tested + .minutes(20))
        bench.now = bench.now + .minutes(6)
        bench.discovery.strangerCame(
            from: Self.stranger(3), turn: &bench.turn, out: &bench.out)
        #expect(bench.discovery.reachability.plannedAt < bench.now + .seconds(15))

        var moved = Self.bench()
        #expect(Self.silence(&moved) != nil)
        let contact = TestNetwork.contact(moved.identity, at: [Self.stranger(77)], sequence: 9)
        moved.discovery.setSelf(contact, turn: &moved.turn, out: &moved.out)
        #expect(moved.discovery.reachability.plannedAt < moved.now + .seconds(15))
        moved.out = []
        #expect(Self.round(&moved).count == 4)
        #expect(moved.discovery.reachability.test?.endpoint == Self.stranger(77))
    }

    @Test("Strangers that keep calling spare a reachable node its next test")
    func unasked() {
        var bench = Self.bench()
        let asked = Self.round(&bench)
        for index in 0..<2 {
            Self.call(&bench, asked[index].request.nonce, from: Self.stranger(index))
            Self.dial(&bench, from: Self.stranger(index))
        }
        #expect(Self.findings(&bench).first?.channels == .yes)
        bench.now = bench.now + .minutes(10)
        for number in 10..<12 {
            bench.discovery.strangerCame(
                from: Self.stranger(number), turn: &bench.turn, out: &bench.out)
            Self.dial(&bench, from: Self.stranger(number))
        }
        #expect(Self.round(&bench, within: .minutes(35)).isEmpty)
        #expect(bench.discovery.reachability.finding.map { $0.at > .zero + .minutes(20) } == true)
    }

    // MARK: For others

    private func request(_ nonce: UInt64 = 5, port: UInt16 = 7_827) -> DiscoveryMessage {
        .callbackRequest(CallbackRequest(nonce: nonce, port: port, channel: true))
    }

    @Test(
        "A question is passed to one contact of a third network, only for the address of the asker's session"
    )
    func passingOn() throws {
        var bench = Self.bench()
        let asker = PeerAddress(key: TestNetwork.identity(77).publicKey, endpoint: Self.stranger(0))
        #expect(bench.ask(request(), from: asker, proven: false) == nil)
        #expect(bench.requests().isEmpty)
        var called = asker.endpoint
        called.port = 4_321
        _ = bench.ask(request(port: 4_321), from: asker)
        let sent = bench.requests()
        #expect(sent.count == 1)
        let order = try #require(sent.first)
        let ordered = CallbackOrder(publicKey: asker.key, endpoint: called, nonce: 5, channel: true)
        #expect(order.message == .callbackOrder(ordered))
        #expect(order.peer.endpoint.prefix != asker.endpoint.prefix)
        // A contact that doesn't call, for whatever reason, is replaced, up to twice.
        bench.answer(order.token, .callbackAnswer(nonce: 5, called: nil), from: order.peer)
        let second = try #require(bench.requests().first)
        bench.answer(second.token, nil, from: second.peer)
        let third = bench.requests().first { if case .callbackOrder = $0.message { true } else { false } }
        let last = try #require(third)
        // The asker is told when a contact has called, and not before.
        bench.answer(last.token, .callbackAnswer(nonce: 5, called: called), from: last.peer)
        let told = bench.out.compactMap { action -> DiscoveryMessage? in
            if case .send(let message, asker) = action { message } else { nil }
        }
        #expect(told == [.callbackAnswer(nonce: 5, called: called)])
    }

    @Test("Case 14: questions of one network, and of all, are passed on only up to a limit")
    func passingOnBudget() {
        var bench = Self.bench()
        var orders = 0
        for number in 0..<100 {
            // All of one /24.
            let endpoint = Endpoint(ipv4: 0x0900_0000 + UInt32(number), port: 7_827)
            let asker = PeerAddress(key: TestNetwork.identity(100 + number).publicKey, endpoint: endpoint)
            _ = bench.ask(request(UInt64(number + 1)), from: asker)
            orders += bench.requests().count { if case .callbackOrder = $0.message { true } else { false } }
        }
        #expect(orders == bench.discovery.parameters.callbacksPerGroupMax)
        for number in 0..<1_000 {
            let asker = PeerAddress(
                key: TestNetwork.identity(100).publicKey, endpoint: Self.stranger(number))
            _ = bench.ask(request(UInt64(number + 1)), from: asker)
            orders += bench.requests().count { if case .callbackOrder = $0.message { true } else { false } }
        }
        #expect(orders == bench.discovery.parameters.callbacksMax)
        #expect(bench.discovery.dropped[.callbackBudget] == UInt64(1_100 - orders))
    }

    private func order(_ endpoint: Endpoint, _ nonce: UInt64 = 5) -> DiscoveryMessage {
        .callbackOrder(
            CallbackOrder(
                publicKey: TestNetwork.identity(78).publicKey, endpoint: endpoint, nonce: nonce, channel: true
            ))
    }

    @Test("Orders of contacts are carried out; those of strangers, or to suspicious addresses, are not")
    func calling() {
        var bench = Self.bench()
        let contact = bench.address(bench.contact(1))
        let target = Self.stranger(4)
        #expect(bench.ask(order(target), from: contact) == .callbackAnswer(nonce: 5, called: target))
        let calls = bench.out.filter { if case .callBack = $0 { true } else { false } }
        #expect(calls.count == 1)
        bench.out = []
        var refused: [(DiscoveryMessage, PeerAddress, Bool)] = [
            (order(target), PeerAddress(key: contact.key, endpoint: Self.stranger(9)), true),
            (order(target), PeerAddress(key: TestNetwork.identity(79).publicKey, endpoint: target), true),
            (order(target), contact, false),
        ]
        for odd in ["10.0.0.1:7827", "127.0.0.1:7827", "224.0.0.1:7827", "\(Self.own)"].compactMap({
            Endpoint($0)
        }) {
            refused.append((order(odd), contact, true))
        }
        // The contact's own network: it could reach that itself.
        refused.append((order(Endpoint(high: 0, low: contact.endpoint.low + 1, port: 1)), contact, true))
        for (message, peer, proven) in refused {
            let answer = bench.ask(message, from: peer, proven: proven)
            #expect(answer == (proven ? .callbackAnswer(nonce: 5, called: nil) : nil))
        }
        #expect(!bench.out.contains { if case .callBack = $0 { true } else { false } })
    }

    @Test("Case 14: contacts that all name one victim cause it only a few calls in ten minutes")
    func callingBudget() {
        var bench = Self.bench(contacts: 10)
        var calls = 0
        for minute in 0..<20 {
            for number in 0..<10 {
                let victim = Endpoint(ipv4: 0x0900_0000 + UInt32(minute), port: UInt16(1_000 + number))
                let answer = bench.ask(
                    order(victim, UInt64(minute * 10 + number + 1)),
                    from: bench.address(bench.contact(number)))
                if case .callbackAnswer(_, .some) = answer { calls += 1 }
            }
            bench.out = []
            bench.now = bench.now + .seconds(29)
        }
        #expect(calls == bench.discovery.parameters.callbacksPerGroupMax)
    }

    // MARK: What is stated

    @Test(
        "A contact that states it can't be reached leaves the table; an older record doesn't bring it back"
    )
    func retires() {
        var bench = Self.bench()
        let before = bench.contact(3)
        let count = bench.discovery.count
        let gone = TestNetwork.contact(
            TestNetwork.identity(3), at: before.record.endpoints, sequence: 2, reachability: .outbound)
        // A statement that is unproven, or made by another key, has no effect.
        _ = bench.ask(.ping(contact: gone.signed), from: bench.address(before), proven: false)
        _ = bench.ask(.ping(contact: gone.signed), from: bench.address(bench.contact(4)))
        #expect(bench.discovery.count == count)
        _ = bench.ask(.ping(contact: gone.signed), from: bench.address(before))
        #expect(bench.discovery.count == count - 1)
        #expect(bench.out.contains { if case .evicted(before.record.publicKey) = $0 { true } else { false } })
        bench.out = []
        _ = bench.ask(.ping(contact: before.signed), from: bench.address(before))
        #expect(bench.requests().isEmpty && bench.discovery.count == count - 1)
        // Reachable again, it is a candidate like any other.
        let back = bench.contact(3, sequence: 3)
        _ = bench.ask(.ping(contact: back.signed), from: bench.address(before))
        #expect(bench.requests().count == 1)
    }

    @Test("The answer to a liveness probe can retire a contact as well")
    func retiresByPong() throws {
        var bench = Bench(.internet)
        let contact = bench.contact(3)
        bench.admit(contact)
        let probe = try bench.expectRequest(to: contact.record.publicKey, within: .minutes(10))
        let gone = TestNetwork.contact(TestNetwork.identity(3), at: [], sequence: 2, reachability: .outbound)
        bench.answer(probe.token, .pong(contact: gone.signed, observed: nil), from: bench.address(contact))
        #expect(bench.discovery.count == 0)
    }
}
