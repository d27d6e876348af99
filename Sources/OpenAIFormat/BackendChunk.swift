/// The token counts that a model server reports.
public struct BackendUsage: Hashable, Sendable {
    public var promptTokens: UInt32
    public var cachedTokens: UInt32
    public var completionTokens: UInt32
    public init(promptTokens: UInt32 = 0, cachedTokens: UInt32 = 0, completionTokens: UInt32 = 0) {
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.completionTokens = completionTokens
    }
}

/// An error as a model server reports it. `code` is its `type`, or its `code` where that is text.
public struct BackendErrorBody: Hashable, Sendable {
    public var code: String
    public var message: String
}

/// One chunk of a streamed chat or completion, as a model server sends it: text in the plain case, else the raw
/// `choices`. Scanned in one pass, without a decoder.
public struct BackendChunk: Hashable, Sendable {
    /// `delta.content` or `text`, unescaped; may be empty. A surrogate half at either end is kept as WTF-8.
    public var text: [UInt8] = []
    /// The raw value of `choices` when it holds more than text: several choices, tool calls, reasoning,
    /// log-probabilities or unknown fields. `text` is then empty.
    public var complex: [UInt8] = []
    /// The first `finish_reason` that is not null.
    public var finishReason: String?
    public var usage: BackendUsage?
    public var error: BackendErrorBody?

    /// Scans one chunk of an answer to a request for `choices`. Throws when it is not JSON, or its `choices` are such
    /// as no buyer takes.
    public init(scanning data: [UInt8], choices count: UInt32 = .max) throws(JSONError) {
        var cursor = JSONCursor(data)
        try cursor.take(UInt8(ascii: "{"))
        var first = true
        while let key = try cursor.nextKey(&first) {
            switch key {
            case "choices" where cursor.peek() == UInt8(ascii: "["):
                let start = cursor.index
                if try !choices(&cursor) {
                    complex = Array(data[start..<cursor.index])
                    text = []
                    // It is passed on unchanged, so validate it fully, as its buyer does: the scan checks
                    // only roughly.
                    guard ChoicesContent(of: complex, choices: count) != .malformed else {
                        throw .malformed(at: start)
                    }
                }
            case "usage": usage = try BackendUsage(&cursor)
            case "error": error = try BackendErrorBody(&cursor)
            default: try cursor.skip(depth: 1)
            }
        }
        try cursor.end()
    }

    /// Returns whether the choices are plain text.
    private mutating func choices(_ cursor: inout JSONCursor) throws(JSONError) -> Bool {
        cursor.advance(1)
        var plain = true
        var count = 0
        var first = true
        while try cursor.nextElement(&first) {
            count += 1
            if try !choice(&cursor) { plain = false }
        }
        return plain && count <= 1
    }

    private mutating func choice(_ cursor: inout JSONCursor) throws(JSONError) -> Bool {
        try cursor.take(UInt8(ascii: "{"))
        var plain = true
        var first = true
        while let key = try cursor.nextKey(&first) {
            switch key {
            case "delta" where cursor.peek() == UInt8(ascii: "{"):
                if try !delta(&cursor) { plain = false }
            case "text" where cursor.peek() == UInt8(ascii: "\""): try cursor.string(into: &text)
            case "finish_reason" where cursor.peek() == UInt8(ascii: "\""):
                var reason: [UInt8] = []
                try cursor.string(into: &reason)
                if finishReason == nil { finishReason = String(decoding: reason.prefix(64), as: UTF8.self) }
            case "index":
                if try cursor.whole(depth: 3) != 0 { plain = false }
            // Servers add these; they tell the client nothing beyond `finish_reason`.
            case "stop_reason", "matched_stop", "native_finish_reason": try cursor.skip(depth: 3)
            default:
                if try !isNothing(&cursor) { plain = false }
            }
        }
        return plain
    }

    private mutating func delta(_ cursor: inout JSONCursor) throws(JSONError) -> Bool {
        try cursor.take(UInt8(ascii: "{"))
        var plain = true
        var first = true
        while let key = try cursor.nextKey(&first) {
            switch key {
            case "content" where cursor.peek() == UInt8(ascii: "\""): try cursor.string(into: &text)
            case "role": try cursor.skip(depth: 4)
            default:
                if try !isNothing(&cursor) { plain = false }
            }
        }
        return plain
    }

    /// Skips a value. Returns whether it is null, an empty string or an empty list.
    private func isNothing(_ cursor: inout JSONCursor) throws(JSONError) -> Bool {
        if cursor.takeNull() { return true }
        let byte = cursor.peek()
        let start = cursor.index
        try cursor.skip(depth: 4)
        return cursor.index - start == 2 && (byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "["))
    }
}

extension BackendUsage {
    init?(_ cursor: inout JSONCursor) throws(JSONError) {
        guard cursor.peek() == UInt8(ascii: "{") else {
            try cursor.skip(depth: 1)
            return nil
        }
        func clamped(_ value: UInt64?) -> UInt32 { UInt32(min(value ?? 0, UInt64(UInt32.max))) }
        self.init()
        cursor.advance(1)
        var first = true
        while let key = try cursor.nextKey(&first) {
            switch key {
            case "prompt_tokens": promptTokens = clamped(try cursor.whole(depth: 2))
            case "completion_tokens": completionTokens = clamped(try cursor.whole(depth: 2))
            case "prompt_tokens_details" where cursor.peek() == UInt8(ascii: "{"):
                cursor.advance(1)
                var firstDetail = true
                while let detail = try cursor.nextKey(&firstDetail) {
                    if detail == "cached_tokens" {
                        cachedTokens = clamped(try cursor.whole(depth: 3))
                    } else {
                        try cursor.skip(depth: 3)
                    }
                }
            default: try cursor.skip(depth: 2)
            }
        }
    }
}

extension BackendErrorBody {
    /// Characters kept of a server's message.
    static let messageMax = 300

    /// The error in the body of an answer, whether in OpenAI's form or as plain text.
    public init(body: [UInt8]) {
        if let chunk = try? BackendChunk(scanning: body), let error = chunk.error {
            self = error
        } else {
            self.init(code: "", message: Self.clean(body))
        }
    }

    init?(_ cursor: inout JSONCursor) throws(JSONError) {
        code = ""
        message = ""
        switch cursor.peek() {
        case UInt8(ascii: "{"):
            cursor.advance(1)
            var first = true
            while let key = try cursor.nextKey(&first) {
                guard cursor.peek() == UInt8(ascii: "\""), ["message", "type", "code"].contains(key) else {
                    try cursor.skip(depth: 2)
                    continue
                }
                var text: [UInt8] = []
                try cursor.string(into: &text)
                if key == "message" {
                    message = Self.clean(text)
                } else if code.isEmpty || key == "code" {
                    code = Self.clean(text)
                }
            }
        case UInt8(ascii: "\""):
            var text: [UInt8] = []
            try cursor.string(into: &text)
            message = Self.clean(text)
        default:
            try cursor.skip(depth: 1)
            return nil
        }
    }

    /// One line without control characters, because it may reach a terminal.
    private static func clean(_ text: [UInt8]) -> String {
        let scalars = String(decoding: text.prefix(4 * messageMax), as: UTF8.self).unicodeScalars.prefix(
            messageMax)
        return String(
            String.UnicodeScalarView(scalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
    }
}
