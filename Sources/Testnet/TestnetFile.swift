import NodeConfiguration
import Primitives

/// A file in `testnet/`: which nodes to start, and how.
public struct TestnetFile: Sendable {
    /// One node of a testnet.
    public struct NodePlan: Sendable {
        public var name: String
        /// The name in the file, which all nodes made by one `count:` share.
        public var group: String
        /// What it sells: model name, GGUF file, price and pace; nil means that the node only asks.
        public var sale: Sale?
        /// False: accepts no channels, like a node behind a home router.
        public var inbound: Bool
        /// The NAT that `starling sim` puts before it; nil means one drawn from `links.nat`.
        public var nat: NAT?
        /// Whether the node must learn its address from its peers.
        public var learnsAddress: Bool
        /// How far its clock is ahead; nil means a value drawn from `clocks`.
        public var clockSkew: Interval?
    }
    /// Network address translators, named as in RFC 3489 §5; `Simulation.NATKind` says what each does.
    public enum NAT: String, Sendable, CaseIterable {
        case none
        case fullCone = "full-cone"
        case restricted
        case portRestricted = "port-restricted"
        case symmetric
    }
    /// Whether the operator states a node's address or the node learns it from its peers.
    enum Address: String, CaseIterable { case stated, learnt }
    /// One model that a node sells.
    public struct Sale: Sendable {
        public var model: String
        /// The path of a GGUF file; a relative one in a testnet's file starts in the folder `testnet/`.
        public var file: String
        /// The URL of a running model server; nil means a managed llama.cpp.
        public var url: String?
        /// The kind of that server, which decides whether it can continue another worker's text.
        public var backend: ServeSettings.Backend
        public var inputPrice: Int64
        public var cachedInputPrice: Int64
        public var outputPrice: Int64
        public var speed: Int
        public var slots: Int
    }
    /// The default question of `testnet ask`.
    public struct Question: Sendable {
        public var via: String
        public var model: String
        public var prompt: String
    }

    public var path: String
    /// Name of the testnet: the mesh's name without `testnet-`.
    public var name: String
    public var mesh: String
    public var seed: Int
    /// The first port; nil means any free ones.
    public var ports: Int?
    public var nodes: [NodePlan]
    public var question: Question?

    /// The number of nodes at the beginning of a file by which all others join.
    public static let entryNodes = 2
    /// The most processes on one machine.
    public static let nodeCountMax = 256

    /// Reads `text`; relative paths of models start in `folder`.
    public init(parsing text: String, path: String, folder: String) throws(ConfigurationError) {
        let root = try YAMLReader(parsing: text, source: .init(file: path))
        try root.allow(Self.keys + ScenarioFile.keys)
        try self.init(root, path: path, folder: folder)
    }

    static let keys = ["mesh", "seed", "ports", "nodes", "ask"]

    /// `busy` selects nodes in `events`; the others are names of files beside the nodes' own.
    private static let reservedNames = ["busy", "control", "supervisor"]

