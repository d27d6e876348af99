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
    }

    let topic: TopicID
    private let selfKey: PublicKey
    private let perBucket: Int
    private let parameters: DiscoveryParameters
    private let profile: DiscoveryProfile
    /// In the order in which they were heard of; at most `walkNodesMax`.
    private(set) var nodes: [Node] = []
    /// Nodes heard of in each bucket, for drawing fairly among more than are kept.
    private var heard = [Int](repeating: 0, count: 256)
    private(set) var inFlight = 0
    private(set) var statistics = SearchStatistics()

    /// - Parameter known: contacts in the table; a mesh in which they fit one bucket is asked as a whole.
    init(
        topic: TopicID, selfKey: PublicKey, known: Int, parameters: DiscoveryParameters,
        profile: DiscoveryProfile
    ) {
        self.topic = topic
        self.selfKey = selfKey
        self.parameters = parameters
        self.profile = profile
        perBucket = known <= parameters.bucketSize ? parameters.bucketSize : parameters.registrarsPerBucket
    }

    func bucket(of key: PublicKey) -> Int { NodeID(of: key).topicBucket(topic) }

    /// Adds a node that may be asked; when its bucket is full it takes a random one's place, so that all that were heard
    /// of have the same chance and a liar can't push out the rest by naming many.
    mutating func add(
        _ address: PeerAddress, _ contact: Verified<Contact>?, bucket known: Int? = nil,
        preferred: Bool = false,
        random: inout SeededRandom
    ) {
        guard address.key != selfKey, !nodes.contains(where: { $0.key == address.key }) else { return }
        let bucket = known ?? bucket(of: address.key)
        let group = profile.group(address.endpoint)
        let node = Node(
            address: address, contact: contact, bucket: bucket, group: group, isPreferred: preferred)
        if preferred {
            if nodes.count < parameters.walkNodesMax { nodes.append(node) }
            return
        }
        heard[bucket] += 1
        let alike = nodes.count { $0.bucket == bucket && $0.group == group }
        guard alike < parameters.groupBucketMax else { return }
        let waiting = nodes.indices.filter {
            nodes[$0].bucket == bucket && nodes[$0].state == .fresh && !nodes[$0].isPreferred
        }
        if waiting.count < parameters.bucketSize {
            if nodes.count < parameters.walkNodesMax { nodes.append(node) }
        } else if random.chance(waiting.count, in: heard[bucket]) {
            nodes[waiting[random.below(waiting.count)]] = node
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

    /// Whom to ask next: of the farthest bucket in which too few were asked; nil while enough are in flight, and when
    /// nobody is left. The node counts as asked.
    mutating func next(random: inout SeededRandom) -> Node? {
        guard inFlight < parameters.walkInFlightMax, statistics.asked < parameters.walkQuestionsMax else {
            return nil
        }
        var taken = [Int](repeating: 0, count: 256)
        for node in nodes where node.state == .asked || node.state == .answered { taken[node.bucket] += 1 }
        var best: [Int] = []
        for index in nodes.indices where nodes[index].state == .fresh {
            let node = nodes[index]
            guard taken[node.bucket] < perBucket else { continue }
            if let first = best.first {
                let other = nodes[first]
                if node.bucket > other.bucket
                    || node.bucket == other.bucket && other.isPreferred && !node.isPreferred
                {
                    continue
                }
                if node.bucket < other.bucket || node.isPreferred && !other.isPreferred { best.removeAll() }
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
