/// Passes text on in whole tokens and whole characters.
///
/// The next worker continues after the delivered text if this one dies, and a continuation is exact only from
/// a token boundary. So a piece that ends inside a character is held back entirely, with its tokens, until
/// another piece completes it. Bytes that never become valid text are replaced by U+FFFD, as decoders do.
public struct WholeCharacters: Sendable {
    /// Held bytes; beyond this the end of the piece counts as garbage and is repaired. A character needs at
    /// most four bytes, but a token may be long.
    static let heldMax = 4_096

    private var held: [UInt8] = []
    private var heldTokens = 0

    public init() {}

    var isHolding: Bool { heldTokens > 0 || !held.isEmpty }

    /// Returns the text that is complete now and the number of its tokens; nil if all is held back.
    public mutating func append(_ bytes: [UInt8], tokens: Int) -> (text: [UInt8], tokens: Int)? {
        if held.isEmpty, heldTokens == 0, bytes.allSatisfy({ $0 < 0x80 }) { return (bytes, tokens) }
        held += bytes
        heldTokens += tokens
        if endsInside(held), held.count <= Self.heldMax { return nil }
        return flush()
    }

    /// Returns what is still held, repaired; nil if nothing is.
    public mutating func flush() -> (text: [UInt8], tokens: Int)? {
        guard isHolding else { return nil }
        defer {
            held = []
            heldTokens = 0
        }
        return (Array(String(decoding: joined(held), as: UTF8.self).utf8), heldTokens)
    }

    /// Whether the last character lacks bytes, or is the first half of a surrogate pair.
    private func endsInside(_ bytes: [UInt8]) -> Bool {
        var index = bytes.count
        var following = 0
        while index > 0, following < 4 {
            index -= 1
            switch bytes[index] {
            case 0x80..<0xC0: following += 1
            case 0xC0..<0xE0: return following < 1
            case 0xE0..<0xF0:
                let isHigh =
                    following == 2 && bytes[index] == 0xED && bytes[index + 1] >= 0xA0
                    && bytes[index + 1] < 0xB0
                return following < 2 || isHigh
            case 0xF0..<0xF8: return following < 3
            default: return false
            }
        }
        return false
    }

    /// Joins surrogate pairs that were written as two WTF-8 sequences.
    private func joined(_ bytes: [UInt8]) -> [UInt8] {
        func half(at index: Int, _ range: Range<UInt8>) -> UInt32? {
            guard index + 3 <= bytes.count, bytes[index] == 0xED, range.contains(bytes[index + 1]) else {
                return nil
            }
            return UInt32(bytes[index + 1] & 0x0F) << 6 | UInt32(bytes[index + 2] & 0x3F)
        }
        guard bytes.contains(0xED) else { return bytes }
        var out: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if let high = half(at: index, 0xA0..<0xB0), let low = half(at: index + 3, 0xB0..<0xC0) {
                WTF8.append(0x10000 + high << 10 + low, to: &out)
                index += 6
            } else {
                out.append(bytes[index])
                index += 1
            }
        }
        return out
    }
}
