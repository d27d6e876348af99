// Errors as OpenAI's SDKs read them. `message` is the first key, because they print the body as it stands.

/// What the client did wrong, or what happened to its task.
public struct ErrorBody: Error, Hashable, Sendable {
    /// A sentence that names the thing and the fix.
    public var message: String
    public var type: String
    public var code: String?
    /// The field that is to blame, as a path.
    public var param: String?
    /// An object, left out when nil.
    public var metadata: JSONTree?

    public init(
        message: String, type: String, code: String? = nil, param: String? = nil, metadata: JSONTree? = nil
    ) {
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.metadata = metadata
    }

    /// A request that can't be understood; `param` is the field's path.
    public static func invalid(_ message: String, param: String? = nil, code: String? = nil) -> ErrorBody {
        ErrorBody(message: message, type: "invalid_request_error", code: code, param: param)
    }

    /// `{"error": {…}}`.
    public var json: JSONTree {
        func text(_ value: String?) -> JSONTree { value.map { .string($0) } ?? .null }
        var members: [JSONTree.Member] = [
            .init("message", .string(message)), .init("type", .string(type)), .init("code", text(code)),
            .init("param", text(param)),
        ]
        if let metadata { members.append(.init("metadata", metadata)) }
        return .object([.init("error", .object(members))])
    }
}
