/// The destination of a message: a node's key, and the endpoint at which it is expected.
public struct PeerAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var key: PublicKey
    public var endpoint: Endpoint
    public init(key: PublicKey, endpoint: Endpoint) {
        self.key = key
        self.endpoint = endpoint
    }
    public static func < (a: PeerAddress, b: PeerAddress) -> Bool {
        (a.key, a.endpoint) < (b.key, b.endpoint)
    }
    /// `KEY@host:port`.
    public var description: String { "\(key)@\(endpoint)" }
}
