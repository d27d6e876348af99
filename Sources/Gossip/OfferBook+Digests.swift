import Primitives
import Wire

// The arithmetic of anti-entropy: what to list of a range of short ids, and how two lists differ. Entries
// past their date (kept because clocks differ) are neither listed nor passed on: the next holder would refuse
// them.
extension OfferBook {
    /// The versions held in `first...last`, at most `limit`, and the end of the range that they cover
    /// completely.
    func digest(_ first: UInt64, _ last: UInt64, limit: Int, at wall: WallTime) -> OfferDigest {
        var listed: [OfferVersion] = []
        var index = position(first)
        while index < ids.count, ids[index] <= last {
            let id = ids[index]
            if let record = self[id]?.offer.record, passable(id, at: wall) {
                // Ids ascend, so the one beyond the limit is above `first` and has a predecessor.
                if listed.count == limit { return OfferDigest(first: first, last: id - 1, offers: listed) }
                listed.append(OfferVersion(id: id, sequence: record.sequence))
            }
            index += 1
        }
        return OfferDigest(first: first, last: last, offers: listed)
    }

    /// Whether a digest can be answered: a range, ascending ids inside it, no more than a message may carry.
    static func isSound(_ digest: OfferDigest) -> Bool {
        guard digest.first <= digest.last, digest.offers.count <= WireLimits.digestOffersMax else {
            return false
        }
        var previous: UInt64?
        for version in digest.offers {
            guard version.id >= digest.first, version.id <= digest.last else { return false }
            if let previous, version.id <= previous { return false }
            previous = version.id
        }
        return true
    }

    /// What the sender of a sound digest lacks and what we lack, by one walk along both lists. The offers to
    /// send first are drawn at random, so that several members asked at once answer with different ones. Of
    /// offers that we don't hold at all no more are wanted than there is room for: a full book would only
    /// evict them again, for ever.
    func difference(
        to digest: OfferDigest, wanting limit: Int = WireLimits.wantedMax, except awaited: [UInt64] = [],
        at wall: WallTime, random: inout SeededRandom
    ) -> OfferDifference {
        var lacking: [UInt64] = []
        var wanted: [UInt64] = []
        var theirs = digest.offers[...]
        var roomLeft = max(0, capacity - count)
        func want(_ version: OfferVersion) {
            if wanted.count < limit, !awaited.contains(version.id) { wanted.append(version.id) }
        }
        func wantUnknown(_ version: OfferVersion) {
            guard roomLeft > 0 else { return }
            let before = wanted.count
            want(version)
            roomLeft -= wanted.count - before
        }
        var index = position(digest.first)
        while index < ids.count, ids[index] <= digest.last {
            let id = ids[index]
            index += 1
            while let next = theirs.first, next.id < id {
                wantUnknown(next)
                theirs.removeFirst()
            }
            guard let held = self[id]?.offer.record else { continue }
            guard let next = theirs.first, next.id == id else {
                if passable(id, at: wall) { lacking.append(id) }
                continue
            }
            theirs.removeFirst()
            if next.sequence > held.sequence { want(next) }
            if next.sequence < held.sequence, passable(id, at: wall) { lacking.append(id) }
        }
        for version in theirs { wantUnknown(version) }

        var answer = OfferDifference(wanted: wanted)
        var room = WireLimits.listSizeMax - Self.clockSize - 9 * wanted.count
        for id in random.sample(WireLimits.mailOffersMax, of: lacking) {
            guard let signed = self[id]?.offer.signed else { continue }
            let size = signed.fieldSize
            if size > room { continue }
            room -= size
            answer.offers.append(signed)
        }
        answer.more = UInt32(clamping: lacking.count - answer.offers.count)
        return answer
    }

    /// What the answerer's clock takes beside the offers: tag and seven digits are enough for the year 9999.
    private static let clockSize = 8

    /// Whether another node would still accept it.
    func passable(_ id: UInt64, at wall: WallTime) -> Bool {
        self[id].map { wall < $0.offer.record.notAfter } ?? false
    }
}
