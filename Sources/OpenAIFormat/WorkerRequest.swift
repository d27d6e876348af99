/// Why a request can't be passed to the model server.
public enum WorkerRequestError: Error, Hashable, Sendable {
    /// The client's fault: not JSON, or a field with an impossible value.
    case malformed(String)
    /// Text was already delivered, and this request or this server can't continue from there.
    case cannotContinue(String)
}

/// The request that a worker sends to its model server, built from a stranger's request.
///
/// The gateway accepts every field, but the worker passes on only those listed here. This is the trust
/// boundary: model servers fetch URLs, compile templates and grammars and reload models when a request says
/// so. Dropped fields are named, so that the receipt can list them. The answer is always streamed and always
/// limited, because a server doesn't notice that the client of an unstreamed answer has left.
public struct WorkerRequest: Sendable {
    /// The worker's settings for one model.
    public struct Options: Sendable {
        public var dialect: BackendDialect
        /// The model's name at the server.
        public var model: String
        /// The token limit when the client states none: the context, for lack of anything better.
        public var tokensMax: UInt32
        /// Top-level fields that the operator lets through unchanged.
        public var extraFields: [String]
        public init(
            dialect: BackendDialect, model: String, tokensMax: UInt32 = 4_096, extraFields: [String] = []
        ) {
            self.dialect = dialect
            self.model = model
            self.tokensMax = tokensMax
            self.extraFields = extraFields
        }
    }

    /// Choices that one request may ask for.
    static let choicesMax: UInt64 = 8
    /// Names of dropped fields that are recorded.
    static let droppedMax = 32

    public private(set) var body: [UInt8] = []
    /// Paths of the dropped fields in the order of their appearance, at most 32.
    public private(set) var droppedFields: [String] = []
    /// The limit that was sent; 0 for an embedding.
    public private(set) var tokenLimit: UInt32 = 0
    /// Vectors that an embedding's answer must have.
    public private(set) var inputs = 1
    /// Answers in one that the server was asked for.
    public private(set) var choices: UInt32 = 1

    /// - Parameters:
    ///   - body: the client's JSON.
    ///   - delivered: UTF-8 that the client already has.
    ///   - maxTokens: what is left of the limit; nil if none was stated.
    public init(
        _ kind: InferenceKind, body: [UInt8], delivered: [UInt8] = [], maxTokens: UInt32? = nil,
        options: Options
    ) throws(WorkerRequestError) {
        let request: JSONTree
        do { request = try JSONTree(parsing: body) } catch { throw .malformed("The body is not JSON.") }
        guard let members = request.members else { throw .malformed("The body is not a JSON object.") }
        var filter = FieldFilter(dialect: options.dialect)
        var out: [JSONTree.Member] = [.init("model", .string(options.model))]
        for member in members where !member.value.isNull && !Self.ours.contains(member.key) {
            if options.extraFields.contains(member.key) {
                out.append(member)
            } else if let value = try filter.field(member, of: kind) {
                out.append(.init(member.key, value))
            }
        }
        let subject =
            switch kind {
            case .chat: "messages"
            case .completion: "prompt"
            case .embedding: "input"
            }
        guard out.contains(where: { $0.key == subject }) else { throw .malformed("`\(subject)` is missing.") }
        // One slot and one limit of tokens are for one answer; numbers are the tokens of one prompt.
        if kind == .completion, let prompts = request["prompt"]?.elements, prompts.count > 1,
            prompts.contains(where: { $0.real == nil })
        {
            throw .malformed("`prompt` holds \(prompts.count) prompts; send a request for each.")
        }
        if kind == .embedding {
            guard delivered.isEmpty else { throw .cannotContinue("An embedding can't be continued.") }
            out.append(.init("encoding_format", .string("float")))
            inputs = request["input"].map(EmbeddingContent.inputs) ?? 1
        } else {
            choices = UInt32(clamping: out.first { $0.key == "n" }?.value.whole ?? 1)
            tokenLimit = try Self.limit(request, maxTokens: maxTokens, options: options)
            if let name = Self.limitName(kind, request, limit: tokenLimit, options: options) {
                out.append(.init(name, .number(String(tokenLimit))))
            }
            out.append(.init("stream", .bool(true)))
            var streamOptions: [JSONTree.Member] = [.init("include_usage", .bool(true))]
            // vLLM puts several tokens into one chunk when it is busy; only this option makes it say how
            // many.
            if options.dialect == .vllm { streamOptions.append(.init("continuous_usage_stats", .bool(true))) }
            out.append(.init("stream_options", .object(streamOptions)))
            if !delivered.isEmpty {
                try Self.resume(kind, &out, delivered: delivered, dialect: options.dialect)
            }
        }
        self.body = JSONTree.object(out).bytes
        droppedFields = Array(filter.dropped.prefix(Self.droppedMax))
    }

