import Cryptography
import Primitives
import Wire

/// Whom to ask about a topic: nodes by *distance bucket around the topic* (bucket i: the ids that share exactly i
/// leading bits with it), asked far to near, so many in each. Providers walk so to register and searchers to find.
///
/// Why buckets and not "the k nearest": a bucket far from the topic holds too many honest nodes to be owned, and one
/// near it so few that provider and searcher meet there; 64 ids ground next to the topic own its nearest buckets and
/// nothing else (Ethereum's TopDisc, devp2p PR 270; DESIGN §6). Which nodes of a bucket are asked is drawn at random
/// among those heard of, never the nearest, and at most two of one address group.
struct TopicWalk: Sendable {
    enum State: Sendable { case fresh, asked, slow, answered, failed }

    struct Node: Sendable {
        let address: PeerAddress
        let contact: Verified<Contact>?
        let bucket: Int
        let group: Endpoint
        /// Asked before others of its bucket: it holds our registration, which runs out.
        let isPreferred: Bool
        var state = State.fresh
        var key: PublicKey { address.key }
        var mayGiveWay: Bool { state == .fresh && !isPreferred }
    }

    let topic: TopicID
    private let selfKey: PublicKey
    private let perBucket: Int
    private let inFlightMax: Int
    private let asksNear: Bool
    private let shared: Shared<DiscoveryParameters>
    private var parameters: DiscoveryParameters { _read { yield shared.value } }
    private let profile: DiscoveryProfile
    /// In the order in which they were heard of; at most `walkNodesMax`.
    private(set) var nodes: [Node] = []
    /// Nodes heard of in each bucket, for drawing fairly among more than are kept.
    private var heard = [Int](repeating: 0, count: 256)
    private(set) var inFlight = 0
    private(set) var statistics = SearchStatistics()

    /// One question in three goes to the near end: few nodes are there, so that most of them hold the registrations of a
    /// rare topic, and a search finds the first provider after a round trip or two instead of half a one per bucket.
    /// An attacker who owns that end gets a third of the questions until they are spent, and the caps per address group
    /// on what it answers.
    private static let nearEvery = 3

    /// - Parameters:
    ///   - known: contacts in the table; a mesh in which they fit one bucket is asked as a whole.
    ///   - searchingFor: providers that end the walk; nil: it registers. Few need fewer questions at a time, since the
    ///     answers of those under way when the last one is found are for nothing.
    init(
        topic: TopicID, selfKey: PublicKey, known: Int, searchingFor wanted: Int? = nil,
        parameters: Shared<DiscoveryParameters>, profile: DiscoveryProfile
    ) {
        shared = parameters
        asksNear = wanted != nil
        let parameters = shared.value
        inFlightMax = min(parameters.walkInFlightMax, (wanted ?? parameters.walkInFlightMax) + 2)
        self.topic = topic
        self.selfKey = selfKey
        self.profile = profile
        perBucket = known <= parameters.bucketSize ? parameters.bucketSize : parameters.registrarsPerBucket
    }

    mutating func reserve(_ count: Int) { nodes.reserveCapacity(min(count, parameters.walkNodesMax)) }

    func bucket(of key: PublicKey) -> Int { NodeID(of: key).topicBucket(topic) }

    /// Adds a node that may be asked; when its bucket is full it takes a random one's place, so that all that were heard
    /// of have the same chance and a liar can't push out the rest by naming many.
    mutating func add(
        _ address: PeerAddress, _ contact: Verified<Contact>?, bucket known: Int? = nil,
        preferred: Bool = false,
        random: inout SeededRandom
    ) {
        guard address.key != selfKey else { return }
        let bucket = known ?? bucket(of: address.key)
        let group = profile.group(address.endpoint)
        var alike = 0
        var waiting = 0
        for index in nodes.indices where nodes[index].bucket == bucket {
            if nodes[index].address.key == address.key { return }
            if nodes[index].group == group { alike += 1 }
            if nodes[index].mayGiveWay { waiting += 1 }
        }
        let node = Node(
            address: address, contact: contact, bucket: bucket, group: group, isPreferred: preferred)
        if preferred {
            if nodes.count < parameters.walkNodesMax { nodes.append(node) }
            return
        }
        heard[bucket] += 1
        guard alike < parameters.groupBucketMax else { return }
        if waiting < parameters.bucketSize {
            if nodes.count < parameters.walkNodesMax { nodes.append(node) }
        } else if random.chance(waiting, in: heard[bucket]) {
            let others = nodes.indices.filter { nodes[$0].bucket == bucket && nodes[$0].mayGiveWay }
            nodes[others[random.below(others.count)]] = node
        }
    }

