// One table of the fields of OpenAI's requests (and, prepared, of Anthropic's messages and OpenAI's responses).
// `Protocol/http.md` has the same tables for people; a test holds the two together. A field that isn't here is unknown,
// and refused by name.

/// What happens with a field of a request. Nothing is dropped silently.
public enum FieldTreatment: String, Sendable {
    /// The model server gets it, perhaps under the name that it has there. Where servers differ, only sellers whose offer
    /// states the feature are asked.
    case passed = "passed on"
    /// The asking node or the worker does what it says.
    case acted = "acted on"
    /// 400, with the field's name. Its neutral value is accepted: null, false, or an empty text, list or object.
    case refused
}

/// One row of the table.
public struct FieldRule: Sendable {
    public let name: String
    public let treatment: FieldTreatment
    /// What it does and its bounds; of a refused field what to use instead.
    public let note: String
    let shape: FieldShape

    init(_ name: String, _ treatment: FieldTreatment, _ note: String, _ shape: FieldShape = .any) {
        self.name = name
        self.treatment = treatment
        self.note = note
        self.shape = shape
    }

    static func passed(_ name: String, _ shape: FieldShape, _ note: String) -> FieldRule {
        FieldRule(name, .passed, note, shape)
    }
    static func acted(_ name: String, _ shape: FieldShape, _ note: String) -> FieldRule {
        FieldRule(name, .acted, note, shape)
    }
    static func refused(_ name: String, _ note: String) -> FieldRule { FieldRule(name, .refused, note) }
}

public enum FieldTable {
    static func rules(_ kind: InferenceKind) -> [FieldRule] {
        switch kind {
        case .chat: chat
        case .completion: completions
        case .embedding: embeddings
        }
    }

    private static let names: [InferenceKind: [String: FieldRule]] = Dictionary(
        uniqueKeysWithValues: [InferenceKind.chat, .completion, .embedding].map { kind in
            (kind, Dictionary(rules(kind).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }))
        })

    static func rule(_ name: String, _ kind: InferenceKind) -> FieldRule? { names[kind]?[name] }

    // MARK: What several have

    static let model = FieldRule.acted(
        "model", .any, "the name on offer; the seller's server gets its own")
    static let routing: [FieldRule] = [
        .acted("provider", .any, "whom to ask, and limits of price and time; sellers don't see it"),
        .acted("models", .any, "OpenRouter's: further models to try, in this order"),
        .acted("usage", .any, "OpenRouter's: the bill is always in `usage`"),
    ]
    static let user = FieldRule.acted("user", .text, "accepted; sellers are not told who asks")
    static let accepted: [FieldRule] = [
        .acted("metadata", .object, "accepted; nothing is stored, and sellers don't see it"),
        .acted("prompt_cache_key", .text, "accepted; sellers are not told who asks"),
        .acted("prompt_cache_retention", .any, "accepted; sellers keep a prompt as long as they like"),
        .acted("safety_identifier", .text, "accepted; sellers are not told who asks"),
        user,
        .acted(
            "service_tier", .word(["auto", "default"]), "`auto` or `default`; for speed use `provider.sort`"),
    ]
    static let calls: [FieldRule] = [
        .passed("tools", .list, "type `function`; feature `tools`"),
        .passed("tool_choice", .any, "`none`, `auto`, `required`, or one function"),
        .passed("parallel_tool_calls", .flag, "a wish: servers may ignore it"),
    ]
    static let randomness: [FieldRule] = [
        .passed("temperature", .number(0...2), "0 to 2"),
        .passed("top_p", .number(0...1), "0 to 1"),
    ]
    private static let number = FieldRule.passed(
        "n", .whole(1...128), "above 1: feature `choices`; no more than the seller has slots")
    private static let sampling =
        [number] + randomness + [
            .passed("frequency_penalty", .number(-2...2), "-2 to 2"),
            .passed("presence_penalty", .number(-2...2), "-2 to 2"),
            .passed("seed", .whole(.min ... .max), "a whole number"),
            .passed("stop", .any, "a text or a list of texts, within the seller's limits"),
            .passed("logit_bias", .object, "feature `logit_bias`; token ids of the model, each -100 to 100"),
            .passed("top_k", .whole(-1 ... .max), "feature `sampling`; a whole number; no field of OpenAI's"),
            .passed("min_p", .number(0...1), "feature `sampling`; 0 to 1; no field of OpenAI's"),
            .passed(
                "repetition_penalty", .number(0...10), "feature `sampling`; 0 to 10; no field of OpenAI's"),
            .passed("repeat_penalty", .number(0...10), "the same under llama.cpp's name"),
        ]
    private static let streaming: [FieldRule] = [
        .acted(
            "stream", .flag, "workers always stream; the asking node joins the pieces where this is false"),
        .acted("stream_options", .object, "`include_usage`; `include_obfuscation` only false"),
    ]

    // MARK: OpenAI

    public static let chat: [FieldRule] =
        [
            model,
            .passed("messages", .any, "roles, content parts and calls as below; images only as `data:` URLs"),
            .acted("max_completion_tokens", .any, "at least 1; the server gets what the task has left"),
            .acted("max_tokens", .any, "the same; the lower one counts"),
        ] + sampling + streaming + [
            .passed("logprobs", .flag, "feature `logprobs`"),
            .passed("top_logprobs", .whole(0...20), "0 to 20, with `logprobs`"),
            .passed("response_format", .any, "`text`, `json_object`, `json_schema`; feature `json_schema`"),
        ] + calls + [
            .passed(
                "reasoning_effort", .word(["none", "minimal", "low", "medium", "high", "xhigh"]),
                "a wish: models that don't reason ignore it")
        ] + accepted + [
            .acted("modalities", .any, "only `[\"text\"]`"),
            .acted(
                "verbosity", .word(["medium"]),
                "only `medium`; say in the prompt how long the answer should be"),
            .refused("store", "nothing is stored; keep the answer yourself"),
            .refused("audio", "no seller speaks; ask for text"),
            .refused("prediction", "no model server takes it; leave it out"),
            .refused("web_search_options", "no seller searches the web; give a tool of your own"),
            .refused("functions", "use `tools`"),
            .refused("function_call", "use `tool_choice`"),
        ] + routing

    public static let completions: [FieldRule] =
        [
            model,
            .passed("prompt", .any, "text or token ids; a list of several: feature `prompts`"),
            .acted("max_tokens", .any, "at least 1; the server gets what the task has left"),
        ] + sampling + streaming + [
            .passed("logprobs", .whole(0...20), "feature `logprobs`; 0 to 20"),
            user,
            .refused("best_of", "use `n`, and choose yourself"),
            .refused("echo", "the prompt is yours; put it before the answer"),
            .refused("suffix", "model servers ignore it; write the model's own fill-in-the-middle prompt"),
        ] + routing

    public static let embeddings: [FieldRule] =
        [
            model,
            .passed("input", .any, "text, token ids, or a list of either"),
            .passed("dimensions", .whole(1...65_536), "feature `dimensions`"),
            .acted(
                "encoding_format", .word(["float", "base64"]),
                "`float` or `base64`, written by the asking node"),
            user,
        ] + routing
}
