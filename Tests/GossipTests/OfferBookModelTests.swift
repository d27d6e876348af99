import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

/// A second implementation of the offer book, over a flat list.
private struct PlainBook {
    struct Entry {
        var id: UInt64
        var key: Int
        var model: String
        var sequence: UInt64
        var isTombstone: Bool
        var expiresAt: MonotonicTime
        var versions: PlainRateLimit
        var groups: OfferBook.Groups
        var isOwn = false
        var offer: Verified<Offer>
    }
    var entries: [Entry] = []
    var traded: [String] = []

    subscript(id: UInt64) -> Entry? { entries.first { $0.id == id } }
    var ids: [UInt64] { entries.map(\.id).sorted() }
    var isFull: Bool { entries.count >= GossipLimits.offersMax }

    mutating func remove(_ id: UInt64) { entries.removeAll { $0.id == id } }

    func crowd(_ groups: OfferBook.Groups) -> Int {
        let same = entries.filter { $0.groups.isDirect == groups.isDirect }
        let sender = same.count { $0.groups.sender == groups.sender }
        return groups.isDirect ? sender : max(same.count { $0.groups.seller == groups.seller }, sender)
    }

    /// Whether `room` is an answer that the rules allow for `new`.
    func allows(_ room: OfferBook.Room, for new: Entry) -> Bool {
        let old = self[new.id]
        if let old, old.isTombstone == new.isTombstone { return room == .free }
        let kin = entries.filter { $0.key == new.key && $0.isTombstone == new.isTombstone }
        if kin.count >= GossipLimits.offersPerKeyMax {
            guard new.isTombstone else { return room == .none(.tooManyFromOneKey) }
            let first = kin.min { ($0.expiresAt, $0.id) < ($1.expiresAt, $1.id) }
            return first.map { room == .evicting($0.id) } ?? false
        }
        guard old == nil, isFull else { return room == .free }
        if new.isTombstone { return room == .none(.bookFull) }
        let isTraded = traded.contains(new.model)
        switch room {
        case .free: return false
        case .none(let reason): return reason == .bookFull && !isTraded
        case .evicting(let id):
            guard let victim = self[id], !victim.isOwn else { return false }
            if victim.isTombstone { return true }
            return !traded.contains(victim.model)
                && (isTraded || crowd(victim.groups) > crowd(new.groups))
        }
    }

    mutating func prove(_ id: UInt64, _ groups: OfferBook.Groups) {
        guard let place = entries.firstIndex(where: { $0.id == id }), !entries[place].isOwn else { return }
        entries[place].groups = groups
    }

    mutating func hold(_ new: Entry, now: MonotonicTime) {
        let old = self[new.id]
        var entry = new
        entry.versions = old?.versions ?? entry.versions
        _ = entry.versions.take(now)
        if new.isTombstone, let old {
            entry.expiresAt = max(new.expiresAt, old.expiresAt)
        }
        if let old, !new.groups.isDirect {
            if new.isTombstone { entry.groups.seller = old.groups.seller }
            if old.groups.isDirect || crowd(old.groups) <= crowd(entry.groups) { entry.groups = old.groups }
        }
        remove(new.id)
        entries.append(entry)
    }
}

private let freshVersions = PlainRateLimit(
    every: GossipLimits.versionEveryTaken, burst: GossipLimits.versionBurstTaken)

private func signed(_ key: Int, _ model: String, sequence: UInt64, withdrawn: Bool, ends: Int64)
    -> Verified<Offer>
{
    var record = terms(model, sequence: sequence)
    record.publicKey = Identity.ofNode(key).publicKey
    record.notAfter = WallTime(milliseconds: wallStart + ends * 1_000)
    record.withdrawn = withdrawn
    return Verified(signing: record, with: Identity.ofNode(key))
}

/// The group of all that fills the books below.
private let crowdGroups = OfferBook.Groups(seller: 1 << 40, sender: 1 << 41)

