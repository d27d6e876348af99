// The request fields that the gateway itself acts on, each with the shape that it must have.

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
    var needs: ClientRequest.Needs = []
    /// The answer is more than one run of text for one prompt.
    var isShaped = false
    var base64 = false
    var estimate = TokenEstimate()

    init(_ tree: JSONTree) { self.tree = tree }

    mutating func read(_ kind: ClientRequest.Kind) throws(ErrorBody) {
        switch kind {
        case .chat:
            try readMessages()
            try readChatOptions()
            try readAnswerOptions()
        case .completion:
            try readInput("prompt")
            try readCompletionOptions()
            try readAnswerOptions()
        case .embedding:
            try readInput("input")
            try readEncoding()
        }
    }

    /// The value of a field that is present and not null.
    private func field(_ name: String) -> JSONTree? {
        guard let value = tree[name], !value.isNull else { return nil }
        return value
    }

    // MARK: Chat

    private mutating func readMessages() throws(ErrorBody) {
        guard let value = field("messages") else {
            throw .invalid("`messages` is missing.", param: "messages")
        }
        guard let messages = value.elements else {
            throw .invalid("`messages` must be a list of messages.", param: "messages")
        }
        guard !messages.isEmpty else {
            throw .invalid("`messages` is empty: there is nothing to answer.", param: "messages")
        }
        for (index, message) in messages.enumerated() {
            let path = "messages[\(index)]"
            guard message.members != nil else { throw .invalid("`\(path)` must be an object.", param: path) }
            guard message["role"]?.text != nil else {
                throw .invalid("`\(path).role` must be text, such as \"user\".", param: "\(path).role")
            }
            estimate.add(tokens: TokenEstimate.perMessage)
            try readContent(message["content"] ?? .null, "\(path).content")
            if let calls = message["tool_calls"], !calls.isNull { estimate.add(bytes: calls.bytes.count) }
        }
    }

    private mutating func readContent(_ content: JSONTree, _ path: String) throws(ErrorBody) {
        switch content {
        case .null: return
        case .string(let text): estimate.add(bytes: text.utf8.count)
        case .array(let parts):
            for (index, part) in parts.enumerated() {
                guard let type = part["type"]?.text else {
                    throw .invalid("`\(path)[\(index)].type` must be text.", param: "\(path)[\(index)].type")
                }
                if type == "image_url" {
                    needs.insert(.images)
                    estimate.add(tokens: TokenEstimate.perImage)
                } else if let text = part["text"]?.text {
                    estimate.add(bytes: text.utf8.count)
                } else if type == "text" {
                    throw .invalid("`\(path)[\(index)].text` must be text.", param: "\(path)[\(index)].text")
                } else {
                    isShaped = true
                }
            }
        case .bool, .number, .object:
            throw .invalid("`\(path)` must be text or a list of parts.", param: path)
        }
    }

    private mutating func readChatOptions() throws(ErrorBody) {
        for name in ["tools", "functions"] {
            guard let value = field(name) else { continue }
            guard let tools = value.elements else { throw .invalid("`\(name)` must be a list.", param: name) }
            if !tools.isEmpty {
                needs.insert(.tools)
                estimate.add(bytes: value.bytes.count)
            }
        }
        if let value = field("logprobs") {
            guard let flag = value.flag else {
                throw .invalid("`logprobs` must be true or false.", param: "logprobs")
            }
            if flag { needs.insert(.logprobs) }
        }
        if let value = field("response_format") {
            guard let type = value["type"]?.text else {
                throw .invalid("`response_format.type` must be text.", param: "response_format.type")
            }
            if type != "text" { needs.insert(.jsonSchema) }
        }
    }

    // MARK: Completion and embedding

    /// Text, token ids, or a list of either.
    private mutating func readInput(_ name: String) throws(ErrorBody) {
        guard let value = field(name) else { throw .invalid("`\(name)` is missing.", param: name) }
        let wrong = ErrorBody.invalid("`\(name)` must be text, token ids, or a list of them.", param: name)
        if let text = value.text {
            estimate.add(bytes: text.utf8.count)
            return
        }
        guard let elements = value.elements else { throw wrong }
        guard !elements.isEmpty else { throw .invalid("`\(name)` is empty.", param: name) }
        if elements.allSatisfy({ $0.whole != nil }) {
            estimate.add(tokens: UInt32(clamping: elements.count))
            isShaped = true
            return
        }
        for element in elements {
            if let text = element.text {
                estimate.add(bytes: text.utf8.count)
            } else if let ids = element.elements, ids.allSatisfy({ $0.whole != nil }) {
                estimate.add(tokens: UInt32(clamping: ids.count))
            } else {
                throw wrong
            }
        }
        prompts = UInt32(clamping: elements.count)
        isShaped = isShaped || elements.count > 1
    }

    private mutating func readCompletionOptions() throws(ErrorBody) {
        if let value = field("logprobs") {
            guard value.whole != nil else {
                throw .invalid("`logprobs` must be a whole number.", param: "logprobs")
            }
            needs.insert(.logprobs)
        }
        for name in ["echo", "suffix", "best_of"] where field(name) != nil && field(name)?.flag != false {
            isShaped = true
        }
    }

    private mutating func readEncoding() throws(ErrorBody) {
        guard let value = field("encoding_format") else { return }
        switch value.text {
        case "float": base64 = false
        case "base64": base64 = true
        default: throw .invalid("`encoding_format` must be float or base64.", param: "encoding_format")
        }
    }

    // MARK: The answer

    private mutating func readAnswerOptions() throws(ErrorBody) {
        if let value = field("stream") {
            guard let flag = value.flag else {
                throw .invalid("`stream` must be true or false.", param: "stream")
            }
            stream = flag
        }
        if let value = field("stream_options") {
            guard value.members != nil else {
                throw .invalid("`stream_options` must be an object.", param: "stream_options")
            }
            if let usage = value["include_usage"], !usage.isNull {
                guard let flag = usage.flag else {
                    throw .invalid(
                        "`stream_options.include_usage` must be true or false.",
                        param: "stream_options.include_usage")
                }
                includeUsage = flag
            }
        }
        for name in ["max_tokens", "max_completion_tokens"] {
            guard let value = field(name) else { continue }
            guard case .number(let digits) = value, let limit = value.whole, limit > 0, !digits.hasPrefix("-")
            else {
                throw .invalid("`\(name)` must be a whole number of tokens, at least 1.", param: name)
            }
            maxTokens = min(maxTokens ?? .max, UInt32(clamping: limit))
        }
        if let value = field("n") {
            guard let n = value.whole, n >= 1, n <= ClientRequest.choicesMax else {
                throw .invalid(
                    "`n` must be a whole number from 1 to \(ClientRequest.choicesMax).", param: "n")
            }
            choices = UInt32(n)
        }
        for name in ["temperature", "top_p", "presence_penalty", "frequency_penalty", "seed"] {
            guard let value = field(name), value.real == nil else { continue }
            throw .invalid("`\(name)` must be a number.", param: name)
        }
        if let value = field("stop"), value.text == nil,
            !(value.elements?.allSatisfy({ $0.text != nil }) ?? false)
        {
            throw .invalid("`stop` must be text or a list of texts.", param: "stop")
        }
    }
}
