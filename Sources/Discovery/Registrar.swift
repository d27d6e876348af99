import Cryptography
import OrderedCollections
import Primitives
import Wire

/// The registrations that this node keeps for others: of each topic a bounded, uniform sample of its providers'
/// networks, which a flood from few networks can't shift.
///
/// Every registration has a rank, a keyed hash that only this node knows: first of the address prefix, then of prefix
/// and key. A full topic keeps the 64 lowest, at most two of one prefix; a full node the lowest of all topics. The
/// prefix comes first because a provider is told whether it is kept: a rank by (prefix, key) alone would let one
/// network try keys until two of them rank low, and 32 networks own every topic (DESIGN §6 names the plain hash). The
/// hash key rotates daily, so that nobody is at an advantage for long. No tickets and no waiting times: TopDisc needs
/// them because its registrars keep whoever comes first.
///
/// The caller has checked that the registration is the sender's own and states the endpoint that its session proved.
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

    /// What would become of a registration; asked before its signature is checked.
    enum Verdict: Equatable, Sendable {
        /// Kept, in the place of the one with this key of that topic, if any.
        case kept(instead: (topic: TopicID, key: PublicKey)?)
        case refused
        static func == (a: Verdict, b: Verdict) -> Bool {
            switch (a, b) {
            case (.kept(let a), .kept(let b)): a?.topic == b?.topic && a?.key == b?.key
            case (.refused, .refused): true
            case (.kept, .refused), (.refused, .kept): false
            }
        }
    }

    private let shared: Shared<DiscoveryParameters>
    private var parameters: DiscoveryParameters { _read { yield shared.value } }
    /// Each ascending by rank.
    private var topics: OrderedDictionary<TopicID, [Entry]> = [:]
    /// Registrations of each prefix over all topics; looked up, never walked.
    private var groups: [Endpoint: Int] = [:]
    private(set) var count = 0
    private var secret: Bytes32?
    private var secretUntil = MonotonicTime.zero

    init(_ parameters: Shared<DiscoveryParameters>) { shared = parameters }

    var isEmpty: Bool { count == 0 }
    func count(_ topic: TopicID) -> Int { topics[topic]?.count ?? 0 }
    func count(of group: Endpoint) -> Int { groups[group] ?? 0 }

    /// The live registrations of `topic`, lowest rank first.
    func entries(_ topic: TopicID, _ now: MonotonicTime) -> [Entry] {
        topics[topic]?.filter { $0.expires > now } ?? []
    }

    mutating func verdict(
        on key: PublicKey, _ group: Endpoint, _ topic: TopicID, _ now: MonotonicTime,
        _ random: inout SeededRandom
    ) -> Verdict {
        rotate(now, &random)
        let rank = rank(key, group)
        let list = topics[topic] ?? []
        if list.contains(where: { $0.key == key && $0.group == group }) {
            return .kept(instead: (topic, key))
        }
        let alike = list.filter { $0.group == group && $0.key != key }
        if alike.count >= parameters.groupBucketMax {
            guard let worst = alike.last, rank < worst.rank else { return .refused }
            return .kept(instead: (topic, worst.key))
        }
        guard count(of: group) < parameters.groupRegistrationsMax else { return .refused }
        if list.count >= parameters.registrationsPerTopicMax {
            guard let worst = list.last, rank < worst.rank else { return .refused }
            return .kept(instead: (topic, worst.key))
        }
        guard count >= parameters.registrationsMax else { return .kept(instead: nil) }
        var worst: (topic: TopicID, entry: Entry)?
        for (topic, entries) in topics {
            guard let last = entries.last else { continue }
            if worst.map({ $0.entry.rank < last.rank }) ?? true { worst = (topic, last) }
        }
        guard let worst, rank < worst.entry.rank else { return .refused }
        return .kept(instead: (worst.topic, worst.entry.key))
    }

    /// Keeps `record` until its lifetime is over, after the verdict that allows it.
    mutating func keep(
        _ record: SignedRecord, of key: PublicKey, _ group: Endpoint, _ topic: TopicID,
        instead: (topic: TopicID, key: PublicKey)?, _ now: MonotonicTime
    ) {
        if let instead { remove(instead.key, instead.topic) }
        remove(key, topic)
        let entry = Entry(
            key: key, group: group, record: record, rank: rank(key, group),
            expires: now + parameters.registrationLifetime)
        var list = topics[topic] ?? []
        list.insert(entry, at: list.firstIndex { entry.rank < $0.rank } ?? list.count)
        topics[topic] = list
        groups[group, default: 0] += 1
        count += 1
    }

    mutating func remove(_ key: PublicKey, _ topic: TopicID) {
        guard let index = topics[topic]?.firstIndex(where: { $0.key == key }),
            let removed = topics[topic]?.remove(at: index)
        else { return }
        forget(removed)
        if topics[topic]?.isEmpty == true { topics[topic] = nil }
    }

    /// Drops what has run out, and gives all that remain new ranks once a day.
    mutating func sweep(_ now: MonotonicTime, _ random: inout SeededRandom) {
        rotate(now, &random)
        for topic in Array(topics.keys) {
            let list = topics[topic] ?? []
            guard list.contains(where: { $0.expires <= now }) else { continue }
            for gone in list where gone.expires <= now { forget(gone) }
            let left = list.filter { $0.expires > now }
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
        let prefix = Bytes32(group.high, group.low, UInt64(group.port), 0).bytes
        let outer = Blake2b.keyed(secret.bytes, prefix)
        let inner = Blake2b.keyed(secret.bytes, prefix + key.value.bytes)
        return Rank(prefix: outer.w0, key: inner.w0)
    }

    private mutating func rotate(_ now: MonotonicTime, _ random: inout SeededRandom) {
        guard secret == nil || now >= secretUntil else { return }
        secret = random.bytes32()
        secretUntil = now + parameters.registrarKeyLifetime
        for topic in Array(topics.keys) {
            var list = topics[topic] ?? []
            for index in list.indices { list[index].rank = rank(list[index].key, list[index].group) }
            list.sort { $0.rank < $1.rank }
            topics[topic] = list
        }
    }
}
