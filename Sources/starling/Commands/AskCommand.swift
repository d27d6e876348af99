import ArgumentParser
import FoundationEssentials
import Glibc
import MeshClient
import MeshDocuments
import OpenAIFormat
import Primitives

struct AskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask", abstract: "Ask any node a question; the answer streams to stdout.",
        discussion: """
            The node that you ask runs an auction among the sellers that it knows \
            and streams the winner's answer. If the winner dies, another continues; \
            you see a pause. While the task waits for a slot, a terminal shows its place; \
            elsewhere stderr gets one line about it after five seconds. \
            The last line on stderr is the bill.

            The node that answers sees your prompt. Choose the nodes with --only.

              starling ask --model wren-m "What can you do?"
              starling ask --model wren-m --max-price 2.00 --auction "What is 3 + 4?"
              starling ask --via fay --deadline 10s --model wren-m "What is 3 + 4?"
              starling ask --models wren-l,wren-m "What is 3 + 4?"
              cat question.txt | starling ask --model wren-m - > answer.txt
            """)

    @OptionGroup var door: DoorOptions

    @Option(help: "The model to ask (see `starling offers`). Default: the only one there is.")
    var model: String?

    @Option(
        help: ArgumentHelp(
            "Models to ask for in this order, where nobody answers with the one before; up to 8, after --model.",
            valueName: "A,B"))
    var models: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The most you pay, credits per million tokens: for output (2.00), or for input/output (0.20/2.00).",
            valueName: "P"))
    var maxPrice: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The most that the whole task may cost, in credits.", valueName: "C"))
    var maxCost: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Give up after this long: 500ms, 10s, 2m; at most 1h.", valueName: "T"))
    var deadline: String?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The most tokens to answer with.", valueName: "N"))
    var maxTokens: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Sampling temperature; 0 is deterministic.", valueName: "X"))
    var temperature: Double?

    @Option(
        help: ArgumentHelp(
            "Let only this node answer: its id, the first twelve or more characters of it, or its name in your configuration. May be repeated.",
            valueName: "NODE"))
    var only: [String] = []

    @Option(help: ArgumentHelp("What to prefer: price, throughput or latency.", valueName: "KEY"))
    var sort: String?

    @Flag(help: "Print the auction: the nodes asked, their bids, the winner and the reason.")
    var auction = false

    @Argument(help: "The question; - reads it from stdin.")
    var prompt: String

    func validate() throws {
        if let maxPrice, Self.prices(maxPrice) == nil {
            throw ValidationError(
                "--max-price is \(maxPrice): give credits per million tokens, such as 2.00, or 0.20/2.00")
        }
        if let maxCost, MicroCredits.parse(maxCost) == nil {
            throw ValidationError("--max-cost is \(maxCost): give credits, such as 0.001")
        }
        if let deadline, Self.milliseconds(deadline) == nil {
            throw ValidationError(
                "--deadline is \(deadline): give a time from 1ms to 1h, such as 500ms, 10s or 2m")
        }
        if let temperature, !temperature.isFinite || temperature < 0 {
            throw ValidationError("--temperature is \(temperature): give a number, 0 or more")
        }
        if let maxTokens, maxTokens < 1 {
            throw ValidationError("--max-tokens is \(maxTokens): give at least 1")
        }
        if let models, models.split(separator: ",", omittingEmptySubsequences: false).contains("") {
            throw ValidationError("--models is \(models): name models with commas between them, such as a,b")
        }
        if prompt.allSatisfy(\.isWhitespace) { throw ValidationError("the question is empty") }
    }

    func run() async throws {
        try await reporting {
            let client = try door.client()
            let text = prompt == "-" ? try standardInput() : prompt
            if text.allSatisfy(\.isWhitespace) {
                throw fail("the question on stdin is empty", fix: "echo QUESTION | starling ask -", .usage)
            }
            let request = try body(text, client: client).bytes
            let answer = Answer(json: door.json)
            let silence = Task {
                try await Task.sleep(for: Answer.silenceMax)
                remark("starling: no node has the task yet; waiting")
            }
            defer { silence.cancel() }
            let response = try client.stream(
                "/v1/chat/completions", json: request, timeout: 86_400,
                onHeaders: { headers in
                    silence.cancel()
                    answer.task = headers["x-request-id"]
                    if auction, let document = transcript(client, answer.task) {
                        output(AuctionText.table(document), to: STDERR_FILENO)
                    }
                },
                onBytes: { answer.receive($0) })
            answer.clearWait()
            guard response.status == 200 else {
                if auction, let document = transcript(client, response.headers["x-request-id"]) {
                    output(AuctionText.table(document), to: STDERR_FILENO)
                }
                throw door.refused(response, maxPrice: maxPrice)
            }
            answer.endLine()
            let document = transcript(client, answer.task)
            if door.json {
                emit(json: String(decoding: answer.document.bytes, as: UTF8.self))
            } else if let document {
                remark((auction ? "\n" : "") + AuctionText.end(document, why: why(document)))
                if models != nil, document.state == "delivered" {
                    remark("model: \(Printable.line(document.model))")
                }
            }
            if let error = answer.error {
                if document == nil || document?.state == "delivered" {
                    remark("starling: \(Printable.line(error))")
                }
                throw ExitCode((answer.isLate ? ExitStatus.tryAgain : .brokenOff).rawValue)
            }
        }
    }

    /// All of stdin.
    private func standardInput() throws -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count > 0 {
                bytes += buffer[..<count]
            } else if count == 0 {
                guard let text = String(validating: bytes, as: UTF8.self) else {
                    throw fail(
                        "the prompt on stdin is not UTF-8 text", fix: "convert it, as with iconv -t UTF-8",
                        .usage)
                }
                return text
            } else if errno != EINTR {
                throw fail(
                    "stdin can't be read", fix: "pipe the prompt in, or give it as an argument", .usage)
            }
        }
    }

    private func body(_ text: String, client: MeshClient) throws -> JSONTree {
        var body: [JSONTree.Member] = [
            .init("stream", true),
            .init("stream_options", ["include_usage": true]),
            .init("messages", [["role": "user", "content": .string(text)]]),
        ]
        if let models {
            body.append(.init("models", .array(models.split(separator: ",").map { .string(String($0)) })))
        }
        if models == nil || model != nil {
            body.append(.init("model", .string(try model ?? onlyModel(client))))
        }
        var provider: [JSONTree.Member] = []
        if let maxPrice, let prices = Self.prices(maxPrice) {
            var limits: [JSONTree.Member] = [.init("completion", JSONTree(prices.output))]
            if let input = prices.input { limits.append(.init("prompt", JSONTree(input))) }
            provider.append(.init("max_price", .object(limits)))
        }
        if let maxCost, let cost = MicroCredits.parse(maxCost) {
            provider.append(.init("max_cost", JSONTree(Double(cost) / 1e6)))
        }
        if let deadline, let milliseconds = Self.milliseconds(deadline) {
            provider.append(.init("deadline_ms", JSONTree(milliseconds)))
        }
        if !only.isEmpty { provider.append(.init("only", .array(only.map { .string($0) }))) }
        if let sort { provider.append(.init("sort", .string(sort))) }
        if !provider.isEmpty { body.append(.init("provider", .object(provider))) }
        if let maxTokens { body.append(.init("max_tokens", JSONTree(maxTokens))) }
        if let temperature { body.append(.init("temperature", JSONTree(temperature))) }
        return .object(body)
    }

    /// The model on offer if there is only one; fails otherwise.
    private func onlyModel(_ client: MeshClient) throws -> String {
        let response = try client.get("/v1/models")
        guard response.status == 200,
            let list = (try? JSONTree(parsing: response.body))?["data"]?.elements
        else { throw door.refused(response) }
        let names = list.compactMap { $0["id"]?.text }
        guard names.count == 1, let name = names.first else {
            throw fail(
                names.isEmpty ? "no node sells a model here" : "\(names.count) models are on offer",
                fix: names.isEmpty
                    ? "wait for sellers, or see `starling peers`"
                    : "say which: --model \(names.map(Printable.line).joined(separator: " or --model "))",
                names.isEmpty ? .unavailable : .usage)
        }
        return name
    }

    private func transcript(_ client: MeshClient, _ task: String?) -> TaskDocument? {
        guard let task, let response = try? client.get("/mesh/tasks/\(task)"), response.status == 200 else {
            return nil
        }
        return try? JSONDecoder().decode(TaskDocument.self, from: Data(response.body))
    }

    private func why(_ task: TaskDocument) -> String {
        "starling why \(task.task.prefix(8))" + (door.via.map { " --via \($0)" } ?? "")
            + (door.apiKey == nil ? "" : " --api-key \"$KEY\"")
    }

    static func prices(_ text: String) -> (input: Double?, output: Double)? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let last = parts.last, let output = MicroCredits.parse(last) else {
            return nil
        }
        if parts.count == 1 { return (nil, Double(output) / 1e6) }
        guard let input = MicroCredits.parse(parts[0]) else { return nil }
        return (Double(input) / 1e6, Double(output) / 1e6)
    }

    static func milliseconds(_ text: String) -> Int? {
        for (suffix, unit) in [("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0)]
        where text.hasSuffix(suffix) {
            guard let number = Double(text.dropLast(suffix.count)), (1...3_600_000).contains(number * unit)
            else { return nil }
            return Int(number * unit)
        }
        return nil
    }
}

/// Reads the event stream of a chat completion and prints its text as it arrives. Used by one thread.
private final class Answer {
    let json: Bool
    var task: String?
    var error: String?
    /// The answer ended because its deadline passed.
    private(set) var isLate = false
    private var text = ""
    private var usage = JSONTree.null
    /// The one that was sold.
    private var model = JSONTree.null
    private var reason = JSONTree.null
    private var pending: [UInt8] = []
    /// A line on the terminal says where the task waits.
    private var showsWait = false
    private var hasSaidWait = false
    private let started = ContinuousClock.now
    static let silenceMax = Duration.seconds(5)
    /// Of one event. Longer than any that a node sends.
    private static let lineBytesMax = 4 << 20

    init(json: Bool) { self.json = json }

    func receive(_ bytes: [UInt8]) -> Bool {
        pending += bytes
        var start = 0
        while let end = pending[start...].firstIndex(of: 10) {
            let line = pending[start..<end]
            if line.starts(with: "data: {".utf8) {
                clearWait()
                read(Array(line.dropFirst(6)))
            } else if line.starts(with: ": queued".utf8) {
                show(wait: String(decoding: line.dropFirst(2), as: UTF8.self))
            }
            start = end + 1
        }
        pending.removeFirst(start)
        guard pending.count <= Self.lineBytesMax else {
            error = "the node sent a line without end"
            return false
        }
        return true
    }

    /// One line on a terminal's stderr, which the next one replaces; elsewhere one in all, after some seconds.
    private func show(wait: String) {
        guard isatty(STDERR_FILENO) == 1 else {
            if !hasSaidWait, ContinuousClock.now - started >= Self.silenceMax {
                hasSaidWait = true
                remark("starling: \(Printable.line(wait))")
            }
            return
        }
        if json { return }
        showsWait = true
        output("\r\u{1b}[K" + Printable.line(wait), to: STDERR_FILENO)
    }

    func clearWait() {
        if showsWait { output("\r\u{1b}[K", to: STDERR_FILENO) }
        showsWait = false
    }

    private func read(_ data: [UInt8]) {
        guard let chunk = try? JSONTree(parsing: data) else { return }
        if let problem = chunk["error"], !problem.isNull {
            error = problem["message"]?.text ?? "the answer broke off"
            isLate = problem["code"]?.text == "deadline_exceeded"
            if let used = problem["metadata"]?["usage"] { usage = used }
        }
        if let used = chunk["usage"], !used.isNull { usage = used }
        if let name = chunk["model"], !name.isNull { model = name }
        guard let choice = chunk["choices"]?.elements?.first else { return }
        if let end = choice["finish_reason"], !end.isNull { reason = end }
        guard let piece = choice["delta"]?["content"]?.text else { return }
        text += piece
        if !json { emit(piece) }
    }

    /// Ends the answer's last line if the model did not.
    func endLine() {
        if !json, !text.isEmpty, !text.hasSuffix("\n") { emit("\n") }
    }

    var document: JSONTree {
        [
            "error": JSONTree(error), "finish_reason": reason, "model": model, "task": JSONTree(task),
            "text": .string(text),
            "usage": usage,
        ]
    }
}
