import OpenAIFormat
import Primitives

/// What an answer counts: the tokens that its server says and those that were seen, and which of its choices have ended.
/// The bill and the measured speed go by it.
struct AnswerTally {
    /// Tokens that a chat format, or a picture of few bytes, may add to a prompt.
    static let templateTokensMax = 16_384
    /// Tokens of an answer that need say nothing.
    static let silentTokensMax = 64
    /// Bytes of FINISH's reason.
    private static let reasonMax = 32

    /// Answers in one that the request asks for.
    private(set) var choices: UInt32 = 1
    /// The server counts each of them by itself.
    private var countsApart = false
    private var perPrompt: UInt32 = 1
    private var bodyBytes = 0
    /// What the server read beside the prompt.
    private var besideTokens: UInt32 = 0

    private var stated: BackendUsage?
    private var statements = 0
    private var seenTokens = 0
    private var seenBytes = 0
    private var finishReason: String?
    private var ended: Set<UInt64> = []
    /// When the last of its choices ended.
    private(set) var wholeAt: MonotonicTime?

    init() {}

    init(of request: WorkerRequest, dialect: BackendDialect) {
        choices = request.choices
        perPrompt = request.choicesPerPrompt
        bodyBytes = request.body.count
        besideTokens = request.besideTokens
        // llama.cpp ends each answer with a count of its own.
        countsApart = choices > 1 && dialect == .llamaCpp
    }

    /// Takes what a chunk says, and returns its tokens. vLLM reports usage in every chunk. Elsewhere one chunk counts as one
    /// token, and the final usage corrects it.
    mutating func count(_ chunk: BackendChunk, says: Bool) -> Int {
        seenBytes += chunk.text.count + chunk.complex.count
        var new = says ? 1 : 0
        if choices == 1, says, let usage = chunk.usage, usage.completionTokens > 0 {
            new = max(0, Int(usage.completionTokens) - seenTokens)
        }
        seenTokens += new
        if let usage = chunk.usage { take(usage) }
        return new
    }

    private mutating func take(_ new: BackendUsage) {
        statements += 1
        guard countsApart, let sum = stated else { return stated = new }
        stated = BackendUsage(
            promptTokens: sum.promptTokens &+ new.promptTokens,
            cachedTokens: sum.cachedTokens &+ new.cachedTokens,
            completionTokens: sum.completionTokens &+ new.completionTokens)
    }

    mutating func end(_ ends: [BackendChunk.End], now: MonotonicTime) {
        for end in ends {
            if finishReason == nil { finishReason = end.reason }
            if ended.count < choices { ended.insert(end.index) }
            if wholeAt == nil, ended.count >= choices { wholeAt = now }
        }
    }

    /// The server's count as far as it can be true, or ours if it gave none.
    var usage: BackendUsage {
        var usage = stated ?? BackendUsage()
        // Each of the answers to one prompt has counted it again.
        if countsApart, statements > 1 {
            usage.promptTokens /= perPrompt
            usage.cachedTokens /= perPrompt
        }
        // No token is less than a byte, but for a few: a server that counts otherwise has lost count.
        usage.promptTokens = min(usage.promptTokens, UInt32(clamping: bodyBytes + Self.templateTokensMax))
        usage.completionTokens = min(
            usage.completionTokens, UInt32(clamping: max(seenTokens, seenBytes) + Self.silentTokensMax))
        if usage.completionTokens == 0 { usage.completionTokens = UInt32(clamping: seenTokens) }
        return usage
    }

    /// The same with what was read beside the prompt.
    var billed: BackendUsage {
        var usage = usage
        usage.promptTokens = usage.promptTokens &+ besideTokens
        return usage
    }

    /// The server's word for why it ended, if it is one: no client expects anything else.
    var reason: String {
        guard let finishReason, (1...Self.reasonMax).contains(finishReason.utf8.count),
            finishReason.utf8.allSatisfy({ (0x61...0x7a).contains($0) || $0 == UInt8(ascii: "_") })
        else { return "stop" }
        return finishReason
    }
}
