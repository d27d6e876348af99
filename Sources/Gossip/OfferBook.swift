import Cryptography
import OrderedCollections
import Primitives
import Wire

/// The offers that a node holds, by short id, by model and by seller. Withdrawn ones stay as tombstones until
/// they (and the offer that they withdrew) would have expired, so that an old copy can't bring the offer
/// back.
///
/// What is held is decided in `room(for:)` (OfferBook+Room) alone. Today that is everything, up to fixed
/// bounds. Holding only the 128 offers nearest to a member's own point would be a change in that function.
struct OfferBook: Sendable {
    struct Entry: Sendable {
        var offer: Verified<Offer>
        /// On our monotonic clock, set when the version arrived: no later correction of the wall clock expires
        /// what was valid then.
        var expiresAt: MonotonicTime
        var versions: TokenBucket
        var groups: Groups
        let isOwn: Bool
        var isTombstone: Bool { offer.record.withdrawn }

        /// Two of the three refreshes within its validity haven't come: its seller is gone, or this node was left out twice.
        func isOverdue(_ now: MonotonicTime) -> Bool {
            let validity = offer.record.notAfter.milliseconds &- offer.record.issuedAt.milliseconds
            return (expiresAt - now) * 3 < .milliseconds(validity)
        }
    }

    /// The address groups that an entry counts for: the one that its seller states, which may be a lie, and
    /// that of the session which brought it, which is proven. One that the seller's own session brought counts
    /// for that session's group alone, and apart from what others bring or claim: no stranger can crowd it.
    struct Groups: Hashable, Sendable {
        var seller: UInt64
        var sender: UInt64
        var isDirect = false
    }

    /// How a received version relates to the one that we hold.
    enum Standing {
        case unknown, newer, winsTie, duplicate, stale, losesTie
        /// Another (seller, model) has the same 64 bits. Grinding one costs 2^52 hashes against a full offer
        /// book, and gains only that the later of the two is refused here.
        case collision
    }

    /// Ascending: digests are ranges of it.
    private(set) var ids: [UInt64] = []
    private var entries: [UInt64: Entry] = [:]
    /// Live offers alone, ids ascending.
    private(set) var byModel: OrderedDictionary<String, [UInt64]> = [:]
    /// Live and withdrawn, ids in order of arrival.
    private var byKey: [PublicKey: [UInt64]] = [:]
    /// Keys with a live offer.
    private(set) var sellerCount = 0
    /// Entries by the group that their sellers state, and by that of the session that brought them. Looked
    /// up, never iterated.
    private var sellerGroups: [UInt64: Int] = [:]
    private var senderGroups: [UInt64: Int] = [:]
    /// The same for entries that their sellers' own sessions brought.
    private var directGroups: [UInt64: Int] = [:]
    /// The models in which this node trades: it sells them or asks for them, and they always have room. Looked
    /// up, never iterated.
    private(set) var traded: Set<String> = []
    private(set) var tradedInOrder: [String] = []
    /// Models whose last offer has gone, and when.
    private var sold = RecentTable<String, MonotonicTime>(capacity: GossipLimits.soldMax)

    /// The most entries that others can cause.
    let capacity: Int

    init(capacity: Int = GossipLimits.offersMax) { self.capacity = capacity }

    var count: Int { ids.count }
    var isFull: Bool { count >= capacity }
    subscript(id: UInt64) -> Entry? { entries[id] }
    func knows(_ key: PublicKey) -> Bool { byKey[key] != nil }

    var live: [Verified<Offer>] {
        ids.compactMap { id in entries[id].flatMap { $0.isTombstone ? nil : $0.offer } }
    }
    func offers(model: String) -> [Verified<Offer>] {
        (byModel[model] ?? []).compactMap { entries[$0]?.offer }
    }

    /// Compares before any signature is checked. For two bodies under one sequence, the lower BLAKE2b-256
    /// wins everywhere.
    func standing(of offer: Offer, body: [UInt8], id: UInt64) -> Standing {
        guard let held = entries[id] else { return .unknown }
        let record = held.offer.record
        guard record.publicKey == offer.publicKey, record.model == offer.model else { return .collision }
        if offer.sequence != record.sequence { return offer.sequence > record.sequence ? .newer : .stale }
        let heldBody = held.offer.signed.body
        if body == heldBody { return .duplicate }
        return Blake2b.hash(body) < Blake2b.hash(heldBody) ? .winsTie : .losesTie
    }

    /// Whether the rate of this one offer allows another version now.
    func allowsVersion(_ id: UInt64, _ now: MonotonicTime) -> Bool {
        entries[id]?.versions.has(1, now) ?? true
    }
    func nextVersion(_ id: UInt64) -> MonotonicTime { entries[id]?.versions.nextToken ?? .zero }

