/// Finds what a list of `choices` says without allocating. As strict as `JSONTree`: what passes here must be readable
/// as a tree, which is how it is passed on. What is rare is left to the tree: keys that are escaped, not ASCII, long or
/// many, halves of surrogates, and escapes where only one word may stand.
struct ChoicesScanner {
    enum Stop: Error { case malformed, unusual }

    /// Keys of one object that are compared with one another.
    private static let keysMax = 16

    private let bytes: UnsafeBufferPointer<UInt8>
    private let isChat: Bool
    private let choicesMax: Int
    var index = 0

    /// Returns nil for what only the tree can judge.
    static func scan(_ bytes: UnsafeBufferPointer<UInt8>, isChat: Bool, choices: Int) -> ChoicesContent? {
        if bytes.contains(where: { $0 >= 0x80 }), String(validating: bytes, as: UTF8.self) == nil {
            return .malformed
        }
        var scanner = ChoicesScanner(bytes, isChat: isChat, choices: choices)
        do throws(Stop) {
            return ChoicesContent(said: try scanner.choices())
        } catch {
            return error == .malformed ? ChoicesContent.malformed : nil
        }
    }

    private init(_ bytes: UnsafeBufferPointer<UInt8>, isChat: Bool, choices: Int) {
        self.bytes = bytes
        self.isChat = isChat
        choicesMax = choices
    }

    // MARK: Choices: each returns the bytes that are said

    private mutating func choices() throws(Stop) -> Int {
        var (first, count, said) = (true, 0, 0)
        try take(UInt8(ascii: "["))
        while try next(UInt8(ascii: "]"), &first) {
            count += 1
            guard count <= choicesMax else { throw .malformed }
            said += try choice()
        }
        guard peek() == nil else { throw .malformed }
        return said
    }

    private mutating func choice() throws(Stop) -> Int {
        var (first, keys, said) = (true, Keys(), 0)
        try take(UInt8(ascii: "{"))
        while let key = try nextKey(&first, &keys) {
            if isKey(key, "index") {
                try index(below: choicesMax)
            } else if isKey(key, "text") {
                let bytes = try text()
                if !isChat { said += bytes }
            } else if isKey(key, "delta") {
                let bytes = try takeNull() ? 0 : try delta()
                if isChat { said += bytes }
            } else if isKey(key, "finish_reason") {
                guard let word = try word() else { continue }
                guard ChoicesContent.isReason(bytes[word]) else { throw .malformed }
            } else if isKey(key, "logprobs") {
                if try !takeNull() { try logprobs() }
            } else {
                _ = try value(depth: 2)
            }
        }
        return said
    }

    private mutating func delta() throws(Stop) -> Int {
        var (first, keys, said) = (true, Keys(), 0)
        try take(UInt8(ascii: "{"))
        while let key = try nextKey(&first, &keys) { said += try member(key) }
        return said
    }

    private mutating func member(_ key: Range<Int>) throws(Stop) -> Int {
        if isKey(key, "content") { return peek() == UInt8(ascii: "[") ? try parts() : try text() }
        if isKey(key, "reasoning_content") || isKey(key, "reasoning") || isKey(key, "refusal")
            || isKey(key, "thinking")
        {
            return try text()
        }
        if isKey(key, "role") {
            if let word = try word(), !isKey(word, "assistant") { throw .malformed }
            return 0
        }
        if isKey(key, "tool_calls") { return try takeNull() ? 0 : try calls() }
        if isKey(key, "function_call") { return try takeNull() ? 0 : try function(depth: 3) }
        if isKey(key, "audio") { return try takeNull() ? 0 : try object(depth: 3) }
        _ = try value(depth: 3)
        return 0
    }

    private mutating func parts() throws(Stop) -> Int {
        var (first, said) = (true, 0)
        try take(UInt8(ascii: "["))
        while try next(UInt8(ascii: "]"), &first) { said += try object(depth: 4) }
        return said
    }

    private mutating func calls() throws(Stop) -> Int {
        var (first, said) = (true, 0)
        try take(UInt8(ascii: "["))
        while try next(UInt8(ascii: "]"), &first) { said += try call() }
        return said
    }

    private mutating func call() throws(Stop) -> Int {
        var (first, keys, said) = (true, Keys(), 0)
        try take(UInt8(ascii: "{"))
        while let key = try nextKey(&first, &keys) {
            if isKey(key, "index") {
                try index(below: ChoicesContent.callsMax)
            } else if isKey(key, "id") || isKey(key, "type") {
                _ = try text()
            } else if isKey(key, "function") {
                said += try takeNull() ? 0 : try function(depth: 5)
            } else {
                _ = try value(depth: 5)
            }
        }
        return said
    }

    private mutating func function(depth: Int) throws(Stop) -> Int {
        var (first, keys, said) = (true, Keys(), 0)
        try take(UInt8(ascii: "{"))
        while let key = try nextKey(&first, &keys) {
            if isKey(key, "name") || isKey(key, "arguments") {
                said += try text()
            } else {
                _ = try value(depth: depth + 1)
            }
        }
        return said
    }

    // MARK: Values of one type

    /// A string or null.
    private mutating func text() throws(Stop) -> Int {
        if try takeNull() { return 0 }
        guard peek() == UInt8(ascii: "\"") else { throw .malformed }
        return try string()
    }

