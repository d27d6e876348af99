import Cryptography
import Primitives
import Testing
import Wire

@testable import Discovery

@Suite struct RoutingTableTests {
    let selfID = TestNetwork.identity(1_000_000).nodeID

    func table(_ profile: DiscoveryProfile = .loopback) -> RoutingTable {
        RoutingTable(selfID: selfID, parameters: Shared(DiscoveryParameters()), profile: profile)
    }

    func entry(_ number: Int, at endpoint: Endpoint? = nil, time: MonotonicTime = .zero) -> TableEntry {
        let identity = TestNetwork.identity(number)
        let endpoint = endpoint ?? .loopback(UInt16(1_000 + number))
        guard
            let entry = TableEntry(
                contact: TestNetwork.contact(identity, at: [endpoint]), endpoint: endpoint, now: time,
                roundTrip: .zero)
        else { preconditionFailure("the contact states the endpoint") }
        return entry
    }

    @Test("Bucket i holds ids that share exactly i leading bits (Kademlia §2.4)")
    func bucketIndex() {
        #expect(selfID.bucketIndex(of: selfID) == nil)
        var random = SeededRandom(seed: 1)
        for index in 0..<256 {
            let point = selfID.randomPoint(inBucket: index, random: &random)
            #expect(selfID.bucketIndex(of: NodeID(point)) == index)
        }
    }

    @Test("At most k contacts enter a bucket; those already there stay")
    func longLivedStay() {
        var table = table()
        var random = SeededRandom(seed: 2)
        var first: [PublicKey] = []
        for number in 0..<400 {
            let entry = entry(number)
            switch table.verdict(on: entry.nodeID, at: entry.endpoint) {
            case .room: table.admit(entry)
            default:
                table.remember(
                    Replacement(contact: entry.contact, endpoint: entry.endpoint), entry.nodeID,
                    random: &random)
            }
            if number == 60 { first = table.entries.map(\.key) }
        }
        let kept = Set(table.entries.map(\.key))
        #expect(first.allSatisfy(kept.contains))
        #expect(table.buckets.allSatisfy { $0.entries.count <= 16 && $0.replacements.count <= 10 })
        #expect(table.buckets[0].entries.count == 16 && table.buckets[0].replacements.count == 10)
        #expect(table.count == table.entries.count)
        #expect(table.buckets.map(\.index) == table.buckets.map(\.index).sorted())
    }

    @Test("Two contacts of one /24 in a bucket, ten in the table (discv5)")
    func groupCaps() {
        var table = table(.internet)
        for number in 0..<200 {
            let entry = entry(number, at: Endpoint(ipv4: 0xc633_6400 | UInt32(number % 200), port: 7827))
            if table.verdict(on: entry.nodeID, at: entry.endpoint) == .room { table.admit(entry) }
        }
        #expect(table.buckets.allSatisfy { $0.entries.count <= 2 })
        #expect(table.count <= 10 && table.count >= 8)
        // There is still room for another network.
        let other = entry(300, at: Endpoint(ipv4: 0xcb00_7107, port: 7827))
        #expect(table.verdict(on: other.nodeID, at: other.endpoint) == .room)
    }

    @Test("The loopback profile counts endpoints instead of networks")
    func loopbackCaps() {
        var table = table(.loopback)
        for number in 0..<60 {
            let entry = entry(number)
            if table.verdict(on: entry.nodeID, at: entry.endpoint) == .room { table.admit(entry) }
        }
        #expect(table.count > 30)
        var shared = self.table(.loopback)
        for number in 0..<60 {
            let entry = entry(number, at: .loopback(9))
            if shared.verdict(on: entry.nodeID, at: entry.endpoint) == .room { shared.admit(entry) }
        }
        #expect(shared.count <= 10)
    }

    @Test("The nearest contacts found by bucket are the nearest found by sorting all")
    func closest() {
        var table = table()
        for number in 0..<300 {
            let entry = entry(number)
            if table.verdict(on: entry.nodeID, at: entry.endpoint) == .room { table.admit(entry) }
        }
        var random = SeededRandom(seed: 3)
        let targets =
            (0..<20).map { _ in random.bytes32() } + [selfID.value]
            + (0..<12).map { selfID.randomPoint(inBucket: $0, random: &random) }
            + table.entries.map(\.nodeID.value)
        for target in targets {
            let expected = table.entries.sorted {
                $0.nodeID.distance(to: target) < $1.nodeID.distance(to: target)
            }
            #expect(table.closest(to: target, count: 16).map(\.key) == expected.prefix(16).map(\.key))
        }
        #expect(table.closest(to: selfID.value, count: 0).isEmpty)
        #expect(table.closest(to: selfID.value, count: 1_000).count == table.count)
    }

    @Test("Case 17: thousands of ids thrown at a table leave it bounded")
    func stuffing() {
        var table = table()
        for number in 0..<5_000 {
            let entry = entry(number, at: Endpoint(ipv4: 0x0800_0000 + UInt32(number), port: 1))
            if table.verdict(on: entry.nodeID, at: entry.endpoint) == .room { table.admit(entry) }
        }
        #expect(table.count <= 16 * 16)
        #expect(table.buckets.count <= 24)
    }
}
