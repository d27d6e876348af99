// Responses that are not streamed.

import NIOHTTP1
import OpenAIFormat
import Primitives

extension HTTPResponseStatus {
    /// For a client that has gone before it was answered; as nginx logs it.
    static let clientClosedRequest = Self.custom(code: 499, reasonPhrase: "Client Closed Request")
}

enum Reply {
    static func bytes(_ bytes: [UInt8], type: String, status: HTTPResponseStatus = .ok) -> Response {
        Response(
            status: status, headers: ["content-type": type, "cache-control": "no-store"], body: .whole(bytes))
    }

    static func json(_ bytes: [UInt8], status: HTTPResponseStatus = .ok) -> Response {
        Reply.bytes(bytes, type: "application/json", status: status)
    }

    /// An error response. `retryAfter` says that the same request may succeed after that time.
    static func error(
        _ error: ErrorBody, status: HTTPResponseStatus = .badRequest, retryAfter: Interval? = nil
    ) -> Response {
        var response = json(error.json.bytes, status: status)
        response.headers.add(name: "x-should-retry", value: retryAfter == nil ? "false" : "true")
        if let retryAfter {
            // RFC 9110 wants whole seconds; rounded up.
            response.headers.add(
                name: "retry-after", value: String(max(1, (retryAfter.milliseconds + 999) / 1000)))
        }
        return response
    }

    /// The response for a client that has gone and won't read it.
    static var gone: Response { Response(status: .clientClosedRequest) }

    /// A header value from text that a stranger may have written: only printable ASCII, without separators.
    static func token(_ text: String) -> String {
        String(
            decoding: text.utf8.filter { $0 > 0x20 && $0 < 0x7F && $0 != 0x2C && $0 != 0x3B }, as: UTF8.self)
    }

    /// An id for a request that became no task.
    static func requestID() -> String {
        "req-" + TaskID(high: .random(in: 0...(.max)), low: .random(in: 0...(.max))).description
    }
}
