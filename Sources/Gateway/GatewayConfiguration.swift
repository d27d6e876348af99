import Market
import Primitives

/// Settings of the HTTP surface: the `http:` and `ask:` parts of a node's configuration.
public struct GatewayConfiguration: Sendable {
    /// The address to listen on. Any but loopback needs `apiKeys`: strangers could spend the owner's credits.
    public var host = "127.0.0.1"
    /// 0 means any free port.
    public var port = 7828
    /// Bearer tokens, one of which every request except `/` and `/health` must carry; if empty, none is
    /// required.
    public var apiKeys: [String] = []
    /// Keys of clients, which open less; see `Route.isForClients`.
    public var clientKeys: [ClientKey] = []
    /// Origins of web pages that may call, as `https://example.org`, or `*` for all; the node's own page always may.
    public var origins: [String] = []
    /// Names for this node besides `localhost` and IP addresses; others are refused (DNS rebinding).
    public var hosts: [String] = []
    /// The owner's preferences, where a request states none.
    public var preferences = Preferences()
    /// Request fields beyond the table that go to sellers as they are.
    public var extraFields: [String] = []
    /// The deadline of a request that states none and comes from no SDK that states one.
    public var deadline = Interval.seconds(600)
    /// A larger body is refused with 413 and never buffered. Large bodies are mostly images as data URLs.
    public var bodyBytesMax = 16 << 20
    /// Bodies that are being received or wait to be read, together; the first 64 KiB of each don't count. Beyond: 503.
    public var bodiesBytesMax = 128 << 20
    /// A body that isn't complete after this time is refused with 408; it may take a second more for each 64 KiB that has
    /// arrived.
    public var bodyTime = Interval.seconds(60)
    /// How long after its end an answer is repeated to a request with the same `Idempotency-Key`.
    public var replaysFor = Interval.minutes(10)
    /// Open connections, of which one remote address may have a quarter. Beyond, the one that has waited longest for its
    /// client is closed for a new one. Each takes a file descriptor, which the mesh and the model servers need as well.
    public var connectionsMax = 1_024
    /// An awarded stream that has been silent this long gets its status and a sign of life. Shorter than the
    /// patience of people and proxies; longer than most first tokens take, so that real status codes stay
    /// possible.
    public var firstSignOfLife = Interval.seconds(2)
    /// Interval of further signs of life; proxies commonly cut after 30 to 60 s.
    public var signOfLifeEvery = Interval.seconds(5)

    public init() {}

    /// Whether only this machine can connect.
    var isLoopback: Bool {
        if host == "localhost" { return true }
        return (Endpoint("\(host):1") ?? Endpoint("[\(host)]:1"))?.isLoopback ?? false
    }
}

/// Why the HTTP surface could not start, and the fix.
public enum GatewayError: Error, Hashable, Sendable, CustomStringConvertible {
    case openWithoutKeys(host: String)
    case portTaken(host: String, port: Int)
    case cannotListen(host: String, port: Int, reason: String)

    public var description: String {
        switch self {
        case .openWithoutKeys(let host):
            "http.listen is \(host), which other machines can reach, and http.api_keys is empty"
        case .portTaken(let host, let port): "HTTP port \(port) on \(host) is taken"
        case .cannotListen(let host, let port, let reason):
            "can't listen for HTTP on \(host):\(port): \(reason)"
        }
    }

    public var fix: String {
        switch self {
        case .openWithoutKeys: "set a key, or listen on 127.0.0.1"
        case .portTaken: "stop the program that uses it, or set http.listen to a free port"
        case .cannotListen: "set http.listen to an address of this machine and a free port"
        }
    }
}
