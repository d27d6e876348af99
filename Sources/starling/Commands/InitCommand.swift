import ArgumentParser
import Foundation
import Inference
import NodeConfiguration
import Primitives
import Store

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Find the model servers that run here; write the key and the configuration.",
        discussion: """
            Looks for Ollama (11434), llama.cpp (8080), vLLM (8000) and LM Studio \
            (1234) on this machine, and writes a commented configuration that sells \
            the first model found. Nothing is sold before you run `starling node`; \
            read the file first. An existing key is kept, an existing configuration \
            only replaced with --force.

              starling init --join starling://PUBLICKEY@203.0.113.7:7827

            `starling status` of a running node shows its address in this form.
            """)

    @Option(
        help: ArgumentHelp(
            "Write the configuration here. Default: ~/.config/starling/node.yaml", valueName: "FILE"))
    var config: String?
    @Option(
        help: ArgumentHelp(
            "Folder of the key and the database. Default: ~/.local/share/starling", valueName: "DIR"))
    var data: String?
    @Option(help: ArgumentHelp("A display name.", valueName: "NAME")) var name: String?
    @Option(
        help: ArgumentHelp(
            "A node to join by (may be repeated): starling://PUBLICKEY@address:port.", valueName: "URL"))
    var join: [String] = []
    @Flag(inversion: .prefixedNo, help: "Look for model servers.") var detect = true
    @Option(
        help: ArgumentHelp("Look here instead of at the usual ports (may be repeated).", valueName: "URL"))
    var at: [String] = []
    @Flag(help: "Replace an existing configuration.") var force = false

    func validate() throws {
        for text in join where PeerURL(text) == nil {
            throw ValidationError("--join \(text): write starling://PUBLICKEY@address:port")
        }
        for url in at where !YAMLReader.isServerURL(url) {
            throw ValidationError("--at \(url): write http://host:port")
        }
        if let name, name.utf8.count > 32 { throw ValidationError("--name \(name) is longer than 32 bytes") }
    }

    func run() async throws {
        try await reporting {
            let path = config ?? NodeCommand.defaultConfigPath
            if FileManager.default.fileExists(atPath: path), !force {
                throw fail("\(path) exists", fix: "edit it, or replace it with --force", .configuration)
            }
            let folder =
                data
                ?? (ProcessInfo.processInfo.environment["XDG_DATA_HOME"] ?? homeFolder + "/.local/share")
                + "/starling"
            let servers = detect ? detectModelServers(at: at.isEmpty ? usualModelServerURLs : at) : []
            for server in servers {
                remark(
                    "  found    \(title(server)) at \(server.url): \(server.models.isEmpty ? "no model yet" : server.models.map(describe).joined(separator: ", "))"
                )
            }
            if detect {
                for url in at where !servers.contains(where: { "http://\(url)".contains($0.url) }) {
                    remark("  found    no model server at \(url): nothing answers there as one")
                }
                if servers.isEmpty {
                    let place = at.isEmpty ? "no model server on this machine: " : ""
                    remark("  found    \(place)this node will only ask (a commented example is in the file)")
                }
            }
            let identity = try KeyFile.loadOrCreate(folder + "/key")
            let text = document(servers, folder: folder)
            _ = try NodeSettings(parsing: text, source: .init(file: path), home: homeFolder)
            let parent = (path as NSString).deletingLastPathComponent
            do {
                if !parent.isEmpty {
                    try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
                }
                try text.write(toFile: path, atomically: true, encoding: .utf8)
            } catch {
                throw fail(
                    "\(path) can't be written: \(cause(error))", fix: "choose another place with --config",
                    .configuration)
            }
            if let (_, model) = firstModel(servers) {
                remark(
                    "  sell     \(Printable.line(model.name)), 1 slot, 0.10 in / 0.40 out credits per million tokens (change it in the file)"
                )
            }
            remark("  wrote    \(path)    key in \(folder)/key (0600; back it up, it is you)")
            remark(
                "  node     \(identity.nodeID.short)    next: read the file, then `starling node\(config == nil ? "" : " --config \(path)")`"
            )
        }
    }

    private func title(_ server: FoundModelServer) -> String {
        switch server.dialect {
        case .ollama: "Ollama"
        case .llamaCpp: "llama.cpp"
        case .vllm: "vLLM"
        case .openAI: "an OpenAI-compatible server"
        }
    }

    private func describe(_ model: ModelDescription) -> String {
        let details = [model.quantization.map(Printable.line), model.context.map { "context \($0)" }]
            .compactMap { $0 }
        return Printable.line(model.name) + (details.isEmpty ? "" : " (\(details.joined(separator: ", ")))")
    }

    private func firstModel(_ servers: [FoundModelServer]) -> (FoundModelServer, ModelDescription)? {
        servers.lazy.compactMap { server in server.models.first.map { (server, $0) } }.first
    }

    private func entry(_ backend: String, _ url: String, _ model: ModelDescription, live: Bool) -> String {
        let mark = live ? "" : "# "
        return [
            "- backend: \(backend)           # ollama | llama.cpp | vllm | openai | managed (starts llama.cpp for `file:`)",
            "  url: \(url)",
            "  model: \(quoted(model.name))           # its name there",
            "  # sell_as: \(quoted(ModelName(model.name, isOllama: backend == "ollama").canonical))       # the name it is sold under",
            "  slots: \(live ? 1 : Int(model.slots ?? 1))                 # answers at a time",
            "  price: {input: 0.10, cached_input: 0.01, output: 0.40}    # credits per million tokens",
            model.context.map { "  # context: \($0)          # found" } ?? "  # context: 8192",
            "  # speed: 0                # pace answers to tokens/s; 0: as fast as it goes",
            "  # features: []            # what else it can do: tools, images, embedding",
            "  # allow_fields: []        # request fields beyond OpenAI's that strangers may set",
        ].map { "  \(mark)\($0)" }.joined(separator: "\n") + "\n"
    }

    private func document(_ servers: [FoundModelServer], folder: String) -> String {
        var sale = ""
        let chosen = firstModel(servers)
        for server in servers {
            for model in server.models {
                let isLive = chosen.map { $0.0 == server && $0.1 == model } ?? false
                sale += entry(server.dialect.rawValue, server.url, model, live: isLive)
            }
        }
        if sale.isEmpty {
            sale = entry("ollama", "http://127.0.0.1:11434", ModelDescription(name: "qwen3:8b"), live: false)
        }
        let joins = join.isEmpty ? " []" : "\n" + join.map { "    - \($0)" }.joined(separator: "\n")
        return """
            # Starling node. Unknown keys are errors. Every key can be set as STARLING_… (STARLING_MESH_PORT) or by
            # `starling node --set mesh.port=7827`, lists with commas; flags win. Commented lines show defaults.

            name: \(quoted(name ?? hostName()))       # display name; the key identifies the node
            mesh:
              name: main
              join:\(joins)                # starling://PUBLICKEY@address:port; empty: start a mesh of your own
              port: 7827                  # UDP and TCP: the one to forward in your router
              # address: 0.0.0.0          # in a mesh of one local network: this machine's address there
              # public: 203.0.113.7:7827  # where others reach you, if you know it (a forwarded port)
              # inbound: true             # false: other nodes can't dial this one; it dials them
              # secret: a long random text  # a private mesh: all its nodes have the same; outsiders get no answer

            http:                         # the API for your own clients; other nodes never use it
              listen: 127.0.0.1:7828      # any other address needs api_keys
              # api_keys: []
              # origins: []               # web pages that may call it

            serve:                        # what you sell; empty: you only ask
            \(sale)
            # sell: {strangers_share: 50}  # percent of the slots for nodes that never paid here; 100: all, 0: almost none
            # deny: []                    # public keys never served or asked
            # names: {}                   # your names for nodes, as in {ada: PUBLICKEY}; a node's own label finds nothing
            ask:                          # defaults for your own tasks; a request may override
              # max_price: {input: 10, output: 30}  # credits per million tokens
              # max_cost: 1.00            # credits for one task
              value_of_time: 40           # µcr that a second of waiting is worth to you
              # min_trust: 0
            # log: {level: notice, format: text}
            data: \(quoted(folder))

            """
    }

    private func hostName() -> String {
        String(ProcessInfo.processInfo.hostName.split(separator: ".").first ?? "node").lowercased()
    }

    private func quoted(_ text: String) -> String {
        let plain = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\"" + plain.unicodeScalars.map(escaped).joined() + "\""
    }

    /// A character inside YAML's double quotes.
    private func escaped(_ scalar: Unicode.Scalar) -> String {
        let text = String(scalar)
        return Printable.line(text) == text ? text : String(format: "\\U%08x", scalar.value)
    }
}
