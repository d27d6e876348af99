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

    /// What every version of the server is known to do. The rest is found out (`ServerTests`), or stated by its owner.
    public var knownAbilities: Abilities {
        switch self {
        case .llamaCpp: [.completion, .logprobs, .jsonSchema, .choices, .prompts, .logitBias, .sampling]
        case .vllm: [.completion, .logprobs, .jsonSchema, .choices, .prompts, .logitBias, .sampling]
        case .ollama: [.completion, .jsonSchema]
        case .openAI: []
        }
    }

    /// What versions differ in, so that it is tried.
    public var unknownAbilities: Abilities {
        switch self {
        case .llamaCpp, .vllm: []
        case .ollama: [.logprobs]
        case .openAI: [.completion, .logprobs, .jsonSchema, .choices, .prompts, .logitBias, .sampling]
        }
    }

    /// The server's name for a field of the table.
    func name(of field: String) -> String {
        switch (self, field) {
        case (.llamaCpp, "repetition_penalty"): "repeat_penalty"
        case (.vllm, "repeat_penalty"): "repetition_penalty"
        default: field
        }
    }
}

/// What a model server is asked for.
public enum InferenceKind: String, Sendable, Hashable {
    case chat, completion, embedding

    /// The field of a request that holds what is asked.
    public var subject: String {
        switch self {
        case .chat: "messages"
        case .completion: "prompt"
        case .embedding: "input"
        }
    }

    /// Relative to the server's base URL.
    public var path: String {
        switch self {
        case .chat: "/v1/chat/completions"
        case .completion: "/v1/completions"
        case .embedding: "/v1/embeddings"
        }
    }
}