/// Offer books with offers under the key −1, and room for three. One record serves for all: an offer book
/// goes by the ids that it is given.
private let crowded = crowd(withTombstones: 0)
private let crowdedWithTombstones = crowd(withTombstones: 2_000)
private func crowd(withTombstones tombstones: Int) -> (OfferBook, PlainBook) {
    var book = OfferBook()
    var plain = PlainBook()
    let live = signed(599, "crowd", sequence: 1, withdrawn: false, ends: 900)
    let dead = signed(599, "crowd", sequence: 1, withdrawn: true, ends: 900)
    for number in (0..<GossipLimits.offersMax - 3).reversed() {
        let isTombstone = number < tombstones
        let offer = isTombstone ? dead : live
        let entry = PlainBook.Entry(
            id: UInt64(number) << 50, key: -1, model: "crowd", sequence: 1, isTombstone: isTombstone,
            expiresAt: .zero + .seconds(900), versions: freshVersions, groups: crowdGroups, offer: offer)
        book.hold(
            offer, id: entry.id, groups: crowdGroups, own: false, expiresAt: entry.expiresAt, now: .zero)
        plain.entries.append(entry)
    }
    return (book, plain)
}

/// The initial state of a run.
private protocol Beginning {
    static var isCrowded: Bool { get }
}
private enum Empty: Beginning { static var isCrowded: Bool { false } }
/// With room for three.
private enum AlmostFull: Beginning { static var isCrowded: Bool { true } }

/// The offer book against its reference: what is held, what is evicted, what is listed.
@Suite struct OfferBookModelTests {
    private struct Model<Begin: Beginning>: ModelTest {
        enum Operation {
            case hold(key: Int, model: Int, withdrawn: Bool, own: Bool, direct: Bool, ends: Int64)
            case prove(nth: Int)
            case remove(nth: Int), pass(Interval), trade([Int])
            case digest(UInt64, UInt64, limit: Int), difference(UInt64, UInt64, limit: Int, seed: UInt64)
        }
        var book = OfferBook()
        var plain = PlainBook()
        var now = MonotonicTime.zero
        var random: SeededRandom
        let keys: Int

        init(_ random: inout SeededRandom) {
            self.random = SeededRandom(seed: random.next())
            keys = 1 + random.below(12)
            if Begin.isCrowded { (book, plain) = random.chance(1, in: 2) ? crowded : crowdedWithTombstones }
        }

        private var wall: WallTime { WallTime(milliseconds: wallStart) + (now - .zero) }

        func draw(_ random: inout SeededRandom) -> Operation {
            let (a, b) = (random.next(), random.chance(1, in: 3) ? .max : random.next())
            return switch random.below(22) {
            case 21: .prove(nth: random.below(1_000))
            case 20: .trade((0..<random.below(3)).map { _ in random.below(11) })
            case 0..<12:
                .hold(
                    key: random.below(keys), model: random.below(11), withdrawn: random.chance(2, in: 5),
                    own: random.chance(1, in: 12), direct: random.chance(1, in: 3),
                    ends: Int64(60 + random.below(600)))
            case 12..<15: .remove(nth: random.below(1_000))
            case 15, 16: .pass(random.interval(.zero, .seconds(20)))
            case 17: .digest(min(a, b), max(a, b), limit: 1 + random.below(40))
            default: .difference(min(a, b), max(a, b), limit: random.below(20), seed: random.next())
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .hold(let key, let model, let withdrawn, let own, let direct, let ends):
                try hold(key, "model-\(model)", withdrawn, own, direct, ends)
            case .prove(let nth):
                let others = plain.entries.filter { $0.key >= 0 }
                guard !others.isEmpty else { break }
                let entry = others[nth % others.count]
                let groups = OfferBook.Groups(seller: 3, sender: UInt64(nth % 7), isDirect: true)
                book.prove(entry.id, groups)
                plain.prove(entry.id, groups)
            case .remove(let nth):
                let others = plain.entries.filter { $0.key >= 0 }
                guard !others.isEmpty else { break }
                let id = others[nth % others.count].id
                book.remove(id, now)
                plain.remove(id)
            case .pass(let interval): now = now + interval
            case .trade(let models):
                plain.traded = models.map { "model-\($0)" }
                book.trade(in: plain.traded)
            case .digest(let first, let last, let limit): try compareDigest(first, last, limit)
            case .difference(let first, let last, let limit, let seed):
                try compareDifference(first, last, limit, seed)
            }
            try compareContents()
        }

