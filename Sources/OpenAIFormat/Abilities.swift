import Primitives

/// What a model server can do, and what a request needs: the features of an offer.
public typealias Abilities = Features

extension Features {
    static let kinds: Abilities = [.chat, .completion, .embedding]

    /// An answer with one of these is no plain text that another worker could continue.
    static let shaping: Abilities = [
        .tools, .logprobs, .jsonSchema, .images, .choices, .prompts, .embedding, .dimensions,
    ]
}
