import Cryptography
import Primitives
import Wire

/// The registrar's side of rendezvous, and what searches and registrations share. `Registrar` decides which
/// registrations are kept.
extension Discovery {
    // MARK: Answers

    /// PROVIDERS: registrations of the topic from place `start` on, including our own, and nodes closer to
    /// it. Changes nothing.
    func providers(
        of topic: TopicID, start: UInt32, asker: PublicKey, _ now: MonotonicTime
    ) -> Providers {
        var records: [SignedRecord] = []
        if let own = ownTopics.first(where: { $0.topic == topic }) { records.append(own.registration.signed) }
        records += registrar.sample(
            topic, from: start, atMost: WireLimits.registrationsMax - records.count, but: asker, now)
        let contacts = contactsNearer(
            to: topic, start: start, asker: asker, atMost: parameters.contactsPerReplyMax)
        let kept = contacts.prefix(parameters.contactsKeptForTopic).reduce(0) { $0 + $1.fieldSize }
        var left = parameters.replyBytesMax - kept
        var answer = Providers()
        for record in records {
            guard record.fieldSize <= left else { break }
            left -= record.fieldSize
            answer.registrations.append(record)
        }
        left += kept
        for record in contacts {
            guard record.fieldSize <= left else { break }
            left -= record.fieldSize
            answer.contacts.append(record)
        }
        return answer
    }

    /// Keeps, renews or removes a registration of `peer`, whose session is proven. Returns nil when it isn't
    /// the peer's own.
    ///
    /// Its signature is not checked: the session has authenticated its author, and searchers check it before
    /// they rely on it. (A check costs as much as twenty datagrams, and a provider asks two dozen registrars
    /// at a time.) `Protocol/discovery.md` says what a false one costs them.
    mutating func register(
        _ register: Register, from peer: PeerAddress, _ turn: inout Turn
    ) -> DiscoveryMessage? {
        guard let stated = try? Registration(decoding: register.registration.body) else {
            dropped.count(.badRegistration)
            return nil
        }
        guard stated.publicKey == peer.key else {
            dropped.count(.wrongAuthor)
            return nil
        }
        if register.withdrawn {
            registrar.remove(peer.key, stated.topic)
            return .registered(Registered(heldMilliseconds: 0))
        }
        var answer = Registered(heldMilliseconds: 0)
        var left = parameters.replyBytesMax / 2
        let nearer = contactsNearer(
            to: stated.topic, start: register.start, asker: peer.key,
            atMost: parameters.contactsPerReplyMax / 2)
        for record in nearer {
            guard record.fieldSize <= left else { break }
            left -= record.fieldSize
            answer.contacts.append(record)
        }
        // Searchers take the first usable endpoint, so that one must be proven.
        guard stated.endpoints.first(where: profile.accepts) == peer.endpoint else {
            dropped.count(.notUsable)
            return .registered(answer)
        }
        if registrar.isEmpty { timers.set(.registrar, at: turn.monotonic + parameters.registrarSweep) }
        let group = profile.group(peer.endpoint)
        if registrar.keep(register.registration, of: peer.key, group, stated.topic, &turn) {
            answer.heldMilliseconds = UInt32(clamping: parameters.registrationLifetime.milliseconds)
        } else {
            dropped.count(.registrationsFull)
        }
        return .registered(answer)
    }

    mutating func sweepRegistrar(_ turn: inout Turn) {
        registrar.sweep(&turn)
        if !registrar.isEmpty { timers.set(.registrar, at: turn.monotonic + parameters.registrarSweep) }
    }

    /// Contacts that answer and share more leading bits with the topic than we do: one of each distance
    /// bucket around it, far to near, then a second of each, and so on. A walk needs some of every bucket;
    /// with only the nearest it would skip those where honest registrars are.
    ///
    /// These are exactly the entries of one bucket of the table: if we share i bits with the topic, a node
    /// shares more with it exactly if it differs from us in bit i.
    /// shares more with it if it differs from us in bit i.
    func contactsNearer(
        to topic: TopicID, start: UInt32, asker: PublicKey, atMost wanted: Int
    ) -> [SignedRecord] {
        guard let bucket = table.bucket(selfID.topicBucket(topic)) else { return [] }
        let entries = bucket.entries
        // Places by distance bucket, far ones first.
        var places: [(bucket: UInt8, index: UInt8)] = []
        places.reserveCapacity(entries.count)
        for index in entries.indices.prefix(256) where entries[index].failures == 0 {
            var position = places.count
            places.append((UInt8(entries[index].nodeID.topicBucket(topic)), UInt8(index)))
            while position > 0, places[position - 1].bucket > places[position].bucket {
                places.swapAt(position - 1, position)
                position -= 1
            }
        }
        var chosen: [SignedRecord] = []
        chosen.reserveCapacity(min(places.count, wanted))
        var round = 0
        while round < places.count, chosen.count < wanted {
            var first = 0
            while first < places.count, chosen.count < wanted {
                var end = first + 1
                while end < places.count, places[end].bucket == places[first].bucket { end += 1 }
                if round < end - first {
                    let entry = Int(places[first + (Int(start) + round) % (end - first)].index)
                    let contact = entries[entry].contact
                    if contact.record.publicKey != asker { chosen.append(contact.signed) }
                }
                first = end
            }
            round += 1
        }
        return chosen
    }

