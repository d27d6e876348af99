import DequeModule
import Primitives
import Wire

/// Strangers that wait for our probe, in order of arrival. Bounded in all and per address group, so that a
/// flood fills neither memory nor the table.
struct CandidateQueue: Sendable {
    struct Candidate: Sendable {
        var contact: Verified<Contact>
        var endpoint: Endpoint
        var key: PublicKey { contact.record.publicKey }
        var address: PeerAddress { PeerAddress(key: key, endpoint: endpoint) }
    }

    private let capacity: Int
    private let groupMax: Int
    private let profile: DiscoveryProfile
    private var waiting: Deque<Candidate> = []
    /// Probes in flight.
    private(set) var probed = 0

    init(_ parameters: DiscoveryParameters, profile: DiscoveryProfile) {
        capacity = parameters.candidatesMax
        groupMax = parameters.groupCandidatesMax
        self.profile = profile
    }

    var isEmpty: Bool { waiting.isEmpty }
    var count: Int { waiting.count }

    /// False when there is no room. A newer record of a waiting key replaces the older one.
    mutating func add(_ candidate: Candidate) -> Bool {
        if let known = waiting.firstIndex(where: { $0.key == candidate.key }) {
            if candidate.contact.record.sequence > waiting[known].contact.record.sequence {
                waiting[known] = candidate
            }
            return true
        }
        let group = profile.group(candidate.endpoint)
        guard waiting.count < capacity,
            waiting.count(where: { profile.group($0.endpoint) == group }) < groupMax
        else {
            return false
        }
        waiting.append(candidate)
        return true
    }

    mutating func takeFirst() -> Candidate? {
        let first = waiting.popFirst()
        if first != nil, waiting.isEmpty { waiting = [] }
        return first
    }
    mutating func putBack(_ candidate: Candidate) { waiting.append(candidate) }
    mutating func remove(_ key: PublicKey) { waiting.removeAll { $0.key == key } }
    mutating func probeStarted() { probed += 1 }
    mutating func probeEnded() { probed = max(0, probed - 1) }
}
