/// What a model server can do, and what a request needs. The bits are those of an offer's `features`
/// (`Protocol/records.proto`).
public struct Abilities: OptionSet, Hashable, Sendable, Codable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let chat = Abilities(rawValue: 1)
    public static let completion = Abilities(rawValue: 2)
    public static let embedding = Abilities(rawValue: 4)
    public static let tools = Abilities(rawValue: 8)
    public static let logprobs = Abilities(rawValue: 16)
    /// `response_format`: a schema, or any JSON object.
    public static let jsonSchema = Abilities(rawValue: 32)
    public static let images = Abilities(rawValue: 64)
    /// Several answers to one question: `n`.
    public static let choices = Abilities(rawValue: 128)
    /// Several prompts in one completion.
    public static let prompts = Abilities(rawValue: 256)
    /// A last message of the assistant is continued, not answered.
    public static let assistantLast = Abilities(rawValue: 512)
    public static let logitBias = Abilities(rawValue: 1_024)
    /// `top_k`, `min_p` and `repetition_penalty`.
    public static let sampling = Abilities(rawValue: 2_048)
    /// Embeddings of a stated length.
    public static let dimensions = Abilities(rawValue: 4_096)

    /// As in documents and messages.
    public var names: [String] {
        let all: [(Abilities, String)] = [
            (.chat, "chat"), (.completion, "completion"), (.embedding, "embedding"), (.tools, "tools"),
            (.logprobs, "logprobs"), (.jsonSchema, "json_schema"), (.images, "images"), (.choices, "choices"),
            (.prompts, "prompts"), (.assistantLast, "assistant_last"), (.logitBias, "logit_bias"),
            (.sampling, "sampling"),
            (.dimensions, "dimensions"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }

    static let kinds: Abilities = [.chat, .completion, .embedding]

    /// An answer with one of these is no plain text that another worker could continue.
    static let shaping: Abilities = [
        .tools, .logprobs, .jsonSchema, .images, .choices, .prompts, .embedding, .dimensions,
    ]
}
