/// Crockford's base 32 in lower case, without padding or check symbol: for ids that people read aloud and
/// shorten.
/// Source: https://www.crockford.com/base32.html
public enum Base32 {
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

    /// ⌈8·count / 5⌉ characters; the last one is padded with zero bits.
    public static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count * 8 + 4) / 5)
        var bits: UInt32 = 0
        var held = 0
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            held += 8
            while held >= 5 {
                held -= 5
                text.append(alphabet[Int(bits >> UInt32(held) & 31)])
            }
        }
        if held > 0 { text.append(alphabet[Int(bits << UInt32(5 - held) & 31)]) }
        return String(decoding: text, as: UTF8.self)
    }

    /// The whole bytes that `text` encodes. Returns nil at a character outside the alphabet (upper case and
    /// the look-alikes I, L, O are accepted) or when the remaining bits are not zero.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var held = 0
        for character in text.utf8 {
            let digit: Int
            switch character | 0x20 {
            case UInt8(ascii: "i"), UInt8(ascii: "l"): digit = 1
            case UInt8(ascii: "o"): digit = 0
            default:
                let folded = character < 64 ? character : character | 0x20
                guard let found = alphabet.firstIndex(of: folded) else { return nil }
                digit = found
            }
            bits = bits << 5 | UInt32(digit)
            held += 5
            if held >= 8 {
                held -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(held)))
                bits &= (1 << UInt32(held)) - 1
            }
        }
        return bits == 0 && held < 5 ? bytes : nil
    }
}
