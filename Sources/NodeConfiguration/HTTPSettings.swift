import Primitives

/// The OpenAI-compatible HTTP surface for this node's own clients.
public struct HTTPSettings: Sendable {
    public var listen: Endpoint
    public var apiKeys: [String]
    /// Origins of web pages, as a browser writes them, or `*`.
    public var origins: [String]
    /// Names by which clients call this node, in lower case.
    public var hosts: [String]

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow(["listen", "api_keys", "origins", "hosts"])
        let text = try reader.string("listen") ?? "127.0.0.1:7828"
        guard let endpoint = Endpoint(text) else {
            throw reader.child("listen").failure(
                "`http.listen` is \(text)",
                fix: Endpoint.fix(ofName: text) ?? "give address:port, such as 127.0.0.1:7828")
        }
        listen = endpoint
        apiKeys = try reader.strings("api_keys")
        origins = try reader.strings("origins").map { $0.lowercased() }
        for origin in origins {
            if let fix = Self.fix(origin: origin) {
                throw reader.child("origins").failure(
                    "`http.origins` holds \(origin), which no browser sends as an origin", fix: fix)
            }
        }
        hosts = try reader.strings("hosts").map { $0.lowercased() }
        for host in hosts where !Self.isName(host) {
            throw reader.child("hosts").failure(
                "`http.hosts` holds \(host), which is not a name",
                fix: "write the name alone, such as attic.lan (addresses and localhost need not be listed)")
        }
        if !endpoint.isLoopback, apiKeys.isEmpty {
            throw reader.child("listen").failure(
                "`http.listen` is \(text), which strangers can reach, and there is no `http.api_keys`",
                fix: "listen on 127.0.0.1, or set http.api_keys: [a-long-random-text]")
        }
    }

    /// What to write instead of an origin that would never match. A browser sends scheme and host, and the port unless it
    /// is the scheme's own; never a path.
    private static func fix(origin: String) -> String? {
        let form =
            "write scheme://host or scheme://host:port, such as http://localhost:3000, or \"*\" for every page"
        if origin == "*" { return nil }
        guard let end = origin.firstRange(of: "://"), end.lowerBound > origin.startIndex else { return form }
        let scheme = origin[..<end.lowerBound]
        let rest = origin[end.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let (host, port) = split(authority)
        let isHost = isName(host) || Endpoint("\(host):1") != nil
        guard isHost, port.map({ UInt16($0) != nil }) ?? true else { return form }
        let own = ["http": "80", "https": "443"][String(scheme)]
        let meant = "\(scheme)://\(host)" + (port == nil || port == own ? "" : ":\(port ?? "")")
        return meant == origin ? nil : "write \(meant)"
    }

    /// A host, in brackets if it is an IPv6 address, and its port.
    private static func split(_ authority: Substring) -> (host: String, port: String?) {
        guard let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") else {
            return (String(authority), nil)
        }
        return (String(authority[..<colon]), String(authority[authority.index(after: colon)...]))
    }

    private static func isName(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D || $0 == 0x2E
                    || $0 == 0x5F
            }
    }
}