    /// A node that needs no asking: it counts as one that has answered.
    mutating func addAnswered(_ address: PeerAddress, bucket: Int) {
        guard nodes.count < parameters.walkNodesMax else { return }
        let group = profile.group(address.endpoint)
        nodes.append(
            Node(
                address: address, contact: nil, bucket: bucket, group: group, isPreferred: true,
                state: .answered))
    }

    /// Whom to ask next: of the farthest bucket in which too few were asked, and each third time, when searching, of the
    /// nearest; nil while enough are in flight, and when nobody is left. The node counts as asked.
    mutating func next(random: inout SeededRandom) -> Node? {
        guard inFlight < inFlightMax, statistics.asked < parameters.walkQuestionsMax else { return nil }
        var taken = InlineArray<256, UInt16>(repeating: 0)
        for index in nodes.indices where nodes[index].state == .asked || nodes[index].state == .answered {
            taken[nodes[index].bucket] += 1
        }
        let fromNear = asksNear && statistics.asked % Self.nearEvery == 0
        // Those of the bucket whose turn it is; among them the preferred ones alone, if there are any.
        var best: [Int] = []
        for index in nodes.indices where nodes[index].state == .fresh {
            let bucket = nodes[index].bucket
            guard Int(taken[bucket]) < perBucket else { continue }
            if let first = best.first {
                let other = nodes[first].bucket
                if bucket == other {
                    guard nodes[first].isPreferred == nodes[index].isPreferred else {
                        if nodes[index].isPreferred { best = [index] }
                        continue
                    }
                } else if (bucket < other) == fromNear {
                    continue
                } else {
                    best.removeAll(keepingCapacity: true)
                }
            }
            best.append(index)
        }
        guard !best.isEmpty else { return nil }
        let chosen = best[random.below(best.count)]
        nodes[chosen].state = .asked
        inFlight += 1
        statistics.asked += 1
        return nodes[chosen]
    }

    /// `key` answered and named `contacts`, of which those nearer to the topic than itself count: whoever answers a
    /// question about a topic has no reason to name others (`Protocol/rules.md`), so the check costs nothing honest.
    /// Returns how many it refused.
    mutating func answered(
        _ key: PublicKey, contacts: [(contact: Verified<Contact>, endpoint: Endpoint)],
        random: inout SeededRandom
    ) -> Int {
        guard let bucket = close(key, as: .answered) else { return 0 }
        statistics.answered += 1
        statistics.nearestBucket = max(statistics.nearestBucket, bucket)
        var refused = 0
        for (contact, endpoint) in contacts {
            let named = self.bucket(of: contact.record.publicKey)
            guard named > bucket else {
                refused += 1
                continue
            }
            add(
                PeerAddress(key: contact.record.publicKey, endpoint: endpoint), contact, bucket: named,
                random: &random)
        }
        return refused
    }

    mutating func failed(_ key: PublicKey) {
        if close(key, as: .failed) != nil { statistics.failed += 1 }
    }

    /// It takes long: another is asked in its place, and its answer is still welcome.
    mutating func slow(_ key: PublicKey) {
        guard let index = nodes.firstIndex(where: { $0.key == key && $0.state == .asked }) else { return }
        nodes[index].state = .slow
        inFlight -= 1
    }

    mutating func found(_ count: Int) { statistics.providers = count }

    private mutating func close(_ key: PublicKey, as state: State) -> Int? {
        guard
            let index = nodes.firstIndex(where: { $0.key == key && ($0.state == .asked || $0.state == .slow) }
            )
        else { return nil }
        if nodes[index].state == .asked { inFlight -= 1 }
        nodes[index].state = state
        return nodes[index].bucket
    }
}

/// What a search for providers cost.
public struct SearchStatistics: Hashable, Sendable {
    public var asked = 0
    public var answered = 0
    public var failed = 0
    public var providers = 0
    /// The distance bucket nearest to the topic from which an answer came.
    public var nearestBucket = 0
    public init() {}
}

extension NodeID {
    /// The distance bucket around `topic` that this id is in: leading bits shared with it, at most 255.
    func topicBucket(_ topic: TopicID) -> Int { min((value ^ topic.value).leadingZeroBitCount, 255) }
}
