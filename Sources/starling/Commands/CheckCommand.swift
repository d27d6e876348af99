import ArgumentParser
import FoundationEssentials
import Glibc
import Inference
import NodeConfiguration
import NodeRuntime
import OpenAIFormat
import Primitives

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Try what a model server can do, before you sell it.",
        discussion: """
            Finds out which server answers at URL, and asks it some thirty short \
            questions: what it lists, whether it streams, counts, stops, keeps its \
            limit, and which fields of Protocol/http.md it takes. Then it prints \
            for what a node would offer it, and what the configuration says \
            otherwise of the server. It loads the model and makes a few hundred \
            tokens.

              starling check http://127.0.0.1:8080
              starling check https://gpu.example:8000 --api-key KEY --ca-file ca.pem
            """)

    @Argument(help: ArgumentHelp("The model server: http://host:port.", valueName: "URL")) var url: String
    @Option(help: ArgumentHelp("The model's name there. Default: its first.", valueName: "NAME"))
    var model: String?
    @Option(help: ArgumentHelp("The server's API key.", valueName: "KEY")) var apiKey: String?
    @Option(
        help: ArgumentHelp("Certificates that sign the server's, instead of the system's.", valueName: "FILE")
    )
    var caFile: String?
    @Option(help: ArgumentHelp("Seconds that one answer may take.", valueName: "S")) var timeout = 60
    @Option(
        help: ArgumentHelp(
            "The configuration whose `serve` entries of URL are compared. Default: ~/.config/starling/node.yaml",
            valueName: "FILE")
    ) var config: String?
    @Flag(help: "Print one JSON document.") var json = false

    func validate() throws {
        guard YAMLReader.isServerURL(url) else { throw ValidationError("\(url): write http://host:port") }
        guard (1...3_600).contains(timeout) else {
            throw ValidationError("--timeout \(timeout): write 1 to 3600")
        }
    }

    func run() async throws {
        try await reporting {
            let entries = try entries()
            let key = apiKey ?? ProcessInfo.processInfo.environment["STARLING_API_KEY"]
            let checked = ModelServerCheck.run(
                url, model: model, apiKey: key, certificates: caFile, timeout: .seconds(Int64(timeout)))
            guard let check = checked else {
                throw fail(
                    "no model server answers at \(url)",
                    fix:
                        "start it, or check the address and port; what answers there must list its models as OpenAI's API does",
                    .unavailable)
            }
            if let problem = check.server.problem {
                throw fail(
                    "\(url): \(Printable.line(problem.message))",
                    fix: "see the options --api-key and --ca-file",
                    .unavailable)
            }
            guard let found = check.model else {
                let names = check.server.models.map { Printable.line($0.name) }
                throw fail(
                    model.map { "\(url) doesn't have \($0)" } ?? "\(url) lists no model",
                    fix: names.isEmpty ? "load a model there" : "it has \(Nearest.list(names))", .unavailable)
            }
            let differences = differences(entries, check)
            json
                ? emit(json: String(decoding: document(check, found, differences).bytes, as: UTF8.self))
                : show(check, found, differences)
        }
    }

    /// The configuration's entries for this server. Without a configuration there are none.
    private func entries() throws -> [ServeSettings] {
        // What is wrong with the usual one is for `starling node` to say.
        guard let path = config else {
            let usual = NodeCommand.defaultConfigPath
            return FileManager.default.isReadableFile(atPath: usual) ? (try? entries(at: usual)) ?? [] : []
        }
        return try entries(at: path)
    }

    private func entries(at path: String) throws -> [ServeSettings] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw fail("the configuration \(path) can't be read", fix: "name one that exists", .configuration)
        }
        let settings = try NodeSettings(
            parsing: YAMLReader.text(of: data, file: path),
            source: .init(file: path, environment: ProcessInfo.processInfo.environment), home: homeFolder)
        return settings.serve.filter { $0.backend != .managed && Self.base($0.url) == Self.base(url) }
    }

    /// A URL without what doesn't tell servers apart.
    private static func base(_ url: String) -> String {
        var base = Substring(url.lowercased())
        while base.hasSuffix("/") { base.removeLast() }
        return base.hasSuffix("/v1") ? String(base.dropLast(3)) : String(base)
    }

    private func differences(_ entries: [ServeSettings], _ check: ModelServerCheck) -> [String] {
        entries.flatMap { entry in
            let found = check.server.models.first {
                $0.name == entry.model || $0.name == entry.model + ":latest"
            }
            guard let found = found ?? (entry.backend == .llamaCpp ? check.server.models.first : nil) else {
                return ["`model` is \(entry.model), which the server doesn't have"]
            }
            return entry.differences(from: found)
        }
    }

    private func show(_ check: ModelServerCheck, _ found: ModelDescription, _ differences: [String]) {
        let others = check.server.models.count - 1
        var facts = [Printable.line(found.name)]
        if let quantization = found.quantization { facts.append(Printable.line(quantization)) }
        if let context = found.context {
            facts.append("context \(context)\(found.isContextAssumed ? " (not loaded: at most)" : "")")
        }
        if let slots = found.slots { facts.append("\(slots) slot\(slots == 1 ? "" : "s")") }
        if let reports = found.reports {
            facts.append(
                "says it has \(reports.isEmpty ? "no tools or vision" : reports.names.joined(separator: ", "))"
            )
        }
        emit("\(check.server.dialect.title) at \(check.server.url)\n")
        emit(
            "\(facts.joined(separator: ", "))\(others > 0 ? " (and \(others) more model\(others == 1 ? "" : "s"))" : "")\n\n"
        )
        for difference in differences { emit("The configuration differs: \(Printable.line(difference))\n") }
        if !differences.isEmpty { emit("\n") }
        let width = check.results.map(\.name.count).max() ?? 0
        for result in check.results {
            let name = result.name + String(repeating: " ", count: width - result.name.count)
            emit("  \(name)  \(Printable.line(result.outcome.words))\n")
        }
        emit("\nA node offers it for: \(check.abilities.names.joined(separator: ", "))\n")
        let stated = Abilities([.tools, .images, .embedding]).subtracting(check.abilities)
        let able = check.results.filter { $0.outcome == .yes }.map(\.name)
        let more = [("tools", Abilities.tools), ("images", .images), ("embeddings", .embedding)].filter {
            able.contains($0.0) && stated.contains($0.1)
        }.flatMap { $0.1.names }
        if !more.isEmpty {
            emit("It can also do what it doesn't report: features: [\(more.joined(separator: ", "))]\n")
        }
    }

    private func document(
        _ check: ModelServerCheck, _ found: ModelDescription, _ differences: [String]
    ) -> JSONTree {
        func number(_ value: UInt32?) -> JSONTree { value.map { .number(String($0)) } ?? .null }
        func text(_ value: String?) -> JSONTree { value.map { .string($0) } ?? .null }
        let tests = check.results.map { result in
            JSONTree.object([
                .init("name", .string(result.name)), .init("result", .string(result.outcome.word)),
                .init("why", text(result.outcome.why)),
            ])
        }
        return .object([
            .init("url", .string(check.server.url)), .init("backend", .string(check.server.dialect.rawValue)),
            .init("models", .array(check.server.models.map { .string($0.name) })),
            .init("model", .string(found.name)), .init("context", number(found.context)),
            .init("context_assumed", .bool(found.isContextAssumed)), .init("slots", number(found.slots)),
            .init("quantization", text(found.quantization)),
            .init("reports", found.reports.map { .array($0.names.map { .string($0) }) } ?? .null),
            .init("tests", .array(tests)), .init("differences", .array(differences.map { .string($0) })),
            .init("features", .array(check.abilities.names.map { .string($0) })),
        ])
    }
}

extension BackendDialect {
    /// As its makers write it.
    var title: String {
        switch self {
        case .ollama: "Ollama"
        case .llamaCpp: "llama.cpp"
        case .vllm: "vLLM"
        case .openAI: "an OpenAI-compatible server"
        }
    }
}

extension TestOutcome {
    var word: String {
        switch self {
        case .yes: "yes"
        case .accepted: "accepted"
        case .no: "no"
        case .differs: "differs"
        }
    }

    var why: String? {
        switch self {
        case .yes: nil
        case .accepted(let why), .no(let why), .differs(let why): why
        }
    }

    var words: String { why.map { "\(word): \($0)" } ?? word }
}
