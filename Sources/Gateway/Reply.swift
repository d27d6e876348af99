// Responses that are not streamed, and the names of their headers.

import HTTPTypes
import Hummingbird
import NIOCore
import OpenAIFormat
import Primitives

extension HTTPField.Name {
    static let requestID = named("x-request-id")
    static let shouldRetry = named("x-should-retry")
    static let retryAfter = named("retry-after")
    static let serverTiming = named("server-timing")
    static let worker = named("starling-worker")
    static let model = named("starling-model")
    static let price = named("starling-price")
    static let auction = named("starling-auction")
    static let resume = named("starling-resume")
    static let cost = named("starling-cost")
    static let readTimeout = named("x-stainless-read-timeout")
    static let contentSecurityPolicy = named("content-security-policy")

    private static func named(_ text: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(text) else { preconditionFailure("\(text) is not a header name") }
        return name
    }
}

enum Reply {
    static func bytes(_ bytes: [UInt8], type: String, status: HTTPResponse.Status = .ok) -> Response {
        var headers = HTTPFields()
        headers[.contentType] = type
        headers[.cacheControl] = "no-store"
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    static func json(_ bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Reply.bytes(bytes, type: "application/json", status: status)
    }

    /// An error response. `retryAfter` says that the same request may succeed after that time.
    static func error(
        _ error: ErrorBody, status: HTTPResponse.Status = .badRequest, retryAfter: Interval? = nil
    ) -> Response {
        var response = json(error.json.bytes, status: status)
        response.headers[.shouldRetry] = retryAfter == nil ? "false" : "true"
        if let retryAfter {
            // RFC 9110 wants whole seconds; rounded up.
            response.headers[.retryAfter] = String(max(1, (retryAfter.milliseconds + 999) / 1000))
        }
        return response
    }

    /// The response for a client that has gone and won't read it.
    static var gone: Response { Response(status: .init(code: 499, reasonPhrase: "Client Closed Request")) }

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
