import Primitives

/// Where peers say they see us: one vote per network (in the loopback profile: per peer), of which the latest
/// counts.
///
/// Liars of one /24 share one vote. A winner is replaced only by an endpoint with strictly more votes, so
/// that a voter who keeps changing its mind has no effect (hostile case 13). A NAT that shows each peer
/// another port yields no winner, which is the truth.
///
/// A mesh of two or three machines never has votes of three networks. So while there is no winner, the vote
/// of a node that the operator chose to join by suffices: if wrong it does no more harm than having none, and
/// three networks overrule it.
struct ObservedVotes: Sendable {
    private struct Vote: Sendable {
        var voter: Endpoint
        var endpoint: Endpoint
        var time: MonotonicTime
    }

    private let capacity: Int
    private let needed: Int
    private let lifetime: Interval
    private let profile: DiscoveryProfile
    /// Oldest first.
    private var votes: [Vote] = []
    private(set) var winner: Endpoint?

    init(_ parameters: DiscoveryParameters, profile: DiscoveryProfile) {
        capacity = max(1, parameters.votesMax)
        needed = profile == .loopback ? 1 : parameters.votesNeeded
        lifetime = parameters.voteLifetime
        self.profile = profile
    }

    /// The last vote.
    var latest: Endpoint? { votes.last?.endpoint }

    /// Returns true when the winner has changed. `isChosen` says that the operator named the voter.
    mutating func vote(
        _ endpoint: Endpoint, by voter: Endpoint, isChosen: Bool, now: MonotonicTime
    ) -> Bool {
        guard profile.accepts(endpoint) else { return false }
        let group = profile.group(voter)
        votes.removeAll { $0.voter == group || now - $0.time > lifetime }
        if votes.count >= capacity { votes.removeFirst() }
        votes.append(Vote(voter: group, endpoint: endpoint, time: now))

        func count(_ endpoint: Endpoint) -> Int { votes.count { $0.endpoint == endpoint } }
        let enough = winner == nil && isChosen ? 1 : needed
        guard endpoint != winner, count(endpoint) >= enough else { return false }
        if let winner, count(winner) >= count(endpoint) { return false }
        winner = endpoint
        return true
    }
}
