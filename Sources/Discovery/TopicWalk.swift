import Cryptography
import Primitives
import Wire

/// Chooses the nodes to ask about a topic, by *distance bucket around the topic* (bucket i: the ids that
/// share exactly i leading bits with it), far to near, a fixed number in each. Providers walk to register,
/// searchers to find. A search sends one question in three ahead, to the near end: a rare topic's
/// registrations are met there, so that the first provider is found after a round trip or two instead of half
/// a round trip per bucket. `Protocol/discovery.md` has the order and what keeps liars at that end from
/// gaining by it.
///
/// Why buckets and not "the k nearest": a bucket far from the topic holds too many honest nodes to be owned,
/// and one near it so few that provider and searcher meet there; 64 ids ground next to the topic own its
/// nearest buckets and nothing else (Ethereum's TopDisc, devp2p PR 270). Which nodes of a bucket are asked is
/// drawn at random among those heard of, never the nearest, and at most two of one address group.
struct TopicWalk: Sendable {
    enum State: Sendable { case fresh, asked, slow, answered, failed }

    /// How a walk learnt of a node.
    enum Origin: Sendable {
        /// It is in our table. The contact stays there: a node that is never asked costs nothing.
        case table
        /// Another node named it. The signature is checked only when it is asked, which most never are.
        case named(SignedRecord)
        /// The same, checked.
        case checked(Verified<Contact>)
        /// It holds our registration, which is about to expire: asked before others of its bucket.
        case holder(PublicKey)
    }

    struct Node: Sendable {
        let id: NodeID
        let endpoint: Endpoint
        let bucket: Int
        let group: Endpoint
        var origin: Origin
        var state = State.fresh
        /// The question went to the near end, out of turn.
        var isAhead = false
        var isHolder: Bool { if case .holder = origin { true } else { false } }
    }

    let topic: TopicID
    private let perBucket: Int
    private var inFlightMax: Int
    private var nearEvery: Int
    /// Questions to the near end that went unanswered for long. After `aheadSlowMax` of them the walk leaves
    /// the near end alone until its turn comes: silent nodes there would hold up the rest.
    private var aheadSlow = 0
    private static let aheadSlowMax = 2
    private let shared: Shared<DiscoveryParameters>
    private var parameters: DiscoveryParameters { _read { yield shared.value } }
    private let profile: DiscoveryProfile
    /// In the order in which the walk heard of them; at most `walkNodesMax`.
    private(set) var nodes: [Node] = []
    /// By bucket, up to the nearest one in use. `heard`: nodes heard of, for drawing fairly among more than
    /// are kept. `taken`: nodes asked that have answered or still may.
    private var counts: [(heard: UInt32, taken: UInt32)] = []
    private(set) var inFlight = 0
    private(set) var statistics = SearchStatistics()

    /// - Parameters:
    ///   - known: contacts in the table; a mesh whose contacts fit one bucket is asked as a whole.
    ///   - searchingFor: providers that end the walk; nil: it registers. A small number needs fewer questions
    ///     at a time, since the answers under way when the last one is found are wasted.
    init(
        topic: TopicID, known: Int, searchingFor wanted: Int? = nil, parameters: Shared<DiscoveryParameters>,
        profile: DiscoveryProfile
    ) {
        shared = parameters
        let parameters = shared.value
        nearEvery = wanted == nil ? 0 : parameters.searchNearEvery
        inFlightMax =
            wanted.map { min(parameters.searchInFlightMax, $0 + 2) } ?? parameters.registrationsInFlightMax
        self.topic = topic
        self.profile = profile
        let few = wanted == nil ? parameters.registrarsPerBucket : parameters.askedPerBucket
        perBucket = known <= parameters.bucketSize ? parameters.bucketSize : few
    }

    mutating func reserve(_ count: Int) { nodes.reserveCapacity(min(count, parameters.walkNodesMax)) }

    func node(_ id: NodeID) -> Node? { nodes.first { $0.id == id } }

    /// Adds a node that may be asked. When its bucket is full it replaces a random waiting node, so that all
    /// nodes heard of have the same chance and a liar can't push out the rest by naming many.
    mutating func add(
        _ id: NodeID, at endpoint: Endpoint, _ origin: Origin, random: inout SeededRandom
    ) {
        let bucket = id.topicBucket(topic)
        let group = profile.group(endpoint)
        var alike = 0
        var waiting = 0
        for index in nodes.indices where nodes[index].bucket == bucket {
            if nodes[index].id == id { return }
            if nodes[index].group == group { alike += 1 }
            if nodes[index].state == .fresh, !nodes[index].isHolder { waiting += 1 }
        }
        let node = Node(id: id, endpoint: endpoint, bucket: bucket, group: group, origin: origin)
        if node.isHolder {
            if nodes.count < parameters.walkNodesMax { nodes.append(node) }
            return
        }
        grow(to: bucket)
        counts[bucket].heard += 1
        guard alike < parameters.groupBucketMax else { return }
        if waiting < parameters.bucketSize {
            if nodes.count < parameters.walkNodesMax { nodes.append(node) }
        } else if random.chance(waiting, in: Int(counts[bucket].heard)) {
            let others = nodes.indices.filter {
                nodes[$0].bucket == bucket && nodes[$0].state == .fresh && !nodes[$0].isHolder
            }
            nodes[others[random.below(others.count)]] = node
        }
    }

