import Cryptography
import Market
import Primitives
import Sessions
import Testing
import Wire

@testable import PeerCore

/// The numbered hostile cases (Tests/README.md) that show only in a whole node.
@Suite struct CaseTests {
    @Test(
        "Case 10: a clock that is an hour off, or says 1970, neither keeps a node out nor makes others leave",
        arguments: [-3_600, 3_600, -1_800_000_000])
    func clocks(_ seconds: Int64) {
        var mesh = PeerMesh()
        for _ in 0..<4 { mesh.add() }
        mesh.add(skew: .seconds(seconds))
        mesh.run(for: .seconds(5))
        for node in mesh.nodes { #expect(node.peer.isJoined && node.peer.contacts.count == 4) }
        mesh.run(for: .minutes(20))
        for node in mesh.nodes { #expect(node.peer.contacts.count == 4) }
    }

    @Test("Case 31: a node whose loop stood still for 20 s loses no contact, and sends no burst")
    func stall() {
        var mesh = PeerMesh()
        for _ in 0..<8 { mesh.add() }
        mesh.run(for: .minutes(5))
        mesh.nodes[3].isDown = true
        mesh.run(for: .seconds(20))
        mesh.nodes[3].isDown = false
        var sent = 0
        mesh.act(3) { peer, now in
            peer.tick(now: now)
            sent = peer.datagrams.count
        }
        #expect(sent <= 16)
        mesh.run(for: .seconds(30))
        for node in mesh.nodes { #expect(node.peer.contacts.count == 7) }
    }

    @Test("A node of another wire version is logged four times in a row and then once a minute")
    func otherVersion() {
        let stranger = PeerAddress(key: PeerMesh.identity(9).publicKey, endpoint: PeerMesh.endpoint(9))
        var settings = PeerSettings(
            mesh: MeshIdentity(name: "test"), endpoints: [PeerMesh.endpoint(0)], reachability: .direct,
            profile: .loopback, bootstrap: [stranger])
        settings.sessions.countsEndpoints = true
        var now = Now(monotonic: .zero, wall: WallTime(milliseconds: 1_800_000_000_000))
        var peer = Peer(
            identity: PeerMesh.identity(0), settings: settings, entropy: Bytes32(3, 0, 0, 0),
            seed: Bytes32(4, 0, 0, 0), now: now)
        var told = 0
        while now.monotonic < .zero + .minutes(5) {
            for index in 0..<peer.datagrams.count {
                let (bytes, target) = peer.datagrams.withDatagram(index) { (Array($0), $1) }
                guard bytes[0] == 1, target == stranger.endpoint else { continue }
                var answer: [UInt8] =
                    [7, 0, 0, 0] + bytes[4..<20] + [1, 2] + [UInt8](repeating: 0, count: 10)
                answer.withUnsafeMutableBytes { peer.receive($0, from: stranger.endpoint, now: now) }
            }
            peer.clearDatagrams()
            var effects: [Effect] = []
            peer.takeEffects(into: &effects)
            for case .log(.otherVersion(let key, let endpoint, let speaks, let ours)) in effects {
                #expect(key == stranger.key && endpoint == stranger.endpoint && speaks == [2] && ours == [1])
                told += 1
            }
            let next = peer.nextDeadline()
            guard next != .never else { break }
            now.monotonic = max(next, now.monotonic)
            peer.tick(now: now)
        }
        #expect((4...9).contains(told))
    }
}
