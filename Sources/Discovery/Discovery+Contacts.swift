import Cryptography
import Primitives
import Wire

/// Judging contacts: which are probed, which enter the table, which replace others.
extension Discovery {
    /// A message arrived from `peer` in a proven session, with its contact if it stated one. PeerCore may
    /// call this for messages of other machines too: a peer that was heard needs no probe.
    public mutating func heard(
        _ peer: PeerAddress, contact record: SignedRecord? = nil, turn: inout Turn,
        out: inout [DiscoveryAction]
    ) {
        guard peer.key != selfKey else {
            if let record, let stated = try? Contact(decoding: record.body), stated.publicKey == selfKey {
                noteForeign(stated, record)
            }
            return
        }
        if let place = table.place(of: peer.key) {
            if table[place].endpoint == peer.endpoint { table[place].lastHeard = turn.monotonic }
            guard let record, table[place].contact.signed != record else { return }
        }
        if lost.contains(where: { $0.key == peer.key && !$0.isTried }) {
            timers.set(.lost(peer.key.word), at: turn.monotonic)
        }
        if let record, retires(record, by: peer.key, isAsked: false, turn.monotonic) {
            return forget(peer.key, &turn, &out)
        }
        guard let record, let stated = screened(record) else { return }
        guard stated.publicKey == peer.key else { return dropped.count(.wrongAuthor) }
        guard let contact = verified(record, isAsked: false, turn.monotonic) else { return }
        note(contact, &turn, &out)
        probeCandidates(&turn, &out)
    }

    /// Takes a verified contact that a peer stated or listed. It replaces an older record or becomes a
    /// candidate, never an entry.
    mutating func note(
        _ contact: Verified<Contact>, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let endpoint = profile.endpoint(of: contact.record) else { return dropped.count(.notUsable) }
        let candidate = CandidateQueue.Candidate(contact: contact, endpoint: endpoint)
        if let place = table.place(of: candidate.key) {
            let entry = table[place]
            guard contact.record.sequence > entry.contact.record.sequence else { return }
            if endpoint == entry.endpoint, table.restate(contact, at: endpoint, in: place) {
                out.append(.updated(contact, at: entry.address))
            } else if !candidates.add(candidate) {  // moves once it answers there
                dropped.count(.candidatesFull)
            }
            return
        }
        let id = contact.nodeID
        switch table.verdict(on: id, at: endpoint) {
        case .room: if !candidates.add(candidate) { dropped.count(.candidatesFull) }
        case .bucketFull:
            table.remember(Replacement(contact: contact, endpoint: endpoint), id, random: &turn.random)
        case .groupFull: dropped.count(.groupFull)
        case .ownKey: dropped.count(.ownKey)
        }
    }

    /// A question of ours was answered by the peer that we asked.
    mutating func prove(
        _ question: Question, _ roundTrip: Interval, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        prove(question.contact, at: question.peer, question.id, roundTrip, &turn, &out)
    }

    /// `peer` answered a question of ours at its address. Together with its record, that admits it to the
    /// table.
    mutating func prove(
        _ contact: Verified<Contact>?, at peer: PeerAddress, _ id: NodeID, _ roundTrip: Interval,
        _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        guard peer.key != selfKey else { return dropped.count(.ownKey) }
        if let place = table.place(of: id) {
            return renew(place, contact, at: peer, roundTrip, turn.monotonic, &out)
        }
        guard let contact else { return dropped.count(.noContact) }
        guard contact.record.reachability != .outbound else { return dropped.count(.notReachable) }
        guard
            let entry = TableEntry(
                contact: contact, endpoint: peer.endpoint, now: turn.monotonic, roundTrip: roundTrip)
        else { return note(contact, &turn, &out) }
        guard !hasDeparted(contact.record) else { return }
        switch table.verdict(on: id, at: peer.endpoint) {
        case .room:
            let wasEmpty = table.count == 0
            admissions += 1
            table.admit(entry)
            lost.removeAll { $0.key == peer.key }
            timers.cancel(.lost(peer.key.word))
            timers.set(
                .contact(peer.key.word),
                at: turn.monotonic + turn.random.interval(.zero, parameters.introductionDelayMax))
            out.append(.admitted(contact, at: peer))
            if wasEmpty { tableFilled(turn.monotonic) }
        case .bucketFull:
            table.remember(
                Replacement(contact: contact, endpoint: peer.endpoint), id, random: &turn.random)
        case .groupFull: dropped.count(.groupFull)
        case .ownKey: dropped.count(.ownKey)
        }
    }

    private mutating func renew(
        _ place: RoutingTable.Place, _ contact: Verified<Contact>?, at peer: PeerAddress,
        _ roundTrip: Interval,
        _ now: MonotonicTime, _ out: inout [DiscoveryAction]
    ) {
        let moved = table[place].endpoint != peer.endpoint
        let isNewer = (contact?.record.sequence ?? 0) > table[place].contact.record.sequence
        // An old record that answers from another address proves nothing about the endpoint that we hold.
        if moved && !(isNewer && contact?.record.endpoints.contains(peer.endpoint) == true) { return }
        let failed = table[place].failures > 0
        table[place].lastHeard = now
        table[place].lastProof = now
        table[place].failures = 0
        table[place].roundTrip = moved ? roundTrip : smoothed(table[place].roundTrip, roundTrip)
        if let contact, isNewer, table.restate(contact, at: peer.endpoint, in: place) {
            out.append(.updated(contact, at: peer))
        }
        if failed { timers.set(.contact(peer.key.word), at: now + parameters.livenessMin) }
    }

