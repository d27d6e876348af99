import Market
import Primitives

/// The HTTP surface's settings: the `http:` and `ask:` parts of a node's configuration.
public struct GatewayConfiguration: Sendable {
    /// The address to listen at. Any other than loopback needs `apiKeys`: strangers would spend the owner's credits.
    public var host = "127.0.0.1"
    /// 0: any free one.
    public var port = 7828
    /// Bearer tokens of which every request needs one, but for `/` and `/health`; empty: none is needed.
    public var apiKeys: [String] = []
    /// Web pages that may call, as `https://example.org`; the node's own page always may.
    public var origins: [String] = []
    /// Names by which clients call this node, beside `localhost` and IP addresses (DNS rebinding).
    public var hosts: [String] = []
    /// What the owner accepts where a request says nothing.
    public var preferences = Preferences()
    /// For requests that state no deadline and come from no SDK that does.
    public var deadline = Interval.seconds(600)
    /// A larger body is refused with 413 and never buffered. Images as data URLs are what makes bodies large.
    public var bodyBytesMax = 16 << 20
    /// An awarded stream that has been silent so long gets its status and a sign of life. Shorter than the impatience
    /// of people and proxies; longer than most first tokens, so that real status codes stay possible.
    public var firstSignOfLife = Interval.seconds(2)
    /// Between further signs of life; proxies commonly cut after 30 to 60 s.
    public var signOfLifeEvery = Interval.seconds(5)

    public init() {}

    /// Whether only this machine can connect.
    var isLoopback: Bool {
        if host == "localhost" { return true }
        return (Endpoint("\(host):1") ?? Endpoint("[\(host)]:1"))?.isLoopback ?? false
    }
}

/// Why the HTTP surface could not start; each says what to do.
public enum GatewayError: Error, Hashable, Sendable, CustomStringConvertible {
    case openWithoutKeys(host: String)
    case portTaken(host: String, port: Int)
    case cannotListen(host: String, port: Int, reason: String)

    public var description: String {
        switch self {
        case .openWithoutKeys(let host):
            "http.listen is \(host), which other machines can reach, and http.api_keys is empty:"
                + " set a key, or listen on 127.0.0.1"
        case .portTaken(let host, let port):
            "HTTP port \(port) on \(host) is taken: stop the other program, or set http.listen to another port"
        case .cannotListen(let host, let port, let reason):
            "can't listen for HTTP on \(host):\(port): \(reason)"
        }
    }
}
