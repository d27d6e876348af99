import OpenAIFormat
import Primitives

/// Where a digest comes from: computed from the file, or reported by the server.
public enum DigestOrigin: String, Sendable, Hashable { case file, backend }

/// What a server reports about one model. A missing item is nil.
public struct ModelDescription: Sendable, Hashable {
    /// The model's name at the server.
    public var name: String
    /// Tokens of the prompt and the answer together.
    public var context: UInt32?
    /// Lower case, in GGUF's terms: `q8_0`, `q4_k_m`.
    public var quantization: String?
    public var digest: Bytes32?
    public var digestOrigin: DigestOrigin?
    /// Concurrent answers.
    public var slots: UInt32?
    /// What the server says that the model can do, of tools, images and embedding; nil: it says nothing.
    public var reports: Abilities?
    /// The context is what a model that isn't loaded may have: only loading it shows what it gets.
    public var isContextAssumed = false
    /// The server's own version. What was tried with another one says nothing.
    public var version: String?

    public init(
        name: String, context: UInt32? = nil, quantization: String? = nil, digest: Bytes32? = nil,
        digestOrigin: DigestOrigin? = nil, slots: UInt32? = nil, reports: Abilities? = nil,
        isContextAssumed: Bool = false
    ) {
        self.name = name
        self.context = context
        self.quantization = quantization
        self.digest = digest
        self.digestOrigin = digestOrigin
        self.slots = slots
        self.reports = reports
        self.isContextAssumed = isContextAssumed
    }
}

/// The address of a model server and the dialect it speaks.
struct ServerAddress {
    let dialect: BackendDialect
    /// Without a slash or `/v1` at the end.
    let base: String
    let apiKey: String?
    /// A file of certificates that sign the server's, instead of the system's.
    let certificates: String?

    init(dialect: BackendDialect, url: String, apiKey: String?, certificates: String? = nil) {
        var base = Substring(url)
        if !base.contains("://") { base = "http://" + base }
        while base.hasSuffix("/") { base.removeLast() }
        if base.hasSuffix("/v1") { base.removeLast(3) }
        self.dialect = dialect
        self.base = String(base)
        self.apiKey = apiKey
        self.certificates = certificates
    }

    func request(_ path: String, body: [UInt8]? = nil, timeout: Interval?) -> HTTPRequest {
        var headers: [String] = []
        // A key with a line break would inject headers.
        if let apiKey, !apiKey.isEmpty, !apiKey.utf8.contains(where: { $0 < 0x20 }) {
            headers.append("Authorization: Bearer \(apiKey)")
        }
        var request = HTTPRequest(url: base + path, body: body, headers: headers, timeout: timeout)
        request.certificates = certificates
        return request
    }

    var healthPath: String {
        switch dialect {
        case .llamaCpp, .vllm: "/health"
        case .ollama: "/api/version"
        case .openAI: "/v1/models"
        }
    }
}

/// Asks a server which models it has, one request at a time, then calls `done`.
struct ModelCatalogue {
    /// Models of one server that are asked about.
    static let modelsMax = 64

    let server: ServerAddress
    let http: HTTPStreams
    let timeout: Interval

    /// `only` limits the questions to one model. A failure if the server doesn't say which models it has.
    func list(only: String? = nil, then done: @escaping (Result<[ModelDescription], BackendFailure>) -> Void)
    {
        switch server.dialect {
        case .ollama: ollama(only: only, then: done)
        case .llamaCpp: llamaCpp(then: done)
        case .vllm:
            openAI { listed in
                get("/version") { done(Self.with(version: $0?["version"]?.text, listed)) }
            }
        case .openAI: openAI(then: done)
        }
    }

    private static func with(
        version: String?, _ listed: Result<[ModelDescription], BackendFailure>
    ) -> Result<[ModelDescription], BackendFailure> {
        listed.map { models in
            models.map { model in
                var model = model
                model.version = version.map { String($0.prefix(64)) }
                return model
            }
        }
    }

    private func get(_ path: String, then next: @escaping (JSONTree?) -> Void) {
        Fetch.start(server.request(path, timeout: timeout), on: http) { next($0.json) }
    }

    private func openAI(then done: @escaping (Result<[ModelDescription], BackendFailure>) -> Void) {
        Fetch.start(server.request("/v1/models", timeout: timeout), on: http) { answer in
            if let failure = ModelList.problem(answer) { return done(.failure(failure)) }
            let entries = answer.json.flatMap(ModelList.init)?.entries ?? []
            let models = entries.compactMap(Self.openAIModel)
            // LM Studio says more about its models elsewhere.
            guard server.dialect == .openAI,
                entries.contains(where: { $0["owned_by"]?.text == "organization_owner" })
            else { return done(.success(models)) }
            get("/api/v0/models") { answer in
                let known = answer?["data"]?.elements ?? []
                done(
                    .success(
                        models.map { model in
                            known.first { $0["id"]?.text == model.name }.map { Self.lmStudio(model, $0) }
                                ?? model
                        }))
            }
        }
    }

    private static func openAIModel(_ entry: JSONTree) -> ModelDescription? {
        guard let name = ModelList.name(entry) else { return nil }
        let meta = entry["meta"]
        let context = entry["max_model_len"] ?? meta?["n_ctx"] ?? entry["context_length"]
        return ModelDescription(
            name: name, context: positive(context),
            quantization: (meta?["ftype"] ?? entry["quantization"])?.text?.lowercased())
    }

