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
        let peer = try settings(mesh).peerSettings(memory: Node.Memory(), descriptors: 65_536)
        switch peer.profile {
        case .loopback: #expect(isLocal)
        case .internet: #expect(!isLocal)
        }
        #expect(peer.sessions.countsEndpoints == isLocal && peer.channels.countsEndpoints == isLocal)
    }

    @Test func theStrangersShareOfTheFileIsTheMarkets() throws {
        let settings = try NodeSettings(
            parsing: "sell: {strangers_share: 25}\n", source: .init(file: "node.yaml"), home: "/home/ann")
        let peer = settings.peerSettings(memory: Node.Memory(), descriptors: 1_024)
        #expect(peer.market.strangersPercent == 25)
    }

    /// Half the descriptors beyond a reserve; the default table where there are plenty.
    @Test(arguments: [(100, 32), (1_024, 448), (4_096, 1_984), (1 << 20, 4_096)])
    func channelsTakeTheirShareOfTheFileDescriptors(descriptors: Int, channels: Int) throws {
        let peer = try settings("name: m").peerSettings(memory: Node.Memory(), descriptors: descriptors)
        #expect(peer.channels.channels == channels && peer.channels.accepted == channels * 3 / 4)
    }

    @Test(arguments: [(64, 16), (1_024, 224), (1 << 20, 2_048)])
    func clientsTakeHalfOfWhatChannelsTake(descriptors: Int, clients: Int) {
        let shares = DescriptorShares(limit: descriptors)
        #expect(shares.clients == clients && shares.clients * 2 <= shares.channels)
    }
}
