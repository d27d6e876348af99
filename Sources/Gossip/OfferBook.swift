import Cryptography
import OrderedCollections
import Primitives
import Wire

/// The offers that a node holds, by short id, by model and by seller. Withdrawn ones stay as tombstones until
/// they (and the offer that they withdrew) would have expired, so that an old copy can't bring the offer
/// back.
///
/// What is held is decided in `room(for:)` alone. Today that is everything, up to fixed bounds. Holding only
/// the 128 offers nearest to a member's own point would be a change in that function.
struct OfferBook: Sendable {
    struct Entry: Sendable {
        var offer: Verified<Offer>
        var expiresAt: WallTime
        var versions: TokenBucket
        var isTombstone: Bool { offer.record.withdrawn }
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

    /// Entries evicted since this was last emptied: their timers are no longer needed.
    var evicted: [UInt64] = []

    var count: Int { ids.count }
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

    /// Whether the origin's rate for this one offer allows another version now.
    func allowsVersion(_ id: UInt64, _ now: MonotonicTime) -> Bool {
        entries[id]?.versions.has(1, now) ?? true
    }

    /// Holds `offer`, which must be newer than what is held under `id`, or returns why not. Our own always
    /// fit.
    mutating func hold(
        _ offer: Verified<Offer>, id: UInt64, own: Bool, expiresAt: WallTime, now: MonotonicTime
    ) -> OfferDropReason? {
        let record = offer.record
        let old = entries[id]
        if !own, let refusal = room(for: record, replacing: old) { return refusal }
        var versions =
            old?.versions
            ?? TokenBucket(every: GossipLimits.versionEvery, burst: GossipLimits.versionBurstTaken)
        _ = versions.take(now)
        // A withdrawn offer must not outlive its tombstone.
        let end = record.withdrawn ? max(expiresAt, old?.expiresAt ?? expiresAt) : expiresAt
        entries[id] = Entry(offer: offer, expiresAt: end, versions: versions)
        if old == nil {
            ids.insert(id, at: position(id))
            byKey[record.publicKey, default: []].append(id)
        }
        let wasLive = old.map { !$0.isTombstone } ?? false
        if wasLive, record.withdrawn { unlist(id, from: record.model) }
        if !wasLive, !record.withdrawn { list(id, under: record.model) }
        return nil
    }

    mutating func remove(_ id: UInt64) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        let at = position(id)
        if at < ids.count, ids[at] == id { ids.remove(at: at) }
        let record = entry.offer.record
        byKey[record.publicKey]?.removeAll { $0 == id }
        if byKey[record.publicKey]?.isEmpty ?? false { byKey[record.publicKey] = nil }
        if !record.withdrawn { unlist(id, from: record.model) }
    }

    /// Makes room for an offer that is not held yet, or returns why there is none. The bounds protect offers
    /// already held: a refresh always fits, while a flood of new keys finds a full offer book. Tombstones are
    /// evicted first.
    private mutating func room(for record: Offer, replacing old: Entry?) -> OfferDropReason? {
        let kin = byKey[record.publicKey] ?? []
        if record.withdrawn {
            if old?.isTombstone ?? false { return nil }
            let tombstones = kin.filter { entries[$0]?.isTombstone ?? false }
            if tombstones.count >= GossipLimits.offersPerKeyMax { evict(soonest(of: tombstones)) }
            return old == nil && count >= GossipLimits.offersMax ? .bookFull : nil
        }
        if let old, !old.isTombstone { return nil }
        let alive = kin.count { entries[$0].map { !$0.isTombstone } ?? false }
        if alive >= GossipLimits.offersPerKeyMax { return .tooManyFromOneKey }
        if byModel[record.model] == nil, byModel.count >= GossipLimits.modelsMax { return .tooManyModels }
        if old == nil, count >= GossipLimits.offersMax {
            let tombstones = ids.filter { entries[$0]?.isTombstone ?? false }
            if tombstones.isEmpty { return .bookFull }
            evict(soonest(of: tombstones))
        }
        return nil
    }

    private mutating func evict(_ id: UInt64) {
        remove(id)
        evicted.append(id)
    }

    private func soonest(of ids: [UInt64]) -> UInt64 {
        func end(_ id: UInt64) -> WallTime { entries[id]?.expiresAt ?? WallTime(milliseconds: .max) }
        return ids.min { (end($0), $0) < (end($1), $1) } ?? 0
    }

    /// Where `id` is or belongs in `ids`.
    func position(_ id: UInt64) -> Int {
        var (low, high) = (0, ids.count)
        while low < high {
            let middle = (low + high) / 2
            if ids[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private mutating func list(_ id: UInt64, under model: String) {
        var listed = byModel[model] ?? []
        listed.insert(id, at: listed.firstIndex { $0 > id } ?? listed.count)
        byModel[model] = listed
    }

    private mutating func unlist(_ id: UInt64, from model: String) {
        byModel[model]?.removeAll { $0 == id }
        if byModel[model]?.isEmpty ?? false { byModel[model] = nil }
    }
}
