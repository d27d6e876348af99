/// How the process's file descriptors are divided. What is left is for everything else: connections to model servers, as
/// many as channels with work, the sockets of the node itself, its database and its log.
public struct DescriptorShares: Sendable, Hashable {
    /// Files of the node itself, with its model servers' pipes.
    private static let reserve = 128

    /// The mesh's channels, at most: half of what the reserve leaves.
    public let channels: Int
    /// Connections of HTTP clients: a quarter, and 2,048 at most, half the channels of a node with plenty. Without the
    /// bound, strangers who connect and say nothing would take what the mesh and the model servers need.
    public let clients: Int

    /// - Parameter limit: the process's limit of open files. Below some 200 the shares are the least that works, and the
    ///   limit may be reached.
    public init(limit: Int) {
        channels = max(32, (limit - Self.reserve) / 2)
        clients = min(2_048, max(16, (limit - Self.reserve) / 4))
    }
}
