import Cryptography
import Primitives
import Wire

/// The test of whether strangers reach us (Protocol/discovery.md, Reachability), in its three roles: the node
/// that asks (about itself), the one that passes the request on, and the one that calls.
extension Discovery {
    // MARK: Asking

    /// We have joined: the first test follows soon.
    mutating func beginReachabilityTests(_ now: MonotonicTime) {
        guard profile == .internet, parameters.testsReachability else { return }
        reachability.plannedAt = now + parameters.reachabilityDelay
        timers.set(.reachability, at: reachability.plannedAt)
    }

    /// Plans a test `delay` from now, unless one is running or planned sooner.
    mutating func planReachabilityTest(
        after delay: Interval, _ turn: inout Turn
    ) {
        guard profile == .internet, parameters.testsReachability, hasJoined, reachability.test == nil else {
            return
        }
        let at = turn.monotonic + turn.random.interval(delay * 3 / 4, delay * 5 / 4)
        guard at < reachability.plannedAt else { return }
        reachability.plannedAt = at
        timers.set(.reachability, at: at)
    }

    /// Where we expect to be called: the endpoint that we state, else the one at which a peer last saw us. (A
    /// NAT that shows each peer another port yields no agreement, and lets no call in either.)
    private var testedEndpoint: Endpoint? {
        selfContact?.record.endpoints.first(where: profile.accepts) ?? votes.latest
    }

    mutating func reachabilityDue(
        _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        reachability.plannedAt = .never
        if reachability.test == nil {
            if isConfirmedUnasked(turn.monotonic, &out) { return planNextTest(isDecided: true, &turn) }
            guard let endpoint = testedEndpoint else { return planNextTest(isDecided: false, &turn) }
            reachability.test = ReachabilityTest(endpoint: endpoint, now: turn.monotonic)
        } else if judge(isRoundOver: true, &turn, &out) {
            return
        }
        startRound(&turn, &out)
    }

    /// Strangers have kept coming since the last test found that they can: there is no need to test again.
    private mutating func isConfirmedUnasked(_ now: MonotonicTime, _ out: inout [DiscoveryAction]) -> Bool {
        guard var finding = reachability.finding, finding.endpoint == testedEndpoint,
            finding.datagrams == .yes, finding.channels == .yes
        else { return false }
        let strangers = reachability.strangers.groups(since: finding.at)
        guard strangers.count >= ReachabilityTest.callsMin,
            reachability.dialled.groups(since: finding.at).count >= ReachabilityTest.callsMin
        else { return false }
        finding.at = now
        finding.networks = strangers.count
        reachability.finding = finding
        out.append(.reachabilityTested(finding))
        return true
    }

    private mutating func startRound(
        _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        guard let test = reachability.test else { return }
        let asked = chooseAsked(test, &turn.random)
        guard asked.count >= ReachabilityTest.silenceMin else {
            // The mesh is too small: what isn't known stays unknown.
            reachability.test = nil
            return planNextTest(isDecided: false, &turn)
        }
        reachability.test?.beginRound()
        for entry in asked {
            let nonce = max(1, turn.random.next())
            reachability.test?.ask(nonce, of: entry.address, group: profile.group(entry.endpoint))
            let request = CallbackRequest(nonce: nonce, port: test.endpoint.port, channel: true)
            out.append(.send(.callbackRequest(request), to: entry.address))
        }
        timers.set(.reachability, at: turn.monotonic + parameters.callbackPatience)
    }

    /// Contacts in different networks, preferably not yet asked in this test, and preferably in the far half
    /// of the space, whose neighbours are mostly strangers to us.
    private func chooseAsked(_ test: ReachabilityTest, _ random: inout SeededRandom) -> [TableEntry] {
        var used = [profile.group(test.endpoint)]
        let usable = table.entries.filter { $0.failures == 0 && $0.endpoint.isIPv4 == test.endpoint.isIPv4 }
        let asked = test.groups
        var chosen: [TableEntry] = []
        let mixed = random.sample(usable.count, of: usable)
        let shuffled =
            mixed.filter { selfID.bucketIndex(of: $0.nodeID) == 0 }
            + mixed.filter { selfID.bucketIndex(of: $0.nodeID) != 0 }
        for isFresh in [true, false] {
            for entry in shuffled where chosen.count < parameters.callbacksPerRound {
                let group = profile.group(entry.endpoint)
                guard !used.contains(group), asked.contains(group) != isFresh else { continue }
                used.append(group)
                chosen.append(entry)
            }
        }
        return chosen
    }

