import Primitives
import Wire

/// What a worker sent before it said anything: held back until it does.
struct Prelude: Sendable {
    private(set) var deltas: [Delta] = []
    private(set) var bytes = 0

    mutating func append(_ delta: Delta) {
        deltas.append(delta)
        bytes += delta.extra.count
    }
}

/// One answer to one client: what was delivered, how much of it the client took, and whether another worker
/// could continue it. It outlives its workers and knows none of them.
struct Delivery: Sendable {
    /// How far an answer has got.
    struct Position: Sendable {
        /// Bytes of text and extra.
        var bytes: UInt64
        var tokens: UInt32
    }

    private(set) var position = Position(bytes: 0, tokens: 0)
    private(set) var consumed: UInt64 = 0
    /// When its first byte arrived, and its latest.
    private(set) var startedAt: MonotonicTime?
    private(set) var lastAt: MonotonicTime?
    /// Everything delivered, kept while another worker could continue it.
    private(set) var text: [UInt8] = []
    /// It is plain text so far, and not too long to keep.
    private(set) var isResumable: Bool
    /// The model that produced the first byte, and must produce the rest.
    private(set) var version: ModelVersion?
    /// Of the text, how much a worker that began again has repeated; nil: none does. The client gets what follows.
    private(set) var repeated: Int?
    private(set) var mayRepeat: Bool
    /// An embedding's answer, which the client gets as a whole.
    private var whole: [UInt8] = []
    /// The client's limit over all choices; nil: none.
    private let tokensMax: UInt32?
    /// The client's limit on each of several choices.
    private let tokensMaxEach: UInt32?

    init(_ request: TaskRequest) {
        isResumable = request.resumable && request.kind != .embedding
        mayRepeat = request.repeatable && request.streams
        let choices = max(1, request.choices)
        tokensMaxEach = choices > 1 ? request.tokensOutMax : nil
        tokensMax = request.tokensOutMax.map { UInt32(clamping: UInt64($0) * UInt64(choices)) }
    }

    var isEmpty: Bool { position.bytes == 0 }

    /// What is left of the client's limit; nil: no limit.
    var tokensLeft: UInt32? { tokensMax.map { $0 > start.tokens ? $0 - start.tokens : 0 } }

    /// What is left for a worker to be told, which counts each choice by itself.
    var tokensLeftEach: UInt32? { tokensMaxEach ?? tokensLeft }

    /// The model that must continue, once bytes have been delivered.
    var continuing: ModelVersion? { isEmpty ? nil : version }

    /// Where a worker begins: behind what was delivered, or again.
    var start: Position { isRepeating ? Position(bytes: 0, tokens: 0) : position }

    /// What a worker gets to continue.
    var textToContinue: [UInt8] { isRepeating ? [] : text }

    /// The first token arrived, or the end without one.
    mutating func begin(_ now: MonotonicTime) { startedAt = now }

    /// States which model produces the first byte.
    mutating func start(with version: ModelVersion) { self.version = version }

    /// Appends a delta for the client; `tokens` is the total with it.
    mutating func append(_ delta: Delta, tokens: UInt32, textMax: Int, _ now: MonotonicTime) {
        position.bytes += UInt64(delta.text.count + delta.extra.count)
        position.tokens = tokens
        lastAt = now
        guard isResumable else { return }
        if delta.extra.isEmpty && text.count + delta.text.count <= textMax {
            text += delta.text
        } else {
            isResumable = false
            text = []
        }
    }

    // MARK: - Beginning again

    var isRepeating: Bool { repeated != nil }

    /// Lets the next worker begin again; false: it does already, or this answer can't be repeated.
    mutating func beginAgain() -> Bool {
        guard mayRepeat, !isRepeating, !isEmpty, isResumable else { return false }
        repeated = 0
        return true
    }

    /// The next worker repeats all of it.
    mutating func repeatAll() { if isRepeating { repeated = 0 } }

    /// No worker can repeat it.
    mutating func stopRepeating() { (repeated, mayRepeat) = (nil, false) }

    /// Takes what repeats the delivered text off a delta's; false: it says something else.
    mutating func takeRepeated(_ delta: inout Delta) -> Bool {
        guard let done = repeated else { return true }
        guard delta.extra.isEmpty else { return false }
        let count = min(delta.text.count, text.count - done)
        guard text[done..<done + count].elementsEqual(delta.text.prefix(count)) else { return false }
        delta.text.removeFirst(count)
        repeated = done + count
        if done + count == text.count { repeated = nil }
        return true
    }

    /// The client took `bytes` more of what was delivered.
    mutating func consume(_ bytes: UInt64) { consumed += min(bytes, position.bytes - consumed) }

    // MARK: - Whole answers

    var hasWhole: Bool { !whole.isEmpty }

    /// Collects a part of an answer that the client gets as a whole. Returns false when it would exceed
    /// `bytesMax`.
    mutating func collect(_ part: [UInt8], bytesMax: Int) -> Bool {
        guard whole.count + part.count <= bytesMax else { return false }
        whole += part
        return true
    }

    mutating func takeWhole() -> [UInt8] {
        defer { whole = [] }
        return whole
    }

    /// The parts of a lost worker are of no use to the next.
    mutating func dropWhole() { whole = [] }
}
