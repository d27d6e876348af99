import Primitives
import TestSupport
import Testing
import Wire

@testable import Discovery

/// The table against a flat list of contacts that is scanned for every query.
@Suite struct RoutingTableModelTests {
    private struct Model: ModelTest {
        enum Operation {
            case meet(Int, place: Int, sequence: Int), restate(Int, place: Int, sequence: Int)
            case remove(Int), forgetReplacement(Int), fail(Int), closest(Bytes32, count: Int, suspects: Bool)
        }
        struct Contact: Equatable {
            var node: Int
            var endpoint: Endpoint
            var sequence: Int
            var isSuspect = false
        }
        var table: RoutingTable
        /// In the order of admission.
        var entries: [Contact] = []
        /// By bucket, the most recent last.
        var replacements: [Int: [Contact]] = [:]
        /// Draws the same replacements to drop as the table does.
        var draws: SeededRandom
        var tableDraws: SeededRandom
        let parameters: DiscoveryParameters
        let profile: DiscoveryProfile
        static let selfID = TestNetwork.identity(1_000_000).nodeID

        init(_ random: inout SeededRandom) {
            var parameters = DiscoveryParameters()
            parameters.bucketSize = 2 + random.below(5)
            parameters.replacementsMax = random.below(4)
            parameters.groupBucketMax = 1 + random.below(3)
            parameters.groupTableMax = 2 + random.below(6)
            parameters.contactsPerReplyMax = 1 + random.below(8)
            self.parameters = parameters
            profile = random.chance(1, in: 4) ? .loopback : .internet
            table = RoutingTable(selfID: Self.selfID, parameters: Shared(parameters), profile: profile)
            draws = SeededRandom(seed: random.next())
            tableDraws = draws
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let (node, place, sequence) = (
                random.below(SignedContacts.nodes), random.below(3), random.below(3)
            )
            switch random.below(20) {
            case 0..<11: return .meet(node, place: place, sequence: sequence)
            case 11: return .restate(node, place: place, sequence: sequence)
            case 12..<15: return .remove(node)
            case 15: return .forgetReplacement(node)
            case 16: return .fail(node)
            default:
                let targets = [
                    random.bytes32(), Self.selfID.value, Self.id(node).value,
                    Self.selfID.randomPoint(inBucket: random.below(8), random: &random),
                ]
                return .closest(
                    targets[random.below(4)], count: random.below(20), suspects: random.chance(1, in: 2))
            }
        }

        static func id(_ node: Int) -> NodeID { SignedContacts.contact(node, place: 0, sequence: 0).nodeID }

        /// How many leading bits each id shares with ours, bit by bit.
        private static let buckets: [Int] = (0..<SignedContacts.nodes).map { node in
            let (ours, theirs) = (selfID.value.bytes, id(node).value.bytes)
            return (0..<256).first { ours[$0 / 8] >> (7 - $0 % 8) & 1 != theirs[$0 / 8] >> (7 - $0 % 8) & 1 }
                ?? 256
        }

        private func bucket(_ node: Int) -> Int { Self.buckets[node] }

        private func isAlike(_ a: Endpoint, _ b: Endpoint) -> Bool {
            profile == .internet ? a.prefix == b.prefix : a == b
        }

        private func verdict(_ node: Int, _ endpoint: Endpoint) -> RoutingTable.Verdict {
            let alike = entries.filter { isAlike($0.endpoint, endpoint) }
            let beside = entries.filter { bucket($0.node) == bucket(node) }
            let crowd = alike.count { bucket($0.node) == bucket(node) }
            if crowd >= parameters.groupBucketMax || alike.count >= parameters.groupTableMax {
                return .groupFull
            }
            return beside.count >= parameters.bucketSize ? .bucketFull : .room
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .meet(let node, let place, let sequence): try meet(node, place, sequence)
            case .restate(let node, let place, let sequence): try restate(node, place, sequence)
            case .remove(let node): try remove(node)
            case .forgetReplacement(let node):
                table.forgetReplacement(SignedContacts.key(node))
                replacements[bucket(node)]?.removeAll { $0.node == node }
            case .fail(let node):
                guard let place = entries.firstIndex(where: { $0.node == node }),
                    let found = table.place(of: SignedContacts.key(node))
                else { break }
                entries[place].isSuspect.toggle()
                table[found].failures = entries[place].isSuspect ? 1 : 0
            case .closest(let target, let count, let suspects):
                let expected = entries.filter { suspects || !$0.isSuspect }
                    .sorted { Self.id($0.node).value ^ target < Self.id($1.node).value ^ target }
                    .prefix(count).map { SignedContacts.key($0.node) }
                let found = table.closest(to: target, count: count, includingSuspects: suspects)
                try same(found.map(\.key), expected, "the nearest")
            }
            try compareContents()
        }

