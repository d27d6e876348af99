import Cryptography
import Discovery
import NodeConfiguration
import PeerCore
import Primitives
import Sessions
import Store
import Wire

// What the core is told of a node's configuration file and of its past.
extension NodeSettings {
    /// The identity that this configuration selects: a testnet's seed, or the key file in `data`.
    public func identity() throws -> Identity {
        if let seed = mesh.seed { return Identity(testnetSeed: seed) }
        return try KeyFile.loadOrCreate(in: data)
    }

    public var databasePath: String { DataFolder.databasePath(in: data) }

    /// - Parameter descriptors: the process's limit of open files, of which channels have their share.
    func peerSettings(memory: Node.Memory, descriptors: Int) -> PeerSettings {
        // A node that listens on a private address and states no public one can only be in a mesh of that
        // network.
        let isLocal = mesh.listen.isLoopback || mesh.listen.isPrivate && mesh.publicEndpoint == nil
        var stated: [Endpoint] = []
        if let endpoint = mesh.publicEndpoint { stated.append(endpoint) }
        if mesh.listen.isUnicast, mesh.listen.port != 0 { stated.append(mesh.listen) }
        var peer = PeerSettings(
            mesh: MeshIdentity(name: mesh.name, key: mesh.secret.map { Array($0.utf8) }), name: name,
            endpoints: stated,
            reachability: mesh.inbound ? (stated.isEmpty ? .unknown : .direct) : .outbound,
            profile: isLocal ? .loopback : .internet,
            bootstrap: mesh.join.map { PeerAddress(key: $0.key, endpoint: $0.endpoint) },
            anchors: memory.anchors.compactMap { try? Verified<Contact>(checking: $0) })
        peer.offerSequences = memory.sequences
        peer.sellers = memory.sellers
        peer.buyers = memory.buyers
        peer.sold = memory.sold
        peer.models = serve.map(\.soldAs)
        peer.denied = deny
        peer.market.strangersPercent = sell.strangersShare
        peer.sessions.countsEndpoints = isLocal
        peer.channels.countsEndpoints = isLocal
        peer.channels.channels = min(
            peer.channels.channels, DescriptorShares(limit: descriptors).channels)
        peer.channels.accepted = peer.channels.channels * 3 / 4
        return peer
    }
}
