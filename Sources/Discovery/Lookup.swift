import Cryptography
import Primitives
import Wire

/// An iterative lookup over disjoint paths (S/Kademlia §4.4), as a value: it is given answers and says which
/// nodes to ask.
///
/// The k contacts of the table closest to the target are distributed over d paths. A node that one path hears
/// of belongs to it alone (the set of known nodes is shared), so a liar diverts only one path. A path asks
/// its closest contacts, a few at a time, until its k/d closest have answered. A path that runs dry takes an
/// unused *start* of another, never what another has learnt. In addition, idle capacity asks unasked nodes
/// among the k closest known, so that the result is complete even when paths split an honest neighbourhood
/// unevenly. The lookup ends when nothing is left to ask, and at once when the target is a node's id and that
/// node has answered.
///
/// A node that takes long is *slow*: its path goes on to the next, its answer still counts, and the end of
/// the lookup waits for it only while it is among the closest few.
///
/// It is not checked that contacts are closer to the target than their answerer, because that would not be
/// sound: the closest node of all answers with its neighbours, which are all farther, and a lookup of k nodes
/// needs them. What a liar gains by naming far nodes is bounded anyway: eight per reply, and a path asks only
/// its closest.
struct Lookup: Sendable {
    enum State: Sendable { case fresh, asked, slow, answered, failed }

    struct Candidate: Sendable {
        let contact: Verified<Contact>
        let endpoint: Endpoint
        let distance: Bytes32
        var path: Int
        let isStart: Bool
        /// Number of answers that led here: 1 for a start.
        let round: Int
        var state = State.fresh
        var key: PublicKey { contact.record.publicKey }
        var address: PeerAddress { PeerAddress(key: key, endpoint: endpoint) }
    }

    let target: Bytes32
    private let shared: Shared<DiscoveryParameters>
    private var parameters: DiscoveryParameters { _read { yield shared.value } }
    private let profile: DiscoveryProfile
    /// Ascending by distance; at most paths × candidatesPerPathMax unasked ones, and those asked.
    private(set) var candidates: [Candidate] = []
    private var inFlight: [Int]
    private(set) var statistics = LookupStatistics()

    init(
        target: Bytes32, starts: [TableEntry], parameters: Shared<DiscoveryParameters>,
        profile: DiscoveryProfile
    ) {
        self.target = target
        shared = parameters
        self.profile = profile
        inFlight = Array(repeating: 0, count: max(1, parameters.value.paths))
        for (number, start) in starts.enumerated() {
            candidates.append(
                Candidate(
                    contact: start.contact, endpoint: start.endpoint,
                    distance: start.nodeID.distance(to: target),
                    path: number % inFlight.count, isStart: true, round: 1))
        }
        candidates.sort { $0.distance < $1.distance }
    }

    var isFinished: Bool { isExact || inFlight.allSatisfy { $0 == 0 } && !isAwaiting }

    /// The target is the id of a node, and it has answered.
    private var isExact: Bool {
        candidates.first.map { $0.distance == .zero && $0.state == .answered } ?? false
    }

    /// A slow node is among the closest.
    private var isAwaiting: Bool {
        candidates.lazy.filter { $0.state != .failed }.prefix(parameters.awaitedNearest)
            .contains { $0.state == .slow }
    }

    var finalStatistics: LookupStatistics {
        var all = statistics
        all.roundsToNearest = roundsToNearest
        return all
    }

    /// How many answers led to the first result: 0 if it was in the table.
    var roundsToNearest: Int { candidates.first { $0.state == .answered }.map { $0.round - 1 } ?? 0 }

    /// The closest k that answered, closest first.
    var results: [Verified<Contact>] {
        candidates.lazy.filter { $0.state == .answered }.prefix(parameters.bucketSize).map(\.contact)
    }

    func isKnown(_ key: PublicKey) -> Bool { candidates.contains { $0.key == key } }

    /// The nodes to ask now; each counts as asked. When this is empty and nothing is in flight, the lookup
    /// has ended.
    mutating func next() -> [Candidate] {
        guard !isExact else { return [] }
        var asks: [Candidate] = []
        for path in inFlight.indices {
            while inFlight[path] < parameters.pathInFlightMax, let index = choice(for: path) {
                ask(index, &asks)
            }
        }
        while inFlight.reduce(0, +) < parameters.lookupInFlightMax, let index = freshAmongNearest() {
            ask(index, &asks)
        }
        return asks
    }

