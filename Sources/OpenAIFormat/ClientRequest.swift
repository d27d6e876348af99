// A client's request as the gateway reads it: parsed once into a tree, from which come the figures that an
// auction needs and the body that the worker gets. Only fields behind those figures are checked; the backend
// checks the rest.

/// One request to `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings`.
public struct ClientRequest: Hashable, Sendable {
    public enum Kind: Hashable, Sendable { case chat, completion, embedding }

    /// What a backend must be able to do to answer the request.
    public struct Needs: OptionSet, Hashable, Sendable {
        public var rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let tools = Needs(rawValue: 1)
        public static let logprobs = Needs(rawValue: 2)
        public static let jsonSchema = Needs(rawValue: 4)
        public static let images = Needs(rawValue: 8)
    }

    public var kind: Kind
    /// As the client wrote it.
    public var model: String
    /// The client's JSON without `provider`; unknown fields are kept.
    public var body: [UInt8]
    public var stream = false
    public var includeUsage = false
    /// See `TokenEstimate`.
    public var tokensIn: UInt32 = 1
    /// The answer length for which prices are compared: `medianAnswerTokens` a choice, or the client's limit
    /// if that is less.
    public var tokensOutEstimate: UInt32 = 0
    public var tokensOutMax: UInt32?
    /// Answers in one, each with that limit: `n` for each prompt. Of an embedding: its inputs.
    public var choices: UInt32 = 1
    public var needs: Needs = []
    /// Plain text with one choice: another worker may continue it in mid-stream.
    public var resumable = false
    /// The client wants the vectors of an embedding as base64 of little-endian floats.
    public var base64 = false
    public var provider = ProviderPreferences()

    /// The guess at an answer's length. Offers are compared by it; it limits nothing.
    public static let medianAnswerTokens: UInt32 = 64
    public static let choicesMax: UInt64 = 128
    public static let modelBytesMax = 256

    /// Reads a body. Throws the error to send to the client, with status 400.
    public init(kind: Kind, body bytes: [UInt8]) throws(ErrorBody) {
        let tree = try Self.parse(bytes)
        guard let members = tree.members else { throw .invalid("The body must be a JSON object.") }
        self.kind = kind
        model = try Self.model(tree)
        let kept = JSONTree.object(members.filter { $0.key != "provider" })
        body = kept.bytes
        if let preferences = tree["provider"], !preferences.isNull {
            provider = try ProviderPreferences(preferences)
        }
        var reader = RequestReader(tree)
        try reader.read(kind)
        stream = reader.stream
        includeUsage = reader.includeUsage
        tokensIn = reader.estimate.tokens
        tokensOutMax = reader.maxTokens
        choices = UInt32(clamping: UInt64(reader.choices) * UInt64(reader.prompts))
        needs = reader.needs
        resumable = kind != .embedding && reader.choices == 1 && reader.needs.isEmpty && !reader.isShaped
        base64 = reader.base64
        if kind != .embedding {
            let each = min(Self.medianAnswerTokens, reader.maxTokens ?? .max)
            tokensOutEstimate = each.multipliedReportingOverflow(by: reader.choices).partialValue
        }
    }

    private static func parse(_ body: [UInt8]) throws(ErrorBody) -> JSONTree {
        var bytes = body
        // A byte order mark may be ignored (RFC 8259 §8.1), and some editors write one.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        guard bytes.contains(where: { $0 > 0x20 }) else {
            throw .invalid("The body is empty. Send JSON: {\"model\": …, …}.")
        }
        do {
            return try JSONTree(parsing: bytes)
        } catch {
            switch error {
            case .malformed(let at): throw .invalid("The body is not valid JSON: see byte \(at).")
            case .tooDeep: throw .invalid("The body's JSON is nested too deeply (more than 64 levels).")
            case .duplicateKey: throw .invalid("The body's JSON names a key twice in one object.")
            case .notUTF8: throw .invalid("The body is not valid UTF-8.")
            }
        }
    }

    private static func model(_ tree: JSONTree) throws(ErrorBody) -> String {
        guard let value = tree["model"], !value.isNull else {
            throw .invalid("`model` is missing. GET /v1/models lists the models.", param: "model")
        }
        guard let model = value.text, !model.isEmpty, model.utf8.count <= modelBytesMax else {
            throw .invalid("`model` must be a name of at most \(modelBytesMax) bytes.", param: "model")
        }
        return model
    }
}
