import Primitives
import Wire

// What the offer book has room for. Asked before a signature is checked, so that a flood which finds no room
// costs no checks.
//
// A full book gives way at random in the most crowded address group: a flood from few networks, or brought by
// few sessions, evicts itself. What sellers mail themselves counts for their own networks alone. Models that
// this node sells or asks for have room whatever the others do, in half of the book.
extension OfferBook {
    enum Room: Equatable {
        case free
        /// There is, in the place of this entry.
        case evicting(UInt64)
        case none(OfferDropReason)
    }

    /// Whether there is room for `record`, replacing what is held under its id. A refresh always fits.
    func room(
        for record: Offer, replacing old: Entry?, _ groups: Groups, random: inout SeededRandom
    ) -> Room {
        let kin = kin(of: record.publicKey)
        if record.withdrawn {
            if old?.isTombstone ?? false { return .free }
            let tombstones = kin.filter { self[$0]?.isTombstone ?? false }
            if tombstones.count >= GossipLimits.offersPerKeyMax { return .evicting(soonest(of: tombstones)) }
            return old == nil && isFull ? .none(.bookFull) : .free
        }
        if let old, !old.isTombstone { return .free }
        let alive = kin.count { self[$0].map { !$0.isTombstone } ?? false }
        if alive >= GossipLimits.offersPerKeyMax { return .none(.tooManyFromOneKey) }
        guard old == nil, isFull else { return .free }
        return victim(for: record, groups, &random).map(Room.evicting) ?? .none(.bookFull)
    }

    /// Of some entries drawn at random, a tombstone, or the one in the most crowded group. Nil when each of
    /// them is in a less crowded group than the newcomer would be.
    private func victim(for record: Offer, _ groups: Groups, _ random: inout SeededRandom) -> UInt64? {
        let isTraded = traded.contains(record.model)
        // Beyond their half, offers of traded models give way to one another.
        let amongTraded = isTraded && tradedCount >= capacity / 2
        let outranks = isTraded && !amongTraded
        let crowded = crowd(groups) + 1
        var best: (id: UInt64, crowd: Int)?
        var draws = 0
        while draws < GossipLimits.evictionDraws || isTraded && best == nil && draws < Self.drawsMax {
            draws += 1
            let id = ids[random.below(ids.count)]
            guard let entry = self[id], !entry.isOwn, isProtected(entry) == amongTraded else { continue }
            if entry.isTombstone { return id }
            let crowd = crowd(entry.groups)
            if outranks || crowd >= crowded, crowd > best?.crowd ?? 0 { best = (id, crowd) }
        }
        return best?.id
    }

    /// Half of the book is never protected, so that this many draws find an entry that isn't.
    private static let drawsMax = 16 * GossipLimits.evictionDraws

    private func isProtected(_ entry: Entry) -> Bool {
        !entry.isTombstone && traded.contains(entry.offer.record.model)
    }

    private var tradedCount: Int { tradedInOrder.reduce(0) { $0 + (byModel[$1]?.count ?? 0) } }

    private func soonest(of ids: [UInt64]) -> UInt64 {
        func end(_ id: UInt64) -> MonotonicTime { self[id]?.expiresAt ?? .never }
        return ids.min { (end($0), $0) < (end($1), $1) } ?? 0
    }
}