    /// `key` answered and named `contacts` (verified, usable, at most a reply's worth).
    mutating func answered(_ key: PublicKey, contacts: [(contact: Verified<Contact>, endpoint: Endpoint)]) {
        guard let index = close(key, as: .answered) else { return }
        let path = candidates[index].path
        let round = candidates[index].round
        statistics.answered += 1
        statistics.rounds = max(statistics.rounds, round)
        for (contact, endpoint) in contacts { insert(contact, endpoint, path: path, round: round + 1) }
    }

    /// `key` did not answer, or was not asked after all.
    mutating func failed(_ key: PublicKey) {
        if close(key, as: .failed) != nil { statistics.failed += 1 }
    }

    /// `key` has not answered for long: another node is asked as well.
    mutating func slow(_ key: PublicKey) {
        guard let index = candidates.firstIndex(where: { $0.key == key && $0.state == .asked }) else {
            return
        }
        candidates[index].state = .slow
        inFlight[candidates[index].path] -= 1
    }

    // MARK: Choice

    private mutating func ask(_ index: Int, _ asks: inout [Candidate]) {
        candidates[index].state = .asked
        inFlight[candidates[index].path] += 1
        statistics.asked += 1
        asks.append(candidates[index])
    }

    private mutating func choice(for path: Int) -> Int? {
        guard statistics.asked < parameters.lookupQuestionsMax else { return nil }
        let width = max(1, parameters.bucketSize / inFlight.count)
        var seen = 0
        for index in candidates.indices where candidates[index].path == path {
            switch candidates[index].state {
            case .fresh: return index
            case .asked, .answered:
                seen += 1
                if seen == width { return nil }
            case .slow, .failed: continue
            }
        }
        // The path is dry: take the closest unused start of another path.
        guard let stolen = candidates.firstIndex(where: { $0.isStart && $0.state == .fresh }) else {
            return nil
        }
        candidates[stolen].path = path
        return stolen
    }

    private func freshAmongNearest() -> Int? {
        guard statistics.asked < parameters.lookupQuestionsMax else { return nil }
        var seen = 0
        for index in candidates.indices {
            switch candidates[index].state {
            case .fresh: return index
            case .asked, .answered:
                seen += 1
                if seen == parameters.bucketSize { return nil }
            case .slow, .failed: continue
            }
        }
        return nil
    }

    // MARK: Candidates

    private mutating func close(_ key: PublicKey, as state: State) -> Int? {
        guard
            let index = candidates.firstIndex(where: {
                $0.key == key && ($0.state == .asked || $0.state == .slow)
            })
        else { return nil }
        if candidates[index].state == .asked { inFlight[candidates[index].path] -= 1 }
        candidates[index].state = state
        return index
    }

    private mutating func insert(_ contact: Verified<Contact>, _ endpoint: Endpoint, path: Int, round: Int) {
        let key = contact.record.publicKey
        let group = profile.group(endpoint)
        guard !isKnown(key),
            candidates.count(where: { profile.group($0.endpoint) == group }) < parameters.groupLookupMax
        else { return }
        let distance = NodeID(of: key).distance(to: target)
        let fresh = candidates.indices.filter {
            candidates[$0].path == path && candidates[$0].state == .fresh
        }
        if fresh.count >= parameters.candidatesPerPathMax, let farthest = fresh.last {
            guard distance < candidates[farthest].distance else { return }
            candidates.remove(at: farthest)
        }
        let index = candidates.firstIndex { $0.distance > distance } ?? candidates.count
        candidates.insert(
            Candidate(
                contact: contact, endpoint: endpoint, distance: distance, path: path, isStart: false,
                round: round),
            at: index)
    }
}

/// The cost of a lookup.
public struct LookupStatistics: Hashable, Sendable {
    public var asked = 0
    public var answered = 0
    public var failed = 0
    /// Length of the longest chain of answers.
    public var rounds = 0
    /// Length of the chain that named the closest result: 0 if it was in the table.
    public var roundsToNearest = 0
    public init() {}
}
