import Primitives

/// One node's configuration file, checked. `starling init` writes one with every key explained.
public struct NodeSettings: Sendable {
    public var name: String
    public var mesh: MeshSettings
    public var http: HTTPSettings
    public var serve: [ServeSettings]
    public var sell: SellSettings
    public var deny: [PublicKey]
    /// The owner's names for other nodes.
    public var names: NodeNames
    public var ask: AskSettings
    public var settle: SettleSettings
    public var log: LogSettings
    /// The folder of the key and the database.
    public var data: String
    /// What the file says, by path.
    private let leaves: [String: String]

    /// Reads `text`. `home` replaces `~`. Throws an error that names the line and the fix.
    public init(parsing text: String, source: YAMLReader.Source, home: String) throws(ConfigurationError) {
        let root = try YAMLReader(parsing: text, source: source)
        leaves = root.leaves
        try root.allow([
            "name", "mesh", "http", "serve", "sell", "deny", "names", "ask", "settle", "log", "data",
        ])
        name = try root.string("name") ?? ""
        guard name.utf8.count <= 32 else {
            throw root.child("name").failure("`name` is longer than 32 bytes", fix: "shorten it")
        }
        guard name.isPlain else {
            throw root.child("name").failure(
                "`name` holds control characters", fix: "write it with letters, digits and spaces")
        }
        mesh = try MeshSettings(root.child("mesh"))
        http = try HTTPSettings(root.child("http"))
        names = try NodeNames(root.child("names"))
        serve = []
        for entry in try root.list("serve") { serve.append(try ServeSettings(entry, names)) }
        if serve.count > 8 {
            throw root.child("serve").failure(
                "`serve` has \(serve.count) entries",
                fix: "a node sells at most 8 models; start another node")
        }
        sell = try SellSettings(root.child("sell"))
        deny = try Self.keys(root, "deny")
        ask = try AskSettings(root.child("ask"))
        if !ask.keys.isEmpty, http.apiKeys.isEmpty {
            throw root.child("ask").child("keys").failure(
                "`ask.keys` has keys for clients, and there is none for you in `http.api_keys`",
                fix:
                    "set http.api_keys: [a-long-random-text], which alone may change prices, pause the node and see"
                    + " all usage")
        }
        settle = try SettleSettings(root.child("settle"))
        log = try LogSettings(root.child("log"))
        let folder = try root.string("data") ?? "~/.local/share/starling"
        data = folder.hasPrefix("~/") ? home + folder.dropFirst(1) : folder
        try root.checkOverrides(others: Self.otherVariables)
        // A file that was cut off must not become another node.
        guard !root.saysNothing else {
            throw ConfigurationError(
                file: source.file, line: nil, problem: "the file is empty",
                fix: "write one with `starling init --force`, or `mesh: {}` for a node with every default")
        }
    }

    /// The keys of which the two files say otherwise, by path.
    public func changes(from other: NodeSettings) -> [String] {
        Set(leaves.keys).union(other.leaves.keys).filter { leaves[$0] != other.leaves[$0] }.sorted()
    }

    /// Whether a running node takes a new value of this key from its file.
    public static func canChange(_ path: String) -> Bool {
        if ["ask.", "settle.", "http.api_keys"].contains(where: path.hasPrefix) { return true }
        guard path.hasPrefix("serve["), let end = path.firstIndex(of: "]") else { return false }
        let key = path[end...].dropFirst(2).prefix { $0 != "." && $0 != "[" }
        return TermsSettings.keys.contains(String(key))
    }

    /// Variables for other commands, for tests and for scripts, which a node inherits and ignores.
    private static let otherVariables = [
        "VIA", "API_KEY", "TESTNET", "CORE_ONLY", "LOOP_ONLY", "WERROR", "OFFLINE", "BENCH_STDERR", "FUZZ",
        "FUZZ_INPUT", "WIRE_OUT", "HOME", "PROJECT",
    ].map { "STARLING_" + $0 }

    private static func keys(_ root: YAMLReader, _ name: String) throws(ConfigurationError) -> [PublicKey] {
        var keys: [PublicKey] = []
        for text in try root.strings(name) {
            guard let key = PublicKey(text) else {
                throw root.child(name).failure(
                    "`\(name)` holds \(text), which is not a public key",
                    fix: "copy the 52 characters that `starling status` of that node shows")
            }
            keys.append(key)
        }
        return keys
    }
}

/// The mesh, and how this node is reached in it.
public struct MeshSettings: Sendable {
    public var name: String
    public var join: [PeerURL]
    public var listen: Endpoint
    /// The address that others should dial, when a port was forwarded by hand.
    public var publicEndpoint: Endpoint?
    /// Secret of a private mesh: packets of nodes without it are dropped before any work.
    public var secret: String?
    /// False: the node accepts no channels, says so, and dials instead.
    public var inbound: Bool
    /// Derives the keys of a testnet; refused outside meshes named `testnet-…`.
    public var seed: String?