    /// A node that we asked says that another one calls us.
    mutating func callbackAnswered(
        _ nonce: UInt64, _ called: Endpoint?, by peer: PeerAddress, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        // A call to any other endpoint proves nothing: the answerer sees us at another address than the one
        // we state.
        guard let called, called == reachability.test?.endpoint else { return }
        reachability.test?.acknowledged(nonce, by: peer)
        _ = judge(isRoundOver: false, &turn, &out)
    }

    /// Whether we wait for a callback with this nonce: asked before any costly check of its source.
    public func awaitsCallback(_ nonce: UInt64) -> Bool {
        reachability.test?.ask(nonce).map { !$0.hasArrived } ?? false
    }

    /// Counts a callback with an unexpected nonce, or from a place where it proves nothing.
    public mutating func countUnknownCallback() { dropped.count(.unknownCallback) }

    /// A callback that we wait for came from `source`. `isStranger` says that we had sent nothing to its
    /// network.
    public mutating func calledBack(
        _ nonce: UInt64, from source: Endpoint, isStranger: Bool, turn: inout Turn,
        out: inout [DiscoveryAction]
    ) {
        guard let test = reachability.test, let ask = test.ask(nonce) else { return }
        let caller = profile.group(source)
        // The node that we asked must not call us itself, because our NAT may admit only that one.
        guard profile.accepts(source), caller != ask.group, caller != profile.group(test.endpoint) else {
            return dropped.count(.wrongCaller)
        }
        reachability.test?.arrived(nonce, from: caller, isStranger: isStranger)
        _ = judge(isRoundOver: false, &turn, &out)
    }

    /// A node to whose network we had sent nothing has opened a session with us.
    public mutating func strangerCame(
        from source: Endpoint, turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        guard isElsewhere(source) else { return }
        reachability.strangers.note(profile.group(source), turn.monotonic)
        contradicted(by: reachability.finding?.datagrams == .no, &turn, &out)
    }

    /// A node has dialled a channel to us.
    public mutating func channelCame(
        from source: Endpoint, turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        guard isElsewhere(source) else { return }
        reachability.dialled.note(profile.group(source), turn.monotonic)
        contradicted(by: reachability.finding?.channels == .no, &turn, &out)
    }

    private func isElsewhere(_ source: Endpoint) -> Bool {
        guard profile == .internet, profile.accepts(source) else { return false }
        return testedEndpoint.map { profile.group($0) != profile.group(source) } ?? true
    }

    private mutating func contradicted(
        by isContradiction: Bool, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        if reachability.test != nil {
            _ = judge(isRoundOver: false, &turn, &out)
        } else if isContradiction, let finding = reachability.finding,
            turn.monotonic - finding.at >= parameters.contradictionPause
        {
            planReachabilityTest(after: parameters.reachabilityDelay, &turn)
        }
    }

    /// Our endpoint has changed: findings about the old one no longer apply.
    mutating func endpointMoved(_ turn: inout Turn) {
        guard reachability.test?.endpoint ?? reachability.finding?.endpoint != testedEndpoint else { return }
        reachability.test = nil
        reachability.strangers.removeAll()
        reachability.dialled.removeAll()
        reachability.retry = parameters.reachabilityRetry
        reachability.plannedAt = .never
        planReachabilityTest(after: parameters.reachabilityDelay, &turn)
    }

    /// Ends the test when there is nothing left to find out, and returns whether it did.
    private mutating func judge(
        isRoundOver: Bool, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) -> Bool {
        guard let test = reachability.test, test.round > 0 else { return false }
        let strangers = reachability.strangers.groups(since: test.startedAt)
        let dialled = reachability.dialled.groups(since: test.startedAt)
        var datagrams = test.datagrams(strangers: strangers.count, isRoundOver: isRoundOver)
        var channels = test.channels(callers: dialled.count, isRoundOver: isRoundOver)
        let isDecided = datagrams != .unknown && channels != .unknown
        guard isDecided || isRoundOver && test.round >= ReachabilityTest.roundsMax else { return false }
        reachability.test = nil
        // What this test could not decide keeps its old value, if that was about the same endpoint.
        let old = reachability.finding.flatMap { $0.endpoint == test.endpoint ? $0 : nil }
        if datagrams == .unknown { datagrams = old?.datagrams ?? .unknown }
        if channels == .unknown { channels = old?.channels ?? .unknown }
        var networks = test.callers
        for group in strangers + dialled where !networks.contains(group) { networks.append(group) }
        let finding = ReachabilityFinding(
            datagrams: datagrams, channels: channels, endpoint: test.endpoint, at: turn.monotonic,
            networks: networks.isEmpty ? test.passed : networks.count)
        reachability.finding = finding
        out.append(.reachabilityTested(finding))
        planNextTest(isDecided: isDecided, &turn)
        return true
    }