    private static func lmStudio(_ model: ModelDescription, _ entry: JSONTree) -> ModelDescription {
        var model = model
        let loaded = positive(entry["loaded_context_length"])
        model.context = loaded ?? positive(entry["max_context_length"]) ?? model.context
        model.isContextAssumed = loaded == nil
        model.quantization = entry["quantization"]?.text?.lowercased() ?? model.quantization
        var reports: Abilities = []
        if (entry["capabilities"]?.elements ?? []).contains(.string("tool_use")) { reports.insert(.tools) }
        if entry["type"]?.text == "vlm" { reports.insert(.images) }
        if entry["type"]?.text == "embeddings" { reports.insert(.embedding) }
        model.reports = reports
        return model
    }

    private func llamaCpp(then done: @escaping (Result<[ModelDescription], BackendFailure>) -> Void) {
        openAI { listed in
            get("/props") { props in
                guard case .success(let models) = Self.with(version: props?["build_info"]?.text, listed)
                else { return done(listed) }
                let described = models.map { model in
                    var model = model
                    model.context =
                        Self.positive(props?["default_generation_settings"]?["n_ctx"]) ?? model.context
                    model.slots = Self.positive(props?["total_slots"])
                    model.quantization = props?["model_ftype"]?.text?.lowercased() ?? model.quantization
                    model.reports = props.flatMap(Self.llamaCppReports)
                    return model
                }
                guard described.contains(where: { $0.slots == nil }) else { return done(.success(described)) }
                get("/slots") { slots in
                    let count = (slots?.elements?.count).map { UInt32(clamping: $0) }
                    done(
                        .success(
                            described.map { model in
                                var model = model
                                model.slots = model.slots ?? count
                                return model
                            }))
                }
            }
        }
    }

    private static func llamaCppReports(_ props: JSONTree) -> Abilities? {
        let (tools, vision) = (props["chat_template_caps"]?["supports_tools"], props["modalities"]?["vision"])
        guard tools != nil || vision != nil else { return nil }
        var reports: Abilities = []
        if tools?.flag == true { reports.insert(.tools) }
        if vision?.flag == true { reports.insert(.images) }
        return reports
    }

    /// Models that are asked about one by one.
    private static let shownMax = 16

    /// Ollama's context is the one with which a model was loaded (`/api/ps`). Of one that isn't loaded it says what the
    /// model's file sets, or else the most that the model can have (`/api/show`).
    private func ollama(
        only: String?, then done: @escaping (Result<[ModelDescription], BackendFailure>) -> Void
    ) {
        Fetch.start(server.request("/api/tags", timeout: timeout), on: http) { tags in
            if let failure = tags.failure { return done(.failure(failure)) }
            let done: (Result<[ModelDescription], BackendFailure>) -> Void = { listed in
                get("/api/version") { done(Self.with(version: $0?["version"]?.text, listed)) }
            }
            get("/api/ps") { running in
                var models = (tags.json?["models"]?.elements ?? []).prefix(Self.modelsMax).compactMap {
                    Self.ollamaModel($0, running: running?["models"]?.elements ?? [])
                }
                if let only { models.removeAll { $0.name != only && $0.name != only + ":latest" } }
                show(models, from: 0, then: done)
            }
        }
    }

    private func show(
        _ models: [ModelDescription], from index: Int,
        then done: @escaping (Result<[ModelDescription], BackendFailure>) -> Void
    ) {
        guard index < min(models.count, Self.shownMax) else { return done(.success(models)) }
        let question = JSONTree.object([.init("model", .string(models[index].name))]).bytes
        Fetch.start(server.request("/api/show", body: question, timeout: timeout), on: http) { answer in
            var models = models
            if let shown = answer.json { Self.complete(&models[index], by: shown) }
            show(models, from: index + 1, then: done)
        }
    }

    private static func complete(_ model: inout ModelDescription, by shown: JSONTree) {
        if model.isContextAssumed {
            let set = (shown["parameters"]?.text ?? "").split(separator: "\n").compactMap { line -> UInt32? in
                let words = line.split(separator: " ")
                return words.count == 2 && words[0] == "num_ctx" ? UInt32(words[1]) : nil
            }
            let most = shown["model_info"]?.members?.first { $0.key.hasSuffix(".context_length") }?.value
            model.context = set.first ?? positive(most) ?? model.context
        }
        guard let capabilities = shown["capabilities"]?.elements else { return }
        var reports: Abilities = []
        for (name, ability) in [
            ("tools", Abilities.tools), ("vision", .images), ("embedding", .embedding), ("completion", .chat),
        ] where capabilities.contains(.string(name)) { reports.insert(ability) }
        model.reports = reports
    }

    private static func ollamaModel(_ entry: JSONTree, running: [JSONTree]) -> ModelDescription? {
        guard let name = entry["name"]?.text else { return nil }
        let loaded = running.first { $0["name"]?.text == name }
        let context = positive(loaded?["context_length"])
        return ModelDescription(
            name: name, context: context ?? ollamaContextDefault,
            quantization: entry["details"]?["quantization_level"]?.text?.lowercased(),
            digest: entry["digest"]?.text.flatMap(digest), digestOrigin: .backend,
            isContextAssumed: context == nil)
    }

    /// The context with which Ollama loads a model of which nothing is known.
    static let ollamaContextDefault: UInt32 = 4_096

    private static func positive(_ value: JSONTree?) -> UInt32? {
        guard let whole = value?.whole, whole > 0 else { return nil }
        return UInt32(clamping: whole)
    }

    /// 64 hexadecimal digits, optionally prefixed by `sha256:`.
    private static func digest(_ text: String) -> Bytes32? {
        let digits = Array((text.split(separator: ":").last ?? "").utf8)
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: 64, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16)
            else {
                return nil
            }
            bytes.append(byte)
        }
        return Bytes32(bytes)
    }
}