    /// Holds `offer`, which must be newer than what is held under `id`, and for which there must be room.
    mutating func hold(
        _ offer: Verified<Offer>, id: UInt64, groups: Groups, own: Bool, expiresAt: MonotonicTime,
        now: MonotonicTime
    ) {
        let record = offer.record
        let old = entries[id]
        var versions =
            old?.versions
            ?? TokenBucket(every: GossipLimits.versionEveryTaken, burst: GossipLimits.versionBurstTaken)
        _ = versions.take(now)
        let groups = old.map { settled(groups, after: $0.groups, record.withdrawn) } ?? groups
        // A withdrawn offer must not outlive its tombstone.
        let end = record.withdrawn ? max(expiresAt, old?.expiresAt ?? expiresAt) : expiresAt
        entries[id] = Entry(offer: offer, expiresAt: end, versions: versions, groups: groups, isOwn: own)
        if old?.groups != groups {
            if let old { count(old.groups, -1) }
            count(groups, 1)
        }
        if old == nil {
            ids.insert(id, at: position(id))
            byKey[record.publicKey, default: []].append(id)
        }
        let wasLive = old.map { !$0.isTombstone } ?? false
        if wasLive, record.withdrawn { unlist(id, record, now) }
        if !wasLive, !record.withdrawn { list(id, record) }
    }

    mutating func prolong(_ id: UInt64, until end: MonotonicTime) {
        guard let entry = entries[id], entry.expiresAt < end else { return }
        entries[id]?.expiresAt = end
    }

    mutating func remove(_ id: UInt64, _ now: MonotonicTime) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        let at = position(id)
        if at < ids.count, ids[at] == id { ids.remove(at: at) }
        count(entry.groups, -1)
        let record = entry.offer.record
        byKey[record.publicKey]?.removeAll { $0 == id }
        if byKey[record.publicKey]?.isEmpty ?? false { byKey[record.publicKey] = nil }
        if !record.withdrawn { unlist(id, record, now) }
    }

    // MARK: Groups

    /// The groups of a version that replaces one of `old`: those of the less crowded way. Otherwise a crowd
    /// could draw others' offers into it by being the first to pass on their versions.
    private func settled(_ groups: Groups, after old: Groups, _ isTombstone: Bool) -> Groups {
        if groups.isDirect { return groups }
        if old.isDirect { return old }
        var groups = groups
        // A tombstone states no address: it stays with its offer's.
        if isTombstone { groups.seller = old.seller }
        return crowd(old) <= crowd(groups) ? old : groups
    }

    /// The seller's own session has brought a copy of what is held under `id`.
    mutating func prove(_ id: UInt64, _ groups: Groups) {
        guard let entry = entries[id], !entry.isOwn, groups.isDirect, entry.groups != groups else { return }
        count(entry.groups, -1)
        count(groups, 1)
        entries[id]?.groups = groups
    }

    private mutating func count(_ groups: Groups, _ change: Int) {
        if groups.isDirect { return Self.count(&directGroups, groups.sender, change) }
        Self.count(&sellerGroups, groups.seller, change)
        Self.count(&senderGroups, groups.sender, change)
    }

    private static func count(_ counts: inout [UInt64: Int], _ group: UInt64, _ change: Int) {
        let count = (counts[group] ?? 0) + change
        counts[group] = count > 0 ? count : nil
    }

    /// The number of entries in the larger of the two groups, or in the one that is proven.
    func crowd(_ groups: Groups) -> Int {
        groups.isDirect
            ? directGroups[groups.sender] ?? 0
            : max(sellerGroups[groups.seller] ?? 0, senderGroups[groups.sender] ?? 0)
    }

    // MARK: Models

    /// Replaces the models that always have room.
    mutating func trade(in models: [String]) {
        traded = []
        tradedInOrder = models.filter { traded.insert($0).inserted }
    }

    /// Whether a live offer of it was held within `GossipLimits.soldFor`, or is now.
    func wasSold(_ model: String, _ now: MonotonicTime) -> Bool {
        byModel[model] != nil || sold[model].map { now < $0 + GossipLimits.soldFor } ?? false
    }

    /// The short ids of a seller's offers and tombstones.
    func kin(of key: PublicKey) -> [UInt64] { byKey[key] ?? [] }

    /// Where `id` is or belongs in `ids`.
    func position(_ id: UInt64) -> Int {
        var (low, high) = (0, ids.count)
        while low < high {
            let middle = (low + high) / 2
            if ids[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The offer under `id` is live from now on.
    private mutating func list(_ id: UInt64, _ record: Offer) {
        var listed = byModel[record.model] ?? []
        listed.insert(id, at: listed.firstIndex { $0 > id } ?? listed.count)
        byModel[record.model] = listed
        if !sellsMore(record.publicKey, than: id) { sellerCount += 1 }
    }

    /// The offer under `id` is not live any more.
    private mutating func unlist(_ id: UInt64, _ record: Offer, _ now: MonotonicTime) {
        byModel[record.model]?.removeAll { $0 == id }
        if let index = byModel.index(forKey: record.model), byModel.values[index].isEmpty {
            // Removing one from the middle would move all behind it.
            byModel.swapAt(index, byModel.count - 1)
            byModel.removeLast()
            sold.remove(record.model)
            sold.insert(record.model, now)
        }
        if !sellsMore(record.publicKey, than: id) { sellerCount -= 1 }
    }

    /// Whether `key` has a live offer beside the one under `id`.
    private func sellsMore(_ key: PublicKey, than id: UInt64) -> Bool {
        byKey[key]?.contains { $0 != id && entries[$0]?.isTombstone == false } ?? false
    }
}
