import OpenAIFormat
import Wire

/// How many tokens an answer has by what arrived of it. The worker's own count is taken as far as the bytes allow
/// (`Protocol/market.md`, What a worker says): at most one token a byte of text or of what `extra` says; at least one for
/// each 16 bytes of text beyond the first 32, and for each 4,096 bytes of `extra`, which log-probabilities can fill with
/// one token.
struct AnswerCount: Sendable {
    private static let textBytesPerToken: UInt64 = 16
    private static let textBytesFree: UInt64 = 32
    private static let extraBytesPerToken: UInt64 = 4_096

    private let kind: TaskKind
    private var text: UInt64 = 0
    private var said: UInt64 = 0
    private var extra: UInt64 = 0
    private var claimed: UInt64 = 0

    init(_ kind: TaskKind) { self.kind = kind }

    /// False for an embedding, whose bytes are no tokens.
    private var countsBytes: Bool { kind != .embedding }

    /// Of text, and of what `extra` says.
    var bytes: UInt64 { text + said }
    var tokens: UInt32 { tokens(claiming: claimed) }

    func tokens(claiming claimed: UInt64) -> UInt32 { UInt32(clamping: min(max(claimed, least), bytes)) }

    private var least: UInt64 {
        guard countsBytes else { return 0 }
        let counted = text > Self.textBytesFree ? text - Self.textBytesFree : 0
        return counted / Self.textBytesPerToken + extra / Self.extraBytesPerToken
    }

    /// Adds a delta whose choices nobody has read yet.
    mutating func add(_ delta: Delta) {
        let isRead = delta.extra.isEmpty || !countsBytes
        add(delta, said: isRead ? 0 : ChoicesContent(of: delta.extra, isChat: kind == .chat).bytes)
    }

    /// `said`: the bytes that its `extra` says. A delta that says nothing has no tokens.
    mutating func add(_ delta: Delta, said bytes: Int) {
        guard !delta.text.isEmpty || bytes > 0 else { return }
        said += UInt64(bytes)
        text += UInt64(delta.text.count)
        extra += UInt64(delta.extra.count)
        claimed += UInt64(delta.tokens)
    }

    /// Cuts from a delta the text that can't belong to an answer of `limit` tokens, between characters. Returns
    /// false when there was none.
    func cut(_ delta: inout Delta, limit: UInt32) -> Bool {
        let most = UInt64(limit) * Self.textBytesPerToken + Self.textBytesFree
        let room = Int(clamping: most > text ? most - text : 0)
        guard countsBytes, delta.text.count > room else { return false }
        var end = room
        while end > 0, delta.text[end] & 0xc0 == 0x80 { end -= 1 }
        delta.text.removeLast(delta.text.count - end)
        return true
    }
}
