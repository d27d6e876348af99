/// What the names and texts of other nodes may hold: `Protocol/README.md`, Texts, and `Protocol/models.md`.

extension Unicode.Scalar {
    /// Whether it moves a cursor, breaks a line or turns the direction of writing where it is shown: a control
    /// character, a line or paragraph separator, or one of Unicode's directional formatting characters.
    public var isControl: Bool {
        switch value {
        case 0x00...0x1f, 0x7f...0x9f: true
        case 0x061c, 0x200e, 0x200f, 0x2028...0x202e, 0x2066...0x2069: true
        default: false
        }
    }
}

extension String {
    /// Whether it holds no control characters (`Unicode.Scalar.isControl`).
    public var isPlain: Bool { !unicodeScalars.contains(where: \.isControl) }

    /// The text with a space in the place of each control character.
    public var madePlain: String {
        if isPlain { return self }
        var plain = ""
        for scalar in unicodeScalars { plain.unicodeScalars.append(scalar.isControl ? " " : scalar) }
        return plain
    }

    /// Whether it is spelt like a canonical model name: 1 to 64 of `a-z 0-9 . -`, a letter or digit at both
    /// ends, no `--`.
    public var isModelName: Bool {
        guard (1...64).contains(utf8.count), let first = utf8.first, let last = utf8.last else {
            return false
        }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        var previous: UInt8 = 0
        for byte in utf8 {
            let isHyphen = byte == UInt8(ascii: "-")
            guard isAlphanumeric(byte) || isHyphen || byte == UInt8(ascii: "."),
                !(isHyphen && previous == byte)
            else { return false }
            previous = byte
        }
        return isAlphanumeric(first) && isAlphanumeric(last)
    }
}
