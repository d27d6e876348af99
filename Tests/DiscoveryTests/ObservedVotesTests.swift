import Primitives
import TestSupport
import Testing

@testable import Discovery

@Suite struct ObservedVotesTests {
    private struct Model: ModelTest {
        enum Operation { case vote(UInt16, by: Int, isChosen: Bool), pass(Interval) }
        struct Vote {
            var network: Endpoint
            var endpoint: Endpoint
            var time: MonotonicTime
        }
        var votes: ObservedVotes
        /// Oldest first.
        var plain: [Vote] = []
        var winner: Endpoint?
        var now = MonotonicTime.zero
        let parameters: DiscoveryParameters
        let profile: DiscoveryProfile

        init(_ random: inout SeededRandom) {
            var parameters = DiscoveryParameters()
            parameters.votesMax = 1 + random.below(8)
            parameters.votesNeeded = 1 + random.below(3)
            self.parameters = parameters
            profile = random.chance(1, in: 4) ? .loopback : .internet
            votes = ObservedVotes(parameters, profile: profile)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            if random.chance(1, in: 8) { return .pass(random.interval(.zero, .minutes(8))) }
            return .vote(UInt16(random.below(4)), by: random.below(14), isChosen: random.chance(1, in: 10))
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .pass(let interval): now = now + interval
            case .vote(let port, let number, let isChosen):
                // Port 0 is not an endpoint; two voters share each network.
                let endpoint = Endpoint(ipv4: 0x0808_0808, port: port)
                let voter = Endpoint(ipv4: 0x0909_0000 | UInt32(number / 2) << 8 | UInt32(number), port: 1)
                let changed = votes.vote(endpoint, by: voter, isChosen: isChosen, now: now)
                try same(changed, note(endpoint, voter, isChosen), "the winner changed")
            }
            try same(votes.winner, winner, "winner")
            try same(votes.latest, plain.last?.endpoint, "latest")
        }

        private mutating func note(_ endpoint: Endpoint, _ voter: Endpoint, _ isChosen: Bool) -> Bool {
            guard endpoint.port != 0 else { return false }
            let network = profile == .internet ? Endpoint(high: voter.prefix, low: 0, port: 0) : voter
            plain = plain.filter { $0.network != network && now - $0.time <= parameters.voteLifetime }
            plain =
                plain.suffix(parameters.votesMax - 1) + [
                    Vote(network: network, endpoint: endpoint, time: now)
                ]
            let count = plain.count { $0.endpoint == endpoint }
            let needed = profile == .loopback ? 1 : parameters.votesNeeded
            let isElected =
                if let winner {
                    endpoint != winner && count >= needed && count > plain.count { $0.endpoint == winner }
                } else {
                    isChosen || count >= needed
                }
            if isElected { winner = endpoint }
            return isElected
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func eachNetworkHasOneVoteAndOnlyMoreVotesReplaceAWinner(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 800)
    }
}
