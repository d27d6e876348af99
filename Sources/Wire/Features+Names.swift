extension Features {
    /// The names of these features in documents and messages.
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