    /// Adds a node that needn't be asked: it counts as one that has answered.
    mutating func addAnswered(_ key: PublicKey, at endpoint: Endpoint) {
        guard nodes.count < parameters.walkNodesMax else { return }
        let id = NodeID(of: key)
        let bucket = id.topicBucket(topic)
        nodes.append(
            Node(
                id: id, endpoint: endpoint, bucket: bucket, group: profile.group(endpoint),
                origin: .holder(key), state: .answered))
        grow(to: bucket)
        counts[bucket].taken += 1
    }

    /// `contact` was checked: it replaces what another node named under the same key, which may be a forgery.
    mutating func replace(_ id: NodeID, with contact: Verified<Contact>, at endpoint: Endpoint) {
        guard let index = nodes.firstIndex(where: { $0.id == id && $0.state == .fresh }) else { return }
        nodes[index] = Node(
            id: id, endpoint: endpoint, bucket: nodes[index].bucket, group: profile.group(endpoint),
            origin: .checked(contact))
    }

    /// The next node to ask: from the farthest bucket in which too few were asked and, in a search, now and
    /// then from the nearest. Nil while enough are in flight, and when no node is left. The node counts as
    /// asked.
    mutating func next(random: inout SeededRandom) -> Node? {
        guard inFlight < inFlightMax, statistics.asked < parameters.walkQuestionsMax else { return nil }
        let fromNear = nearEvery > 0 && statistics.asked % nearEvery == 0
        // The bucket whose turn it is, and how many nodes there may be asked: only holders, if there are any.
        var turn: (bucket: Int, isHolder: Bool, count: Int)?
        for node in nodes where node.state == .fresh {
            guard node.bucket >= counts.count || counts[node.bucket].taken < perBucket else { continue }
            guard let best = turn else {
                turn = (node.bucket, node.isHolder, 1)
                continue
            }
            if node.bucket == best.bucket {
                if node.isHolder == best.isHolder {
                    turn?.count += 1
                } else if node.isHolder {
                    turn = (node.bucket, true, 1)
                }
            } else if (node.bucket > best.bucket) == fromNear {
                turn = (node.bucket, node.isHolder, 1)
            }
        }
        guard let turn else { return nil }
        var left = random.below(turn.count)
        for index in nodes.indices where nodes[index].state == .fresh && nodes[index].bucket == turn.bucket {
            guard nodes[index].isHolder == turn.isHolder else { continue }
            guard left == 0 else {
                left -= 1
                continue
            }
            grow(to: turn.bucket)
            counts[turn.bucket].taken += 1
            nodes[index].state = .asked
            nodes[index].isAhead = fromNear
            inFlight += 1
            statistics.asked += 1
            return nodes[index]
        }
        return nil
    }

    /// Returns the node that was asked and has answered.
    mutating func answered(_ id: NodeID) -> Node? {
        guard let node = close(id, as: .answered) else { return nil }
        statistics.answered += 1
        statistics.nearestBucket = max(statistics.nearestBucket, node.bucket)
        return node
    }

    mutating func failed(_ id: NodeID) {
        if close(id, as: .failed) != nil { statistics.failed += 1 }
    }

    /// The node takes long: others are asked in its place, and its answer is still welcome. In a search that
    /// asks few at a time, two replace it: where three in ten are dead, three silent ones in a row are
    /// common, and six are not.
    mutating func slow(_ id: NodeID) {
        guard let index = nodes.firstIndex(where: { $0.id == id && $0.state == .asked }) else { return }
        nodes[index].state = .slow
        noteSlow(nodes[index])
        inFlight -= 1
        inFlightMax = max(inFlightMax, min(inFlightMax + 1, parameters.searchInFlightMax))
        counts[nodes[index].bucket].taken -= 1
    }

    mutating func found(_ count: Int) { statistics.providers = count }

    private mutating func close(_ id: NodeID, as state: State) -> Node? {
        guard
            let index = nodes.firstIndex(where: { $0.id == id && ($0.state == .asked || $0.state == .slow) })
        else { return nil }
        let bucket = nodes[index].bucket
        let wasTaken = nodes[index].state == .asked
        if wasTaken { inFlight -= 1 }
        nodes[index].state = state
        if wasTaken, state == .failed { noteSlow(nodes[index]) }
        if wasTaken, state == .failed { counts[bucket].taken -= 1 }
        if !wasTaken, state == .answered { counts[bucket].taken += 1 }
        return nodes[index]
    }

    private mutating func noteSlow(_ node: Node) {
        if node.isAhead { aheadSlow += 1 }
        if aheadSlow >= Self.aheadSlowMax { nearEvery = 0 }
    }

    /// Buckets are at most 255.
    private mutating func grow(to bucket: Int) {
        while counts.count <= bucket { counts.append((0, 0)) }
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
