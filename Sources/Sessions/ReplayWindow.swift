/// Which of the last 2,048 counters of a session were seen: a ring of 64-bit words that advances word by word
/// (RFC 6479). One word of the ring is always being refilled, so 33 words give a window of at least 2,048.
struct ReplayWindow: Sendable {
    static let size: UInt64 = 2_048
    private static let words = 33
    /// Empty until the first word is full: most handshakes never get that far, nor do most sessions of an
    /// idle node.
    private var bits: [UInt64] = []
    private var firstWord: UInt64 = 0
    /// The highest accepted counter plus one; 0 if there was none.
    private var next: UInt64 = 0

    /// Whether `counter` is new and not too old. Cheap, so it is checked before decrypting.
    func admits(_ counter: UInt64) -> Bool {
        guard counter < .max else { return false }
        if counter >= next { return true }
        guard next - counter <= Self.size else { return false }
        return (bits.isEmpty ? firstWord : bits[Self.slot(counter >> 6)]) & 1 << (counter & 63) == 0
    }

    /// Marks `counter` as seen. Call it only once its packet has proven authentic.
    mutating func accept(_ counter: UInt64) {
        guard counter < .max else { return }
        if bits.isEmpty {
            guard counter > 63 else {
                firstWord |= 1 << counter
                next = max(next, counter + 1)
                return
            }
            bits = Array(repeating: 0, count: Self.words)
            bits[0] = firstWord
        }
        if counter >= next {
            let from = next == 0 ? 0 : (next - 1) >> 6
            let steps = min((counter >> 6) - from, UInt64(Self.words))
            var step: UInt64 = 0
            while step < steps {
                bits[Self.slot((counter >> 6) &- step)] = 0
                step += 1
            }
            next = counter + 1
        }
        bits[Self.slot(counter >> 6)] |= 1 << (counter & 63)
    }

    private static func slot(_ word: UInt64) -> Int { Int(word % UInt64(words)) }
}
