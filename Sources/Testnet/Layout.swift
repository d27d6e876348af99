import Cryptography
import FoundationEssentials
import Glibc
import Primitives

/// Paths of a running testnet's files: `testnet/.run/NAME/`.
public struct Layout: Sendable {
    let root: String
    public let folder: String

    public init(root: String, name: String) {
        self.root = root
        folder = "\(root)/.run/\(name)"
    }

    public var state: String { "\(folder)/state.json" }
    var control: String { "\(folder)/control" }
    var events: String { "\(folder)/events.jsonl" }
    var supervisorLog: String { "\(folder)/supervisor.log" }
    func config(_ node: String) -> String { "\(folder)/\(node).yaml" }
    func data(_ node: String) -> String { "\(folder)/\(node)" }
    func log(_ node: String) -> String { "\(folder)/\(node).log" }
}

/// One node of a running testnet, as `state.json` records it.
public struct NodeRecord: Codable, Sendable {
    public var name: String
    public var role: String
    public var models: [String]
    public var nodeID: String
    public var publicKey: String
    public var udp: String
    public var http: String
    public var config: String
    public var log: String
    /// 0 if it was never started.
    public var pid: Int32
    /// Clock ticks after boot at which the process started: tells it from a later process with the same pid.
    public var startTicks: UInt64
    public var since: Date
    public var exit: Exit?

    public struct Exit: Codable, Sendable {
        public var at: Date
        public var signal: Int32?
        public var status: Int32?
    }

    enum CodingKeys: String, CodingKey {
        case name, role, models, nodeID = "node_id", publicKey = "public_key", udp, http, config, log, pid,
            startTicks = "start_ticks", since, exit
    }
}

/// The content of `state.json`.
public struct TestnetState: Codable, Sendable {
    public var file: String
    /// Hash of the file's plan: `up` with an unchanged plan has nothing to do.
    public var plan: String
    public var program: String
    public var supervisor: Int32
    public var supervisorTicks: UInt64
    public var nodes: [NodeRecord]

    enum CodingKeys: String, CodingKey {
        case file, plan, program, supervisor, supervisorTicks = "supervisor_ticks", nodes
    }

    /// Reads the state; nil when there is none or it can't be read.
    public static func load(_ layout: Layout) -> TestnetState? {
        guard let data = FileManager.default.contents(atPath: layout.state) else { return nil }
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .secondsSince1970
        return try? decoder.decode(TestnetState.self, from: data)
    }

    /// Atomic: a reader sees either the old file or the new one.
    public func save(_ layout: Layout) throws {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .secondsSince1970
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(self).write(to: URL(fileURLWithPath: layout.state), options: .atomic)
    }
}

extension TestnetFile {
    /// The seed text of a node's key: the same file always gives the same ids.
    func keySeed(_ node: String) -> String { "\(mesh)/\(seed)/\(node)" }

    /// The text of each node's configuration file, and the records before any start. `port(i)` returns the
    /// first port of a free pair.
    func lay(out layout: Layout, port: (Int) -> Int) -> [(record: NodeRecord, yaml: String)] {
        let keys = nodes.map { Identity(testnetSeed: keySeed($0.name)) }
        let ports = nodes.indices.map(port)
        return nodes.indices.map { index in
            let node = nodes[index]
            var yaml = """
                # Made by `starling testnet up \(path)`; changes are lost.
                name: \(node.name)
                data: \(quoted(layout.data(node.name)))
                mesh:
                  name: \(mesh)
                  address: 127.0.0.1
                  port: \(ports[index])
                  inbound: \(node.inbound)
                  seed: \(quoted(keySeed(node.name)))
                  join:

                """
            // Every node joins by the first three: were there only one, its early death would split the mesh.
            for other in nodes.indices.prefix(3) where other != index {
                yaml += "    - starling://\(keys[other].publicKey)@127.0.0.1:\(ports[other])\n"
            }
            yaml += "names:\n"
            for other in nodes.indices where other != index {
                yaml += "  \(nodes[other].name): \(keys[other].publicKey)\n"
            }
            yaml += "http: {listen: \"127.0.0.1:\(ports[index] + 1)\"}\n"
            if let sale = node.sale {
                yaml += "serve:\n  - model: \(quoted(sale.model))\n    sell_as: \(quoted(sale.model))\n"
                yaml +=
                    sale.url.map { "    backend: \(sale.backend.rawValue)\n    url: \(quoted($0))\n" }
                    ?? "    backend: managed\n    file: \(quoted(sale.file))\n"
                yaml += """
                        price: {input: \(MicroCredits.text(sale.inputPrice)), cached_input: \(MicroCredits.text(sale.cachedInputPrice)), output: \(MicroCredits.text(sale.outputPrice))}
                        slots: \(sale.slots)
                        speed: \(sale.speed)

                    """
            }
            let record = NodeRecord(
                name: node.name, role: node.sale == nil ? "asks" : "sells",
                models: node.sale.map { [$0.model] } ?? [],
                nodeID: keys[index].nodeID.description, publicKey: keys[index].publicKey.description,
                udp: "127.0.0.1:\(ports[index])", http: "http://127.0.0.1:\(ports[index] + 1)",
                config: layout.config(node.name),
                log: layout.log(node.name), pid: 0, startTicks: 0, since: Date(), exit: nil)
            return (record, yaml)
        }
    }

    private func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
