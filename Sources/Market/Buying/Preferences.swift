import Primitives
import Wire

/// Which sellers a client accepts, and how it weighs price, time and trust. A filter left nil or empty accepts all.
public struct Preferences: Hashable, Sendable {
    /// Rates, micro-credits per million tokens; cached input is not limited.
    public var maxInputPrice: Int64?
    public var maxOutputPrice: Int64?
    /// Micro-credits for the whole task, judged on the estimate.
    public var maxCost: Money?
    public var quantizations: [String] = []
    public var digest: Bytes32?
    /// Full keys; the gateway resolves prefixes and names. The sellers of `order` come first, in that order, then the
    /// rest unless fallbacks are off.
    public var order: [PublicKey] = []
    public var only: [PublicKey] = []
    public var ignore: [PublicKey] = []
    public var allowFallbacks = true
    /// Tokens per second × 1000.
    public var minMillitokensPerSecond: UInt32?
    public var maxFirstTokenMilliseconds: UInt32?
    public var weights = Weights()
    /// Trust × 1000; nodes below are not asked.
    public var minMillitrust: UInt32 = 0

    public init() {}
}
