/// Log-probabilities: nothing in them is said, and all of it is typed (`Logprobs`).
extension ChoicesScanner {
    mutating func logprobs() throws(Stop) {
        var (first, keys) = (true, Keys())
        try take(UInt8(ascii: "{"))
        while let key = try nextKey(&first, &keys) {
            if try takeNull() { continue }
            if isKey(key, "content") || isKey(key, "refusal") {
                try list { (scanner) throws(Stop) in try scanner.token(depth: Self.tokenDepth) }
            } else if isKey(key, "tokens") {
                try list { (scanner) throws(Stop) in
                    guard scanner.peek() == UInt8(ascii: "\"") else { throw .malformed }
                    _ = try scanner.string()
                }
            } else if isKey(key, "token_logprobs") {
                try list { (scanner) throws(Stop) in
                    if try !scanner.takeNull() { try scanner.number() }
                }
            } else if isKey(key, "text_offset") {
                try list { (scanner) throws(Stop) in try scanner.whole(Logprobs.isOffset) }
            } else if isKey(key, "top_logprobs") {
                try list { (scanner) throws(Stop) in
                    if try !scanner.takeNull() { try scanner.numbers() }
                }
            } else {
                _ = try value(depth: 3)
            }
        }
    }

    /// One token with its probability, and at the outer level with those that might have stood in its place.
    private mutating func token(depth: Int) throws(Stop) {
        var (first, keys) = (true, Keys())
        var (hasToken, hasNumber) = (false, false)
        try take(UInt8(ascii: "{"))
        while let key = try nextKey(&first, &keys) {
            if isKey(key, "token") {
                guard peek() == UInt8(ascii: "\"") else { throw .malformed }
                _ = try string()
                hasToken = true
            } else if isKey(key, "logprob") {
                try number()
                hasNumber = true
            } else if isKey(key, "bytes") {
                if try takeNull() { continue }
                try list { (scanner) throws(Stop) in try scanner.whole(Logprobs.isByte) }
            } else if isKey(key, "top_logprobs"), depth == Self.tokenDepth {
                if try takeNull() { continue }
                try list(most: Logprobs.topMax) { (scanner) throws(Stop) in
                    try scanner.token(depth: depth + 2)
                }
            } else {
                _ = try value(depth: depth + 1)
            }
        }
        guard hasToken, hasNumber else { throw .malformed }
    }

    private static let tokenDepth = 4

    /// More than a few are left to the tree, which bounds them.
    private mutating func numbers() throws(Stop) {
        var (first, keys) = (true, Keys())
        try take(UInt8(ascii: "{"))
        while try nextKey(&first, &keys) != nil { try number() }
    }

    private mutating func list(
        most: Int = .max, _ element: (inout ChoicesScanner) throws(Stop) -> Void
    ) throws(Stop) {
        var (first, count) = (true, 0)
        try take(UInt8(ascii: "["))
        while try next(UInt8(ascii: "]"), &first) {
            count += 1
            guard count <= most else { throw .malformed }
            try element(&self)
        }
    }
}
