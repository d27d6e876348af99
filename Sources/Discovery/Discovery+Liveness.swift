import Primitives
import Wire

/// An evicted contact worth another try: this is how two halves of a healed network find each other.
struct LostContact: Sendable {
    let contact: Verified<Contact>
    let endpoint: Endpoint
    /// How long it was in the table.
    let residence: Interval
    let lastHeard: MonotonicTime
    var tries = 0
    var isTried = false
    var key: PublicKey { contact.record.publicKey }
}

/// Keeps the table true. Eviction happens on our own schedule only (discv5's rule): nothing that others say
/// or send removes a contact, and a stranger can neither hasten nor delay it.
extension Discovery {
    /// Sets our own contact. A changed endpoint or reachability is announced to every contact within ten
    /// seconds; any other change goes along in the next probe.
    public mutating func setSelf(
        _ contact: Verified<Contact>, turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        precondition(contact.record.publicKey == selfKey, "own contact under another key")
        let old = selfContact?.record
        let moved =
            old?.endpoints != contact.record.endpoints || old?.reachability != contact.record.reachability
        selfContact = contact
        guard moved else { return }
        if old?.endpoints != contact.record.endpoints { endpointMoved(&turn) }
        for entry in table.entries where !entry.isProbed && entry.failures == 0 {
            timers.set(
                .contact(entry.key.word),
                at: turn.monotonic + turn.random.interval(.zero, parameters.announcementDelayMax))
        }
    }

    /// Announces our departure: sends every contact at once the given `contact`, which states that we can't
    /// be reached.
    public mutating func leave(_ contact: Verified<Contact>, out: inout [DiscoveryAction]) {
        selfContact = contact
        timers.cancel(.reachability)
        for entry in table.entries where entry.failures == 0 {
            ping(entry.address, for: .withdraw, knowing: entry.contact, introducing: true, &out)
        }
    }

    /// Sends `peer` our contact, whoever it is.
    public mutating func introduce(to peer: PeerAddress, out: inout [DiscoveryAction]) {
        ping(peer, for: .withdraw, knowing: nil, introducing: true, &out)
    }

    /// The peer left an important message unanswered: probe it now. Only our probes count as failures.
    public mutating func suspect(
        _ key: PublicKey, turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        suspect(key, &turn, &out)
    }

    /// A new session with `peer` is open. If it is a contact, it may have restarted and know nobody: we
    /// introduce ourselves again, unless we just did.
    public mutating func sessionOpened(with peer: PeerAddress, turn: inout Turn) {
        guard let place = table.place(of: peer.key), table[place].endpoint == peer.endpoint,
            !table[place].isProbed, turn.monotonic - table[place].toldAt >= parameters.reintroductionPause
        else { return }
        table[place].toldSequence = 0
        timers.set(
            .contact(peer.key.word),
            at: turn.monotonic + turn.random.interval(.zero, parameters.introductionDelayMax))
    }

    /// The peer announced its departure: removes it, and keeps it out until it states a newer contact.
    mutating func forget(
        _ key: PublicKey, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        candidates.remove(key)
        table.forgetReplacement(key)
        lost.removeAll { $0.key == key }
        timers.cancel(.lost(key.word))
        guard let removed = remove(key, &turn, &out) else { return }
        if departed.count >= parameters.departedMax { departed.removeFirst() }
        departed.append((key, removed.contact.record.sequence))
        probeCandidates(&turn, &out)
    }

    /// Whether `record` is a statement by `key`, which is in the table, that it can't be reached (any
    /// longer): either its reachability test says so or it is leaving.
    mutating func retires(
        _ record: SignedRecord, by key: PublicKey, isAsked: Bool = true, _ now: MonotonicTime
    ) -> Bool {
        guard let entry = table.entry(key), record != entry.contact.signed,
            let stated = try? Contact(decoding: record.body), stated.publicKey == key,
            stated.reachability == .outbound, stated.sequence > entry.contact.record.sequence
        else { return false }
        return verified(record, isAsked: isAsked, now) != nil
    }

    func hasDeparted(_ contact: Contact) -> Bool {
        departed.contains { $0.key == contact.publicKey && contact.sequence <= $0.sequence }
    }

    // MARK: Probes of contacts

    mutating func suspect(
        _ key: PublicKey, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        guard let place = table.place(of: key), !table[place].isProbed, table[place].failures == 0 else {
            return
        }
        probe(place, turn.monotonic, &out)
    }

    mutating func contactDue(
        _ word: UInt64, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        guard let place = table.place(ofWord: word), !table[place].isProbed else { return }
        let entry = table[place]
        let quietUntil = min(
            entry.lastHeard + silenceMax(entry), entry.lastProof + parameters.proofLifetime)
        if entry.failures == 0, quietUntil > turn.monotonic, !needsIntroduction(entry, turn.monotonic) {
            timers.set(.contact(word), at: jittered(from: turn.monotonic, until: quietUntil, &turn.random))
            return
        }
        probe(place, turn.monotonic, &out)
    }

    private mutating func probe(
        _ place: RoutingTable.Place, _ now: MonotonicTime, _ out: inout [DiscoveryAction]
    ) {
        table[place].isProbed = true
        let entry = table[place]
        ping(
            entry.address, for: .liveness, knowing: entry.contact, introducing: needsIntroduction(entry, now),
            &out)
    }

    private func needsIntroduction(_ entry: TableEntry, _ now: MonotonicTime) -> Bool {
        guard let selfContact else { return false }
        return entry.toldSequence != selfContact.record.sequence
            || now - entry.toldAt >= parameters.introductionInterval
    }

