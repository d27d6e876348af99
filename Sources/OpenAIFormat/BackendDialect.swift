/// Which model server is spoken to. All speak OpenAI's API; they differ in the rest.
public enum BackendDialect: String, Sendable, Hashable, CaseIterable {
    case llamaCpp = "llama.cpp"
    case vllm
    case ollama
    /// Anything else with OpenAI's API: nothing beyond it is assumed.
    case openAI = "openai"

    /// Whether the server can be made to go on with a broken-off answer. llama.cpp and Ollama continue a last
    /// message of role `assistant`; vLLM does when told; of others nothing is known.
    public var canContinue: Bool { self != .openAI }

    /// Sampling parameters beyond OpenAI's that are numbers without reach. Everything that names a template,
    /// a grammar, a file, a slot or how long a model stays loaded is missing on purpose.
    var extraNumbers: [String] {
        switch self {
        case .llamaCpp: ["top_k", "min_p", "repeat_penalty"]
        case .vllm: ["top_k", "min_p", "repetition_penalty"]
        case .ollama, .openAI: []
        }
    }
}

/// What is asked of a model server.
public enum InferenceKind: String, Sendable, Hashable {
    case chat, completion, embedding

    /// Below the server's base URL.
    public var path: String {
        switch self {
        case .chat: "/v1/chat/completions"
        case .completion: "/v1/completions"
        case .embedding: "/v1/embeddings"
        }
    }
}