    private func smoothed(_ old: Interval, _ sample: Interval) -> Interval { old + (sample - old) / 8 }

    // MARK: Checks, from cheap to expensive

    /// The contact in `record` if it is worth a signature check: it decodes, isn't ours, has a usable
    /// endpoint, is reachable and has not left.
    mutating func screened(_ record: SignedRecord) -> Contact? {
        guard let contact = checkedContacts.find(record)?.record ?? (try? Contact(decoding: record.body))
        else {
            dropped.count(.badContact)
            return nil
        }
        if let reason = objection(to: contact) {
            if reason == .ownKey { noteForeign(contact, record) }
            dropped.count(reason)
            return nil
        }
        return hasDeparted(contact) ? nil : contact
    }

    /// A contact under our key with a sequence that we haven't reached: another process may use the key. Few are checked,
    /// because one suffices and anybody can forge them.
    private mutating func noteForeign(_ contact: Contact, _ record: SignedRecord) {
        guard foreign == nil, foreignChecksLeft > 0,
            contact.sequence > selfContact?.record.sequence ?? .max
        else { return }
        foreignChecksLeft -= 1
        if (try? Verified<Contact>.checked(record, by: parameters.memo)) != nil { foreign = contact }
    }

    /// A contact that was signed with our key, and not by us; once.
    public mutating func takeForeign() -> Contact? {
        guard foreign != nil else { return nil }
        defer { foreign = nil }
        foreignChecksLeft = Self.foreignChecks
        return foreign
    }

    private mutating func objection(to contact: Contact) -> DiscoveryDropReason? {
        if contact.publicKey == selfKey { return .ownKey }
        if contact.reachability == .outbound { return .notReachable }
        guard let endpoint = profile.endpoint(of: contact) else { return .notUsable }
        return selfContact?.record.endpoints.contains(endpoint) == true ? .ownEndpoint : nil
    }

    /// - Parameter isAsked: whether it is in an answer to a question of ours; other statements have a budget of
    ///   their own, so that strangers can't use up what lookups need.
    mutating func verified(
        _ record: SignedRecord, isAsked: Bool = true, _ now: MonotonicTime
    ) -> Verified<Contact>? {
        if let known = checkedContacts.find(record) { return known }
        guard isAsked ? verifications.take(now) : introductions.take(now) else {
            dropped.count(.verificationBudget)
            return nil
        }
        guard let contact = try? Verified<Contact>.checked(record, by: parameters.memo) else {
            dropped.count(.badContact)
            return nil
        }
        checkedContacts.insert(contact)
        return contact
    }

    // MARK: Candidates

    /// Probes waiting candidates as far as the budgets allow; the others wait for a timer or a completion.
    mutating func probeCandidates(
        _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        var left = candidates.count  // each waiting candidate is considered once
        var isRefused = false
        while left > 0, candidates.probed < parameters.candidateProbesMax,
            let candidate = candidates.takeFirst()
        {
            left -= 1
            guard isStillWanted(candidate) else { continue }
            guard probes.take(profile.destination(candidate.endpoint), now: turn.monotonic) else {
                dropped.count(.probeBudget)
                candidates.putBack(candidate)
                isRefused = true
                continue
            }
            candidates.probeStarted()
            ping(candidate.address, for: .candidate, knowing: candidate.contact, introducing: false, &out)
        }
        if isRefused { timers.set(.candidates, at: turn.monotonic + .milliseconds(250)) }
    }

    /// Returns false when the table has changed since it was queued.
    private mutating func isStillWanted(_ candidate: CandidateQueue.Candidate) -> Bool {
        if let entry = table.entry(candidate.key) {
            return candidate.contact.record.sequence > entry.contact.record.sequence
        }
        return table.verdict(on: candidate.contact.nodeID, at: candidate.endpoint) == .room
            && !hasDeparted(candidate.contact.record)
    }

    // MARK: Replies

    /// Whole signed contacts that answered us, closest to `target` first, as many as fit.
    ///
    /// The asker's own contact is among them only if it has another endpoint: then the node has moved, or somebody else
    /// uses its key, which it learns this way.
    func contactsForReply(target: Bytes32, asker: PeerAddress) -> [SignedRecord] {
        let overhead = 72  // tags, lengths and the signature
        var records: [SignedRecord] = []
        var bytes = 0
        for entry in table.closest(to: target, count: parameters.contactsPerReplyMax + 1)
        where entry.address != asker {
            let size = entry.contact.signed.body.count + overhead
            guard records.count < parameters.contactsPerReplyMax, bytes + size <= parameters.replyBytesMax
            else { break }
            bytes += size
            records.append(entry.contact.signed)
        }
        return records
    }
}
