/// Why a text can't be read as JSON.
public enum JSONError: Error, Hashable, Sendable {
    case malformed(at: Int)
    case tooDeep
    case tooMany
    case duplicateKey
    case notUTF8
}

/// Reads JSON (RFC 8259) in place, one value after the other, without building a tree.
///
/// A decoder costs some 20 µs a token on the loop's thread; scanning a chunk this way costs well under 1 µs.
/// Depth is bounded. Numbers are checked only roughly here: `JSONTree` checks those that are passed on.
struct JSONCursor {
    /// Deeper nesting is refused, so that the sender can't choose the depth of our recursion.
    static let depthMax = 64

    let bytes: [UInt8]
    private(set) var index = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Returns the next byte that is not white space without consuming it; 0 at the end.
    mutating func peek() -> UInt8 {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index += 1
            case let byte: return byte
            }
        }
        return 0
    }

    mutating func take(_ byte: UInt8) throws(JSONError) {
        guard peek() == byte else { throw .malformed(at: index) }
        index += 1
    }

    private mutating func takeIf(_ byte: UInt8) -> Bool {
        guard peek() == byte else { return false }
        index += 1
        return true
    }

    /// Throws unless only white space is left.
    mutating func end() throws(JSONError) {
        _ = peek()
        guard index == bytes.count else { throw .malformed(at: index) }
    }

    /// Returns the next key of an object whose `{` was consumed, or nil after its `}`. `first` must start as
    /// true.
    mutating func nextKey(_ first: inout Bool) throws(JSONError) -> String? {
        if takeIf(UInt8(ascii: "}")) { return nil }
        if !first { try take(UInt8(ascii: ",")) }
        first = false
        var key: [UInt8] = []
        try string(into: &key)
        try take(UInt8(ascii: ":"))
        return String(decoding: key, as: UTF8.self)
    }

    /// Whether an array whose `[` was consumed has another element; consumes the comma or the `]`.
    mutating func nextElement(_ first: inout Bool) throws(JSONError) -> Bool {
        if takeIf(UInt8(ascii: "]")) { return false }
        if !first { try take(UInt8(ascii: ",")) }
        first = false
        return true
    }

    /// Consumes `null` if it comes next.
    mutating func takeNull() -> Bool {
        guard peek() == UInt8(ascii: "n"), isNext("null") else { return false }
        index += 4
        return true
    }

    func isNext(_ word: StaticString) -> Bool {
        let end = index + word.utf8CodeUnitCount
        guard end <= bytes.count else { return false }
        return word.withUTF8Buffer { bytes[index..<end].elementsEqual($0) }
    }

    mutating func advance(_ count: Int) { index = min(index + count, bytes.count) }

    /// Reads a whole number that is not negative, clamped to 2^53. Skips any other value and returns nil.
    mutating func whole(depth: Int) throws(JSONError) -> UInt64? {
        let byte = peek()
        guard byte >= 0x30, byte <= 0x39 else {
            try skip(depth: depth)
            return nil
        }
        var value: UInt64 = 0
        while index < bytes.count, bytes[index] >= 0x30, bytes[index] <= 0x39 {
            value = min(value * 10 + UInt64(bytes[index] - 0x30), 1 << 53)
            index += 1
        }
        while index < bytes.count, Self.isNumber(bytes[index]) { index += 1 }
        return value
    }

    /// Appends a string, unescaped. A lone surrogate becomes its three WTF-8 bytes, so that a pair which a
    /// server split between two chunks can still be joined (`WholeCharacters`).
    mutating func string(into out: inout [UInt8]) throws(JSONError) {
        try take(UInt8(ascii: "\""))
        var run = index
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\"") {
                out.append(contentsOf: bytes[run..<index])
                index += 1
                return
            }
            guard byte >= 0x20 else { break }
            index += 1
            if byte == UInt8(ascii: "\\") {
                out.append(contentsOf: bytes[run..<index - 1])
                try escape(into: &out)
                run = index
            }
        }
        throw .malformed(at: index)
    }

    private mutating func escape(into out: inout [UInt8]) throws(JSONError) {
        guard index < bytes.count else { throw .malformed(at: index) }
        let byte = bytes[index]
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "f"): out.append(0x0C)
        case UInt8(ascii: "n"): out.append(0x0A)
        case UInt8(ascii: "r"): out.append(0x0D)
        case UInt8(ascii: "t"): out.append(0x09)
        case UInt8(ascii: "u"):
            var scalar = try hex4()
            if scalar & 0xFC00 == 0xD800, isNext("\\u") {
                let mark = index
                index += 2
                let low = try hex4()
                if low & 0xFC00 == 0xDC00 {
                    scalar = 0x10000 + (scalar & 0x3FF) << 10 + (low & 0x3FF)
                } else {
                    index = mark
                }
            }
            WTF8.append(scalar, to: &out)
        default: throw .malformed(at: index)
        }
    }

    private mutating func hex4() throws(JSONError) -> UInt32 {
        guard index + 4 <= bytes.count else { throw .malformed(at: index) }
        var value: UInt32 = 0
        for _ in 0..<4 {
            let digit: UInt8
            switch bytes[index] {
            case let b where b >= 0x30 && b <= 0x39: digit = b - 0x30
            case let b where b >= 0x41 && b <= 0x46: digit = b - 0x41 + 10
            case let b where b >= 0x61 && b <= 0x66: digit = b - 0x61 + 10
            default: throw .malformed(at: index)
            }
            value = value << 4 | UInt32(digit)
            index += 1
        }
        return value
    }

    /// Skips one value of any kind.
    mutating func skip(depth: Int) throws(JSONError) {
        guard depth < Self.depthMax else { throw .tooDeep }
        var first = true
        switch peek() {
        case UInt8(ascii: "{"):
            index += 1
            while try nextMember(&first) { try skip(depth: depth + 1) }
        case UInt8(ascii: "["):
            index += 1
            while try nextElement(&first) { try skip(depth: depth + 1) }
        case UInt8(ascii: "\""): try skipString()
        case UInt8(ascii: "t") where isNext("true"): index += 4
        case UInt8(ascii: "f") where isNext("false"): index += 5
        case UInt8(ascii: "n") where isNext("null"): index += 4
        case let byte where Self.isNumber(byte):
            while index < bytes.count, Self.isNumber(bytes[index]) { index += 1 }
        default: throw .malformed(at: index)
        }
    }

    private mutating func nextMember(_ first: inout Bool) throws(JSONError) -> Bool {
        if takeIf(UInt8(ascii: "}")) { return false }
        if !first { try take(UInt8(ascii: ",")) }
        first = false
        try skipString()
        try take(UInt8(ascii: ":"))
        return true
    }

    private mutating func skipString() throws(JSONError) {
        try take(UInt8(ascii: "\""))
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if byte == UInt8(ascii: "\"") { return }
            guard byte >= 0x20 else { break }
            if byte == UInt8(ascii: "\\") { index += 1 }
        }
        throw .malformed(at: min(index, bytes.count))
    }

    static func isNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"),
            UInt8(ascii: "E"):
            true
        default: false
        }
    }
}

/// UTF-8 that can also hold lone surrogates (https://simonsapin.github.io/wtf-8/).
enum WTF8 {
    static func append(_ scalar: UInt32, to out: inout [UInt8]) {
        func byte(_ value: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: value) }
        switch scalar {
        case 0..<0x80: out.append(byte(scalar))
        case 0x80..<0x800: out += [byte(0xC0 | scalar >> 6), byte(0x80 | scalar & 0x3F)]
        case 0x800..<0x10000:
            out += [byte(0xE0 | scalar >> 12), byte(0x80 | scalar >> 6 & 0x3F), byte(0x80 | scalar & 0x3F)]
        default:
            out += [
                byte(0xF0 | scalar >> 18 & 0x07), byte(0x80 | scalar >> 12 & 0x3F),
                byte(0x80 | scalar >> 6 & 0x3F),
                byte(0x80 | scalar & 0x3F),
            ]
        }
    }
}