        private mutating func hold(
            _ key: Int, _ model: String, _ withdrawn: Bool, _ own: Bool, _ direct: Bool, _ ends: Int64
        ) throws {
            let id = Offer.shortID(key: Identity.ofNode(key).publicKey, model: model)
            let sequence = (plain[id]?.sequence ?? 0) + 1
            let offer = signed(key, model, sequence: sequence, withdrawn: withdrawn, ends: ends)
            let end = now + .seconds(ends)
            try compareStanding(of: offer, id)
            // Some come from the crowd's networks.
            var groups = OfferBook.Groups(seller: UInt64(key), sender: UInt64(key / 2))
            if key % 4 == 3 { groups = crowdGroups }
            groups.isDirect = direct
            let entry = PlainBook.Entry(
                id: id, key: key, model: model, sequence: sequence, isTombstone: withdrawn,
                expiresAt: end, versions: freshVersions, groups: groups, isOwn: own, offer: offer)
            if !own {
                let room = book.room(
                    for: offer.record, replacing: book[id], groups, random: &random)
                try holds(plain.allows(room, for: entry), "room: \(room)")
                if case .none = room { return }
                if case .evicting(let victim) = room {
                    book.remove(victim, now)
                    plain.remove(victim)
                }
            }
            book.hold(offer, id: id, groups: groups, own: own, expiresAt: end, now: now)
            plain.hold(entry, now: now)
        }

        private func compareStanding(of offer: Verified<Offer>, _ id: UInt64) throws {
            let standing = book.standing(of: offer.record, body: offer.signed.body, id: id)
            guard let held = plain[id] else { return try same(standing, .unknown, "standing of a new offer") }
            try same(standing, .newer, "standing of the next version")
            let own = held.offer
            try same(
                book.standing(of: own.record, body: own.signed.body, id: id), .duplicate, "standing again")
            var older = own.record
            older.sequence -= 1
            try same(
                book.standing(of: older, body: older.encoded(), id: id), .stale, "standing of an old one")
            // Of two bodies with one sequence the same one wins, whichever is held.
            var twin = own.record
            twin.slots += 1
            let tie = book.standing(of: twin, body: twin.encoded(), id: id)
            try holds(tie == .winsTie || tie == .losesTie, "standing of a twin: \(tie)")
            twin.model += "x"
            try same(
                book.standing(of: twin, body: twin.encoded(), id: id), .collision, "standing of another's")
        }

        private mutating func compareContents() throws {
            try same(book.ids, plain.ids, "ids")
            try same(book.count, plain.entries.count, "count")
            let others = plain.entries.filter { $0.key >= 0 }
            for entry in others {
                let held = book[entry.id]
                try holds(held?.offer === entry.offer, "another version of \(entry.id)")
                try same(held?.expiresAt, entry.expiresAt, "the end of \(entry.id)")
                try same(held?.groups, entry.groups, "the groups of \(entry.id)")
                try same(book.crowd(entry.groups), plain.crowd(entry.groups), "the crowd of \(entry.id)")
                try same(book.allowsVersion(entry.id, now), entry.versions.has(1, now), "allows a version")
            }
            for number in 0..<11 {
                let live = others.filter { $0.model == "model-\(number)" && !$0.isTombstone }
                try same(
                    book.byModel["model-\(number)"] ?? [], live.map(\.id).sorted(),
                    "offers of model \(number)")
            }
            for key in 0..<keys {
                try same(
                    book.knows(Identity.ofNode(key).publicKey), others.contains { $0.key == key },
                    "knows \(key)")
            }
            if !Begin.isCrowded {
                let live = plain.entries.filter { !$0.isTombstone }.sorted { $0.id < $1.id }
                try same(book.live.map(\.signed), live.map(\.offer.signed), "live offers")
            }
        }

