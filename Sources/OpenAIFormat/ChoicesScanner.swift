/// Finds what a list of `choices` says without allocating. As strict as `JSONTree`: what passes here must be readable
/// as a tree, which is how it is passed on. What is rare is left to the tree: keys that are escaped, not ASCII, long or
/// many, and an `index` that isn't a few digits.
struct ChoicesScanner {
    private enum Stop: Error { case malformed, unusual }

    /// Keys of one object that are compared with one another.
    private static let keysMax = 16

    private let bytes: UnsafeBufferPointer<UInt8>
    private var index = 0
    private var saysSomething = false

    /// Returns nil for what only the tree can judge.
    static func scan(_ bytes: UnsafeBufferPointer<UInt8>) -> ChoicesContent? {
        if bytes.contains(where: { $0 >= 0x80 }), String(validating: bytes, as: UTF8.self) == nil {
            return .malformed
        }
        var scanner = ChoicesScanner(bytes: bytes)
        do throws(Stop) {
            try scanner.choices()
        } catch {
            return error == .malformed ? ChoicesContent.malformed : nil
        }
        return scanner.saysSomething ? ChoicesContent.some : ChoicesContent.none
    }

    private init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    // MARK: Choices

    private mutating func choices() throws(Stop) {
        try take(UInt8(ascii: "["))
        var first = true
        var isOurs = true
        while try next(UInt8(ascii: "]"), &first) {
            // A later error of syntax is as good a reason.
            if peek() == UInt8(ascii: "{") { try choice() } else { isOurs = false; _ = try value(depth: 1) }
        }
        guard peek() == nil, isOurs else { throw .malformed }
    }

    private mutating func choice() throws(Stop) {
        var keys = Keys()
        index += 1
        var first = true
        while let key = try nextKey(&first, &keys) {
            if isKey(key, "index") {
                try choiceIndex()
            } else if isKey(key, "text") {
                let isText = peek() == UInt8(ascii: "\"")
                if try value(depth: 2), isText { saysSomething = true }
            } else if isKey(key, "delta") || isKey(key, "message"), peek() == UInt8(ascii: "{") {
                try part()
            } else {
                _ = try value(depth: 2)
            }
        }
    }

    /// `delta` or `message`.
    private mutating func part() throws(Stop) {
        var keys = Keys()
        index += 1
        var first = true
        while let key = try nextKey(&first, &keys) {
            if try value(depth: 3), isMember(key) { saysSomething = true }
        }
    }

    private func isMember(_ key: Range<Int>) -> Bool {
        isKey(key, "content") || isKey(key, "tool_calls") || isKey(key, "reasoning_content")
            || isKey(key, "reasoning") || isKey(key, "refusal") || isKey(key, "function_call")
            || isKey(key, "audio") || isKey(key, "thinking")
    }

    private mutating func choiceIndex() throws(Stop) {
        let start = index
        guard let byte = peek(), byte == UInt8(ascii: "-") || byte &- 0x30 < 10 else {
            _ = try value(depth: 2)
            return
        }
        try number()
        var value: UInt64 = 0
        for byte in bytes[start..<index].drop(while: { $0 <= 0x20 }) {
            guard byte &- 0x30 < 10, value < ClientRequest.choicesMax else { throw .unusual }
            value = value * 10 + UInt64(byte - 0x30)
        }
        guard value < ClientRequest.choicesMax else { throw .unusual }
    }

    // MARK: JSON

    /// The keys of an object so far: a repeated one is refused.
    private struct Keys {
        var count = 0
        var ranges: InlineArray<16, Range<Int>> = .init(repeating: 0..<0)
    }

    private mutating func peek() -> UInt8? {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index += 1
            case let byte: return byte
            }
        }
        return nil
    }

    private mutating func take(_ byte: UInt8) throws(Stop) {
        guard peek() == byte else { throw .malformed }
        index += 1
    }

    /// Whether another element or member follows, before `end`; consumes the comma or the end.
    private mutating func next(_ end: UInt8, _ first: inout Bool) throws(Stop) -> Bool {
        if peek() == end {
            index += 1
            return false
        }
        if !first { try take(UInt8(ascii: ",")) }
        first = false
        return true
    }

    private mutating func nextKey(_ first: inout Bool, _ keys: inout Keys) throws(Stop) -> Range<Int>? {
        guard try next(UInt8(ascii: "}"), &first) else { return nil }
        guard peek() == UInt8(ascii: "\"") else { throw .malformed }
        let start = index + 1
        try string()
        let key = start..<index - 1
        guard keys.count < Self.keysMax,
            !bytes[key].contains(where: { $0 >= 0x80 || $0 == UInt8(ascii: "\\") })
        else { throw .unusual }
        for place in 0..<keys.count where keys.ranges[place].count == key.count {
            if bytes[keys.ranges[place]].elementsEqual(bytes[key]) { throw .malformed }
        }
        keys.ranges[keys.count] = key
        keys.count += 1
        try take(UInt8(ascii: ":"))
        return key
    }

    private func isKey(_ key: Range<Int>, _ name: StaticString) -> Bool {
        key.count == name.utf8CodeUnitCount && name.withUTF8Buffer { bytes[key].elementsEqual($0) }
    }

    /// Takes one value. Returns whether it holds a string that isn't empty; keys don't count.
    private mutating func value(depth: Int) throws(Stop) -> Bool {
        guard depth < JSONCursor.depthMax else { throw .malformed }
        var first = true
        var holdsText = false
        switch peek() {
        case UInt8(ascii: "{"):
            index += 1
            var keys = Keys()
            while try nextKey(&first, &keys) != nil {
                if try value(depth: depth + 1) { holdsText = true }
            }
        case UInt8(ascii: "["):
            index += 1
            while try next(UInt8(ascii: "]"), &first) {
                if try value(depth: depth + 1) { holdsText = true }
            }
        case UInt8(ascii: "\""):
            let start = index
            try string()
            holdsText = index - start > 2
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        default: try number()
        }
        return holdsText
    }

    private mutating func word(_ word: StaticString) throws(Stop) {
        let end = index + word.utf8CodeUnitCount
        guard end <= bytes.count, word.withUTF8Buffer({ bytes[index..<end].elementsEqual($0) }) else {
            throw .malformed
        }
        index = end
    }

    private mutating func string() throws(Stop) {
        var at = index + 1
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\"") {
                index = at
                return
            }
            guard byte >= 0x20 else { throw .malformed }
            if byte == UInt8(ascii: "\\") {
                index = at
                try escape()
                at = index
            }
        }
        throw .malformed
    }

    private mutating func escape() throws(Stop) {
        guard index < bytes.count else { throw .malformed }
        index += 1
        switch bytes[index - 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return
        case UInt8(ascii: "u"):
            guard index + 4 <= bytes.count, bytes[index..<index + 4].allSatisfy(Self.isHex) else {
                throw .malformed
            }
            index += 4
        default: throw .malformed
        }
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        byte &- 0x30 < 10 || (byte | 0x20) &- UInt8(ascii: "a") < 6
    }

    /// RFC 8259's grammar.
    private mutating func number() throws(Stop) {
        _ = peek()
        guard let number = JSONNumber(bytes, from: index) else { throw .malformed }
        index = number.end
    }
}
