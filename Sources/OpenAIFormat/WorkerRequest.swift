public enum WorkerRequestError: Error, Hashable, Sendable {
    /// The client's fault: no JSON, or a field that can't mean anything.
    case malformed(String)
    /// Text was delivered already, and this request or this server can't go on from there.
    case cannotContinue(String)
}

/// The request that a worker sends to its model server, made of a stranger's.
///
/// The gateway takes every field; the worker passes on only what is listed here (the trust boundary): model
/// servers fetch URLs, compile templates and grammars and reload models on a request's word. What was dropped is
/// named, so that the receipt can say it. The answer is always streamed and always limited, because a server doesn't
/// notice that the client of an unstreamed answer has left.
public struct WorkerRequest: Sendable {
    public struct Options: Sendable {
        public var dialect: BackendDialect
        /// The model's name at the server.
        public var model: String
        /// The token limit when nobody states one: the context, for there is nothing better.
        public var tokensMax: UInt32
        /// Top-level fields that the operator lets through as they are.
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

    /// Answers at a time for one request.
    static let choicesMax: UInt64 = 8
    /// Names of dropped fields that are remembered.
    static let droppedMax = 32

    public private(set) var body: [UInt8] = []
    /// Paths of the fields that were dropped, sorted as met, at most 32.
    public private(set) var droppedFields: [String] = []
    /// The limit that was sent; 0 for an embedding.
    public private(set) var tokenLimit: UInt32 = 0

    /// - Parameters:
    ///   - body: the client's JSON.
    ///   - delivered: UTF-8 that the client has already.
    ///   - maxTokens: what is left of the limit; nil if none was stated.
    public init(
        _ kind: InferenceKind, body: [UInt8], delivered: [UInt8] = [], maxTokens: UInt32? = nil,
        options: Options
    ) throws(WorkerRequestError) {
        let request: JSONTree
        do { request = try JSONTree(parsing: body) } catch { throw .malformed("The body is no JSON.") }
        guard let members = request.members else { throw .malformed("The body is no JSON object.") }
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
        if kind == .embedding {
            guard delivered.isEmpty else { throw .cannotContinue("An embedding has no middle.") }
            out.append(.init("encoding_format", .string("float")))
        } else {
            tokenLimit = try Self.limit(request, maxTokens: maxTokens, options: options)
            if let name = Self.limitName(kind, request, limit: tokenLimit, options: options) {
                out.append(.init(name, .number(String(tokenLimit))))
            }
            out.append(.init("stream", .bool(true)))
            var streamOptions: [JSONTree.Member] = [.init("include_usage", .bool(true))]
            // vLLM puts several tokens into one chunk when it is busy; only this tells how many.
            if options.dialect == .vllm { streamOptions.append(.init("continuous_usage_stats", .bool(true))) }
            out.append(.init("stream_options", .object(streamOptions)))
            if !delivered.isEmpty {
                try Self.resume(kind, &out, delivered: delivered, dialect: options.dialect)
            }
        }
        self.body = JSONTree.object(out).bytes
        droppedFields = Array(filter.dropped.prefix(Self.droppedMax))
    }

    /// Fields that we write ourselves or that end at the gateway: no news when they are missing.
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
            guard let tokens = stated.whole else { throw .malformed("`\(name)` is no whole number.") }
            limit = min(limit, tokens)
        }
        return UInt32(clamping: max(1, min(limit, UInt64(options.tokensMax))))
    }

    /// vLLM refuses a limit that doesn't fit beside the prompt, and takes the rest of its context where none is
    /// given: so it gets none unless somebody wants less than the whole.
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

    // MARK: Going on with a broken-off answer

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

    /// The delivered text as the last assistant message; a client's own prefill is lengthened, because servers
    /// refuse two assistant messages at the end.
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
