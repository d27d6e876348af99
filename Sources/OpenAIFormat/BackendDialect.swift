/// The kind of model server. All speak OpenAI's API; they differ in everything beyond it.
public enum BackendDialect: String, Sendable, Hashable, CaseIterable {
    case llamaCpp = "llama.cpp"
    case vllm
    case ollama
    /// Any other server with OpenAI's API: nothing beyond that is assumed.
    case openAI = "openai"

    /// Whether the server can be made to continue an interrupted answer. llama.cpp and Ollama continue a last
    /// message of role `assistant`; vLLM does when told to; of others nothing is known.
    public var canContinue: Bool { self != .openAI }

    /// Numeric sampling parameters beyond OpenAI's that affect nothing but the answer. Fields that name a
    /// template, a grammar, a file, a slot or how long a model stays loaded are left out on purpose.
    var extraNumbers: [String] {
        switch self {
        case .llamaCpp: ["top_k", "min_p", "repeat_penalty"]
        case .vllm: ["top_k", "min_p", "repetition_penalty"]
        case .ollama, .openAI: []
        }
    }
}

/// What a model server is asked for.
public enum InferenceKind: String, Sendable, Hashable {
    case chat, completion, embedding

    /// Relative to the server's base URL.
    public var path: String {
        switch self {
        case .chat: "/v1/chat/completions"
        case .completion: "/v1/completions"
        case .embedding: "/v1/embeddings"
        }
    }
}