    /// Fields that we write ourselves or that end at the gateway: leaving them out is not reported.
    private static let ours: Set<String> = [
        "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "encoding_format",
        "provider", "user",
        "store", "metadata", "service_tier",
    ]

    private static func limit(
        _ request: JSONTree, maxTokens: UInt32?, options: Options
    ) throws(WorkerRequestError) -> UInt32 {
        var limit = UInt64(maxTokens ?? options.tokensMax)
        for name in ["max_tokens", "max_completion_tokens"] {
            guard let stated = request[name], !stated.isNull else { continue }
            guard let tokens = stated.whole else { throw .malformed("`\(name)` is not a whole number.") }
            limit = min(limit, tokens)
        }
        return UInt32(clamping: max(1, min(limit, UInt64(options.tokensMax))))
    }

    /// vLLM refuses a limit that doesn't fit in the context together with the prompt, and without one uses
    /// what is left of the context. So it is sent a limit only when somebody wants less than the whole
    /// context.
    private static func limitName(
        _ kind: InferenceKind, _ request: JSONTree, limit: UInt32, options: Options
    ) -> String? {
        switch options.dialect {
        case .vllm: limit < options.tokensMax ? "max_tokens" : nil
        // OpenAI's newer models know only the newer name.
        case .openAI where kind == .chat && request["max_completion_tokens"]?.whole != nil:
            "max_completion_tokens"
        case .llamaCpp, .ollama, .openAI: "max_tokens"
        }
    }

    // MARK: Continuing an interrupted answer

    private static func resume(
        _ kind: InferenceKind, _ out: inout [JSONTree.Member], delivered: [UInt8], dialect: BackendDialect
    ) throws(WorkerRequestError) {
        guard dialect.canContinue else { throw .cannotContinue("This model server can't continue a text.") }
        guard let text = String(validating: delivered, as: UTF8.self) else {
            throw .malformed("The delivered text is not UTF-8.")
        }
        for name in ["tools", "response_format", "logprobs", "top_logprobs", "suffix"]
        where out.contains(where: { $0.key == name && $0.value != .bool(false) }) {
            throw .cannotContinue("An answer with `\(name)` can't be continued.")
        }
        if let n = out.first(where: { $0.key == "n" }), n.value.whole != 1 {
            throw .cannotContinue("Several answers at once can't be continued.")
        }
        for index in out.indices {
            switch (kind, out[index].key) {
            case (.chat, "messages"): out[index].value = messages(out[index].value, endingWith: text)
            case (.completion, "prompt"):
                guard let prompt = out[index].value.text ?? single(out[index].value) else {
                    throw .cannotContinue("Only one prompt of text can be continued.")
                }
                out[index].value = .string(prompt + text)
            default: break
            }
        }
        if kind == .chat, dialect == .vllm {
            out.append(.init("continue_final_message", .bool(true)))
            out.append(.init("add_generation_prompt", .bool(false)))
        }
    }

    private static func single(_ prompt: JSONTree) -> String? {
        guard let elements = prompt.elements, elements.count == 1 else { return nil }
        return elements[0].text
    }

    /// Adds the delivered text as the last assistant message. A client's own prefill is extended instead,
    /// because servers refuse two assistant messages at the end.
    private static func messages(_ value: JSONTree, endingWith text: String) -> JSONTree {
        var messages = value.elements ?? []
        if let last = messages.last, last["role"]?.text == "assistant", let prefill = last["content"]?.text {
            let members = (last.members ?? []).map {
                $0.key == "content" ? JSONTree.Member("content", .string(prefill + text)) : $0
            }
            messages[messages.count - 1] = .object(members)
        } else {
            messages.append(.object([.init("role", .string("assistant")), .init("content", .string(text))]))
        }
        return .array(messages)
    }
}
