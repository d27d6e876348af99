import Primitives
import Wire

/// How many bytes a task's request may have, with the delivered text, for the input tokens that its call states
/// (`Protocol/market.md`, The task). The factor leaves room for escaped text, and the constant for the fields that no
/// estimate counts; a smaller one would refuse honest requests, a larger one would let a call hide a long prompt.
enum RequestSize {
    private static let bytesAlways = 16_384
    private static let bytesPerToken = 64

    /// The most bytes for `tokensIn`. Images are large and stand for few tokens: only the limit of every request holds.
    static func bytesMax(tokensIn: UInt32, features: Features, _ parameters: MarketParameters) -> Int {
        let most = parameters.bodyBytesMax
        if features.contains(.images) { return most }
        return min(most, bytesAlways + bytesPerToken * Int(tokensIn))
    }

    /// The most tokens of a prompt that its buyer never disputes if FINISH counts at least as many: those that its
    /// call states, or one for each 8 bytes of the request, which is half of what text has, if that is more. So a call
    /// that states too few makes no prompt free. Images are bytes without tokens.
    static func undisputedPrompt(tokensIn: UInt32, bytes: Int, features: Features) -> UInt64 {
        let byBytes = features.contains(.images) ? 0 : bytes / bytesPerPromptToken
        return min(UInt64(max(Int(tokensIn), byBytes)), promptMax(bytes: bytes))
    }

    /// The most tokens that a prompt can have: one for each byte, and those of a chat format.
    static func promptMax(bytes: Int) -> UInt64 { UInt64(bytes) + promptFormatMax }

    private static let bytesPerPromptToken = 8
    private static let promptFormatMax: UInt64 = 1_024

    /// The fewest tokens that a call may state for a request of `bytes`.
    static func tokensMin(bytes: Int, features: Features) -> UInt32 {
        guard !features.contains(.images), bytes > bytesAlways else { return 0 }
        return UInt32(clamping: (bytes - bytesAlways + bytesPerToken - 1) / bytesPerToken)
    }
}
