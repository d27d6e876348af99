import Cryptography
import Primitives
import Wire

/// An iterative lookup over disjoint paths (S/Kademlia §4.4), as a value: it is told answers and says whom to ask.
///
/// The k contacts of the table nearest to the target are dealt to d paths. Whoever a path hears of belongs to it
/// alone (the set of known nodes is shared), so a liar diverts one path only. A path asks its nearest contacts, a
/// few at a time, until its k/d nearest answered; a path that runs dry takes an unused *start* of another, never what another
/// has learnt. Beside that, idle capacity asks whatever is fresh among the k nearest known, so that the result is
/// complete when paths split an honest neighbourhood unevenly. The lookup ends when nothing is left to ask, and at once
/// when the target is a node's id and that node answered.
///
/// A node that takes long is *slow*: its path goes on to the next, its answer still counts, and the end of the lookup
/// waits for it only while it is among the nearest few.
///
/// Not checked, because it would not be sound: that contacts are nearer to the target than their answerer. The nearest
/// node of all answers with its neighbours, each farther than itself, and a lookup of k nodes needs them. What a liar
/// gains by naming far nodes is bounded anyway: eight a reply, and a path asks only its nearest.
struct Lookup: Sendable {
    enum State: Sendable { case fresh, asked, slow, answered, failed }

    struct Candidate: Sendable {
        let contact: Verified<Contact>
        let endpoint: Endpoint
        let distance: Bytes32
        var path: Int
        let isStart: Bool
        /// Answers that led here: a start has 1.
        let round: Int
        var state = State.fresh
        var key: PublicKey { contact.record.publicKey }
        var address: PeerAddress { PeerAddress(key: key, endpoint: endpoint) }
    }

    let target: Bytes32
    private let shared: Shared<DiscoveryParameters>
    private var parameters: DiscoveryParameters { _read { yield shared.value } }
    private let profile: DiscoveryProfile
    /// Ascending by distance; at most paths × candidatesPerPathMax fresh ones, and those asked.
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

    /// The target is the id of a node, and it answered.
    private var isExact: Bool {
        candidates.first.map { $0.distance == .zero && $0.state == .answered } ?? false
    }

    /// A slow node is among the nearest.
    private var isAwaiting: Bool {
        candidates.lazy.filter { $0.state != .failed }.prefix(parameters.awaitedNearest)
            .contains { $0.state == .slow }
    }

    var finalStatistics: LookupStatistics {
        var all = statistics
        all.roundsToNearest = roundsToNearest
        return all
    }

    /// How many answers led to the first of the results: 0 for one that was in the table.
    var roundsToNearest: Int { candidates.first { $0.state == .answered }.map { $0.round - 1 } ?? 0 }

    /// The nearest k that answered, nearest first.
    var results: [Verified<Contact>] {
        candidates.lazy.filter { $0.state == .answered }.prefix(parameters.bucketSize).map(\.contact)
    }

    func isKnown(_ key: PublicKey) -> Bool { candidates.contains { $0.key == key } }

    /// Whom to ask now; each counts as asked. When this is empty and nothing is in flight, the lookup has ended.
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

    /// `key` answered, and led to `contacts` (verified, usable, at most a reply's worth).
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

    /// `key` has not answered for long: another is asked beside it.
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
        // Dry: an unused start of another path, the nearest there is.
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

/// What a lookup cost.
public struct LookupStatistics: Hashable, Sendable {
    public var asked = 0
    public var answered = 0
    public var failed = 0
    /// The longest chain of answers.
    public var rounds = 0
    /// The chain that named the nearest of the results: 0 when it was in the table.
    public var roundsToNearest = 0
    public init() {}
}
