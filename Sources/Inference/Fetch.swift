import OpenAIFormat
import Primitives

/// A small answer as a whole: for probes and descriptions.
final class Fetch: TransferSink {
    /// Bytes of an answer; a longer one is a failure. Ollama's `/api/show` includes a licence.
    static let sizeMax = 2 << 20

    enum Result {
        case answer(status: Int, body: [UInt8])
        case failure(BackendFailure)

        /// The parsed body of a 200; nil for anything else.
        var json: JSONTree? {
            guard case .answer(200, let body) = self else { return nil }
            return try? JSONTree(parsing: body)
        }

        /// Why there is no answer that can be used; nil for a 200.
        var failure: BackendFailure? {
            switch self {
            case .answer(200, _): return nil
            case .answer(401, _), .answer(403, _): return .unauthorized
            case .answer(503, _):
                return BackendFailure(.busy, "The model server is loading its model.")
            case .answer(let status, let body):
                let words = BackendErrorBody(body: body).message
                return BackendFailure(
                    .error, "The model server answered \(status)\(words.isEmpty ? "" : ": \(words)").")
            case .failure(let failure): return failure
            }
        }
    }

    private weak var http: HTTPStreams?
    private var body: [UInt8] = []
    private var done: ((Result) -> Void)?

    private init(http: HTTPStreams, done: @escaping (Result) -> Void) {
        self.http = http
        self.done = done
    }

    /// Calls `done` once, on the loop, unless the transfer is cancelled.
    @discardableResult
    static func start(
        _ request: HTTPRequest, on http: HTTPStreams, then done: @escaping (Result) -> Void
    ) -> TransferID {
        http.post(request, to: Fetch(http: http, done: done))
    }

    func received(_ id: TransferID, status: Int, _ bytes: UnsafeRawBufferPointer) {
        body.append(contentsOf: bytes)
        guard body.count > Self.sizeMax else { return }
        http?.cancel(id)
        finish(.failure(BackendFailure(.oversized, "The model server's answer to a probe is too long.")))
    }

    func ended(_ id: TransferID, _ end: TransferEnd) {
        switch end {
        case .complete(let status, _): finish(.answer(status: status, body: body))
        case .untrusted(let words): finish(.failure(.untrusted(words)))
        case .unreachable:
            finish(.failure(BackendFailure(.unreachable, "Nothing answers at the model server's address.")))
        case .timedOut: finish(.failure(BackendFailure(.hung, "The model server doesn't answer a probe.")))
        case .brokenOff, .failed:
            finish(
                .failure(BackendFailure(.closedEarly, "The model server broke off its answer to a probe.")))
        }
    }

    private func finish(_ result: Result) {
        let done = done
        self.done = nil
        done?(result)
    }
}
