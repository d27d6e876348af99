import OpenAIFormat

/// What llama.cpp's `/slots` says of the work before a request that hears nothing. Prompts are read one after another, so
/// that a request waits for those of other slots although a slot is its own.
struct SlotsReport: Hashable {
    /// Tokens of prompts that are still to be read, in all slots.
    var unread = 0
    var busy = 0
    var slots = 0
    /// The fewest tokens that one of the slots still generates, where all are busy and know it.
    var left: Int?

    init?(_ answer: JSONTree) {
        guard let slots = answer.elements, !slots.isEmpty else { return nil }
        self.slots = slots.count
        func count(_ slot: JSONTree, _ key: String) -> Int { Int(clamping: slot[key]?.whole ?? 0) }
        for slot in slots where slot["is_processing"]?.flag == true {
            busy += 1
            let next = slot["next_token"]?.elements?.first ?? slot["next_token"]
            guard next?["n_decoded"]?.whole ?? 0 == 0 else {
                if case .number(let digits)? = next?["n_remain"], let remain = Int(digits), remain >= 0 {
                    left = min(left ?? remain, remain)
                }
                continue
            }
            let read = count(slot, "n_prompt_tokens_processed") + count(slot, "n_prompt_tokens_cache")
            unread = min(1 << 30, unread + max(0, count(slot, "n_prompt_tokens") - read))
        }
    }

    /// nil: nothing that explains the silence. A rate of 0 is unknown.
    func progress(tokensPerSecond: Double, generating: Double) -> JobProgress? {
        func milliseconds(_ tokens: Int, _ rate: Double) -> UInt32 {
            UInt32(
                clamping: Int((Double(tokens) / (rate > 0 ? rate : Self.rateUnknown) * 1_000).rounded(.up)))
        }
        if unread > 0 { return .queued(milliseconds: milliseconds(unread, tokensPerSecond)) }
        guard busy == slots else { return nil }
        return .queued(milliseconds: left.map { milliseconds($0, generating) } ?? 0)
    }

    /// Tokens a second while nothing was measured: the estimate is wrong, and falls as the work is done.
    private static let rateUnknown = 1_000.0
}
