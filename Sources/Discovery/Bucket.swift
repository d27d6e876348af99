import Primitives
import Wire

/// A contact that answered a probe of ours, with what we know from our own experience. 64 bytes, a cache line: a node
/// keeps hundreds, and a simulation millions.
struct TableEntry: Sendable {
    let admitted: MonotonicTime
    /// Any authentic packet from it.
    var lastHeard: MonotonicTime
    /// Its last answer to us.
    var lastProof: MonotonicTime
    /// Our contact's sequence that it acknowledged, and when; 0: none.
    var toldSequence: UInt64 = 0
    var toldAt = MonotonicTime.zero
    /// Parts of key and id: what is compared before the contact is looked at, which lies elsewhere.
    let keyMark: UInt32
    let idMark: UInt32
    private var place: ContactAddress
    /// Unanswered probes in a row.
    var failures: UInt8 = 0
    /// A probe of our schedule is in flight.
    var isProbed = false
    private var roundTripMicroseconds: UInt32

    /// nil when the contact does not state `endpoint`: passing it on must lead others to where it answers.
    init?(contact: Verified<Contact>, endpoint: Endpoint, now: MonotonicTime, roundTrip: Interval) {
        guard let place = ContactAddress(contact, at: endpoint) else { return nil }
        self.place = place
        roundTripMicroseconds = roundTrip.microseconds
        keyMark = Self.mark(contact.record.publicKey.value)
        idMark = Self.mark(contact.nodeID.value)
        admitted = now
        lastHeard = now
        lastProof = now
    }

    /// A newer record of the same key; false, and no change, when it does not state `endpoint`.
    mutating func restate(_ newer: Verified<Contact>, at endpoint: Endpoint) -> Bool {
        guard let place = ContactAddress(newer, at: endpoint) else { return false }
        self.place = place
        return true
    }

    static func mark(_ value: Bytes32) -> UInt32 { UInt32(truncatingIfNeeded: value.w0) }

    var contact: Verified<Contact> { place.contact }
    var key: PublicKey { place.key }
    var nodeID: NodeID { contact.nodeID }
    /// Where it answered us.
    var endpoint: Endpoint { place.endpoint }
    var address: PeerAddress { place.address }
    /// Smoothed by an eighth (RFC 6298), to the microsecond.
    var roundTrip: Interval {
        get { .microseconds(Int64(roundTripMicroseconds)) }
        set { roundTripMicroseconds = newValue.microseconds }
    }
}

extension Interval {
    /// From none to 71 minutes.
    fileprivate var microseconds: UInt32 { UInt32(clamping: nanoseconds / 1_000) }
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
        entries.appendSparingly(entry, room: 4)
    }

    func place(of key: PublicKey) -> Int? {
        let mark = TableEntry.mark(key.value)
        return entries.firstIndex { $0.keyMark == mark && $0.key == key }
    }

    func place(of id: NodeID) -> Int? {
        let mark = TableEntry.mark(id.value)
        return entries.firstIndex { $0.idMark == mark && $0.nodeID == id }
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
