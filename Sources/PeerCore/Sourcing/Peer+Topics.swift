import Cryptography
import Discovery
import Primitives
import Wire

/// What a search that `findProviders` started has found.
public enum Finding: Sendable {
    case provider(search: UInt64, Provider)
    case over(search: UInt64, SearchStatistics)
    /// The nodes nearest to the point of a `lookup`.
    case nearest(lookup: UInt64, [Verified<Contact>])
}

// The DHT by itself: topics that are no model's. The market has `serve` and `submit`; these are for whoever measures
// rendezvous or puts something else on it.
extension Peer {
    /// Registers this node as a provider of `topic` where it states that it is reached, until `stopProviding`.
    public mutating func provide(_ topic: TopicID, now: Now) {
        turn.now = now
        guard leaving == .no, !presence.endpoints.isEmpty else { return }
        discovery.provide(
            presence.registration(of: topic, at: turn.wall), turn: &turn, out: &discoveryActions)
        // It is due at once.
        discovery.tick(turn: &turn, out: &discoveryActions)
        settle()
    }

    public mutating func stopProviding(_ topic: TopicID, now: Now) {
        turn.now = now
        discovery.withdraw(topic, turn: &turn, out: &discoveryActions)
        settle()
    }

    /// Whether registrars are being asked at the moment, and how many hold the topic's registration.
    public func isRegistering(_ topic: TopicID) -> Bool { discovery.isRegistering(topic) }
    public func registrars(_ topic: TopicID, now: Now) -> Int { discovery.registrars(topic, now: now) }

    /// Starts a search for at most `wanted` providers of `topic`; what it finds follows in `takeFindings` under the
    /// returned number, the last being `over`.
    public mutating func findProviders(of topic: TopicID, wanted: Int? = nil, now: Now) -> UInt64 {
        turn.now = now
        let search = discovery.findProviders(
            of: topic, wanted: wanted, turn: &turn, out: &discoveryActions)
        topicSearches.insert(search)
        settle()
        return search
    }

    /// Starts a lookup of the nodes nearest to `target`; they follow in `takeFindings` under the returned number.
    public mutating func lookup(_ target: Bytes32, now: Now) -> UInt64 {
        turn.now = now
        let lookup = discovery.lookup(target, turn: &turn, out: &discoveryActions)
        topicSearches.insert(lookup)
        settle()
        return lookup
    }

    /// At most `DiscoveryParameters.searchesMax` × `providersWanted` between two calls of the shell.
    public mutating func takeFindings() -> [Finding] {
        guard !findings.isEmpty else { return [] }
        defer { findings.removeAll(keepingCapacity: true) }
        return findings
    }

    /// True when the search is one of `findProviders`.
    mutating func note(_ search: UInt64, _ finding: Finding) -> Bool {
        guard topicSearches.contains(search) else { return false }
        switch finding {
        case .provider: break
        case .over, .nearest: topicSearches.remove(search)
        }
        findings.append(finding)
        return true
    }
}
