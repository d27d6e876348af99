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
    /// The context that was exceeded, where the server states it.
    public var contextMax: UInt32?

    init(code: String, message: String, contextMax: UInt32? = nil) {
        self.code = code
        self.message = message
        self.contextMax = contextMax
    }

    /// What an error means, whoever reports it and however.
    public enum Meaning: Hashable, Sendable {
        /// The prompt, or prompt and limit together, don't fit.
        case contextExceeded
        case contentFilter
        case other
    }

    public var meaning: Meaning {
        let code = code.lowercased()
        let words = message.lowercased()
        // llama.cpp; OpenAI, LM Studio; vLLM; Ollama's runner; SGLang, TGI.
        let context = [
            "exceed_context_size", "context_length_exceeded", "context size", "context length",
            "context window", "maximum context", "n_ctx", "max_model_len", "input length exceeds",
            "prompt is too long", "longer than the model",
        ]
        if context.contains(where: { code.contains($0) || words.contains($0) }) { return .contextExceeded }
        let filter = ["content_filter", "content_policy", "content management policy"]
        return filter.contains { code.contains($0) || words.contains($0) } ? .contentFilter : .other
    }
}

/// One chunk of a streamed chat or completion, as a model server sends it: text in the plain case, else the raw
/// `choices`. Scanned in one pass, without a decoder.
public struct BackendChunk: Hashable, Sendable {
    /// `delta.content` or `text`, unescaped; may be empty. A surrogate half at either end is kept as WTF-8.
    public var text: [UInt8] = []
    /// The raw value of `choices` when it holds more than text: several choices, tool calls, reasoning,
    /// log-probabilities or unknown fields. `text` is then empty.
    public var complex: [UInt8] = []
    /// The answers that end here.
    public var ends: [End] = []

    public struct End: Hashable, Sendable {
        public var index: UInt64
        /// The server's `finish_reason`.
        public var reason: String
        public init(index: UInt64, reason: String) {
            self.index = index
            self.reason = reason
        }

        /// Whether the server says that it gave up: vLLM's `abort`, OpenRouter's `error`.
        public var isFailure: Bool {
            ["abort", "aborted", "cancel", "cancelled", "canceled", "error", "failed", "timeout"].contains(
                reason)
        }
    }
    public var usage: BackendUsage?
    public var error: BackendErrorBody?
    /// How much of the prompt has been read, where the server says so while it reads (llama.cpp's `prompt_progress`).
    public var promptRead: UInt32?
    /// How fast it was read, and how many tokens of it, where the server says so at the end (llama.cpp's `timings`).
    public var promptSpeed: PromptSpeed?

    public struct PromptSpeed: Hashable, Sendable {
        public var tokens: UInt32
        public var tokensPerSecond: UInt32
        public init(tokens: UInt32 = 0, tokensPerSecond: UInt32 = 0) {
            self.tokens = tokens
            self.tokensPerSecond = tokensPerSecond
        }
    }
    private let expected: UInt32?

