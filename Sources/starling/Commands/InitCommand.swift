import ArgumentParser
import Cryptography
import FoundationEssentials
import Glibc
import Inference
import NodeConfiguration
import NodeRuntime
import Primitives
import Store
import UVLoop

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Find the model servers that run here; write the key and the configuration.",
        discussion: """
            Looks for Ollama (11434), llama.cpp (8080), vLLM (8000) and LM Studio \
            (1234) on this machine, and writes a commented configuration that sells \
            the first model found, by name, or those that --model names; the others \
            are in it as comments. Nothing is sold before you run `starling node`; \
            read the file first. An existing key is kept, an existing configuration \
            only replaced with --force.

              starling init --join starling://PUBLICKEY@203.0.113.7:7827
              starling init --model qwen3:8b --price 0.10/0.40
              starling init --data ~/second --port 7837     # a second node

            `starling status` of a running node shows its address in this form.
            """)

    @Option(
        help: ArgumentHelp(
            "Write the configuration here. Default: node.yaml in the folder of --data, else ~/.config/starling/node.yaml.",
            valueName: "FILE"))
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
    @Option(
        help: ArgumentHelp(
            "Sell this model, by its name at its server (may be repeated).", valueName: "MODEL"))
    var model: [String] = []
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Credits per million tokens in and out, or out alone.", valueName: "IN/OUT"))
    var price = "0.10/0.40"
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The mesh's port, UDP and TCP. The API for your clients gets the next one.", valueName: "PORT"))
    var port: UInt16 = 7827
    @Option(
        help: ArgumentHelp(
            "Address of the API for your clients. Any but this machine's own needs keys: one is made.",
            valueName: "ADDRESS:PORT"))
    var listen: String?
    @Flag(inversion: .prefixedNo, help: "Look for model servers.") var detect = true
    @Option(
        help: ArgumentHelp("Look here instead of at the usual ports (may be repeated).", valueName: "URL"))
    var at: [String] = []
    @Flag(help: "Replace an existing configuration.") var force = false

    func validate() throws {
        for text in join where PeerURL(text) == nil {
            throw ValidationError(
                text.contains("@ADDRESS:")
                    ? "--join \(text): that node doesn't know its address yet; write the one at which this machine reaches it for ADDRESS, and its mesh port, usually 7827"
                    : "--join \(text): write starling://PUBLICKEY@address:port")
        }
        for url in at where !YAMLReader.isServerURL(url) {
            throw ValidationError("--at \(url): write http://host:port")
        }
        if let listen, Endpoint(listen) == nil {
            throw ValidationError("--listen \(listen): write address:port, such as 127.0.0.1:7828")
        }
        guard prices != nil else {
            throw ValidationError("--price \(price): write credits per million tokens, such as 0.10/0.40")
        }
        guard (1..<65535).contains(port) else { throw ValidationError("--port \(port): give 1 to 65534") }
        if !model.isEmpty, !detect {
            throw ValidationError("--model needs the servers' names: drop --no-detect")
        }
        if let name, name.utf8.count > 32 { throw ValidationError("--name \(name) is longer than 32 bytes") }
    }

    func run() async throws {
        try await reporting {
            let path = absolute(
                config ?? data.map { $0 + "/node.yaml" } ?? NodeCommand.defaultConfigPath)
            if FileManager.default.fileExists(atPath: path), !force {
                throw fail("\(path) exists", fix: "edit it, or replace it with --force", .configuration)
            }
            let folder = absolute(
                data
                    ?? (ProcessInfo.processInfo.environment["XDG_DATA_HOME"] ?? homeFolder + "/.local/share")
                    + "/starling")
            let servers = detect ? detectModelServers(at: at.isEmpty ? usualModelServerURLs : at) : []
            for server in servers {
                let problem = server.problem.map { Printable.line($0.message) }
                let what =
                    server.models.isEmpty
                    ? problem ?? "no model yet" : server.models.map(describe).joined(separator: ", ")
                remark("  found    \(server.dialect.title) at \(server.url): \(what)")
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
            let sold = try chosen(servers)
            // Other machines can reach it.
            let apiKey = api.isLoopback ? nil : Base32.encode(Array(SecureRandom.bytes32().bytes.prefix(20)))
            let identity = try KeyFile.loadOrCreate(in: folder)
            let text = document(servers, sold, apiKey, folder: folder)
            _ = try NodeSettings(parsing: text, source: .init(file: path), home: homeFolder)
            let parent = path.parentPath
            do {
                if !parent.isEmpty {
                    try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
                }
                // It may hold secrets.
                try NewFile.write(Array(text.utf8), to: path, replaces: force)
            } catch {
                throw fail(
                    "\(path) can't be written: \((error as? NewFile.Failure)?.reason ?? cause(error))",
                    fix: "choose another place with --config", .configuration)
            }
            for item in sold {
                let slots = counted(item.model.slots ?? 1, "slot")
                remark(
                    "  sell     \(Printable.line(item.model.name)), \(slots), \(prices?.input ?? "") in / \(prices?.output ?? "") out credits per million tokens (change it in the file)"
                )
            }
            let others = servers.flatMap(\.models).count - sold.count
            if model.isEmpty, others > 0 {
                remark("           \(counted(others, "other model")) found: --model NAME sells another")
            }
            if let apiKey { remark("  api key  \(apiKey)    (in the file; your clients send it)") }
            remark("  wrote    \(path)")
            remark("  key      \(DataFolder.keyPath(in: folder)) (0600; back it up, it is you)")
            let isUsual = path == absolute(NodeCommand.defaultConfigPath)
            remark("  node     \(identity.nodeID.short)    next: read the file, then")
            remark("             starling node\(isUsual ? "" : " --config \(shellQuoted(path))")")
            // Without --via a command talks to the node of the usual file.
            if !isUsual {
                let door = api.isUnicast ? api : .loopback(api.port)
                remark(
                    "             starling status --via http://\(door)\(apiKey.map { " --api-key \($0)" } ?? "")"
                )
            }
        }
    }

    private func describe(_ model: ModelDescription) -> String {
        let details = [model.quantization.map(Printable.line), model.context.map { "context \($0)" }]
            .compactMap { $0 }
        return Printable.line(model.name) + (details.isEmpty ? "" : " (\(details.joined(separator: ", ")))")
    }

    fileprivate struct Sold: Equatable {
        var server: FoundModelServer
        var model: ModelDescription
    }

    /// The models that `--model` names, each at the first server that has it; else the first of all, by name.
    private func chosen(_ servers: [FoundModelServer]) throws -> [Sold] {
        let all = servers.flatMap { server in
            server.models.sorted { $0.name < $1.name }.map { Sold(server: server, model: $0) }
        }
        if model.isEmpty { return Array(all.prefix(1)) }
        var sold: [Sold] = []
        for name in model {
            guard
                let found = all.first(where: { $0.model.name == name })
                    ?? all.first(where: { $0.isCalled(name) })
            else {
                let names = all.map(\.model.name)
                throw fail(
                    "no model server here has \(name)",
                    fix: names.isEmpty
                        ? "start one, or say where it is: --at http://host:port"
                        : Nearest.match(name, in: names).map { "did you mean \(Printable.line($0))?" }
                            ?? "name one of \(Printable.line(Nearest.list(Array(names.prefix(8)))))",
                    .unavailable)
            }
            if !sold.contains(found) { sold.append(found) }
        }
        return sold
    }

    /// As the file states them.
    private var prices: (input: String, cached: String, output: String)? {
        let parts = price.split(separator: "/", omittingEmptySubsequences: false).map {
            $0.filter { $0 != " " }
        }
        guard (1...2).contains(parts.count), let first = parts.first, let last = parts.last,
            let input = MicroCredits.parse(parts.count == 2 ? first : "0"), MicroCredits.parse(last) != nil
        else { return nil }
        return (parts.count == 2 ? first : "0", MicroCredits.text(input / 10), last)
    }

    private var api: Endpoint { listen.flatMap { Endpoint($0) } ?? .loopback(port &+ 1) }

    /// The address to state for the mesh, if the nodes to join by are on this machine or in its local network.
    private var localAddress: String? {
        let endpoints = join.compactMap { PeerURL($0)?.endpoint }
        guard let first = endpoints.first, endpoints.allSatisfy(\.isPrivate) else { return nil }
        if endpoints.allSatisfy(\.isLoopback) { return "127.0.0.1" }
        let own = ThisMachine.addresses().filter(\.isPrivate)
        return (own.first { $0.prefix == first.prefix } ?? own.first { $0.isIPv4 == first.isIPv4 })?.host
    }

    private func entry(_ backend: String, _ url: String, _ model: ModelDescription, live: Bool) -> String {
        let mark = live ? "" : "# "
        let price = prices ?? ("0.10", "0.01", "0.40")
        let queue = ServeSettings.usualQueue(slots: Int(model.slots ?? 1))
        return [
            "- backend: \(backend)           # ollama | llama.cpp | vllm | openai | managed (starts llama.cpp for `file:`)",
            "  url: \(url)",
            "  model: \(quoted(model.name))           # its name there",
            "  # sell_as: \(quoted(ModelName(model.name, isOllama: backend == "ollama").canonical))       # the name it is sold under",
            "  slots: \(model.slots ?? 1)                 # answers at a time\(model.slots == nil ? "" : ", as the server has them")",
            "  # queue: \(queue)               # tasks that may wait for a slot; default 64 for each slot, at most 1024; 0: none waits",
            "  price: {input: \(price.input), cached_input: \(price.cached), output: \(price.output)}    # credits per million tokens",
            "  # price may also have surge: 1 (times the price while all slots are taken; the offer states that) and reserve: 0",
            "  #                           (the least credits that a task must be expected to bring)",
            "  # quiet: []               # hours in which nothing is sold, by this machine's clock, as in [22:00-08:00]",
            "  # rate: {buyer: 0, network: 0}    # tasks a minute of one buyer and of one network; 0: any number",
            "  # allow: []               # serve only these: keys, ids, or names from `names`; empty: everybody",
            "  # deny: []                # never serve these",
            model.context.map { "  # context: \($0)          # found" } ?? "  # context: 8192",
            "  # speed: 0                # pace answers to tokens/s; 0: as fast as it goes",
            "  # features: []            # what it can do beyond what it reports (`starling check`): tools, images, embedding",
            "  # api_key: a-secret       # of the model server, if it wants one",
            "  # ca_file: /path/ca.pem   # certificates that sign the server's, if it isn't known to the system",
            "  # allow_fields: []        # request fields beyond Protocol/http.md that strangers may set",
            "  # limits: {schema_bytes: 32768, schema_depth: 16, schema_values: 1000, stops: 16, logit_bias: 300, images: 8, image_bytes: 4194304}",
        ].map { "  \(mark)\($0)" }.joined(separator: "\n") + "\n"
    }

    private func document(_ servers: [FoundModelServer], _ sold: [Sold], _ apiKey: String?, folder: String)
        -> String
    {
        var sale = ""
        for server in servers {
            for model in server.models.sorted(by: { $0.name < $1.name }) {
                let isLive = sold.contains(Sold(server: server, model: model))
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
              port: \(port)                  # UDP and TCP: the one to forward in your router
              \(localAddress.map { "address: \($0)" } ?? "# address: 0.0.0.0")          # in a mesh of one local network: this machine's address there
              # public: 203.0.113.7:7827  # where others reach you, if you know it (a forwarded port)
              # inbound: true             # false: other nodes can't dial this one; it dials them
              # secret: a long random text  # a private mesh: all its nodes have the same; outsiders get no answer

            http:                         # the API for your own clients; other nodes never use it
              listen: \(api)      # any other address needs api_keys
              \(apiKey.map { "api_keys: [\($0)]" } ?? "# api_keys: []")
              # origins: []               # web pages that may call it: http://localhost:3000, or "*" for all
              # hosts: []                 # names by which clients call this node, besides localhost

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
              # allow_fields: []          # request fields beyond Protocol/http.md that your clients may send
              # credits_per_day: 5.00     # what all of them may cost in a day (UTC); default: any amount
              # keys:                     # one API key for each client, beside yours in http.api_keys
              #   - {name: laptop, sha256: HASH OF THE KEY, credits_per_day: 0.50, models: [], expires: 2027-01-31}
            # settle:                     # how you pay what you owe; a payment is a risk until the other confirms it
              # command: [/usr/local/bin/pay]   # gets one JSON document on stdin; never a shell
              # threshold: 1.00           # credits owed to one node at which it runs; default: only for `starling settle`
              # timeout: 60s
            # log: {level: notice, format: text}
            data: \(quoted(folder))

            """
    }

    private func hostName() -> String {
        String(ProcessInfo.processInfo.hostName.split(separator: ".").first ?? "node").lowercased()
    }

    /// What the file and the printed commands say holds in every folder.
    private func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        let below = path.hasPrefix("./") ? String(path.dropFirst(2)) : path
        return FileManager.default.currentDirectoryPath + "/" + below
    }

    /// As one word of a shell's command.
    private func shellQuoted(_ text: String) -> String {
        text.wholeMatch(of: /[A-Za-z0-9\/._+:@%-]+/) != nil
            ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }

    private func quoted(_ text: String) -> String {
        let plain = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\"" + plain.unicodeScalars.map(escaped).joined() + "\""
    }

    /// A character inside YAML's double quotes.
    private func escaped(_ scalar: Unicode.Scalar) -> String {
        let text = String(scalar)
        return Printable.line(text) == text
            ? text : "\\U" + String(String(scalar.value | 1 << 32, radix: 16).dropFirst())
    }
}

extension InitCommand.Sold {
    /// Whether `name` is the model's canonical name, or Ollama's without its `:latest`.
    fileprivate func isCalled(_ name: String) -> Bool {
        ModelName(model.name, isOllama: server.dialect == .ollama).canonical == name
            || model.name == name + ":latest"
    }
}
