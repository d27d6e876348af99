// A client's request as the gateway reads it: parsed once into a tree, from which come the figures that an
// auction needs and the body that the worker gets. Its fields are checked by the table (`FieldTable`).

/// One request to `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings`.
public struct ClientRequest: Hashable, Sendable {
    public typealias Kind = InferenceKind

    public var kind: Kind
    /// As the client wrote it.
    public var model: String
    /// Models to ask where nobody answers with the one before: OpenRouter's `models`, without the first.
    public var fallbackModels: [String] = []
    /// The client's JSON without what is not for sellers.
    public var body: [UInt8]
    public var stream = false
    public var includeUsage = false
    /// See `TokenEstimate`.
    public var tokensIn: UInt32 = 1
    /// The answer length for which prices are compared: `medianAnswerTokens` a choice, or the client's limit
    /// if that is less.
    public var tokensOutEstimate: UInt32 = 0
    public var tokensOutMax: UInt32?
    /// Answers in one, each with that limit: `n` for each prompt. Of an embedding: its inputs.
    public var choices: UInt32 = 1
    /// `n`: of these, the answers to one prompt.
    public var choicesEach: UInt32 = 1
    /// What a model server must be able to do to answer it, the kind of request included.
    public var needs: Abilities = []
    /// Plain text with one choice: another worker may continue it in mid-stream.
    public var resumable = false
    /// Its temperature is 0 or not stated.
    public var repeatable = false
    /// It is stated as 0.
    public var greedy = false
    /// The client wants the vectors of an embedding as base64 of little-endian floats.
    public var base64 = false
    public var provider = ProviderPreferences()

    /// The guess at an answer's length. Offers are compared by it; it limits nothing.
    public static let medianAnswerTokens: UInt32 = 64
    public static let choicesMax: UInt64 = 128
    public static let modelBytesMax = 256
    /// Names in `models`.
    public static let modelsMax = 8

    /// Fields that end here: a seller is not told who asks, or whom else.
    private static let kept: Set<String> = [
        "provider", "models", "usage", "user", "metadata", "safety_identifier", "prompt_cache_key",
        "prompt_cache_retention", "service_tier",
    ]

    /// Reads a body. Throws the error to send to the client, with status 400. `extraFields` are those beyond the table that
    /// the node's owner lets through to sellers.
    public init(kind: Kind, body bytes: [UInt8], extraFields: [String] = []) throws(ErrorBody) {
        let tree = try Self.parse(bytes)
        guard let members = tree.members else {
            throw .invalid("The body must be a JSON object.", code: "invalid_json")
        }
        self.kind = kind
        let models = try Self.models(tree)
        model = models[0]
        fallbackModels = Array(models.dropFirst())
        let rules = try RequestRules(tree, kind, limits: .most, extraFields: extraFields)
        let sent = members.filter {
            !Self.kept.contains($0.key) && FieldTable.rule($0.key, kind)?.treatment != .refused
        }
        body = JSONTree.object(sent).bytes
        if let preferences = tree["provider"], !preferences.isNull {
            provider = try ProviderPreferences(preferences)
        }
        var reader = RequestReader(tree)
        try reader.read(kind, besideBytes: rules.besideBytes)
        stream = reader.stream
        includeUsage = reader.includeUsage
        tokensIn = reader.estimate.tokens
        tokensOutMax = reader.maxTokens
        choices = UInt32(clamping: UInt64(reader.choices) * UInt64(reader.prompts))
        choicesEach = reader.choices
        needs = rules.needs
        resumable = needs.isDisjoint(with: .shaping) && !reader.isShaped
        repeatable = resumable && (tree["temperature"]?.real ?? 0) == 0
        greedy = tree["temperature"]?.real == 0
        base64 = reader.base64
        if kind != .embedding {
            let each = min(Self.medianAnswerTokens, reader.maxTokens ?? .max)
            tokensOutEstimate = each.multipliedReportingOverflow(by: reader.choices).partialValue
        }
    }

    private static func parse(_ body: [UInt8]) throws(ErrorBody) -> JSONTree {
        var bytes = body
        // A byte order mark may be ignored (RFC 8259 §8.1), and some editors write one.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        guard bytes.contains(where: { $0 > 0x20 }) else {
            throw .invalid("The body is empty. Send JSON: {\"model\": …, …}.", code: "invalid_json")
        }
        do {
            return try JSONTree(parsing: bytes)
        } catch {
            let problem =
                switch error {
                case .malformed(let at): "The body is not valid JSON: see byte \(at)."
                case .tooDeep:
                    "The body's JSON is nested too deeply (more than \(JSONCursor.depthMax) levels)."
                case .tooMany: "The body's JSON holds more than \(JSONTree.valuesMax) values."
                case .duplicateKey: "The body's JSON names a key twice in one object."
                case .notUTF8: "The body is not valid UTF-8."
                }
            throw .invalid(problem, code: error == .tooMany ? "limit_exceeded" : "invalid_json")
        }
    }

    /// `model`, then `models`, each once; at least one.
    private static func models(_ tree: JSONTree) throws(ErrorBody) -> [String] {
        var models: [String] = []
        if let value = tree["model"], !value.isNull { models.append(try name(value, "model")) }
        if let value = tree["models"], !value.isNull {
            guard let names = value.elements, names.count <= modelsMax else {
                throw .invalid("`models` must be a list of at most \(modelsMax) names.", param: "models")
            }
            for (index, value) in names.enumerated() {
                let name = try name(value, "models[\(index)]")
                if !models.contains(name) { models.append(name) }
            }
        }
        guard !models.isEmpty else {
            throw .missing("model", " GET /v1/models lists the models.")
        }
        return models
    }

    private static func name(_ value: JSONTree, _ path: String) throws(ErrorBody) -> String {
        guard let model = value.text, !model.isEmpty, model.utf8.count <= modelBytesMax else {
            throw .invalid("`\(path)` must be a name of at most \(modelBytesMax) bytes.", param: path)
        }
        return model
    }
}
