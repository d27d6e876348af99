import Cryptography
import Primitives
import Wire

/// Kademlia's routing table: up to 256 buckets of k contacts by the length of the shared prefix, of which
/// only used ones are stored (about log2(N / k) + 4).
///
/// Rules (`Protocol/discovery.md`): an entry was proven by a probe of ours (the caller's duty); an entry is
/// never displaced by newcomers; caps per address group apply to a bucket and to the table. Deviations from
/// the paper: buckets are not split (the shared-prefix form is equivalent for a fixed id), and hearing from a
/// contact never changes the order of entries.
struct RoutingTable: Sendable {
    enum Verdict: Sendable { case room, bucketFull, groupFull, ownKey }
    struct Place: Sendable {
        var bucket: Int
        var entry: Int
    }

    let selfID: NodeID
    private let shared: Shared<DiscoveryParameters>
    var parameters: DiscoveryParameters { _read { yield shared.value } }
    let profile: DiscoveryProfile
    /// Ascending by index.
    private(set) var buckets: [Bucket] = []
    private(set) var count = 0
    /// The bucket that each key is in.
    private var keys = KeyPlaces()
    /// A word of each contact's address group, in no order. Almost always they show that no cap is near, so
    /// no contact need be examined.
    private var groups: [UInt32] = []

    init(selfID: NodeID, parameters: Shared<DiscoveryParameters>, profile: DiscoveryProfile) {
        self.selfID = selfID
        shared = parameters
        self.profile = profile
    }

    /// Whether a new contact with this id and endpoint could enter.
    func verdict(on id: NodeID, at endpoint: Endpoint) -> Verdict {
        guard let index = selfID.bucketIndex(of: id) else { return .ownKey }
        let slot = position(of: index)
        // The caps come first: a full bucket must not remember a contact that it could never take.
        let mark = profile.group(endpoint).mixed
        var alikeAtMost = 0
        for group in groups where group == mark { alikeAtMost += 1 }
        if alikeAtMost >= min(parameters.groupBucketMax, parameters.groupTableMax) {
            let group = profile.group(endpoint)
            func alike(_ entries: [TableEntry]) -> Int {
                entries.count { profile.group($0.endpoint) == group }
            }
            if let slot = slot.found, alike(buckets[slot].entries) >= parameters.groupBucketMax {
                return .groupFull
            }
            if buckets.reduce(0, { $0 + alike($1.entries) }) >= parameters.groupTableMax { return .groupFull }
        }
        if let slot = slot.found, buckets[slot].entries.count >= parameters.bucketSize { return .bucketFull }
        return .room
    }

    private mutating func insert(_ entry: TableEntry, _ slot: Int) {
        buckets[slot].append(entry)
        keys.insert(entry.key.value, at: buckets[slot].index)
        groups.appendSparingly(profile.group(entry.endpoint).mixed)
        count += 1
    }

    private mutating func forgetGroup(_ endpoint: Endpoint) {
        let mark = profile.group(endpoint).mixed
        guard let place = groups.firstIndex(of: mark) else { return }
        groups.swapAt(place, groups.count - 1)
        groups.removeLast()
    }

    /// Takes a newer record of a contact that answers at `endpoint`. Returns false, and changes nothing, when
    /// the record does not state that endpoint.
    mutating func restate(_ contact: Verified<Contact>, at endpoint: Endpoint, in place: Place) -> Bool {
        let old = self[place].endpoint
        guard self[place].restate(contact, at: endpoint) else { return false }
        if old != endpoint {
            forgetGroup(old)
            groups.append(profile.group(endpoint).mixed)
        }
        return true
    }

    /// Adds a contact that answered us; the caller has asked for the verdict.
    mutating func admit(_ entry: TableEntry) {
        guard verdict(on: entry.nodeID, at: entry.endpoint) == .room,
            let index = selfID.bucketIndex(of: entry.nodeID)
        else { return }
        let slot = slot(for: index)
        buckets[slot].replacements.removeAll { $0.key == entry.key }
        insert(entry, slot)
    }

    /// Adds up to k of `entries` to each bucket without verdicts: for studies, which choose the entries from
    /// the distribution of ids.
    mutating func fill(_ entries: [TableEntry]) {
        for entry in entries {
            guard let index = selfID.bucketIndex(of: entry.nodeID) else { continue }
            let slot = slot(for: index)
            guard buckets[slot].entries.count < parameters.bucketSize else { continue }
            insert(entry, slot)
        }
    }

    mutating func remember(_ replacement: Replacement, _ id: NodeID, random: inout SeededRandom) {
        guard let index = selfID.bucketIndex(of: id) else { return }
        let slot = slot(for: index)
        buckets[slot].remember(replacement, parameters: parameters, profile: profile, random: &random)
    }

    /// Removes the contact. `successor` is the most recent replacement, which must be probed: it has not
    /// answered yet.
    mutating func remove(_ key: PublicKey) -> (entry: TableEntry, successor: Replacement?)? {
        guard let place = place(of: key) else { return nil }
        keys.remove(key.value, at: buckets[place.bucket].index)
        let entry = buckets[place.bucket].entries.remove(at: place.entry)
        forgetGroup(entry.endpoint)
        count -= 1
        let successor = buckets[place.bucket].replacements.popLast()
        dropIfUnused(place.bucket)
        return (entry, successor)
    }

