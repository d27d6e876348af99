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

    public init(
        name: String, context: UInt32? = nil, quantization: String? = nil, digest: Bytes32? = nil,
        digestOrigin: DigestOrigin? = nil, slots: UInt32? = nil
    ) {
        self.name = name
        self.context = context
        self.quantization = quantization
        self.digest = digest
        self.digestOrigin = digestOrigin
        self.slots = slots
    }
}

/// The address of a model server and the dialect it speaks.
struct ServerAddress {
    let dialect: BackendDialect
    /// Without a slash or `/v1` at the end.
    let base: String
    let apiKey: String?

    init(dialect: BackendDialect, url: String, apiKey: String?) {
        var base = Substring(url)
        if !base.contains("://") { base = "http://" + base }
        while base.hasSuffix("/") { base.removeLast() }
        if base.hasSuffix("/v1") { base.removeLast(3) }
        self.dialect = dialect
        self.base = String(base)
        self.apiKey = apiKey
    }

    func request(_ path: String, body: [UInt8]? = nil, timeout: Interval?) -> HTTPRequest {
        var headers: [String] = []
        // A key with a line break would inject headers.
        if let apiKey, !apiKey.isEmpty, !apiKey.utf8.contains(where: { $0 < 0x20 }) {
            headers.append("Authorization: Bearer \(apiKey)")
        }
        return HTTPRequest(url: base + path, body: body, headers: headers, timeout: timeout)
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

    /// `only` limits the questions to one model. The list is empty if the server doesn't answer.
    func list(only: String? = nil, then done: @escaping ([ModelDescription]) -> Void) {
        switch server.dialect {
        case .ollama: ollama(only: only, then: done)
        case .llamaCpp: llamaCpp(then: done)
        case .vllm, .openAI: openAI(then: done)
        }
    }

    private func get(_ path: String, then next: @escaping (JSONTree?) -> Void) {
        Fetch.start(server.request(path, timeout: timeout), on: http) { next($0.json) }
    }

    private func openAI(then done: @escaping ([ModelDescription]) -> Void) {
        get("/v1/models") { answer in
            done((answer?["data"]?.elements ?? []).prefix(Self.modelsMax).compactMap(Self.openAIModel))
        }
    }

    private static func openAIModel(_ entry: JSONTree) -> ModelDescription? {
        guard let name = entry["id"]?.text else { return nil }
        let meta = entry["meta"]
        let context = entry["max_model_len"] ?? meta?["n_ctx"] ?? entry["context_length"]
        return ModelDescription(
            name: name, context: positive(context),
            quantization: (meta?["ftype"] ?? entry["quantization"])?.text?.lowercased())
    }

    private func llamaCpp(then done: @escaping ([ModelDescription]) -> Void) {
        openAI { models in
            get("/props") { props in
                done(
                    models.map { model in
                        var model = model
                        model.context =
                            Self.positive(props?["default_generation_settings"]?["n_ctx"]) ?? model.context
                        model.slots = Self.positive(props?["total_slots"])
                        model.quantization = props?["model_ftype"]?.text?.lowercased() ?? model.quantization
                        return model
                    })
            }
        }
    }

    /// Ollama's context is the one it was loaded with, not the model's maximum; only `/api/ps` reports it.
    private func ollama(only: String?, then done: @escaping ([ModelDescription]) -> Void) {
        get("/api/tags") { tags in
            get("/api/ps") { running in
                var models = (tags?["models"]?.elements ?? []).prefix(Self.modelsMax).compactMap { entry in
                    Self.ollamaModel(entry, running: running?["models"]?.elements ?? [])
                }
                if let only { models.removeAll { $0.name != only && $0.name != only + ":latest" } }
                done(models)
            }
        }
    }

    private static func ollamaModel(_ entry: JSONTree, running: [JSONTree]) -> ModelDescription? {
        guard let name = entry["name"]?.text else { return nil }
        let loaded = running.first { $0["name"]?.text == name }
        return ModelDescription(
            name: name, context: positive(loaded?["context_length"]) ?? ollamaContextDefault,
            quantization: entry["details"]?["quantization_level"]?.text?.lowercased(),
            digest: entry["digest"]?.text.flatMap(digest), digestOrigin: .backend)
    }

    /// The context with which Ollama loads a model by default.
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
