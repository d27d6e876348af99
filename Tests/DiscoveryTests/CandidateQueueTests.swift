import Primitives
import TestSupport
import Testing
import Wire

@testable import Discovery

@Suite struct CandidateQueueTests {
    private struct Model: ModelTest {
        enum Operation {
            case add(Int, place: Int, sequence: Int), take, takeAndPutBack, remove(Int), probeStarted,
                probeEnded
        }
        struct Candidate: Equatable {
            var key: PublicKey
            var endpoint: Endpoint
            var sequence: UInt64
            init(_ candidate: CandidateQueue.Candidate) {
                key = candidate.key
                endpoint = candidate.endpoint
                sequence = candidate.contact.record.sequence
            }
        }
        var queue: CandidateQueue
        var plain: [Candidate] = []
        var probed = 0
        let profile: DiscoveryProfile
        let capacity: Int
        let groupMax: Int

        init(_ random: inout SeededRandom) {
            profile = random.chance(1, in: 4) ? .loopback : .internet
            capacity = 2 + random.below(30)
            groupMax = 1 + random.below(4)
            var parameters = DiscoveryParameters()
            parameters.candidatesMax = capacity
            parameters.groupCandidatesMax = groupMax
            queue = CandidateQueue(parameters, profile: profile)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let node = random.below(SignedContacts.nodes)
            return switch random.below(20) {
            case 0..<12: .add(node, place: random.below(3), sequence: random.below(3))
            case 12..<15: .take
            case 15: .takeAndPutBack
            case 16, 17: .remove(node)
            case 18: .probeStarted
            default: .probeEnded
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .add(let node, let place, let sequence):
                let contact = SignedContacts.contact(node, place: place, sequence: sequence)
                let candidate = CandidateQueue.Candidate(
                    contact: contact, endpoint: SignedContacts.endpoint(node, place))
                try same(queue.add(candidate), note(Candidate(candidate)), "has room")
            case .take: try same(queue.takeFirst().map(Candidate.init), takeFirst(), "first")
            case .takeAndPutBack:
                let first = queue.takeFirst()
                try same(first.map(Candidate.init), takeFirst(), "first")
                if let first {
                    queue.putBack(first)
                    plain.append(Candidate(first))
                }
            case .remove(let node):
                queue.remove(SignedContacts.key(node))
                plain.removeAll { $0.key == SignedContacts.key(node) }
            case .probeStarted:
                queue.probeStarted()
                probed += 1
            case .probeEnded:
                queue.probeEnded()
                if probed > 0 { probed -= 1 }
            }
            try same(queue.count, plain.count, "count")
            try same(queue.isEmpty, plain.isEmpty, "is empty")
            try same(queue.probed, probed, "probed")
            try holds(queue.count <= capacity, "more than fit")
        }

        private mutating func takeFirst() -> Candidate? { plain.isEmpty ? nil : plain.removeFirst() }

        private mutating func note(_ candidate: Candidate) -> Bool {
            if let known = plain.firstIndex(where: { $0.key == candidate.key }) {
                if candidate.sequence > plain[known].sequence { plain[known] = candidate }
                return true
            }
            let alike = plain.filter { profile.group($0.endpoint) == profile.group(candidate.endpoint) }
            guard plain.count < capacity, alike.count < groupMax else { return false }
            plain.append(candidate)
            return true
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func strangersWaitInOrderWithinTheBoundsOfTheirNetworks(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 800)
    }
}
