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

    /// The fewest tokens that a call may state for a request of `bytes`.
    static func tokensMin(bytes: Int, features: Features) -> UInt32 {
        guard !features.contains(.images), bytes > bytesAlways else { return 0 }
        return UInt32(clamping: (bytes - bytesAlways + bytesPerToken - 1) / bytesPerToken)
    }
}
