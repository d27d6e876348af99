import Primitives
import Testing
import Wire

@testable import Discovery

@Suite struct LookAroundTests {
    /// A bench with eight contacts whose first lookup has ended.
    private func settled() -> Bench {
        var bench = Bench()
        for number in 0..<8 { bench.admit(bench.contact(number)) }
        bench.tick(after: .zero)
        var open = bench.requests()
        while !open.isEmpty {
            for request in open {
                if case .find = request.message {
                    bench.answer(request.token, .found(contacts: []), from: request.peer)
                } else {
                    bench.answer(request.token, .pong(contact: nil, observed: nil), from: request.peer)
                }
            }
            open = bench.requests()
        }
        return bench
    }

    private func glance(_ bench: inout Bench) -> [(
        token: RequestToken, message: DiscoveryMessage, peer: PeerAddress
    )] {
        bench.tick(after: .milliseconds(400))
        return bench.requests().filter { if case .find = $0.message { true } else { false } }
    }

    @Test("After the first lookup, a look near us asks three contacts, not all")
    func fewQuestions() {
        var bench = settled()
        let asked = glance(&bench)
        let near = asked.filter { $0.message == .find(target: bench.discovery.selfID.value) }
        #expect(near.count == bench.discovery.parameters.glanceNear)
        let far = asked.count - near.count
        #expect(far <= bench.discovery.parameters.refreshBucketsMax * bench.discovery.parameters.glanceFar)
    }

    @Test("A stranger found by a look around is probed, and enters when it answers")
    func strangers() throws {
        var bench = settled()
        let stranger = bench.contact(20, sequence: 7)
        let key = stranger.record.publicKey
        let asked = try #require(glance(&bench).first)
        bench.answer(asked.token, .found(contacts: [stranger.signed]), from: asked.peer)
        #expect(bench.discovery.contacts.count == 8)
        let probe = try #require(bench.requests().first { $0.peer.key == key })
        #expect(probe.message == .ping(contact: nil, known: 7))
        bench.answer(probe.token, .pong(contact: nil, observed: nil), from: probe.peer)
        #expect(bench.discovery.contacts.contains { $0.publicKey == key })
    }

    @Test("A look around that finds a thousand strangers probes no more at a time than the queue allows")
    func floods() throws {
        var bench = settled()
        for asked in glance(&bench) {
            let named = (0..<40).map { bench.contact(100 + Int(asked.token.rawValue) * 40 + $0).signed }
            bench.answer(asked.token, .found(contacts: named), from: asked.peer)
        }
        #expect(bench.requests().count <= bench.discovery.parameters.candidateProbesMax)
        #expect(bench.discovery.candidates.count <= bench.discovery.parameters.candidatesMax)
    }
}