    /// Reads the part of `root` that describes the nodes. `size` scales the groups to this many nodes in all.
    init(
        _ root: YAMLReader, path: String, folder: String, countMax: Int = nodeCountMax, size: Int? = nil
    ) throws(ConfigurationError) {
        self.path = path
        mesh = try root.string("mesh") ?? "testnet-local"
        guard mesh.hasPrefix("testnet-"), Self.isName(mesh.dropFirst("testnet-".count)) else {
            throw root.child("mesh").failure(
                "`mesh` is \(mesh)",
                fix: "a testnet's mesh is named testnet-… (1 to \(Self.nameSizeMax) letters, digits, - and _)"
            )
        }
        name = String(mesh.dropFirst("testnet-".count))
        seed = try root.integer("seed", in: 0...Int(Int32.max)) ?? 1
        if let text = try root.string("ports"), text != "auto" {
            ports = try root.integer("ports", in: 1024...65000)
        }
        nodes = []
        var names: Set<String> = []
        let entries = root.child("nodes").entries
        guard !entries.isEmpty else {
            throw root.failure("no `nodes`", fix: "name at least one: `nodes: {ada: {}}`")
        }
        let scale = try Self.scale(entries.map(\.value), to: size)
        for (name, reader) in entries {
            guard (1...32).contains(name.utf8.count),
                name.utf8.allSatisfy({ (97...122).contains($0) || (48...57).contains($0) || $0 == 45 })
            else {
                throw reader.failure("a node is named `\(name)`", fix: "use lower-case letters, digits and -")
            }
            guard !Self.reservedNames.contains(name) else {
                throw reader.failure("a node is named `\(name)`", fix: "another name: this one has a meaning")
            }
            try reader.allow([
                "serves", "file", "url", "backend", "price", "speed", "slots", "count", "inbound", "nat",
                "address",
                "clock_skew",
            ])
            let sale = try Self.sale(reader, folder: folder)
            let count = scale(try reader.integer("count", in: 1...1_000_000) ?? 1)
            let inbound = try reader.boolean("inbound") ?? true
            guard nodes.count + count <= countMax else {
                throw root.child("nodes").failure(
                    "\(nodes.count + count) nodes",
                    fix: countMax > Self.nodeCountMax
                        ? "at most \(countMax)"
                        : "at most \(countMax) processes; use `starling sim` for more")
            }
            let nat = try reader.choice("nat", as: NAT.self)
            if let nat, nat != .none, nodes.count < Self.entryNodes {
                throw reader.child("nat").failure(
                    "`\(name)` is behind a NAT", fix: "remove it: all nodes join by the first two")
            }
            let learnsAddress = try reader.choice("address", as: Address.self) == .learnt
            let clockSkew = try reader.signedInterval("clock_skew")
            for index in 1...count {
                let own = count == 1 ? name : "\(name)\(index)"
                guard names.insert(own).inserted else {
                    throw reader.failure(
                        "two nodes are named `\(own)`: `\(name)` with `count: \(count)` makes the second",
                        fix: "rename one of them")
                }
                nodes.append(
                    NodePlan(
                        name: own, group: name, sale: sale,
                        inbound: inbound,
                        nat: nat, learnsAddress: learnsAddress, clockSkew: clockSkew))
            }
        }
        if let first = ports, first + 2 * nodes.count > 65536 {
            throw root.child("ports").failure(
                "`ports: \(first)` leaves no room for \(nodes.count) nodes", fix: "choose a lower first port")
        }
        let ask = root.child("ask")
        try ask.allow(["via", "model", "prompt"])
        if !ask.isAbsent {
            let via = try ask.string("via") ?? nodes[0].name
            guard nodes.contains(where: { $0.name == via }) else {
                throw ask.child("via").failure(
                    "`ask.via` is \(via), which is not a node of this file",
                    fix: Nearest.match(via, in: nodes.map(\.name)).map { "did you mean \($0)?" }
                        ?? "name one of the nodes")
            }
            question = Question(
                via: via, model: try ask.string("model") ?? "", prompt: try ask.string("prompt") ?? "Hello")
        }
    }

    static let nameSizeMax = 56

    /// Whether a testnet can have this name, which is also the name of its folder.
    static func isName(_ text: some StringProtocol) -> Bool {
        (1...nameSizeMax).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                $0 == 45 || $0 == 95 || ($0 | 32 >= 97 && $0 | 32 <= 122) || (48...57).contains($0)
            }
    }

    /// Groups grow and shrink in proportion; single nodes stay single.
    private static func scale(_ readers: [YAMLReader], to size: Int?) throws(ConfigurationError) -> (Int) ->
        Int
    {
        guard let size else { return { $0 } }
        var singles = 0
        var grouped = 0
        for reader in readers {
            let count = try reader.integer("count", in: 1...1_000_000) ?? 1
            if count == 1 { singles += 1 } else { grouped += count }
        }
        guard grouped > 0 else { return { $0 } }
        let wanted = Double(max(0, size - singles)) / Double(grouped)
        return { $0 == 1 ? 1 : max(2, Int((Double($0) * wanted).rounded())) }
    }

    private static func sale(_ reader: YAMLReader, folder: String) throws(ConfigurationError) -> Sale? {
        guard let model = try reader.modelName("serves") else { return nil }
        let price = reader.child("price")
        try price.allow(["input", "cached_input", "output"])
        let input = try price.microCredits("input") ?? 0
        let url = try reader.serverURL("url")
        let backend = try reader.choice("backend", as: ServeSettings.Backend.self)
        guard (backend ?? .managed) == .managed || url != nil else {
            throw reader.child("backend").failure(
                "a `backend` has no `url`", fix: "say where it listens, such as url: http://127.0.0.1:8000")
        }
        let file = try reader.string("file") ?? "models/\(model).gguf"
        return Sale(
            model: model, file: file.hasPrefix("/") ? file : "\(folder)/\(file)",
            url: url, backend: backend ?? (url == nil ? .managed : .openai),
            inputPrice: input, cachedInputPrice: try price.microCredits("cached_input") ?? input / 10,
            outputPrice: try price.microCredits("output") ?? 0,
            speed: try reader.integer("speed", in: 0...1_000_000) ?? 0,
            slots: try reader.integer("slots", in: 1...1024) ?? 1)
    }
}