    private mutating func planNextTest(isDecided: Bool, _ turn: inout Turn) {
        reachability.plannedAt = .never
        if isDecided {
            reachability.retry = parameters.reachabilityRetry
            planReachabilityTest(after: parameters.reachabilityInterval, &turn)
        } else {
            planReachabilityTest(after: reachability.retry, &turn)
            reachability.retry = min(reachability.retry * 2, parameters.reachabilityInterval)
        }
    }

    // MARK: Passing on

    /// Has a third node call `peer` at the address from which its session comes, and at no other.
    mutating func passOn(
        _ request: CallbackRequest, from peer: PeerAddress, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        var endpoint = peer.endpoint
        endpoint.port = request.port
        guard profile == .internet, profile.accepts(endpoint) else { return dropped.count(.callbackRefused) }
        guard callbackRequests.take(profile.group(endpoint), now: turn.monotonic) else {
            return dropped.count(.callbackBudget)
        }
        let order = CallbackOrder(
            publicKey: peer.key, endpoint: endpoint, nonce: request.nonce, channel: request.channel)
        orderCallback(order, for: peer, triesLeft: parameters.callbackTries, &turn.random, &out)
    }

    /// Orders a call from one of our contacts, in another network than ours and the called node's. It is one
    /// of our neighbours, because they know us as well as we know them and have nothing to gain. Of these,
    /// one in the half of the space that is far from the called node, if there is one: the called node knows
    /// few there, and calls by strangers prove most.
    mutating func orderCallback(
        _ order: CallbackOrder, for asker: PeerAddress, triesLeft: Int, _ random: inout SeededRandom,
        _ out: inout [DiscoveryAction]
    ) {
        guard triesLeft > 0 else { return }
        let group = profile.group(order.endpoint)
        let own = selfContact?.record.endpoints.first.map(profile.group)
        let callers = table.closest(to: selfID.value, count: 2 * parameters.bucketSize).filter {
            let other = profile.group($0.endpoint)
            return $0.key != order.publicKey && other != group && other != own
                && $0.endpoint.isIPv4 == order.endpoint.isIPv4
        }.prefix(parameters.bucketSize)
        let called = NodeID(of: order.publicKey)
        let far = callers.filter { called.bucketIndex(of: $0.nodeID) == 0 }
        let pool = far.isEmpty ? Array(callers) : far
        guard !pool.isEmpty else { return }
        let caller = pool[random.below(pool.count)]
        ask(
            .callbackOrder(order),
            Question(
                purpose: .order(order, for: asker, triesLeft: triesLeft - 1), peer: caller.address,
                contact: caller.contact, told: nil), &out)
    }

    // MARK: Calling

    /// Calls the node that a contact of ours names. That node may be a victim, so the calls to one network
    /// and for contacts in one network are limited.
    mutating func call(
        _ order: CallbackOrder, from peer: PeerAddress, _ now: MonotonicTime, _ out: inout [DiscoveryAction]
    ) -> DiscoveryMessage {
        let group = profile.group(order.endpoint)
        guard profile == .internet, order.publicKey != selfKey, profile.accepts(order.endpoint),
            table.entry(peer.key)?.endpoint == peer.endpoint, group != profile.group(peer.endpoint),
            selfContact?.record.endpoints.contains(where: { profile.group($0) == group }) != true
        else {
            dropped.count(.callbackRefused)
            return .callbackAnswer(nonce: order.nonce, called: nil)
        }
        guard callbackOrders.take(profile.group(peer.endpoint), now: now),
            probes.take(profile.destination(order.endpoint), now: now), callbackCalls.take(group, now: now)
        else {
            dropped.count(.callbackBudget)
            return .callbackAnswer(nonce: order.nonce, called: nil)
        }
        let address = PeerAddress(key: order.publicKey, endpoint: order.endpoint)
        out.append(.callBack(address, nonce: order.nonce, channel: order.channel))
        return .callbackAnswer(nonce: order.nonce, called: order.endpoint)
    }
}

/// What a node knows about its own reachability, and the running test.
struct ReachabilityState: Sendable {
    var finding: ReachabilityFinding?
    var test: ReachabilityTest?
    /// When the next test begins; `.never` when none is planned, or one is running.
    var plannedAt = MonotonicTime.never
    /// Pause after an undecided test; doubles.
    var retry: Interval
    var strangers = RecentCallers()
    var dialled = RecentCallers()
}
