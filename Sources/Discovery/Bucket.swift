import Primitives
import Wire

/// A contact that answered a probe of ours, with what we know from our own experience.
struct TableEntry: Sendable {
    var contact: Verified<Contact>
    let nodeID: NodeID
    /// Where it answered us.
    var endpoint: Endpoint
    /// Unanswered probes in a row.
    var failures: UInt8 = 0
    /// A probe of our schedule is in flight.
    var isProbed = false
    /// A word of the key: what is compared before the contact is looked at, which lies elsewhere.
    let mark: UInt32
    let admitted: MonotonicTime
    /// Any authentic packet from it.
    var lastHeard: MonotonicTime
    /// Its last answer to us.
    var lastProof: MonotonicTime
    /// Smoothed by an eighth (RFC 6298).
    var roundTrip: Interval
    /// Our contact's sequence that it acknowledged, and when; 0: none.
    var toldSequence: UInt64 = 0
    var toldAt = MonotonicTime.zero

    init(
        contact: Verified<Contact>, nodeID: NodeID, endpoint: Endpoint, now: MonotonicTime,
        roundTrip: Interval
    ) {
        self.contact = contact
        self.nodeID = nodeID
        self.endpoint = endpoint
        self.roundTrip = roundTrip
        mark = Self.mark(contact.record.publicKey)
        admitted = now
        lastHeard = now
        lastProof = now
    }

    static func mark(_ key: PublicKey) -> UInt32 { UInt32(truncatingIfNeeded: key.value.w0) }

    var key: PublicKey { contact.record.publicKey }
    var address: PeerAddress { PeerAddress(key: key, endpoint: endpoint) }
}

/// A contact that would like a place: signed, but not proven.
struct Replacement: Sendable {
    var contact: Verified<Contact>
    var endpoint: Endpoint
    var key: PublicKey { contact.record.publicKey }
}

/// The contacts that share exactly `index` leading bits with our id, oldest first, and those that wait for a place.
struct Bucket: Sendable {
    let index: Int
    var entries: [TableEntry] = []
    var replacements: [Replacement] = []

    init(index: Int) { self.index = index }

    /// By a few at a time: most buckets near us are never full.
    mutating func append(_ entry: TableEntry) {
        if entries.count == entries.capacity { entries.reserveCapacity(entries.count + 4) }
        entries.append(entry)
    }

    func place(of key: PublicKey) -> Int? {
        let mark = TableEntry.mark(key)
        return entries.firstIndex { $0.mark == mark && $0.key == key }
    }

    /// Remembers `replacement`; a newer record of the same key takes the older one's place. A full list gives up a
    /// random one, so that a burst of strangers can't choose who goes.
    mutating func remember(
        _ replacement: Replacement, parameters: DiscoveryParameters, profile: DiscoveryProfile,
        random: inout SeededRandom
    ) {
        if let known = replacements.firstIndex(where: { $0.key == replacement.key }) {
            if replacement.contact.record.sequence > replacements[known].contact.record.sequence {
                replacements[known] = replacement
            }
            return
        }
        let group = profile.group(replacement.endpoint)
        let alike = replacements.count { profile.group($0.endpoint) == group }
        guard alike < parameters.groupBucketMax, parameters.replacementsMax > 0 else { return }
        if replacements.count >= parameters.replacementsMax {
            replacements.remove(at: random.below(replacements.count))
        }
        replacements.append(replacement)
    }
}