    mutating func forgetReplacement(_ key: PublicKey) {
        guard let index = selfID.bucketIndex(of: NodeID(of: key)), let slot = position(of: index).found else {
            return
        }
        buckets[slot].replacements.removeAll { $0.key == key }
        dropIfUnused(slot)
    }

    func place(of key: PublicKey) -> Place? {
        var next = keys.first(key.value)
        while let candidate = next {
            if let slot = position(of: candidate.place).found, let entry = buckets[slot].place(of: key) {
                return Place(bucket: slot, entry: entry)
            }
            next = keys.next(key.value, after: candidate)
        }
        return nil
    }

    /// The contact whose key begins with that word.
    func place(ofWord word: UInt64) -> Place? {
        let start = Bytes32(word, 0, 0, 0)
        var next = keys.first(start)
        while let candidate = next {
            if let slot = position(of: candidate.place).found,
                let entry = buckets[slot].entries.firstIndex(where: {
                    $0.keyMark == TableEntry.mark(start) && $0.key.value.w0 == word
                })
            {
                return Place(bucket: slot, entry: entry)
            }
            next = keys.next(start, after: candidate)
        }
        return nil
    }

    func place(of id: NodeID) -> Place? {
        guard let index = selfID.bucketIndex(of: id), let slot = position(of: index).found,
            let entry = buckets[slot].place(of: id)
        else { return nil }
        return Place(bucket: slot, entry: entry)
    }

    func entry(_ key: PublicKey) -> TableEntry? {
        place(of: key).map { buckets[$0.bucket].entries[$0.entry] }
    }

    /// The entry at a place returned by `place(of:)`, valid until the next change of the table.
    subscript(place: Place) -> TableEntry {
        _read { yield buckets[place.bucket].entries[place.entry] }
        _modify { yield &buckets[place.bucket].entries[place.entry] }
    }

    /// All entries, far buckets first, oldest first.
    var entries: [TableEntry] { buckets.flatMap(\.entries) }

    /// The contacts that share exactly `index` leading bits with our id.
    func bucket(_ index: Int) -> Bucket? { position(of: index).found.map { buckets[$0] } }

    /// Up to `count` entries by ascending distance to `target`; suspects only if `includingSuspects`.
    ///
    /// With b the target's bucket: entries of bucket b are closest, then those of all nearer buckets together
    /// (each differs from the target in bit b), then those of buckets b-1, b-2 …, each farther than all
    /// before.
    func closest(to target: Bytes32, count wanted: Int, includingSuspects: Bool = false) -> [TableEntry] {
        let pivot = selfID.bucketIndex(of: NodeID(target)) ?? 256
        var found: [TableEntry] = []
        func take(_ slots: some Sequence<Int>) {
            var part: [(distance: Bytes32, place: Place)] = []
            for slot in slots {
                for index in buckets[slot].entries.indices
                where includingSuspects || buckets[slot].entries[index].failures == 0 {
                    let distance = buckets[slot].entries[index].nodeID.distance(to: target)
                    part.append((distance, Place(bucket: slot, entry: index)))
                }
            }
            part.sort { $0.distance < $1.distance }
            for (_, place) in part.prefix(wanted - found.count) { found.append(self[place]) }
        }
        let (exact, next) = position(of: pivot)
        if let exact { take(CollectionOfOne(exact)) }
        if found.count < wanted { take((exact == nil ? next : next + 1)..<buckets.count) }
        var slot = next - 1
        while slot >= 0, found.count < wanted {
            take(CollectionOfOne(slot))
            slot -= 1
        }
        return found
    }

    /// Buckets beyond our neighbourhood that have room, including empty ones, far ones first. The
    /// neighbourhood is what a lookup of our own id certainly covers: as many contacts as one reply lists.
    var thinBuckets: [Int] {
        var nearer = 0
        var slot = buckets.count - 1
        while slot >= 0, nearer < parameters.contactsPerReplyMax {
            nearer += buckets[slot].entries.count
            slot -= 1
        }
        guard slot >= 0 else { return [] }
        let edge = buckets[slot].index
        return (0...edge).filter { index in
            position(of: index).found.map { buckets[$0].entries.count < parameters.bucketSize } ?? true
        }
    }

    // MARK: Storage

    private func position(of index: Int) -> (found: Int?, insertion: Int) {
        var low = 0
        var high = buckets.count
        while low < high {
            let middle = (low + high) / 2
            if buckets[middle].index < index { low = middle + 1 } else { high = middle }
        }
        return (low < buckets.count && buckets[low].index == index ? low : nil, low)
    }

    private mutating func slot(for index: Int) -> Int {
        let (found, insertion) = position(of: index)
        if let found { return found }
        buckets.insert(Bucket(index: index), at: insertion)
        return insertion
    }

    private mutating func dropIfUnused(_ slot: Int) {
        if buckets[slot].entries.isEmpty, buckets[slot].replacements.isEmpty { buckets.remove(at: slot) }
    }
}
