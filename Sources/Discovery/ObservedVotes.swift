import Primitives

/// Where peers say that they see us: one vote per network (in the loopback profile: per peer), the newest counts.
///
/// Liars of one /24 have one vote together; a winner is replaced only by an endpoint with strictly more votes, so
/// that a flip-flopping voter changes nothing (hostile case 13). A NAT that shows another port to everybody gives no
/// winner, which is the truth.
///
/// A mesh of two or three machines never has three networks to vote. So the word of a node that the operator chose to
/// join by is taken while there is no winner: wrong, it costs no more than having none, and three networks overrule it.
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

    /// What the last voter said.
    var latest: Endpoint? { votes.last?.endpoint }

    /// True when the winner changed. `isChosen`: the voter is one that the operator named.
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
