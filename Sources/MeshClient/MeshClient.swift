import CCurl
import FoundationEssentials
import Primitives

/// A client for a node's HTTP surface, used by the command line: one blocking request at a time, over
/// libcurl. Throws `MeshClientError` when there is no answer.
public struct MeshClient: Sendable {
    public struct Response: Sendable {
        public var status: Int
        /// Names are in lower case.
        public var headers: [String: String]
        public var body: [UInt8]
    }

    /// `http://host:port`, without a path.
    public var base: String
    public var apiKey: String?

    public init(base: String, apiKey: String? = nil) {
        self.base = base
        self.apiKey = apiKey
    }

    /// Sends a GET. `timeout` is in seconds, for the whole transfer. Any HTTP status is a response, not an
    /// error.
    public func get(_ path: String, timeout: TimeInterval = 10) throws(MeshClientError) -> Response {
        try perform(path, body: nil, timeout: timeout, onBytes: nil)
    }

    /// Sends a POST with a JSON body, like `get`.
    public func post(_ path: String, json: [UInt8] = [], timeout: TimeInterval = 10) throws(MeshClientError)
        -> Response
    {
        try perform(path, body: json, timeout: timeout, onBytes: nil)
    }

    /// Posts `json` and hands each piece of a successful answer to `onBytes` as it arrives; returning false
    /// stops the transfer. The body of an error is collected in the response instead.
    public func stream(
        _ path: String, json: [UInt8], timeout: TimeInterval,
        onHeaders: @escaping ([String: String]) -> Void = { _ in },
        onBytes: @escaping ([UInt8]) -> Bool
    ) throws(MeshClientError) -> Response {
        try perform(path, body: json, timeout: timeout, onHeaders: onHeaders, onBytes: onBytes)
    }

    private func perform(
        _ path: String, body: [UInt8]?, timeout: TimeInterval,
        onHeaders: @escaping ([String: String]) -> Void = { _ in },
        onBytes: (([UInt8]) -> Bool)?
    ) throws(MeshClientError) -> Response {
        guard let easy = curl_easy_init() else {
            throw MeshClientError(base: base, problem: "libcurl could not start", isUnreachable: false)
        }
        defer { curl_easy_cleanup(easy) }
        let sink = Sink(easy: easy, onHeaders: onHeaders, onBytes: onBytes)
        var lines = curl_slist_append(nil, "Content-Type: application/json")
        lines = curl_slist_append(lines, "Expect:")
        if let apiKey { lines = curl_slist_append(lines, "Authorization: Bearer \(apiKey)") }
        defer { curl_slist_free_all(lines) }
        easy_set_string(easy, CURLOPT_URL, base + path)
        easy_set_string(easy, CURLOPT_PROXY, "")
        easy_set_long(easy, CURLOPT_NOSIGNAL, 1)
        easy_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, 2_000)
        easy_set_long(easy, CURLOPT_TIMEOUT_MS, Int(timeout * 1000))
        easy_set_headers(easy, lines)
        if let body { easy_set_body(easy, body, body.count) }
        let context = Unmanaged.passUnretained(sink).toOpaque()
        easy_set_write(
            easy,
            { data, size, count, context in
                guard let data, let context else { return 0 }
                return Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue().receive(
                    UnsafeRawBufferPointer(start: data, count: size * count))
            }, context)
        easy_set_header(
            easy,
            { data, size, count, context in
                guard let data, let context else { return 0 }
                return Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue().header(
                    UnsafeRawBufferPointer(start: data, count: size * count))
            }, context)
        let code = withExtendedLifetime(sink) { curl_easy_perform(easy) }
        let response = Response(status: sink.status, headers: sink.headers, body: sink.body)
        if code == CURLE_OK || (code == CURLE_WRITE_ERROR && sink.stopped) { return response }
        throw MeshClientError(
            base: base, problem: String(cString: curl_easy_strerror(code)),
            isUnreachable: code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
    }

    /// The context of libcurl's callbacks; only the calling thread uses it, while `curl_easy_perform` runs.
    private final class Sink {
        /// Bytes of an error's body or of a document.
        static let bodySizeMax = 64 << 20
        let easy: UnsafeMutableRawPointer
        let onHeaders: ([String: String]) -> Void
        let onBytes: (([UInt8]) -> Bool)?
        var headers: [String: String] = [:]
        var body: [UInt8] = []
        var stopped = false
        private var announced = false

        init(
            easy: UnsafeMutableRawPointer, onHeaders: @escaping ([String: String]) -> Void,
            onBytes: (([UInt8]) -> Bool)?
        ) {
            self.easy = easy
            self.onHeaders = onHeaders
            self.onBytes = onBytes
        }

        var status: Int {
            var status = 0
            easy_get_status(easy, &status)
            return status
        }

        func header(_ line: UnsafeRawBufferPointer) -> Int {
            let text = String(decoding: line, as: UTF8.self)
            if let colon = text.firstIndex(of: ":") {
                headers[text[..<colon].lowercased()] = text[text.index(after: colon)...].trimmed
            }
            return line.count
        }

        func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
            guard let onBytes, status < 300 else {
                guard body.count + bytes.count <= Sink.bodySizeMax else { return 0 }
                body.append(contentsOf: bytes)
                return bytes.count
            }
            if !announced {
                announced = true
                onHeaders(headers)
            }
            if onBytes(Array(bytes)) { return bytes.count }
            stopped = true
            return 0
        }
    }
}

/// Why a node gave no answer.
public struct MeshClientError: Error, Sendable, CustomStringConvertible {
    public var base: String
    public var problem: String
    /// True when nothing listens at `base`.
    public var isUnreachable: Bool
    public var description: String { isUnreachable ? "no node at \(base)" : "\(base): \(problem)" }
}