    // MARK: Our questions

    /// Whether something may be sent now to a node that a stranger named: always for contacts, for others
    /// within the budget for their address.
    public mutating func mayAsk(_ address: PeerAddress, now: Now) -> Bool { mayAsk(address, now.monotonic) }

    mutating func mayAsk(_ address: PeerAddress, _ now: MonotonicTime) -> Bool {
        if table.entry(address.key)?.endpoint == address.endpoint { return true }
        if probes.take(profile.destination(address.endpoint), now: now) { return true }
        dropped.count(.probeBudget)
        return false
    }

    /// Verified contacts of a reply: decodable, usable, signed. `isWanted` is asked before the signature is
    /// checked.
    mutating func listed(
        _ records: [SignedRecord], _ turn: inout Turn,
        _ out: inout [DiscoveryAction], isWanted: (PublicKey) -> Bool
    ) -> [(contact: Verified<Contact>, endpoint: Endpoint)] {
        if records.count > parameters.contactsPerReplyMax { dropped.count(.tooMany) }
        var contacts: [(contact: Verified<Contact>, endpoint: Endpoint)] = []
        for record in records.prefix(parameters.contactsPerReplyMax) {
            // Most are records of our own contacts, byte for byte, so they need not be decoded.
            if let key = record.leadingKey, let entry = table.entry(key), entry.contact.signed == record {
                if isWanted(key) { contacts.append((entry.contact, entry.endpoint)) }
                continue
            }
            guard let listed = screened(record) else { continue }
            let entry = table.entry(listed.publicKey)
            let isNewer = entry.map { listed.sequence > $0.contact.record.sequence } ?? false
            guard isNewer || isWanted(listed.publicKey) else { continue }
            if let entry, !isNewer {
                contacts.append((entry.contact, entry.endpoint))  // checked on arrival
            } else if let contact = verified(record, turn.monotonic),
                let endpoint = profile.endpoint(of: listed)
            {
                if entry != nil { note(contact, &turn, &out) }
                contacts.append((contact, endpoint))
            }
        }
        return contacts
    }

    // MARK: Patience

    /// How long to wait for an answer of `key` before asking another node as well: max(100 ms, 2 × RTO).
    /// Sessions repeats a lost request much later, and a dead contact must not hold up a path for that long.
    mutating func patience(with id: NodeID) -> Interval {
        let typical = table.place(of: id).map { table[$0].roundTrip } ?? roundTrips.smoothed
        let timeout = typical + roundTrips.deviation * 4
        return min(max(timeout * 2, parameters.patienceMin), parameters.patienceMax)
    }

    /// Sets the patience of the latest question.
    mutating func setPatience(_ id: NodeID, _ now: MonotonicTime) {
        timers.set(.patience(lastToken), at: now + patience(with: id))
    }

    mutating func patienceEnded(
        _ token: RequestToken, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        guard let question = questions[token] else { return }
        let key = question.peer.key
        switch question.purpose {
        case .lookup(let lookup):
            if !question.isSlow {
                questions[token]?.isSlow = true
                timers.set(.patience(token), at: turn.monotonic + patience(with: question.id))
            }
            lookupSlow(lookup, by: key, isLost: question.isSlow, &turn, &out)
        case .search(let search):
            questions[token]?.isSlow = true
            searchFailed(search, by: question.id, isSlow: true, &turn, &out)
        case .register(let topic):
            registerFailed(topic, question, isSlow: true, &turn, &out)
        case .order, .withdraw, .liveness, .candidate, .bootstrap, .lost, .glance: break
        }
    }
}

/// A smoothed round trip over all nodes that lookups ask, with its deviation (RFC 6298): for nodes that we
/// have not measured yet.
struct RoundTrips: Sendable {
    private(set) var smoothed = Interval.milliseconds(150)
    private(set) var deviation = Interval.zero
    private var isMeasured = false

    init() {}

    init(measured roundTrip: Interval) {
        smoothed = roundTrip
        deviation = roundTrip / 16
        isMeasured = true
    }

    /// - Parameter isSlow: longer than our patience. One lost datagram that was repeated must not make us patient with
    ///   the dead, so it moves the mean alone.
    mutating func sample(_ roundTrip: Interval, isSlow: Bool) {
        // A frozen process or a clock that jumped doesn't count as a round trip.
        let sample = min(max(roundTrip, .zero), .seconds(2))
        guard isMeasured else {
            isMeasured = true
            smoothed = sample
            deviation = sample / 2
            return
        }
        let error = sample - smoothed
        if !isSlow { deviation = deviation + ((error < .zero ? .zero - error : error) - deviation) / 4 }
        smoothed = smoothed + error / 8
    }
}

extension SignedRecord {
    /// The key at the front of the body, where the canonical form of every record has its author's.
    /// Unverified: only for comparison with records under that key.
    var leadingKey: PublicKey? {
        guard body.count >= 34, body[0] == 1 << 3 | 2, body[1] == 32 else { return nil }
        return Bytes32(body[2..<34]).map(PublicKey.init)
    }
}