        /// What the owner does with a contact that answered: admit it, or let it wait.
        private mutating func meet(_ node: Int, _ place: Int, _ sequence: Int) throws {
            let endpoint = SignedContacts.endpoint(node, place)
            let contact = SignedContacts.contact(node, place: place, sequence: sequence)
            try same(table.verdict(on: contact.nodeID, at: endpoint), verdict(node, endpoint), "verdict")
            guard !entries.contains(where: { $0.node == node }) else { return }
            let new = Contact(node: node, endpoint: endpoint, sequence: sequence)
            switch verdict(node, endpoint) {
            case .room:
                guard
                    let entry = TableEntry(
                        contact: contact, endpoint: endpoint, now: .zero, roundTrip: .milliseconds(1))
                else { throw Mismatch("the contact doesn't state \(endpoint)") }
                table.admit(entry)
                entries.append(new)
                replacements[bucket(node)]?.removeAll { $0.node == node }
            case .bucketFull:
                table.remember(
                    Replacement(contact: contact, endpoint: endpoint), contact.nodeID, random: &tableDraws)
                remember(new)
            case .groupFull, .ownKey: break
            }
        }

        private mutating func remember(_ new: Contact) {
            var waiting = replacements[bucket(new.node)] ?? []
            defer { replacements[bucket(new.node)] = waiting }
            if let known = waiting.firstIndex(where: { $0.node == new.node }) {
                if new.sequence > waiting[known].sequence { waiting[known] = new }
                return
            }
            let alike = waiting.count { isAlike($0.endpoint, new.endpoint) }
            guard alike < parameters.groupBucketMax, parameters.replacementsMax > 0 else { return }
            if waiting.count >= parameters.replacementsMax { waiting.remove(at: draws.below(waiting.count)) }
            waiting.append(new)
        }

        /// The table takes a newer record when it states the endpoint at which the contact was found.
        private mutating func restate(_ node: Int, _ place: Int, _ sequence: Int) throws {
            guard let index = entries.firstIndex(where: { $0.node == node }),
                let found = table.place(of: SignedContacts.key(node))
            else { return }
            let contact = SignedContacts.contact(node, place: place, sequence: sequence)
            let endpoint = SignedContacts.endpoint(node, (place + 2) % SignedContacts.places)
            let isStated = contact.record.endpoints.contains(endpoint)
            try same(table.restate(contact, at: endpoint, in: found), isStated, "restated")
            if isStated {
                entries[index].endpoint = endpoint
                entries[index].sequence = sequence
            }
        }

        private mutating func remove(_ node: Int) throws {
            let gone = table.remove(SignedContacts.key(node))
            let index = entries.firstIndex { $0.node == node }
            try same(gone?.entry.key, index.map { SignedContacts.key(entries[$0].node) }, "removed")
            guard let index else { return }
            let successor = replacements[bucket(node)]?.popLast()
            try same(gone?.successor?.key, successor.map { SignedContacts.key($0.node) }, "successor")
            entries.remove(at: index)
        }

        private func compareContents() throws {
            let used = Set(entries.map { bucket($0.node) })
                .union(replacements.filter { !$0.value.isEmpty }.map(\.key)).sorted()
            try same(table.buckets.map(\.index), used, "used buckets")
            try same(table.count, entries.count, "count")
            for index in used {
                let bucket = table.bucket(index)
                let expected = entries.filter { self.bucket($0.node) == index }
                let found = bucket?.entries.map { ($0.key, $0.endpoint, $0.contact.record.sequence) } ?? []
                try same(
                    found.map(\.0), expected.map { SignedContacts.key($0.node) },
                    "contacts of bucket \(index)")
                try same(found.map(\.1), expected.map(\.endpoint), "endpoints in bucket \(index)")
                try same(found.map(\.2), expected.map { UInt64($0.sequence) }, "sequences in bucket \(index)")
                let waiting = replacements[index] ?? []
                try same(
                    bucket?.replacements.map(\.key) ?? [], waiting.map { SignedContacts.key($0.node) },
                    "replacements of bucket \(index)")
            }
            for node in 0..<SignedContacts.nodes {
                let key = SignedContacts.key(node)
                let isIn = entries.contains { $0.node == node }
                let places = [
                    table.place(of: key), table.place(of: Self.id(node)), table.place(ofWord: key.value.w0),
                ]
                for place in places {
                    try same(place.map { table[$0].key }, isIn ? key : nil, "the place of node \(node)")
                }
            }
            try same(table.thinBuckets, thinBuckets(used), "thin buckets")
        }

        /// Buckets with room, except those of the nearest contacts, which a single reply lists.
        private func thinBuckets(_ used: [Int]) -> [Int] {
            var far = used
            var nearer = 0
            while nearer < parameters.contactsPerReplyMax, let nearest = far.popLast() {
                nearer += entries.count { bucket($0.node) == nearest }
            }
            guard let edge = far.last else { return [] }
            return (0...edge).filter { index in
                entries.count { bucket($0.node) == index } < parameters.bucketSize
            }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func theTableHoldsFindsAndRefusesWhatItsRulesSay(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 250)
    }
}