    /// Scans one chunk of an answer to a request for `choices` (nil: unknown). Throws when it is not JSON, or its `choices` are such
    /// as no buyer takes.
    public init(scanning data: [UInt8], choices count: UInt32? = nil) throws(JSONError) {
        expected = count
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
                    guard ChoicesContent(of: complex, choices: count ?? .max) != .malformed else {
                        throw .malformed(at: start)
                    }
                }
            case "usage": usage = try BackendUsage(&cursor)
            case "error": error = try BackendErrorBody(&cursor)
            case "timings" where cursor.peek() == UInt8(ascii: "{"): try timings(&cursor)
            case "prompt_progress" where cursor.peek() == UInt8(ascii: "{"): try promptProgress(&cursor)
            default: try cursor.skip(depth: 1)
            }
        }
        try cursor.end()
    }

    private mutating func timings(_ cursor: inout JSONCursor) throws(JSONError) {
        cursor.advance(1)
        var speed = PromptSpeed()
        var first = true
        while let key = try cursor.nextKey(&first) {
            switch key {
            case "prompt_n": speed.tokens = UInt32(clamping: try cursor.whole(depth: 2) ?? 0)
            case "prompt_per_second":
                speed.tokensPerSecond = UInt32(clamping: try cursor.whole(depth: 2) ?? 0)
            default: try cursor.skip(depth: 2)
            }
        }
        promptSpeed = speed
    }

    private mutating func promptProgress(_ cursor: inout JSONCursor) throws(JSONError) {
        cursor.advance(1)
        var first = true
        while let key = try cursor.nextKey(&first) {
            if key == "processed" {
                promptRead = try cursor.whole(depth: 2).map { UInt32(clamping: $0) }
            } else {
                try cursor.skip(depth: 2)
            }
        }
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
        // Of several answers each goes the same way: the ends of all are passed on, each with its own reason.
        return count == 0 || plain && count == 1 && expected ?? 1 == 1
    }

    private mutating func choice(_ cursor: inout JSONCursor) throws(JSONError) -> Bool {
        try cursor.take(UInt8(ascii: "{"))
        var plain = true
        var end = End(index: 0, reason: "")
        var first = true
        while let key = try cursor.nextKey(&first) {
            switch key {
            case "delta" where cursor.peek() == UInt8(ascii: "{"):
                if try !delta(&cursor) { plain = false }
            case "text" where cursor.peek() == UInt8(ascii: "\""): try cursor.string(into: &text)
            case "finish_reason" where cursor.peek() == UInt8(ascii: "\""):
                var reason: [UInt8] = []
                try cursor.string(into: &reason)
                end.reason = String(decoding: reason.prefix(64), as: UTF8.self)
            case "index":
                end.index = try cursor.whole(depth: 3) ?? .max
                if end.index != 0 { plain = false }
            // Servers add these; they tell the client nothing beyond `finish_reason`.
            case "stop_reason", "matched_stop", "native_finish_reason": try cursor.skip(depth: 3)
            default:
                if try !isNothing(&cursor) { plain = false }
            }
        }
        if end.reason.isFinishReason { ends.append(end) }
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

extension String {
    /// Some servers say "not yet" by an empty text.
    var isFinishReason: Bool { self != "null" && !utf8.allSatisfy { $0 <= 0x20 } }
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
    /// Bytes kept of a server's message.
    static let messageMax = 400

    /// The error in the body of an answer: in OpenAI's form, in FastAPI's, as a page of HTML, or as plain text.
    public init(body: [UInt8]) {
        if let chunk = try? BackendChunk(scanning: body), let error = chunk.error {
            self = error
        } else if let tree = try? JSONTree(parsing: body), let error = Self(tree, depth: 0) {
            self = error
        } else {
            self.init(code: "", message: Self.clean(Self.withoutTags(body)))
        }
    }

    /// Ollama puts the whole error of the server behind it, as JSON, into `message`.
    private static let nestedMax = 4

    private init?(_ tree: JSONTree, depth: Int) {
        guard depth < Self.nestedMax, tree.members != nil else { return nil }
        if let inner = tree["error"], let error = Self(inner, depth: depth + 1) {
            self = error
            return
        }
        guard let text = tree["message"]?.text ?? tree["error"]?.text ?? tree["detail"]?.text else {
            return nil
        }
        if let start = text.firstIndex(of: "{"),
            let inner = try? JSONTree(parsing: Array(text[start...].utf8)),
            let error = Self(inner, depth: depth + 1)
        {
            self = error
            return
        }
        self.init(
            code: Self.clean(Array((tree["code"]?.text ?? tree["type"]?.text ?? "").utf8)),
            message: Self.clean(Array(text.utf8)),
            contextMax: (tree["n_ctx"]?.whole).map { UInt32(clamping: $0) })
    }

    /// What a page of HTML says; other text as it is.
    private static func withoutTags(_ body: [UInt8]) -> [UInt8] {
        guard body.prefix(256).contains(UInt8(ascii: "<")) else { return body }
        var (out, isTag): ([UInt8], Bool) = ([], false)
        for byte in body.prefix(16 * messageMax) {
            switch byte {
            case UInt8(ascii: "<"):
                isTag = true
                if out.last != 0x20 { out.append(0x20) }
            case UInt8(ascii: ">") where isTag: isTag = false
            case _ where isTag: break
            case 0x00...0x20: if out.last != 0x20 { out.append(0x20) }
            default: out.append(byte)
            }
        }
        return out
    }

    init?(_ cursor: inout JSONCursor) throws(JSONError) {
        code = ""
        message = ""
        switch cursor.peek() {
        case UInt8(ascii: "{"):
            cursor.advance(1)
            var first = true
            while let key = try cursor.nextKey(&first) {
                if key == "n_ctx" {
                    contextMax = try cursor.whole(depth: 2).map { UInt32(clamping: $0) }
                    continue
                }
                guard cursor.peek() == UInt8(ascii: "\""), ["message", "type", "code"].contains(key) else {
                    try cursor.skip(depth: 2)
                    continue
                }
                var text: [UInt8] = []
                try cursor.string(into: &text)
                if key == "message" {
                    if let start = text.firstIndex(of: UInt8(ascii: "{")),
                        let inner = try? JSONTree(parsing: Array(text[start...])),
                        let error = Self(inner, depth: 1)
                    {
                        (message, contextMax) = (error.message, error.contextMax)
                        code = error.code.isEmpty ? code : error.code
                    } else {
                        message = Self.clean(text)
                    }
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
        var out = String.UnicodeScalarView()
        var bytes = 0
        for scalar in String(decoding: text.prefix(4 * messageMax), as: UTF8.self).unicodeScalars {
            let kept: Unicode.Scalar = scalar.properties.generalCategory == .control ? " " : scalar
            bytes += UTF8.width(kept)
            guard bytes <= messageMax else { break }
            out.append(kept)
        }
        return String(out).trimmed
    }
}

extension String {
    fileprivate var trimmed: String {
        var rest = self[...]
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }
}
