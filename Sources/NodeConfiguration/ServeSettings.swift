import Primitives

/// How a node shares out its slots, of all models that it sells.
public struct SellSettings: Sendable {
    /// The strangers' share: percent of a model's slots that buyers which never paid here may use together. At 100 they
    /// can take every slot; at 0 a seller that was ever paid serves only those who paid.
    public var strangersShare: Int

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow(["strangers_share"])
        strangersShare = try reader.integer("strangers_share", in: 0...100) ?? 50
    }
}

/// Bounds on what strangers may make a model server do; nil: the usual one (`OpenAIFormat.RequestLimits`).
public struct RequestLimitSettings: Sendable {
    /// Of one JSON schema: bytes, levels, and values with repetitions.
    public var schemaBytes: Int?
    public var schemaDepth: Int?
    public var schemaValues: Int?
    public var stops: Int?
    public var logitBiases: Int?
    public var images: Int?
    /// Of all images of a request, as base64.
    public var imageBytes: Int?

    /// The upper ends are what every gateway refuses anyway.
    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow([
            "schema_bytes", "schema_depth", "schema_values", "stops", "logit_bias", "images", "image_bytes",
        ])
        schemaBytes = try reader.integer("schema_bytes", in: 0...122_880)
        schemaDepth = try reader.integer("schema_depth", in: 0...32)
        schemaValues = try reader.integer("schema_values", in: 0...2_000)
        stops = try reader.integer("stops", in: 0...64)
        logitBiases = try reader.integer("logit_bias", in: 0...2_048)
        images = try reader.integer("images", in: 0...64)
        imageBytes = try reader.integer("image_bytes", in: 0...7_340_032)
    }
}

/// One model that a node sells, and the server behind it.
public struct ServeSettings: Sendable {
    public enum Backend: String, CaseIterable, Sendable {
        case ollama, llamaCpp = "llama.cpp", vllm, openai, managed
    }
    public enum Feature: String, CaseIterable, Sendable { case tools, images, embedding }
    public var backend: Backend
    /// Base address of the model server, without `/v1`; empty for a managed one.
    public var url: String
    /// GGUF file of a managed server.
    public var file: String?
    /// Path of the operator's `llama-server` for a managed backend; nil means the project's launcher.
    public var server: String?
    /// The model's name at the server.
    public var model: String
    /// The name to sell it as, if the operator states one.
    public var sellAs: String?
    /// The name derived from `model` otherwise.
    public let name: ModelName
    /// The name it is sold as.
    public var soldAs: String { sellAs ?? name.canonical }
    public var slots: Int
    /// Tasks that may wait for a slot; nil: `ServedModel.places(slots:)`. 0: none wait.
    public var queue: Int?
    public var threads: Int
    public var terms: TermsSettings
    public var context: Int?
    /// Paces answers to this many tokens a second; 0 means no pacing.
    public var speed: Int
    /// False: use the `speed` of this file instead of measuring.
    public var measure: Bool
    public var allowFields: [String]
    /// What the model can do beyond answering in text, as the operator states it.
    public var features: [Feature]
    public var apiKey: String?
    /// A file of certificates that sign the server's, instead of the system's.
    public var certificates: String?
    public var limits: RequestLimitSettings

    init(_ reader: YAMLReader, _ names: NodeNames) throws(ConfigurationError) {
        try reader.allow(
            [
                "backend", "url", "file", "server", "model", "sell_as", "slots", "queue", "threads",
                "context",
                "speed", "measure",
                "allow_fields", "api_key", "ca_file", "features", "limits",
            ] + TermsSettings.keys)
        guard let backend = try reader.choice("backend", as: Backend.self) else {
            throw reader.failure(
                "a `serve` entry has no `backend`",
                fix: "say which server it is: \(Backend.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self.backend = backend
        url = try reader.serverURL("url") ?? Self.usualAddress(backend)
        file = try reader.string("file")
        server = try reader.string("server")
        if backend == .managed, file == nil {
            throw reader.failure(
                "a managed `serve` entry has no `file`",
                fix: "name the GGUF file to run: file: /path/model.gguf")
        }
        let given = try reader.string("model")
        guard let model = given ?? file.map(Self.baseName), !model.isEmpty else {
            throw reader.failure("a `serve` entry has no `model`", fix: "give the model's name at \(url)")
        }
        self.model = model
        sellAs = try reader.modelName("sell_as")
        name = ModelName(model, isOllama: backend == .ollama)
        let sold = sellAs ?? name.canonical
        guard sold.isModelName else {
            throw reader.failure(
                "\(model) would be sold as `\(sold)`; a name has 1 to \(ModelName.sizeMax) of a-z 0-9 . -",
                fix: "give it one: sell_as: family-size-variant (Protocol/models.md)")
        }
        slots = try reader.integer("slots", in: 1...1024) ?? 1
        queue = try reader.integer("queue", in: 0...1024)
        threads = try reader.integer("threads", in: 1...1024) ?? 1
        terms = try TermsSettings(reader, names)
        context = try reader.integer("context", in: 16...100_000_000)
        speed = try reader.integer("speed", in: 0...1_000_000) ?? 0
        measure = try reader.boolean("measure") ?? true
        allowFields = try reader.strings("allow_fields")
        features = []
        for text in try reader.strings("features") {
            let known = Feature.allCases.map(\.rawValue)
            guard let feature = Feature(rawValue: text) else {
                throw reader.child("features").failure(
                    "`features` holds \(text)",
                    fix: Nearest.match(text, in: known).map { "did you mean \($0)?" }
                        ?? "known are \(known.joined(separator: ", "))")
            }
            features.append(feature)
        }
        apiKey = try reader.string("api_key")
        certificates = try reader.string("ca_file")
        limits = try RequestLimitSettings(reader.child("limits"))
    }

    private static func usualAddress(_ backend: Backend) -> String {
        switch backend {
        case .ollama: "http://127.0.0.1:11434"
        case .llamaCpp: "http://127.0.0.1:8080"
        case .vllm: "http://127.0.0.1:8000"
        case .openai: "http://127.0.0.1:1234"
        case .managed: ""
        }
    }

    private static func baseName(_ path: String) -> String {
        let name = path.split(separator: "/").last ?? ""
        return name.hasSuffix(".gguf") ? String(name.dropLast(5)) : String(name)
    }
}
