import Primitives
import Wire

/// One client's request with its limits, as the gateway passes it to the auctioneer.
public struct TaskRequest: Sendable {
    public var kind: TaskKind
    /// Canonical model name.
    public var model: String
    /// Models that the client takes instead, in its order, where nobody answers with the one before.
    public var fallbackModels: [String]
    /// The request's JSON as the client sent it, without routing preferences. Opaque to the core.
    public var body: [UInt8]
    public var tokensIn: UInt32
    /// The output tokens for which prices are compared.
    public var tokensOutEstimate: UInt32
    /// The client's own limit; nil: the rest of the worker's context.
    public var tokensOutMax: UInt32?
    public var features: Features
    /// Plain text with one choice: another worker may continue it in mid-stream.
    public var resumable: Bool
    /// The client wants no chance in the answer, or doesn't say: a worker that begins again may well say the same.
    public var repeatable: Bool
    /// The client states that it wants no chance in the answer.
    public var greedy: Bool
    /// The client gets the answer as it comes. Otherwise it gets nothing before the end, so the answer may begin
    /// again.
    public var streams: Bool
    /// Answers in one, each of which may have `tokensOutMax` tokens; of an embedding, the inputs.
    public var choices: UInt32
    /// Of these, how many answer one prompt (`n`): model servers make them side by side, each in a slot.
    public var choicesEach: UInt32
    public var deadline: Interval
    public var preferences: Preferences
    /// Nothing is to be awarded: the bids are the answer.
    public var isQuote = false

    public init(
        kind: TaskKind, model: String, fallbackModels: [String] = [], body: [UInt8], tokensIn: UInt32 = 0,
        tokensOutEstimate: UInt32 = 64,
        tokensOutMax: UInt32? = nil, features: Features = [], resumable: Bool = true,
        repeatable: Bool = false, greedy: Bool = false,
        streams: Bool = true, choices: UInt32 = 1, choicesEach: UInt32 = 1,
        deadline: Interval = .seconds(600),
        preferences: Preferences = Preferences()
    ) {
        self.kind = kind
        self.model = model
        self.fallbackModels = fallbackModels
        self.body = body
        self.tokensIn = tokensIn
        self.tokensOutEstimate = tokensOutEstimate
        self.tokensOutMax = tokensOutMax
        self.features = features
        self.resumable = resumable
        self.repeatable = repeatable
        self.greedy = greedy
        self.streams = streams
        self.choices = choices
        self.choicesEach = choicesEach
        self.deadline = deadline
        self.preferences = preferences
    }
}
