import Cryptography
import OrderedCollections
import Primitives
import Wire

/// The registrations that this node keeps for others: for each topic a bounded, uniform sample of its
/// providers' networks, which a flood from few networks can't shift.
///
/// Every registration has a rank, a keyed hash that only this node can compute: first of the address prefix,
/// then of prefix and key. A full topic keeps the 64 lowest, at most two of one prefix; a full node the
/// lowest of all topics. The prefix comes first because a provider is told whether it is kept: a rank by
/// (prefix, key) alone would let one network try keys until two of them rank low, and 32 networks would own
/// every topic. The hash key changes daily, so that no advantage lasts. There are no tickets and no waiting
/// times: TopDisc needs them because its registrars keep whichever provider comes first.
///
/// The caller has checked that the registration is the sender's own and states the endpoint that its session
/// proved.
struct Registrar: Sendable {
    struct Rank: Comparable, Sendable {
        var prefix: UInt64
        var key: UInt64
        static func < (a: Rank, b: Rank) -> Bool { (a.prefix, a.key) < (b.prefix, b.key) }
    }

    struct Entry: Sendable {
        let key: PublicKey
        let group: Endpoint
        var record: SignedRecord
        var rank: Rank
        var expires: MonotonicTime
    }

    private let shared: Shared<DiscoveryParameters>
    private var parameters: DiscoveryParameters { _read { yield shared.value } }
    /// Each list is ascending by rank.
    private var topics: OrderedDictionary<TopicID, [Entry]> = [:]
    /// Number of registrations of each prefix over all topics; looked up, never iterated.
    private var groups: [Endpoint: Int] = [:]
    private(set) var count = 0
    private var secret: Secret32?
    private var secretUntil = MonotonicTime.zero

    init(_ parameters: Shared<DiscoveryParameters>) { shared = parameters }

    var isEmpty: Bool { count == 0 }
    func count(_ topic: TopicID) -> Int { topics[topic]?.count ?? 0 }
    func count(of group: Endpoint) -> Int { groups[group] ?? 0 }

    /// The live registrations of `topic`, lowest rank first.
    func entries(_ topic: TopicID, _ now: MonotonicTime) -> [Entry] {
        topics[topic]?.filter { $0.expires > now } ?? []
    }

    /// At most `wanted` live registrations of `topic` in the order of their ranks, without `excluded`'s,
    /// beginning with the `start`-th (modulo their number) and wrapping around.
    func sample(
        _ topic: TopicID, from start: UInt32, atMost wanted: Int, but excluded: PublicKey,
        _ now: MonotonicTime
    ) -> [SignedRecord] {
        guard let slot = topics.index(forKey: topic) else { return [] }
        let list = topics.values[slot]
        func counts(_ index: Int) -> Bool { list[index].expires > now && list[index].key != excluded }
        let live = list.indices.count(where: counts)
        guard live > 0 else { return [] }
        var records: [SignedRecord] = []
        records.reserveCapacity(min(live, wanted))
        let first = Int(start) % live
        // First those from `first` on, then those before.
        for turn in 0..<2 {
            var place = 0
            for index in list.indices where counts(index) {
                if records.count < min(live, wanted), (place >= first) == (turn == 0) {
                    records.append(list[index].record)
                }
                place += 1
            }
        }
        return records
    }

    /// Keeps `record` until its lifetime ends, if need be in the place of another. Returns false when its
    /// rank is too high.
    mutating func keep(
        _ record: SignedRecord, of key: PublicKey, _ group: Endpoint, _ topic: TopicID, _ turn: inout Turn
    ) -> Bool {
        rotate(&turn)
        let expires = turn.monotonic + parameters.registrationLifetime
        guard let slot = topics.index(forKey: topic) else {
            let rank = rank(key, group)
            guard makeRoom(for: rank, group, topic) else { return false }
            insert(Entry(key: key, group: group, record: record, rank: rank, expires: expires), topic)
            return true
        }
        if let index = topics.values[slot].firstIndex(where: { $0.key == key }),
            topics.values[slot][index].group == group
        {
            topics.values[slot][index].record = record
            topics.values[slot][index].expires = expires
            return true
        }
        let rank = rank(key, group)
        guard makeRoom(for: rank, group, topic, but: key) else { return false }
        remove(key, topic)
        insert(Entry(key: key, group: group, record: record, rank: rank, expires: expires), topic)
        return true
    }

