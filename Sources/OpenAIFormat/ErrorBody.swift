// Errors in the form that OpenAI's SDKs read. `message` is the first key, because they print the body as it
// is.

import Primitives

/// An error in the client's request, or a failure of its task.
public struct ErrorBody: Error, Hashable, Sendable {
    /// One sentence that names the cause and the fix.
    public var message: String
    public var type: String
    /// What programs tell errors apart by.
    public var code: String
    /// The path of the field at fault.
    public var param: String?
    /// An object; omitted when nil.
    public var metadata: JSONTree?

    public init(
        message: String, type: String, code: String, param: String? = nil, metadata: JSONTree? = nil
    ) {
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.metadata = metadata
    }

    /// A request that can't be served as it is; `param` is the path of the field. The usual code says that a value has
    /// another type than its field, or lies outside its range.
    public static func invalid(
        _ message: String, param: String? = nil, code: String = "invalid_value"
    ) -> ErrorBody {
        ErrorBody(message: message, type: "invalid_request_error", code: code, param: param)
    }

    static func missing(_ field: String, _ words: String = "") -> ErrorBody {
        .invalid("`\(field)` is missing.\(words)", param: field, code: "missing_required_parameter")
    }

    static func over(_ path: String, _ words: String) -> ErrorBody {
        .invalid("`\(path)` \(words)", param: path, code: "limit_exceeded")
    }

    /// `{"error": {…}}`. The message is one printable line: it quotes labels and strangers' messages, and clients
    /// print it.
    public var json: JSONTree {
        func text(_ value: String?) -> JSONTree { value.map { .string($0) } ?? .null }
        var members: [JSONTree.Member] = [
            .init("message", .string(Printable.line(message))), .init("type", .string(type)),
            .init("code", .string(code)),
            .init("param", text(param)),
        ]
        if let metadata { members.append(.init("metadata", metadata)) }
        return .object([.init("error", .object(members))])
    }
}
