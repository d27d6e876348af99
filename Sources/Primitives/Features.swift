/// What a model server can do, and what a request needs: the bits of `features` in offers and calls
/// (`Protocol/records.proto`).
public struct Features: OptionSet, Hashable, Sendable, Codable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let chat = Features(rawValue: 1)
    public static let completion = Features(rawValue: 2)
    public static let embedding = Features(rawValue: 4)
    public static let tools = Features(rawValue: 8)
    public static let logprobs = Features(rawValue: 16)
    /// `response_format`: a schema, or any JSON object.
    public static let jsonSchema = Features(rawValue: 32)
    public static let images = Features(rawValue: 64)
    /// Several answers to one question: `n`.
    public static let choices = Features(rawValue: 128)
    /// Several prompts in one completion.
    public static let prompts = Features(rawValue: 256)
    /// A last message of the assistant is continued, not answered.
    public static let assistantLast = Features(rawValue: 512)
    public static let logitBias = Features(rawValue: 1_024)
    /// `top_k`, `min_p` and `repetition_penalty`.
    public static let sampling = Features(rawValue: 2_048)
    /// Embeddings of a stated length.
    public static let dimensions = Features(rawValue: 4_096)

    /// As in documents and messages.
    public var names: [String] {
        let all: [(Features, String)] = [
            (.chat, "chat"), (.completion, "completion"), (.embedding, "embedding"), (.tools, "tools"),
            (.logprobs, "logprobs"), (.jsonSchema, "json_schema"), (.images, "images"), (.choices, "choices"),
            (.prompts, "prompts"), (.assistantLast, "assistant_last"), (.logitBias, "logit_bias"),
            (.sampling, "sampling"),
            (.dimensions, "dimensions"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }
}
