import NodeConfiguration
import Testing

@testable import NodeRuntime

@Suite struct PeerSettingsTests {
    private func settings(_ mesh: String) throws -> NodeSettings {
        try NodeSettings(parsing: "mesh: {\(mesh)}\n", source: .init(file: "node.yaml"), home: "/home/ann")
    }

    @Test(arguments: [
        ("address: 0.0.0.0", false), ("address: 127.0.0.1", true), ("address: 203.0.113.7", false),
        ("address: 192.168.1.5", true), ("address: 192.168.1.5, public: \"203.0.113.7:7827\"", false),
    ])
    func aNodeOnAPrivateAddressWithoutAPublicOneBelongsToALocalMesh(mesh: String, isLocal: Bool) throws {
        let peer = try settings(mesh).peerSettings(memory: Node.Memory())
        switch peer.profile {
        case .loopback: #expect(isLocal)
        case .internet: #expect(!isLocal)
        }
        #expect(peer.sessions.countsEndpoints == isLocal && peer.channels.countsEndpoints == isLocal)
    }
}