    /// Whoever holds a packet can try secrets against it, as fast as a hash function runs.
    static let secretSizeMin = 16

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow(["name", "join", "port", "address", "public", "secret", "inbound", "seed"])
        name = try reader.string("name") ?? "main"
        guard (1...64).contains(name.utf8.count) else {
            throw reader.child("name").failure(
                "`mesh.name` must have 1 to 64 bytes", fix: "choose another name")
        }
        join = []
        for text in try reader.strings("join") {
            guard let peer = PeerURL(text) else {
                throw reader.child("join").failure(
                    "`mesh.join` holds \(text)",
                    fix: text.split(separator: "@").last.flatMap { Endpoint.fix(ofName: String($0)) }
                        ?? "write starling://PUBLICKEY@address:port, as a node's `starling status` shows it")
            }
            join.append(peer)
        }
        let port = try reader.integer("port", in: 0...65535) ?? 7827
        let address = try reader.string("address") ?? "0.0.0.0"
        guard let endpoint = Endpoint("\(address.contains(":") ? "[\(address)]" : address):\(port)") else {
            throw reader.child("address").failure(
                "`mesh.address` is \(address)",
                fix: Endpoint.fix(ofName: address) ?? "give an IP address, such as 0.0.0.0")
        }
        listen = endpoint
        if let text = try reader.string("public") {
            guard let endpoint = Endpoint(text), endpoint.isUnicast else {
                throw reader.child("public").failure(
                    "`mesh.public` is \(text)",
                    fix: Endpoint.fix(ofName: text) ?? "give address:port, such as 203.0.113.7:7827")
            }
            publicEndpoint = endpoint
        }
        secret = try reader.string("secret")
        if let secret, secret.utf8.count < Self.secretSizeMin {
            throw reader.child("secret").failure(
                "`mesh.secret` has fewer than \(Self.secretSizeMin) bytes, so that it can be guessed",
                fix: "write a long random text, such as what `openssl rand -base64 24` prints")
        }
        inbound = try reader.boolean("inbound") ?? true
        seed = try reader.string("seed")
        if seed != nil, !name.hasPrefix("testnet-") {
            throw reader.child("seed").failure(
                "`mesh.seed` makes keys that anybody can derive",
                fix: "remove it, or use a mesh named testnet-…")
        }
    }
}

/// `starling://PUBLICKEY@address:port`: a node to join by.
public struct PeerURL: Hashable, Sendable, CustomStringConvertible {
    public var key: PublicKey
    public var endpoint: Endpoint

    public init(key: PublicKey, endpoint: Endpoint) {
        self.key = key
        self.endpoint = endpoint
    }

    /// Parses the URL; nil when it has another form or the endpoint is not unicast.
    public init?(_ text: some StringProtocol) {
        guard text.hasPrefix("starling://") else { return nil }
        let rest = text.dropFirst("starling://".count)
        guard let at = rest.firstIndex(of: "@"), let key = PublicKey(rest[..<at]),
            let endpoint = Endpoint(String(rest[rest.index(after: at)...])), endpoint.isUnicast
        else { return nil }
        self.init(key: key, endpoint: endpoint)
    }

    public var description: String { "starling://\(key)@\(endpoint)" }
}

extension Endpoint {
    /// What to write instead of a name where an address must stand; nil when `text` is no name. Names are not looked up:
    /// whoever answers for one could move the node, and a signed contact holds addresses.
    static func fix(ofName text: String) -> String? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let host = parts.first, host.contains(where: \.isLetter),
            host.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" || $0 == "." || $0 == "_" })
        else { return nil }
        let port = parts.count == 2 ? ":\(parts[1])" : ""
        return host == "localhost"
            ? "names aren't looked up: write 127.0.0.1\(port)"
            : "names aren't looked up: write the address of \(host) (`getent hosts \(host)` shows it)"
    }
}

/// Defaults for this node's own tasks.
public struct AskSettings: Sendable {
    /// Micro-credits per million tokens.
    public var maxInputPrice: Int64
    public var maxOutputPrice: Int64
    public var maxCost: Money
    /// Micro-credits that one second less of waiting is worth.
    public var timePerSecond: Int
    public var minTrust: Double
    /// Request fields beyond the table of `Protocol/http.md` that clients may send, to sellers that allow them.
    public var allowFields: [String]
    /// What all of them may cost in a UTC day; nil: any amount.
    public var creditsPerDay: Money?
    /// API keys of clients, beside the owner's in `http.api_keys`.
    public var keys: [ClientKeySettings]

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow([
            "max_price", "max_cost", "value_of_time", "min_trust", "allow_fields", "credits_per_day", "keys",
        ])
        let price = reader.child("max_price")
        try price.allow(["input", "output"])
        // A price is whatever a seller writes: without limits one answer could cost any amount.
        maxInputPrice = try price.microCredits("input") ?? 10_000_000
        maxOutputPrice = try price.microCredits("output") ?? 30_000_000
        maxCost = Money(microCredits: try reader.microCredits("max_cost") ?? 1_000_000)
        timePerSecond = try reader.integer("value_of_time", in: 0...1_000_000_000) ?? 40
        minTrust = try reader.number("min_trust", in: 0...1) ?? 0
        allowFields = try reader.strings("allow_fields")
        creditsPerDay = try reader.microCredits("credits_per_day").map { Money(microCredits: $0) }
        keys = []
        for entry in try reader.list("keys") {
            let key = try ClientKeySettings(entry)
            if keys.contains(where: { $0.name == key.name || $0.secret == key.secret }) {
                throw entry.failure(
                    "`\(entry.path)` has the name or the key of another", fix: "give each its own")
            }
            keys.append(key)
        }
        guard keys.count <= ClientKeySettings.countMax else {
            throw reader.child("keys").failure(
                "`ask.keys` has \(keys.count) entries", fix: "give at most \(ClientKeySettings.countMax)")
        }
    }
}

/// What the node logs on stderr, and in which form.
public struct LogSettings: Sendable {
    public enum Level: String, CaseIterable, Sendable {
        case trace, debug, info, notice, warning, error, critical
    }
    public enum Format: String, CaseIterable, Sendable { case text, json }
    public var level: Level
    public var format: Format

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow(["level", "format"])
        level = try reader.choice("level", as: Level.self) ?? .notice
        format = try reader.choice("format", as: Format.self) ?? .text
    }
}