    /// How long it may be silent: as long as it had been in the table when last heard, within limits.
    /// Long-lived contacts are probed less often.
    private func silenceMax(_ entry: TableEntry) -> Interval {
        min(max(entry.lastHeard - entry.admitted, parameters.livenessMin), parameters.livenessMax)
    }

    /// Up to a quarter later, so that probes don't fall into step.
    private func jittered(
        from now: MonotonicTime, until time: MonotonicTime, _ random: inout SeededRandom
    ) -> MonotonicTime {
        time + random.interval(.zero, (time - now) / 4)
    }

    /// Handles a PONG, whatever its PING was for.
    mutating func pingAnswered(
        _ question: Question, _ record: SignedRecord?, _ roundTrip: Interval, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        let peer = question.peer
        var contact = question.contact
        if let record, retires(record, by: peer.key, turn.monotonic) {
            switch question.purpose {
            case .candidate: candidates.probeEnded()
            case .bootstrap: bootstrapEnded(peer)
            case .liveness, .lost, .lookup, .search, .register, .withdraw, .glance, .order: break
            }
            return forget(peer.key, &turn, &out)
        }
        if let record, record != contact?.signed, let stated = screened(record) {
            if stated.publicKey != peer.key {
                dropped.count(.wrongAuthor)
            } else if let checked = verified(record, turn.monotonic) {
                contact = checked
            }
        }
        switch question.purpose {
        case .liveness: probeEnded(question, &turn)
        case .candidate: candidates.probeEnded()
        case .bootstrap: bootstrapEnded(peer)
        case .lost, .lookup, .search, .register, .withdraw, .glance, .order: break
        }
        let wasLost = lost.contains { $0.key == peer.key }
        prove(contact, at: peer, question.id, roundTrip, &turn, &out)
        if wasLost, table.place(of: peer.key) == nil {
            lostFailed(peer.key, wasAsked: true, turn.monotonic)
        }
        if let contact, contact.record.publicKey == peer.key, table.place(of: peer.key) != nil,
            profile.endpoint(of: contact.record) != peer.endpoint
        {
            note(contact, &turn, &out)  // it says that it moves elsewhere: probe it there
        }
        if case .bootstrap = question.purpose {
            bootstrapAnswered(peer, isReached: table.place(of: peer.key) != nil || contact != nil)
        }
    }

    private mutating func probeEnded(_ question: Question, _ turn: inout Turn) {
        guard let place = table.place(of: question.peer.key) else { return }
        table[place].isProbed = false
        if let told = question.told {
            table[place].toldSequence = told
            table[place].toldAt = turn.monotonic
        }
        let wait = silenceMax(table[place])
        timers.set(
            .contact(question.peer.key.word),
            at: jittered(from: turn.monotonic, until: turn.monotonic + wait, &turn.random))
    }

    mutating func livenessFailed(
        _ key: PublicKey, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        guard let place = table.place(of: key) else { return }
        table[place].isProbed = false
        table[place].failures += 1
        let failures = Int(table[place].failures)
        guard failures >= parameters.failuresMax else {
            timers.set(
                .contact(key.word),
                at: turn.monotonic + parameters.retryDelay * (1 << Int64(min(failures - 1, 16))))
            return
        }
        guard let entry = remove(key, &turn, &out) else { return }
        remember(lost: entry, turn.monotonic)
    }

    /// The probe never left this node: another follows soon.
    mutating func livenessPostponed(_ key: PublicKey, _ now: MonotonicTime) {
        guard let place = table.place(of: key) else { return }
        table[place].isProbed = false
        timers.set(.contact(key.word), at: now + parameters.retryDelay)
    }

    private mutating func remove(
        _ key: PublicKey, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) -> TableEntry? {
        guard let (entry, successor) = table.remove(key) else { return nil }
        timers.cancel(.contact(key.word))
        out.append(.evicted(key))
        if let successor, !candidates.add(.init(contact: successor.contact, endpoint: successor.endpoint)) {
            dropped.count(.candidatesFull)
        }
        bootstrapLost(key, turn.monotonic)
        return entry
    }

    // MARK: Lost contacts

    private mutating func remember(lost entry: TableEntry, _ now: MonotonicTime) {
        let residence = now - entry.admitted
        if lost.count >= parameters.lostMax {
            guard let least = lost.indices.min(by: { lost[$0].residence < lost[$1].residence }),
                lost[least].residence < residence
            else { return }
            timers.cancel(.lost(lost[least].key.word))
            lost.remove(at: least)
        }
        lost.append(
            LostContact(
                contact: entry.contact, endpoint: entry.endpoint, residence: residence,
                lastHeard: entry.lastHeard))
        timers.set(.lost(entry.key.word), at: now + parameters.lostDelay)
    }

    mutating func lostDue(_ word: UInt64, _ now: MonotonicTime, _ out: inout [DiscoveryAction]) {
        guard let index = lost.firstIndex(where: { $0.key.word == word && !$0.isTried }) else { return }
        lost[index].isTried = true
        lost[index].tries += 1
        let peer = PeerAddress(key: lost[index].key, endpoint: lost[index].endpoint)
        ping(peer, for: .lost, knowing: lost[index].contact, introducing: true, &out)
    }

    mutating func lostFailed(_ key: PublicKey, wasAsked: Bool, _ now: MonotonicTime) {
        guard let index = lost.firstIndex(where: { $0.key == key }) else { return }
        lost[index].isTried = false
        if !wasAsked { lost[index].tries -= 1 }
        guard lost[index].tries < parameters.lostTriesMax else {
            lost.remove(at: index)
            return
        }
        timers.set(.lost(key.word), at: now + parameters.lostDelay * (1 << Int64(min(lost[index].tries, 16))))
    }
}
