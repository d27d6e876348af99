import Cryptography
import Primitives
import Wire

/// What registrations and searches share: starting a walk, asking its next node, adding nodes that answers
/// name.
extension Discovery {
    /// Fills a walk with the contacts that answer.
    func seed(_ walk: inout TopicWalk, _ random: inout SeededRandom) {
        walk.reserve(table.count)
        for bucket in table.buckets {
            for index in bucket.entries.indices where bucket.entries[index].failures == 0 {
                walk.add(
                    bucket.entries[index].nodeID, at: bucket.entries[index].endpoint, .table, random: &random)
            }
        }
    }

    /// Asks nodes of `walk`, far to near, as long as it wants more.
    mutating func advance(
        _ walk: inout TopicWalk, for purpose: Purpose, _ turn: inout Turn,
        _ out: inout [DiscoveryAction], _ message: (inout SeededRandom) -> DiscoveryMessage
    ) {
        while let node = walk.next(random: &turn.random) {
            guard let (peer, contact) = whom(node, turn.monotonic) else {
                walk.failed(node.id)
                continue
            }
            ask(
                message(&turn.random),
                Question(purpose: purpose, peer: peer, id: node.id, contact: contact, told: nil), &out)
            setPatience(node.id, turn.monotonic)
        }
    }

    /// The address of a walk's node, if something may be sent to it now: always for contacts and holders, for
    /// others within the budget for their address and if their contact is validly signed.
    private mutating func whom(_ node: TopicWalk.Node, _ now: MonotonicTime)
        -> (PeerAddress, Verified<Contact>?)?
    {
        let contact: Verified<Contact>
        switch node.origin {
        case .holder(let key): return (PeerAddress(key: key, endpoint: node.endpoint), nil)
        case .table:
            guard let place = table.place(of: node.id) else { return nil }
            return (table[place].address, table[place].contact)
        case .checked(let checked): contact = checked
        case .named(let record):
            guard let checked = verified(record, now) else { return nil }
            contact = checked
        }
        let peer = PeerAddress(key: contact.record.publicKey, endpoint: node.endpoint)
        return mayAsk(peer, now) ? (peer, contact) : nil
    }

    /// Adds the contacts of an answer to the walk, ignoring those not closer to the topic than `bucket`, the
    /// answerer's: an honest answer about a topic has no others (`Protocol/rules.md`). Checks from cheap to
    /// expensive, without signatures yet.
    mutating func hear(
        _ records: [SignedRecord], nearerThan bucket: Int, in walk: inout TopicWalk, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        if records.count > parameters.contactsPerReplyMax { dropped.count(.tooMany) }
        for record in records.prefix(parameters.contactsPerReplyMax) {
            // Most are records of our own contacts, byte for byte, so they need not be decoded.
            var id: NodeID?
            if let key = record.leadingKey {
                // The table has the id of a contact, and looking it up is cheaper than hashing.
                let place = table.place(of: key)
                let guess = place.map { table[$0].nodeID } ?? NodeID(of: key)
                id = guess
                guard guess.topicBucket(walk.topic) > bucket else {
                    dropped.count(.notNearer)
                    continue
                }
                if let place, table[place].contact.signed == record {
                    walk.add(guess, at: table[place].endpoint, .table, random: &turn.random)
                    continue
                }
                if case .named(record)? = walk.node(guess)?.origin { continue }
            }
            guard let stated = screened(record), let endpoint = profile.endpoint(of: stated) else { continue }
            if id == nil || stated.publicKey != record.leadingKey {
                id = NodeID(of: stated.publicKey)
            }
            guard let id, id.topicBucket(walk.topic) > bucket else {
                dropped.count(.notNearer)
                continue
            }
            if let place = table.place(of: id) {
                walk.add(id, at: table[place].endpoint, .table, random: &turn.random)
                if stated.sequence > table[place].contact.record.sequence,
                    let contact = verified(record, turn.monotonic)
                {
                    note(contact, &turn, &out)
                }
            } else if case .named? = walk.node(id)?.origin, walk.node(id)?.state == .fresh {
                // Two records under one key: one may be forged to hide the node.
                if let contact = verified(record, turn.monotonic) {
                    walk.replace(id, with: contact, at: endpoint)
                }
            } else {
                walk.add(id, at: endpoint, .named(record), random: &turn.random)
            }
        }
    }
}
