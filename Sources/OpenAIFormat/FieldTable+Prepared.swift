// APIs that are prepared and not served yet.

extension FieldTable {
    /// Anthropic's `/v1/messages`.
    public static let messages: [FieldRule] =
        [
            model,
            .passed(
                "messages", .list,
                "roles `user` and `assistant`; text, images as base64, tool calls and results"),
            .acted("max_tokens", .whole(1 ... .max), "required; at least 1"),
            .passed("system", .any, "becomes the first message"),
            .passed("stop_sequences", .list, "as `stop`"),
            .acted("stream", .flag, "in Anthropic's events"),
            .passed("temperature", .number(0...1), "0 to 1"),
            .passed("top_p", .number(0...1), "0 to 1"),
            .passed("top_k", .whole(0 ... .max), "feature `sampling`"),
            .passed("tools", .list, "the client's own; feature `tools`"),
            .passed("tool_choice", .object, "`auto`, `any`, `tool` or `none`"),
            .passed("thinking", .object, "a wish, as `reasoning_effort`"),
            .acted("metadata", .object, "accepted; sellers are not told who asks"),
            .acted("service_tier", .word(["auto", "standard_only"]), "accepted"),
            .refused("container", "no seller runs code"),
            .refused("context_management", "shorten the conversation yourself"),
            .refused("mcp_servers", "no seller calls servers; give tools of your own"),
            .refused("output_config", "not offered yet"),
        ] + routing

    /// OpenAI's `/v1/responses`.
    public static let responses: [FieldRule] =
        [
            model,
            .passed("input", .any, "text, or items: messages, calls and their outputs"),
            .passed("instructions", .text, "becomes the first message"),
            .acted("max_output_tokens", .whole(1 ... .max), "at least 1"),
        ] + randomness + [
            .passed("top_logprobs", .whole(0...20), "feature `logprobs`; 0 to 20"),
            .passed("text", .object, "`format` as `response_format`"),
        ] + calls + [
            .passed("reasoning", .object, "`effort`: a wish"),
            .acted("stream", .flag, "in the events of this API"),
            .acted("stream_options", .object, "`include_obfuscation` only false"),
            .acted("include", .list, "only what is in the answer anyway"),
        ] + accepted + [
            .acted("store", .flag, "accepted; nothing is stored"),
            .acted("truncation", .word(["disabled"]), "only `disabled`"),
            .refused("background", "answers are given while you wait"),
            .refused("conversation", "nothing is stored; send the conversation"),
            .refused("max_tool_calls", "no seller has tools of its own"),
            .refused("previous_response_id", "nothing is stored; send the conversation"),
            .refused("prompt", "nothing is stored; send the prompt"),
        ] + routing
}
