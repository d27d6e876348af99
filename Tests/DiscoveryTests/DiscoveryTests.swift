import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Discovery

@Suite struct DiscoveryTests {
    /// Message 1 is assumed replayed.
    @Test func anUnprovenRequestIsAnsweredAndChangesNothing() throws {
        var bench = Bench()
        for number in 0..<20 { bench.admit(bench.contact(number)) }
        let stranger = bench.contact(50)
        let before = "\(bench.discovery)"
        for _ in 0..<3 {
            let pong = bench.ask(
                .ping(contact: stranger.signed), from: bench.address(stranger), proven: false)
            #expect(pong == .pong(contact: bench.own.signed, observed: bench.address(stranger).endpoint))
            let answer = bench.ask(.find(target: .zero), from: bench.address(stranger), proven: false)
            let contacts = try #require(answer?.found)
            #expect(!contacts.isEmpty)
        }
        #expect("\(bench.discovery)" == before)
        #expect(bench.out.isEmpty)
    }

    @Test func aProvenPeerThatStatesItsContactIsProbedAndEntersOnlyAfterItAnswered() {
        var bench = Bench()
        let peer = bench.contact(1)
        _ = bench.ask(.ping(contact: peer.signed), from: bench.address(peer))
        #expect(bench.discovery.count == 0)
        let probes = bench.requests()
        #expect(probes.count == 1 && probes[0].peer == bench.address(peer))
        bench.answer(probes[0].token, .pong(contact: nil, observed: nil), from: bench.address(peer))
        #expect(bench.discovery.count == 1)
        #expect(
            bench.discovery.contacts[0].inTable && bench.discovery.contacts[0].roundTrip == .milliseconds(20))
    }

    @Test func foundHoldsTheNearestContactsAtMostEightWithin1000BytesNeverTheAsker() throws {
        var bench = Bench()
        for number in 0..<60 { bench.admit(bench.contact(number)) }
        let asker = bench.contact(3)
        let target = Identity.ofNode(3).nodeID.value
        let answer = bench.ask(.find(target: target), from: bench.address(asker))
        let records = try #require(answer?.found)
        let bytes = records.reduce(0) { $0 + $1.body.count + 72 }
        #expect(records.count >= 5 && records.count <= 8 && bytes <= 1_000)
        #expect(!records.contains(asker.signed))
        let expected = bench.discovery.table.closest(to: target, count: 9).map(\.contact.signed).filter {
            $0 != asker.signed
        }
        #expect(records == Array(expected.prefix(records.count)))
    }

    @Test func aNewerRecordReplacesAnOlderOneAnOlderOrEqualOneDoesNothing() {
        var bench = Bench()
        let old = bench.contact(1, sequence: 5)
        bench.admit(old)
        for sequence in [UInt64(4), 5] {
            _ = bench.ask(
                .ping(contact: bench.contact(1, sequence: sequence).signed), from: bench.address(old))
        }
        #expect(bench.out.isEmpty)
        let newer = bench.contact(1, sequence: 6)
        _ = bench.ask(.ping(contact: newer.signed), from: bench.address(old))
        #expect(bench.discovery.contact(of: old.record.publicKey)?.contact.signed == newer.signed)
    }
}
