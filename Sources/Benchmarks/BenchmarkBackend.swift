// A model server without a model. It measures what a node adds, and shows from the backend's side what a node
// sends and when it hangs up.

import Glibc
import Primitives
import UVLoop

struct AnswerScript: Sendable {
    var model: String
    var tokens: Int
    var interval: Interval
    var first: Interval
    /// Without an interval, each token is a write of its own, in a turn of its own.
    var isApart: Bool
}

/// All connections, and the counts that `GET /stats` shows. Lives on the loop's thread.
final class BenchmarkBackend {
    let script: AnswerScript
    var requests = 0
    var running = 0
    var finished = 0
    var aborted = 0
    var lastBody: [UInt8] = []
    var lastPath = ""
    private var ready: [Int: [UInt8]] = [:]

    init(_ script: AnswerScript) { self.script = script }

    /// Listens until the process is killed.
    static func serve(_ script: AnswerScript, port: UInt16) throws {
        let loop = try EventLoop(name: "backend")
        loop.post {
            let backend = BenchmarkBackend(script)
            do {
                let listener = try TCPListener(on: loop, bind: .loopback(port)) { connection in
                    let conversation = Conversation(connection, backend)
                    connection.onBytes = { conversation.received($0) }
                    connection.onClosed = { _ in conversation.closed() }
                }
                say("{\"url\": \"http://\(listener.endpoint)\", \"pid\": \(getpid())}")
            } catch {
                complain("starling-bench: can't listen on port \(port): \(error)")
                exit(69)
            }
        }
        loop.start()
        while true { pause() }
    }

    var stats: String {
        """
        {"requests": \(requests), "running": \(running), "finished": \(finished), "aborted": \(aborted), \
        "last_body": \(lastBody.isEmpty ? "null" : quoted(String(decoding: lastBody, as: UTF8.self))), "last_path": \(quoted(lastPath))}
        """
    }

    // MARK: Texts

    func word(_ index: Int) -> String { "w\(index) " }

    private func chunk(_ choices: String, usage: String? = nil) -> String {
        "data: {\"id\":\"scripted\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"\(script.model)\",\"choices\":[\(choices)]"
            + (usage.map { ",\"usage\":\($0)" } ?? "") + "}\n\n"
    }

    /// The event of one token; a legacy completion has `text` instead of `delta`.
    func event(_ index: Int, isChat: Bool) -> String {
        isChat
            ? chunk("{\"index\":0,\"delta\":{\"content\":\"\(word(index))\"},\"finish_reason\":null}")
            : chunk("{\"index\":0,\"text\":\"\(word(index))\",\"finish_reason\":null}")
    }

    /// The events after the last token.
    func ending(_ tokens: Int, request: AnswerRequest) -> String {
        let reason = request.delivered + tokens < script.tokens ? "length" : "stop"
        let end = request.isChat ? "\"delta\":{}" : "\"text\":\"\""
        return chunk("{\"index\":0,\(end),\"finish_reason\":\"\(reason)\"}")
            + (request.wantsUsage ? chunk("", usage: usage(tokens, request)) : "") + "data: [DONE]\n\n"
    }

    func usage(_ tokens: Int, _ request: AnswerRequest) -> String {
        "{\"prompt_tokens\":\(request.promptTokens),\"completion_tokens\":\(tokens),\"total_tokens\":\(request.promptTokens + tokens)}"
    }

    static func chunked(_ text: String) -> [UInt8] {
        Array("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n".utf8)
    }

    static let streamHead =
        "HTTP/1.1 200 OK\r\nServer: starling-bench\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    /// A complete streamed answer, built once for each length and kind.
    func streamAtOnce(_ tokens: Int, _ request: AnswerRequest) -> [UInt8] {
        let key = tokens << 2 | (request.isChat ? 2 : 0) | (request.wantsUsage ? 1 : 0)
        if request.delivered == 0, let made = ready[key] { return made }
        let events = (0..<tokens).map { event(request.delivered + $0, isChat: request.isChat) }.joined()
        let made =
            Array(Self.streamHead.utf8) + Self.chunked(events + ending(tokens, request: request))
            + Array("0\r\n\r\n".utf8)
        if request.delivered == 0, ready.count < 64 { ready[key] = made }
        return made
    }

    func whole(_ tokens: Int, _ request: AnswerRequest) -> String {
        let text = (0..<tokens).map { word(request.delivered + $0) }.joined()
        let reason = request.delivered + tokens < script.tokens ? "length" : "stop"
        let choice =
            request.isChat
            ? "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\(text)\"},\"finish_reason\":\"\(reason)\"}"
            : "{\"index\":0,\"text\":\"\(text)\",\"finish_reason\":\"\(reason)\"}"
        return
            "{\"id\":\"scripted\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"\(script.model)\",\"choices\":[\(choice)],\"usage\":\(usage(tokens, request))}"
    }

    var models: String {
        "{\"object\":\"list\",\"data\":[{\"id\":\"\(script.model)\",\"object\":\"model\",\"created\":1,\"owned_by\":\"bench\",\"max_model_len\":32768}]}"
    }
}

/// The parts of a request's body that change the answer. Found by searching, not by parsing: inside a JSON
/// string the quotes of these patterns would be escaped.
struct AnswerRequest {
    var isChat: Bool
    var isStreamed: Bool
    var wantsUsage: Bool
    var tokensMax: Int
    var promptTokens: Int
    /// Words that were already delivered, after which the answer continues.
    var delivered: Int

    init(path: String, body: [UInt8]) {
        isChat = path.hasSuffix("/chat/completions")
        isStreamed =
            body.firstRange(of: "\"stream\":true") != nil || body.firstRange(of: "\"stream\": true") != nil
        wantsUsage =
            body.firstRange(of: "\"include_usage\":true") != nil
            || body.firstRange(of: "\"include_usage\": true") != nil
        let limit =
            body.firstRange(of: "\"max_tokens\":") ?? body.firstRange(of: "\"max_completion_tokens\":")
        tokensMax = limit.flatMap { body.number(at: $0.upperBound) } ?? .max
        promptTokens = max(1, body.count / 4)
        delivered = isChat ? Self.wordsOfLastAnswer(body) : 0
    }

    /// Counts the words of a last message from the assistant, the form in which model servers that can
    /// continue expect them.
    private static func wordsOfLastAnswer(_ body: [UInt8]) -> Int {
        var start: Int?
        while let found = body.firstRange(of: "\"role\":\"assistant\",\"content\":\"", from: start ?? 0) {
            start = found.upperBound
        }
        guard let start, let end = body.firstRange(of: "\"", from: start),
            body.firstRange(of: "\"}]", from: start)?.lowerBound == end.lowerBound
        else { return 0 }
        return body[start..<end.lowerBound].count { $0 == UInt8(ascii: " ") }
    }
}