    /// A string without escapes; nil for null.
    private mutating func word() throws(Stop) -> Range<Int>? {
        if try takeNull() { return nil }
        guard peek() == UInt8(ascii: "\"") else { throw .malformed }
        let start = index + 1
        _ = try string()
        guard !bytes[start..<index - 1].contains(UInt8(ascii: "\\")) else { throw .unusual }
        return start..<index - 1
    }

    private mutating func index(below limit: Int) throws(Stop) {
        try whole { ChoicesContent.isIndex($0, below: limit) }
    }

    mutating func whole(_ fits: (UnsafeBufferPointer<UInt8>.SubSequence) -> Bool) throws(Stop) {
        _ = peek()
        let start = index
        try number()
        guard fits(bytes[start..<index]) else { throw .malformed }
    }

    private mutating func object(depth: Int) throws(Stop) -> Int {
        guard peek() == UInt8(ascii: "{") else { throw .malformed }
        return try value(depth: depth)
    }

    mutating func takeNull() throws(Stop) -> Bool {
        guard peek() == UInt8(ascii: "n") else { return false }
        try word("null")
        return true
    }

    // MARK: JSON

    /// The keys of an object so far: a repeated one is refused.
    struct Keys {
        var count = 0
        var ranges: InlineArray<16, Range<Int>> = .init(repeating: 0..<0)
    }

    mutating func peek() -> UInt8? {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index += 1
            case let byte: return byte
            }
        }
        return nil
    }

    mutating func take(_ byte: UInt8) throws(Stop) {
        guard peek() == byte else { throw .malformed }
        index += 1
    }

    /// Whether another element or member follows, before `end`; consumes the comma or the end.
    mutating func next(_ end: UInt8, _ first: inout Bool) throws(Stop) -> Bool {
        if peek() == end {
            index += 1
            return false
        }
        if !first { try take(UInt8(ascii: ",")) }
        first = false
        return true
    }

    mutating func nextKey(_ first: inout Bool, _ keys: inout Keys) throws(Stop) -> Range<Int>? {
        guard try next(UInt8(ascii: "}"), &first) else { return nil }
        guard peek() == UInt8(ascii: "\"") else { throw .malformed }
        let start = index + 1
        _ = try string()
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

    func isKey(_ key: Range<Int>, _ name: StaticString) -> Bool {
        key.count == name.utf8CodeUnitCount && name.withUTF8Buffer { bytes[key].elementsEqual($0) }
    }

    /// Takes one value. Returns the bytes of all strings in it; keys don't count.
    mutating func value(depth: Int) throws(Stop) -> Int {
        guard depth < JSONCursor.depthMax else { throw .malformed }
        var (first, said) = (true, 0)
        switch peek() {
        case UInt8(ascii: "{"):
            index += 1
            var keys = Keys()
            while try nextKey(&first, &keys) != nil { said += try value(depth: depth + 1) }
        case UInt8(ascii: "["):
            index += 1
            while try next(UInt8(ascii: "]"), &first) { said += try value(depth: depth + 1) }
        case UInt8(ascii: "\""): said = try string()
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        default: try number()
        }
        return said
    }

    private mutating func word(_ word: StaticString) throws(Stop) {
        let end = index + word.utf8CodeUnitCount
        guard end <= bytes.count, word.withUTF8Buffer({ bytes[index..<end].elementsEqual($0) }) else {
            throw .malformed
        }
        index = end
    }

    /// Returns its bytes of UTF-8 without escapes.
    mutating func string() throws(Stop) -> Int {
        let start = index + 1
        var at = start
        var escapes = 0
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\"") {
                index = at
                return at - 1 - start - escapes
            }
            guard byte >= 0x20 else { throw .malformed }
            if byte == UInt8(ascii: "\\") {
                index = at
                escapes += try escape()
                at = index
            }
        }
        throw .malformed
    }

    /// Takes what follows a backslash. Returns by how many bytes the escape is longer than what it stands for.
    private mutating func escape() throws(Stop) -> Int {
        guard index < bytes.count else { throw .malformed }
        index += 1
        switch bytes[index - 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return 1
        case UInt8(ascii: "u"):
            switch try hex() {
            case ..<0x80: return 5
            case ..<0x800: return 4
            case 0xD800..<0xDC00:
                guard index + 2 <= bytes.count, bytes[index] == UInt8(ascii: "\\"),
                    bytes[index + 1] == UInt8(ascii: "u")
                else { throw .unusual }
                index += 2
                guard 0xDC00..<0xE000 ~= (try hex()) else { throw .unusual }
                return 8
            case 0xDC00..<0xE000: throw .unusual
            default: return 3
            }
        default: throw .malformed
        }
    }

    private mutating func hex() throws(Stop) -> UInt32 {
        guard index + 4 <= bytes.count else { throw .malformed }
        var value: UInt32 = 0
        for byte in bytes[index..<index + 4] {
            let letter = (byte | 0x20) &- UInt8(ascii: "a")
            guard byte &- 0x30 < 10 || letter < 6 else { throw .malformed }
            value = value << 4 | UInt32(letter < 6 ? letter + 10 : byte - 0x30)
        }
        index += 4
        return value
    }

    /// RFC 8259's grammar.
    mutating func number() throws(Stop) {
        _ = peek()
        guard let number = JSONNumber(bytes, from: index) else { throw .malformed }
        index = number.end
    }
}