        /// Entries in the range that another node may still take.
        private func passable(_ first: UInt64, _ last: UInt64) -> [PlainBook.Entry] {
            plain.entries.filter { $0.id >= first && $0.id <= last && wall < $0.offer.record.notAfter }
                .sorted { $0.id < $1.id }
        }

        private func compareDigest(_ first: UInt64, _ last: UInt64, _ limit: Int) throws {
            let listed = passable(first, last)
            let digest = book.digest(first, last, limit: limit, at: wall)
            let expected = listed.prefix(limit).map { OfferVersion(id: $0.id, sequence: $0.sequence) }
            try same(digest.offers, expected, "listed")
            try same(digest.first, first, "first")
            // The range covered completely ends before the first entry that found no room.
            try same(digest.last, listed.count > limit ? listed[limit].id - 1 : last, "last")
            try holds(OfferBook.isSound(digest) || limit > WireLimits.digestOffersMax, "unsound")
        }

        /// Compares with another node's list: some of our entries, some of them in other versions, and some
        /// of its own.
        private mutating func compareDifference(_ first: UInt64, _ last: UInt64, _ limit: Int, _ seed: UInt64)
            throws
        {
            var draws = SeededRandom(seed: seed)
            var theirs: [UInt64: UInt64] = [:]
            for entry in plain.entries.sorted(by: { $0.id < $1.id }).suffix(200)
            where entry.id >= first && entry.id <= last && draws.chance(3, in: 4) {
                theirs[entry.id] = entry.sequence + UInt64(draws.below(3)) - 1
            }
            for _ in 0..<draws.below(10) {
                let id = first + (last - first) / 1_000 * UInt64(draws.below(1_000))
                theirs[id] = theirs[id] ?? 1
            }
            let listed = theirs.keys.sorted().prefix(WireLimits.digestOffersMax)
            let awaited = listed.filter { _ in draws.chance(1, in: 5) }
            let digest = OfferDigest(
                first: first, last: last,
                offers: listed.map { OfferVersion(id: $0, sequence: theirs[$0] ?? 0) })

            let answer = book.difference(
                to: digest, wanting: limit, except: awaited, at: wall, random: &random)
            let wanted = listed.filter { id in
                !awaited.contains(id) && (plain[id].map { $0.sequence < theirs[id] ?? 0 } ?? true)
            }
            // No more of what isn't held than there is room for.
            var roomLeft = max(0, GossipLimits.offersMax - plain.entries.count)
            var expected: [UInt64] = []
            for id in wanted where expected.count < limit {
                if plain[id] == nil {
                    guard roomLeft > 0 else { continue }
                    roomLeft -= 1
                }
                expected.append(id)
            }
            try same(answer.wanted, expected, "wanted")
            let lacking = passable(first, last).filter { entry in
                !listed.contains(entry.id) || theirs[entry.id] ?? 0 < entry.sequence
            }
            try same(answer.offers.count, min(WireLimits.mailOffersMax, lacking.count), "offers")
            try same(Int(answer.more), lacking.count - answer.offers.count, "more")
            if !Begin.isCrowded {
                try same(Set(answer.offers).count, answer.offers.count, "different offers")
                let records = lacking.map(\.offer.signed)
                try holds(answer.offers.allSatisfy(records.contains), "an offer that they don't lack")
            }
        }
    }

    @Test(arguments: modelSeeds) func theBookHoldsListsAndComparesWhatItsRulesSay(_ seed: UInt64) throws {
        try check(Model<Empty>.self, seed: seed, steps: 400)
    }

    @Test(arguments: modelSeeds)
    func aFullBookGivesWayInItsMostCrowdedGroupAndToTheModelsInWhichWeTrade(_ seed: UInt64) throws {
        try check(Model<AlmostFull>.self, seed: seed, steps: 40)
    }
}
