import Primitives

/// One frame inside a channel. `channel.proto`.
public struct Frame: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    public var body: FrameBody
    public init(task: TaskID, attempt: UInt32, body: FrameBody) {
        self.task = task
        self.attempt = attempt
        self.body = body
    }
}

public enum FrameBody: Hashable, Sendable {
    case open(TaskOpen)
    case bodyPart([UInt8])
    case delta(Delta)
    case progress(Progress)
    case finish(Finish)
    case fail(Fail)
    case cancel
    case window(consumed: UInt64)
    case receipt(SignedRecord)
    case hello
}

public enum TaskKind: UInt32, Sendable { case unspecified = 0, chat, completion, embedding }

public struct TaskOpen: Hashable, Sendable {
    public var kind: TaskKind
    public var bodyBytes: UInt32
    public var maxTokens: UInt32
    /// Bytes of already delivered text that precede the JSON in the body parts.
    public var deliveredBytes: UInt32
    public var windowBytes: UInt32
    public var deadlineMilliseconds: UInt32
    public init(
        kind: TaskKind, bodyBytes: UInt32, maxTokens: UInt32 = 0, deliveredBytes: UInt32 = 0,
        windowBytes: UInt32 = 0,
        deadlineMilliseconds: UInt32 = 0
    ) {
        self.kind = kind
        self.bodyBytes = bodyBytes
        self.maxTokens = maxTokens
        self.deliveredBytes = deliveredBytes
        self.windowBytes = windowBytes
        self.deadlineMilliseconds = deadlineMilliseconds
    }
}

public struct Delta: Hashable, Sendable {
    /// Bytes of text and extra that this attempt has delivered so far.
    public var offset: UInt64
    public var text: [UInt8]
    public var tokens: UInt32
    /// The backend's `choices` value as JSON, when it holds more than text; else empty.
    public var extra: [UInt8]
    public init(offset: UInt64, text: [UInt8], tokens: UInt32, extra: [UInt8] = []) {
        self.offset = offset
        self.text = text
        self.tokens = tokens
        self.extra = extra
    }
}

public enum Phase: UInt32, Sendable { case unspecified = 0, queued, loading, prefill, generating }

public struct Progress: Hashable, Sendable {
    public var phase: Phase
    public var tokens: UInt32
    /// In a queue: tasks before it and itself; 0: unknown.
    public var place: UInt32
    public init(phase: Phase, tokens: UInt32, place: UInt32 = 0) {
        self.phase = phase
        self.tokens = tokens
        self.place = place
    }
}

public struct Finish: Hashable, Sendable {
    /// OpenAI's `finish_reason`.
    public var reason: String
    public var promptTokens: UInt32
    public var cachedTokens: UInt32
    public var completionTokens: UInt32
    public var cacheHandle: [UInt8]
    public var droppedFields: [String]
    /// The whole answer as JSON, for an embedding; else empty.
    public var extra: [UInt8]
    public init(
        reason: String, promptTokens: UInt32 = 0, cachedTokens: UInt32 = 0, completionTokens: UInt32 = 0,
        cacheHandle: [UInt8] = [], droppedFields: [String] = [], extra: [UInt8] = []
    ) {
        self.reason = reason
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.completionTokens = completionTokens
        self.cacheHandle = cacheHandle
        self.droppedFields = droppedFields
        self.extra = extra
    }
}

public struct Fail: Hashable, Sendable {
    public var code: String
    public var message: String
    public var anotherMaySucceed: Bool
    public init(code: String, message: String, anotherMaySucceed: Bool) {
        self.code = code
        self.message = message
        self.anotherMaySucceed = anotherMaySucceed
    }
}