    private mutating func insert(_ entry: Entry, _ topic: TopicID) {
        let place = topics[topic]?.firstIndex { entry.rank < $0.rank } ?? topics[topic]?.count ?? 0
        topics[topic, default: []].insert(entry, at: place)
        groups[entry.group, default: 0] += 1
        count += 1
    }

    /// Removes the registration that is in the way of one with this rank. Returns false when none gives way.
    /// A registration of `key` from another endpoint is about to be replaced, so it doesn't count.
    private mutating func makeRoom(
        for rank: Rank, _ group: Endpoint, _ topic: TopicID, but key: PublicKey? = nil
    ) -> Bool {
        if let list = topics[topic] {
            var alike = 0
            var worst: Entry?
            for entry in list where entry.group == group && entry.key != key {
                alike += 1
                worst = entry
            }
            if alike >= parameters.groupBucketMax { return replace(worst, rank, topic) }
        }
        guard count(of: group) < parameters.groupRegistrationsMax else { return false }
        if let list = topics[topic], list.count >= parameters.registrationsPerTopicMax {
            return replace(list.last, rank, topic)
        }
        guard count >= parameters.registrationsMax else { return true }
        var worst: (topic: TopicID, entry: Entry)?
        for (topic, entries) in topics {
            guard let last = entries.last else { continue }
            if worst.map({ $0.entry.rank < last.rank }) ?? true { worst = (topic, last) }
        }
        return replace(worst?.entry, rank, worst?.topic ?? topic)
    }

    /// Removes `worst` if it ranks higher.
    private mutating func replace(_ worst: Entry?, _ rank: Rank, _ topic: TopicID) -> Bool {
        guard let worst, rank < worst.rank else { return false }
        remove(worst.key, topic)
        return true
    }

    mutating func remove(_ key: PublicKey, _ topic: TopicID) {
        guard let slot = topics.index(forKey: topic),
            let index = topics.values[slot].firstIndex(where: { $0.key == key })
        else { return }
        forget(topics.values[slot].remove(at: index))
        if topics.values[slot].isEmpty { topics[topic] = nil }
    }

    /// Drops expired registrations, and re-ranks all others once a day.
    mutating func sweep(_ turn: inout Turn) {
        rotate(&turn)
        for topic in Array(topics.keys) {
            let list = topics[topic] ?? []
            guard list.contains(where: { $0.expires <= turn.monotonic }) else { continue }
            for gone in list where gone.expires <= turn.monotonic { forget(gone) }
            let left = list.filter { $0.expires > turn.monotonic }
            topics[topic] = left.isEmpty ? nil : left
        }
    }

    private mutating func forget(_ entry: Entry) {
        count -= 1
        let left = (groups[entry.group] ?? 1) - 1
        groups[entry.group] = left > 0 ? left : nil
    }

    private func rank(_ key: PublicKey, _ group: Endpoint) -> Rank {
        guard let secret else { return Rank(prefix: .max, key: .max) }
        let (prefix, value) = (group, key.value)
        let words: InlineArray<7, UInt64> = [
            prefix.high, prefix.low, UInt64(prefix.port), value.w0, value.w1, value.w2, value.w3,
        ]
        return withUnsafeBytes(of: words) { bytes in
            Rank(
                prefix: ShortHash.keyed(secret, UnsafeRawBufferPointer(rebasing: bytes[..<24])),
                key: ShortHash.keyed(secret, bytes))
        }
    }

    private mutating func rotate(_ turn: inout Turn) {
        guard secret == nil || turn.monotonic >= secretUntil else { return }
        secret = Secret32(turn.random.bytes32())
        secretUntil = turn.monotonic + parameters.registrarKeyLifetime
        for topic in Array(topics.keys) {
            var list = topics[topic] ?? []
            for index in list.indices { list[index].rank = rank(list[index].key, list[index].group) }
            list.sort { $0.rank < $1.rank }
            topics[topic] = list
        }
    }
}
