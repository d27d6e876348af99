import Cryptography
import Primitives
import Testing
import Wire

@testable import Discovery

@Suite struct DiscoveryTests {
    @Test("An unproven request is answered and changes nothing (message 1 is assumed replayed)")
    func unproven() {
        var bench = Bench()
        for number in 0..<20 { bench.admit(bench.contact(number)) }
        let stranger = bench.contact(50)
        let before = "\(bench.discovery)"
        for _ in 0..<3 {
            let pong = bench.ask(
                .ping(contact: stranger.signed), from: bench.address(stranger), proven: false)
            #expect(pong == .pong(contact: bench.own.signed, observed: bench.address(stranger).endpoint))
            guard
                case .found(let contacts) = bench.ask(
                    .find(target: .zero), from: bench.address(stranger), proven: false)
            else { Issue.record("no FOUND"); return }
            #expect(!contacts.isEmpty)
        }
        #expect("\(bench.discovery)" == before)
        #expect(bench.out.isEmpty)
    }

    @Test("A proven peer that states its contact is probed, and enters only after it has answered")
    func admission() {
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

    @Test("FOUND holds at most eight contacts within 1,000 bytes, nearest first, never the asker itself")
    func foundFits() {
        var bench = Bench()
        for number in 0..<60 { bench.admit(bench.contact(number)) }
        let asker = bench.contact(3)
        let target = TestNetwork.identity(3).nodeID.value
        guard case .found(let records) = bench.ask(.find(target: target), from: bench.address(asker)) else {
            Issue.record("no FOUND")
            return
        }
        let bytes = records.reduce(0) { $0 + $1.body.count + 72 }
        #expect(records.count >= 5 && records.count <= 8 && bytes <= 1_000)
        #expect(!records.contains(asker.signed))
        let expected = bench.discovery.closest(to: target, count: 9).map(\.signed).filter {
            $0 != asker.signed
        }
        #expect(records == Array(expected.prefix(records.count)))
    }

    @Test("A newer record replaces an older one; an older or equal one changes nothing")
    func newer() {
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
