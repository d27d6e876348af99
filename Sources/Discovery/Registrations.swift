import Primitives
import Wire

/// A topic that this node serves, and the registrars that hold its registration.
struct OwnTopic: Sendable {
    struct Holder: Sendable {
        let address: PeerAddress
        var until: MonotonicTime
    }

    var registration: Verified<Registration>
    /// The walk in progress.
    var walk: TopicWalk?
    /// At most as many as a walk asks.
    var holders: [Holder] = []
    /// Pause before the next walk.
    var delay: Interval
    var topic: TopicID { registration.record.topic }
}

/// The provider's side of rendezvous: registers in every distance bucket around each of its topics, five
/// times in each, and again before the registrations expire. Walks are frequent at first, because a node that
/// has just joined knows few others. A walk asks only in buckets with fewer than five holders whose time is
/// not running out.
extension Discovery {
    /// Registers, or registers again under other endpoints. At most `ownTopicsMax` topics.
    public mutating func provide(
        _ registration: Verified<Registration>, turn: inout Turn,
        out: inout [DiscoveryAction]
    ) {
        precondition(registration.record.publicKey == selfKey, "a registration under another key")
        let topic = registration.record.topic
        if let index = ownTopics.firstIndex(where: { $0.topic == topic }) {
            guard ownTopics[index].registration.record.endpoints != registration.record.endpoints else {
                return
            }
            ownTopics[index].registration = registration
            ownTopics[index].walk = nil
            ownTopics[index].delay = parameters.registrationDelay
            for holder in ownTopics[index].holders.indices { ownTopics[index].holders[holder].until = .zero }
        } else {
            guard ownTopics.count < parameters.ownTopicsMax else { return dropped.count(.topicsFull) }
            ownTopics.append(OwnTopic(registration: registration, delay: parameters.registrationDelay))
        }
        if table.count > 0 { timers.set(.provide(topic.value.w0), at: turn.monotonic) }
    }

    /// Tells all holders to forget the registration.
    public mutating func withdraw(_ topic: TopicID, turn: inout Turn, out: inout [DiscoveryAction]) {
        guard let index = ownTopics.firstIndex(where: { $0.topic == topic }) else { return }
        let gone = ownTopics.remove(at: index)
        timers.cancel(.provide(topic.value.w0))
        for holder in gone.holders where holder.until > turn.monotonic {
            ask(
                .register(Register(registration: gone.registration.signed, withdrawn: true)),
                Question(purpose: .withdraw, peer: holder.address, contact: nil, told: nil), &out)
        }
    }

    /// The number of live registrars that hold this node's registration for `topic`.
    public func registrars(_ topic: TopicID, now: Now) -> Int {
        ownTopics.first { $0.topic == topic }?.holders.count { $0.until > now.monotonic } ?? 0
    }

    public func isRegistering(_ topic: TopicID) -> Bool {
        ownTopics.contains { $0.topic == topic && $0.walk != nil }
    }

    /// The table has its first contact, or the first lookup has ended: there are nodes to register with.
    mutating func provideAll(_ now: MonotonicTime) {
        for own in ownTopics where own.walk == nil { timers.set(.provide(own.topic.value.w0), at: now) }
    }

    mutating func provideDue(
        _ word: UInt64, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        guard let index = ownTopics.firstIndex(where: { $0.topic.value.w0 == word }),
            ownTopics[index].walk == nil,
            table.count > 0  // the first admission starts it again
        else { return }
        var walk = TopicWalk(
            topic: ownTopics[index].topic, known: table.count, parameters: shared, profile: profile)
        let needless = turn.monotonic + parameters.registrationLifetime * 2 / 3
        for holder in ownTopics[index].holders {
            let (key, endpoint) = (holder.address.key, holder.address.endpoint)
            if holder.until > needless {
                walk.addAnswered(key, at: endpoint)
            } else {
                walk.add(NodeID(of: key), at: endpoint, .holder(key), random: &turn.random)
            }
        }
        seed(&walk, &turn.random)
        goOn(walk, of: index, &turn, &out)
    }

    /// Registers with more nodes, and puts the walk back to its topic until it has ended. (While it advances
    /// it is taken out, because it would be copied there.)
    private mutating func goOn(
        _ walk: consuming TopicWalk, of index: Int, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        let topic = walk.topic
        let record = ownTopics[index].registration.signed
        advance(&walk, for: .register(topic), &turn, &out) { random in
            .register(Register(registration: record, start: UInt32(random.below(1 << 16))))
        }
        guard walk.inFlight == 0 else {
            ownTopics[index].walk = walk
            return
        }
        ownTopics[index].walk = nil
        ownTopics[index].holders.removeAll { $0.until <= turn.monotonic }
        let delay = ownTopics[index].delay
        timers.set(.provide(topic.value.w0), at: turn.monotonic + turn.random.interval(delay * 3 / 4, delay))
        ownTopics[index].delay = min(delay * 4, parameters.registrationRefresh)
    }

    mutating func registerAnswered(
        _ topic: TopicID, _ question: Question, _ registered: Registered, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = ownTopics.firstIndex(where: { $0.topic == topic }) else { return }
        let key = question.peer.key
        ownTopics[index].holders.removeAll { $0.address.key == key }
        if registered.heldMilliseconds > 0, ownTopics[index].holders.count < parameters.walkQuestionsMax {
            let held = min(
                Interval.milliseconds(Int64(registered.heldMilliseconds)), parameters.registrationLifetime)
            ownTopics[index].holders.append(
                OwnTopic.Holder(address: question.peer, until: turn.monotonic + held))
        }
        guard var walk = ownTopics[index].walk.take() else { return }
        if let node = walk.answered(question.id) {
            hear(registered.contacts, nearerThan: node.bucket, in: &walk, &turn, &out)
        }
        goOn(walk, of: index, &turn, &out)
    }

    /// The question is unanswered for good, or only slow.
    mutating func registerFailed(
        _ topic: TopicID, _ question: Question, isSlow: Bool, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = ownTopics.firstIndex(where: { $0.topic == topic }) else { return }
        if !isSlow {
            let soon = turn.monotonic + parameters.registrationRefresh
            ownTopics[index].holders.removeAll { $0.address.key == question.peer.key && $0.until <= soon }
        }
        guard var walk = ownTopics[index].walk.take() else { return }
        if isSlow { walk.slow(question.id) } else { walk.failed(question.id) }
        goOn(walk, of: index, &turn, &out)
    }
}
