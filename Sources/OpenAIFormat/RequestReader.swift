// The figures of a request that the gateway itself acts on. `RequestRules` has checked the fields' shapes.

/// An estimate of an input's tokens without its tokenizer: a quarter of its UTF-8 bytes, rounded up, plus
/// four for each message (role and separators) and 256 for each image. It is compared and shown, never
/// billed.
struct TokenEstimate {
    static let perMessage: UInt32 = 4
    static let perImage: UInt32 = 256
    /// Input beyond this changes nothing.
    static let max: UInt32 = 1 << 30

    private(set) var total: UInt32 = 0
    /// At least one.
    var tokens: UInt32 { Swift.max(1, total) }

    mutating func add(bytes: Int) { add(tokens: UInt32(clamping: (bytes + 3) / 4)) }
    mutating func add(tokens: UInt32) { total = Swift.min(Self.max, total &+ Swift.min(tokens, Self.max)) }
}

struct RequestReader {
    let tree: JSONTree
    var stream = false
    var includeUsage = false
    var maxTokens: UInt32?
    var choices: UInt32 = 1
    var prompts: UInt32 = 1
    /// The prompt is no text that a delivered one could be added to.
    var isShaped = false
    var base64 = false
    var estimate = TokenEstimate()

    init(_ tree: JSONTree) { self.tree = tree }

    /// Call it with a request that passes the rules.
    mutating func read(_ kind: InferenceKind, besideBytes: Int) throws(ErrorBody) {
        estimate.add(bytes: besideBytes)
        switch kind {
        case .chat:
            try readMessages()
            try readAnswerOptions()
        case .completion:
            try readInput("prompt")
            try readAnswerOptions()
        case .embedding:
            try readInput("input")
            base64 = field("encoding_format")?.text == "base64"
        }
    }

    /// The value of a field that is present and not null.
    private func field(_ name: String) -> JSONTree? {
        guard let value = tree[name], !value.isNull else { return nil }
        return value
    }

    // MARK: Chat

    /// The rules have checked the shape.
    private mutating func readMessages() throws(ErrorBody) {
        guard let value = field("messages") else { throw .missing("messages") }
        for message in value.elements ?? [] {
            estimate.add(tokens: TokenEstimate.perMessage)
            switch message["content"] ?? .null {
            case .string(let text): estimate.add(bytes: text.utf8.count)
            case .array(let parts):
                for part in parts {
                    if part["type"]?.text == "image_url" {
                        estimate.add(tokens: TokenEstimate.perImage)
                    } else {
                        estimate.add(bytes: (part["text"]?.text ?? part["refusal"]?.text ?? "").utf8.count)
                    }
                }
            case .null, .bool, .number, .object: break
            }
            if let calls = message["tool_calls"], !calls.isNull { estimate.add(bytes: calls.bytes.count) }
        }
        if let tools = field("tools") { estimate.add(bytes: tools.bytes.count) }
    }

    // MARK: Completion and embedding

    private mutating func readInput(_ name: String) throws(ErrorBody) {
        guard let value = field(name) else { throw .missing(name) }
        count(value)
        guard let elements = value.elements else { return }
        if elements.first?.real != nil {
            isShaped = true
        } else {
            for element in elements { count(element) }
            prompts = UInt32(clamping: elements.count)
            isShaped = isShaped || elements.count > 1
        }
    }

    /// A text or token ids.
    private mutating func count(_ value: JSONTree) {
        if let text = value.text {
            estimate.add(bytes: text.utf8.count)
        } else if let ids = value.elements, ids.first?.real != nil {
            estimate.add(tokens: UInt32(clamping: ids.count))
        }
    }

    // MARK: The answer

    private mutating func readAnswerOptions() throws(ErrorBody) {
        stream = field("stream")?.flag ?? false
        includeUsage = field("stream_options")?["include_usage"]?.flag ?? false
        for name in ["max_tokens", "max_completion_tokens"] {
            guard let value = field(name) else { continue }
            guard case .number(let digits) = value, let limit = value.whole, limit > 0, !digits.hasPrefix("-")
            else {
                throw .invalid("`\(name)` must be a whole number of tokens, at least 1.", param: name)
            }
            maxTokens = min(maxTokens ?? .max, UInt32(clamping: limit))
        }
        choices = UInt32(clamping: field("n")?.whole ?? 1)
    }
}

extension JSONTree {
    /// A number that can be one of a vocabulary. A larger one wraps around in some servers.
    var isTokenID: Bool {
        guard case .number(let digits) = self, !digits.hasPrefix("-"), let whole else { return false }
        return whole <= UInt64(Int32.max)
    }
}
