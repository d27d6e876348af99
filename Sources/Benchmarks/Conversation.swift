import Primitives
import UVLoop

/// One connection of the scripted model server: one request after another, each answered at once or paced by
/// a timer.
final class Conversation {
    /// Bytes of one request, head and body.
    private static let requestBytesMax = 32 << 20

    private let connection: TCPConnection
    private let backend: BenchmarkBackend
    private var buffer: [UInt8] = []
    private var timer: UVLoop.Timer?
    /// The request whose answer is being paced.
    private var request: AnswerRequest?
    private var said = 0
    private var total = 0
    private var nextAt = MonotonicTime.never

    init(_ connection: TCPConnection, _ backend: BenchmarkBackend) {
        self.connection = connection
        self.backend = backend
    }

    func received(_ bytes: UnsafeRawBufferPointer) {
        buffer.append(contentsOf: bytes)
        guard buffer.count <= Self.requestBytesMax else { return connection.abort() }
        readRequests()
    }

    func closed() {
        timer?.close()
        timer = nil
        if request != nil {
            request = nil
            backend.running -= 1
            backend.aborted += 1
        }
        connection.onBytes = nil
    }

    private func readRequests() {
        while request == nil, let end = buffer.firstRange(of: "\r\n\r\n") {
            let head = HTTPHead(buffer[..<end.lowerBound])
            let length = head.headers["content-length"].flatMap { Int($0) } ?? 0
            guard length >= 0, buffer.count - end.upperBound >= length else {
                // curl asks before it sends a large body.
                if head.headers["expect"] == "100-continue", buffer.count == end.upperBound {
                    send("HTTP/1.1 100 Continue\r\n\r\n")
                }
                return
            }
            let body = Array(buffer[end.upperBound..<end.upperBound + length])
            buffer.removeSubrange(..<(end.upperBound + length))
            let words = head.firstLine.split(separator: " ")
            guard words.count == 3 else { return connection.abort() }
            answer(String(words[0]), String(words[1]), body)
        }
    }

    private func answer(_ method: String, _ path: String, _ body: [UInt8]) {
        switch (method, path) {
        case ("GET", "/stats"): sendJSON(backend.stats)
        case ("GET", "/health"): sendJSON("{\"status\":\"ok\"}")
        case ("GET", "/v1/models"): sendJSON(backend.models)
        case ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"):
            begin(AnswerRequest(path: path, body: body), path, body)
        case ("POST", "/v1/embeddings"):
            backend.requests += 1
            backend.finished += 1
            sendJSON(
                "{\"object\":\"list\",\"model\":\"\(backend.script.model)\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.25,0.5]}],\"usage\":{\"prompt_tokens\":1,\"total_tokens\":1}}"
            )
        default:
            sendJSON(
                "{\"error\":{\"message\":\"no such path\",\"type\":\"invalid_request_error\"}}",
                status: "404 Not Found")
        }
    }

    private func begin(_ request: AnswerRequest, _ path: String, _ body: [UInt8]) {
        let script = backend.script
        backend.requests += 1
        backend.lastBody = body
        backend.lastPath = path
        if body.firstRange(of: "fail500") != nil {
            return sendJSON(
                "{\"error\":{\"message\":\"as asked\",\"type\":\"server_error\"}}",
                status: "500 Internal Server Error")
        }
        let tokens = min(max(0, script.tokens - request.delivered), request.tokensMax)
        if script.interval == .zero, script.first == .zero, !(script.isApart && request.isStreamed) {
            backend.finished += 1
            if request.isStreamed {
                connection.write(backend.streamAtOnce(tokens, request))
            } else {
                sendJSON(backend.whole(tokens, request))
            }
            return
        }
        backend.running += 1
        self.request = request
        total = tokens
        said = 0
        nextAt =
            SystemClock.monotonic
            + (request.isStreamed ? script.first : script.first + script.interval * Int64(tokens))
        if timer == nil { timer = try? UVLoop.Timer(on: connection.loop) { [unowned self] in self.goOn() } }
        if request.isStreamed { send(BenchmarkBackend.streamHead) }
        goOn()
    }

    /// Sends the tokens that are due. Times are counted from the start, so that a late timer doesn't slow the
    /// pace.
    private func goOn() {
        guard let request else { return }
        let now = SystemClock.monotonic
        if !request.isStreamed {
            guard nextAt <= now else { return arm() }
            finish()
            sendJSON(backend.whole(total, request))
            return readRequests()
        }
        let isApart = backend.script.isApart
        var due = ""
        while said < total, nextAt <= now, !isApart || due.isEmpty {
            due += backend.event(request.delivered + said, isChat: request.isChat)
            said += 1
            nextAt = nextAt + backend.script.interval
        }
        if said == total { due += backend.ending(total, request: request) }
        if !due.isEmpty { connection.write(BenchmarkBackend.chunked(due)) }
        guard said == total else { return arm() }
        finish()
        send("0\r\n\r\n")
        readRequests()
    }

    private func arm() {
        if nextAt > SystemClock.monotonic {
            timer?.arm(at: nextAt)
            return
        }
        nonisolated(unsafe) let conversation = self
        connection.loop.post { conversation.goOn() }
    }

    private func finish() {
        request = nil
        backend.running -= 1
        backend.finished += 1
    }

    private func send(_ text: String) { connection.write(Array(text.utf8)) }

    private func sendJSON(_ body: String, status: String = "200 OK") {
        send(
            "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
    }
}
