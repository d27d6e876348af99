import Cryptography
import Discovery
import Primitives
import Wire

/// What a search started by `findProviders` has found.
public enum Finding: Sendable {
    case provider(search: RequestToken, Provider)
    case over(search: RequestToken, SearchStatistics)
    /// The nodes closest to the point of a `lookup`.
    case nearest(lookup: RequestToken, [Verified<Contact>])
}

// Direct use of the DHT, with topics other than models. The market uses `serve` and `submit`; this is for
// measuring rendezvous and for other uses of it.
extension Peer {
    /// Registers this node as a provider of `topic`, at the endpoints that it states, until `stopProviding`.
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

    /// Whether registrars are being asked now, and how many hold the topic's registration.
    public func isRegistering(_ topic: TopicID) -> Bool { discovery.isRegistering(topic) }
    public func registrars(_ topic: TopicID, now: Now) -> Int { discovery.registrars(topic, now: now) }

    /// Starts a search for at most `wanted` providers of `topic`. Results follow in `takeFindings` under the
    /// returned number, the last being `over`.
    public mutating func findProviders(of topic: TopicID, wanted: Int? = nil, now: Now) -> RequestToken {
        turn.now = now
        let search = discovery.findProviders(
            of: topic, wanted: wanted, turn: &turn, out: &discoveryActions)
        topicSearches.insert(search)
        settle()
        return search
    }

    /// Starts a lookup of the nodes closest to `target`; they follow in `takeFindings` under the returned
    /// number.
    public mutating func lookup(_ target: Bytes32, now: Now) -> RequestToken {
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

    /// Returns true when the search was started by `findProviders`.
    mutating func note(_ search: RequestToken, _ finding: Finding) -> Bool {
        guard topicSearches.contains(search) else { return false }
        switch finding {
        case .provider: break
        case .over, .nearest: topicSearches.remove(search)
        }
        findings.append(finding)
        return true
    }
}
