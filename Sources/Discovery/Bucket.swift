import Primitives
import Wire

/// A contact that answered a probe of ours, with what we observed ourselves. 64 bytes, one cache line: a node
/// keeps hundreds of these, and a simulation millions.
struct TableEntry: Sendable {
    let admitted: MonotonicTime
    /// The time of the last authentic packet from it.
    var lastHeard: MonotonicTime
    /// The time of its last answer to us.
    var lastProof: MonotonicTime
    /// The sequence of our own contact that it acknowledged, and when; 0 if none.
    var toldSequence: UInt64 = 0
    var toldAt = MonotonicTime.zero
    /// Parts of key and id, compared before the contact itself, which would cost a cache miss.
    let keyMark: UInt32
    let idMark: UInt32
    private var place: ContactAddress
    /// Unanswered probes in a row.
    var failures: UInt8 = 0
    /// A scheduled probe is in flight.
    var isProbed = false
    private var roundTripMicroseconds: UInt32

    /// nil when the contact does not state `endpoint`: passing the contact on must lead others to where it
    /// answers.
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

    /// Takes a newer record of the same key. Returns false, and changes nothing, when it does not state
    /// `endpoint`.
    mutating func restate(_ newer: Verified<Contact>, at endpoint: Endpoint) -> Bool {
        guard let place = ContactAddress(newer, at: endpoint) else { return false }
        self.place = place
        return true
    }

    static func mark(_ value: Bytes32) -> UInt32 { UInt32(truncatingIfNeeded: value.w0) }

    var contact: Verified<Contact> { place.contact }
    var key: PublicKey { place.key }
    var nodeID: NodeID { contact.nodeID }
    /// The endpoint at which it answered us.
    var endpoint: Endpoint { place.endpoint }
    var address: PeerAddress { place.address }
    /// Smoothed with weight 1/8 (RFC 6298), in microseconds.
    var roundTrip: Interval {
        get { .microseconds(Int64(roundTripMicroseconds)) }
        set { roundTripMicroseconds = newValue.microseconds }
    }
}

extension Interval {
    /// Clamped to 0 to 71 minutes.
    fileprivate var microseconds: UInt32 { UInt32(clamping: nanoseconds / 1_000) }
}

/// A contact that waits for a place: signed, but not proven.
struct Replacement: Sendable {
    var contact: Verified<Contact>
    var endpoint: Endpoint
    var key: PublicKey { contact.record.publicKey }
}

/// The contacts that share exactly `index` leading bits with our id, oldest first, and those waiting for a
/// place.
struct Bucket: Sendable {
    let index: Int
    var entries: [TableEntry] = []
    var replacements: [Replacement] = []

    init(index: Int) { self.index = index }

    /// Grows by a few at a time: most buckets near us are never full.
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

    /// Keeps `replacement`; a newer record of the same key replaces the older one. A full list drops a random
    /// one, so that a burst of strangers can't choose which one goes.
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
