import OpenAIFormat
import Primitives

/// Short questions to a model server that show what it can do. A driver asks some of them at its first start; `starling
/// check` asks all. Each costs a few tokens.
final class ServerTests {
    /// One answer, streamed or not, as far as it can be read.
    struct Answer {
        var status = 0
        /// Nil: the status is 200, and nothing in the answer says otherwise.
        var problem: String?
        var meaning = BackendErrorBody.Meaning.other
        /// Text by the index of its choice.
        var texts: [UInt64: String] = [:]
        var reasons: [UInt64: String] = [:]
        var hasLogprobs = false
        var hasCalls = false
        var isStream = false
        var usage: BackendUsage?
        /// Lengths of an embedding's vectors.
        var vectors: [Int] = []

        var text: String { texts[0] ?? "" }

        /// There was no whole answer.
        var broken: String? { status == 0 ? "the connection failed: \(problem ?? "no answer")" : nil }
    }

    struct Test {
        /// The row of the table.
        var name: String
        /// What it shows.
        var ability: Abilities = []
        var path = InferenceKind.chat.path
        var body: [JSONTree.Member]
        var judge: (Answer, ServerTests) -> TestOutcome
    }

    let server: ServerAddress
    let model: String
    private let http: HTTPStreams
    private let timeout: Interval
    /// The greedy answer to the question.
    private(set) var plain = ""
    /// A question had no answer, or the server was busy: the results say nothing.
    private(set) var wasDisturbed = false
    private var isCancelled = false
    /// Whether a high temperature changes the answer; only then can parameters that undo it be seen.
    fileprivate var isHotDifferent = false

    init(server: ServerAddress, model: String, http: HTTPStreams, timeout: Interval) {
        self.server = server
        self.model = model
        self.http = http
        self.timeout = timeout
    }

    /// Asks one after another; `done` gets an outcome for each.
    func run(_ tests: [Test], then done: @escaping ([TestResult]) -> Void) {
        run(tests[...], [], then: done)
    }

    /// Asks nothing more; `done` isn't called.
    func cancel() { isCancelled = true }

    private func run(
        _ rest: ArraySlice<Test>, _ results: [TestResult], then done: @escaping ([TestResult]) -> Void
    ) {
        guard let test = rest.first else { return done(results) }
        let body = JSONTree.object([.init("model", .string(model))] + test.body).bytes
        var request = server.request(test.path, body: body, timeout: timeout)
        request.headers.append("Accept: application/json, text/event-stream")
        Fetch.start(request, on: http) { result in
            guard !self.isCancelled else { return }
            let answer = Answer(result)
            if [0, 429, 502, 503, 504].contains(answer.status) { self.wasDisturbed = true }
            let outcome = test.judge(answer, self)
            self.run(
                rest.dropFirst(),
                results + [TestResult(name: test.name, ability: test.ability, outcome: outcome)],
                then: done)
        }
    }

    /// The abilities of which a test said yes.
    static func shown(by results: [TestResult]) -> Abilities {
        var shown = Abilities(results.filter { $0.outcome == .yes }.map(\.ability))
        // An ability that several tests show needs them all.
        for result in results where result.outcome != .yes { shown.subtract(result.ability) }
        return shown
    }

    // MARK: - The tests

    private static func messages(_ text: String, _ more: JSONTree...) -> JSONTree.Member {
        .init("messages", .array([message("user", text)] + more))
    }

    private static func message(_ role: String, _ text: String) -> JSONTree {
        .object([.init("role", .string(role)), .init("content", .string(text))])
    }

    private static func number(_ key: String, _ value: Double) -> JSONTree.Member {
        .init(key, .number(value == value.rounded() ? String(Int(value)) : String(value)))
    }

    private static let question = messages(Backend.question)
    private static let stream: [JSONTree.Member] = [
        .init("stream", .bool(true)), .init("stream_options", .object([.init("include_usage", .bool(true))])),
    ]
    private static let plainTokens = 12

    private static func ask(
        _ more: JSONTree.Member..., temperature: Double = 0, tokens: Int = plainTokens
    ) -> [JSONTree.Member] {
        [question, number("temperature", temperature), number("max_tokens", Double(tokens))] + more + stream
    }

    /// Those that `abilities` need, after the one that the others compare with.
    func tests(showing abilities: Abilities) -> [Test] {
        let wanted = all.filter { !$0.ability.isEmpty && !$0.ability.isDisjoint(with: abilities) }
        guard !wanted.isEmpty else { return [] }
        return basics.prefix(1) + (abilities.contains(.sampling) ? [hot] : []) + wanted
    }

    var all: [Test] { basics + [hot] + choices + formats + embeddings }

    private static func yes(_ condition: Bool, _ otherwise: String) -> TestOutcome {
        condition ? .yes : .no(otherwise)
    }

    private var basics: [Test] {
        [
            Test(name: "streaming", body: Self.ask()) { answer, tests in
                if let problem = answer.problem { return .no(problem) }
                tests.plain = answer.text
                return answer.isStream ? .yes : .no("the answer comes whole")
            },
            Test(name: "usage", body: Self.ask()) { answer, _ in
                if let problem = answer.problem { return .no(problem) }
                guard let usage = answer.usage else { return .no("no `usage` at the end of a stream") }
                return usage.promptTokens > 0 && usage.completionTokens > 0
                    ? .yes
                    : .differs("counts no tokens of \(usage.promptTokens == 0 ? "the prompt" : "the answer")")
            },
            Test(name: "max_tokens", body: Self.ask(tokens: 5)) { answer, _ in
                if let problem = answer.problem { return .no(problem) }
                if let count = answer.usage?.completionTokens, count > 5 {
                    return .no("made \(count) of 5 tokens")
                }
                return answer.reasons[0] == "length" || (answer.usage?.completionTokens ?? 5) < 5
                    ? .yes : .differs("ends with \(answer.reasons[0] ?? "no reason")")
            },
            Test(name: "greedy answers repeat", body: Self.ask()) { answer, tests in
                if let problem = answer.problem { return .no(problem) }
                return answer.text == tests.plain ? .yes : .differs("another answer at temperature 0")
            },
            Test(
                name: "stop", body: Self.ask(.init("stop", .array([.string(Self.stopWord)])))
            ) { answer, tests in
                if let problem = answer.problem { return .no(problem) }
                guard tests.plain.contains(Self.stopWord) else {
                    return .differs("can't be told from this answer")
                }
                if answer.text.contains(Self.stopWord) { return .no("ignored") }
                return answer.reasons[0] == "stop"
                    ? .yes : .differs("ends with \(answer.reasons[0] ?? "no reason")")
            },
            Test(
                name: "completions", ability: .completion, path: InferenceKind.completion.path,
                body: [.init("prompt", .string(Backend.question)), Self.number("max_tokens", 2)] + Self.stream
            ) { answer, _ in answer.problem.map { .no($0) } ?? Self.yes(!answer.texts.isEmpty, "no `text`") },
        ]
    }

    private static let stopWord = " "

    private var hot: Test {
        Test(
            name: "temperature", body: Self.ask(temperature: 2)
        ) { answer, tests in
            if let problem = answer.problem { return .no(problem) }
            tests.isHotDifferent = answer.text != tests.plain
            return tests.isHotDifferent ? .yes : .differs("2 gives the answer of 0: can't be told")
        }
    }

    private func asPlain(_ answer: Answer, _ tests: ServerTests) -> TestOutcome {
        if let problem = answer.problem { return .no(problem) }
        guard answer.text == tests.plain else { return .no("ignored") }
        return tests.isHotDifferent ? .yes : .differs("can't be told from this answer")
    }

    private var choices: [Test] {
        let prefix = Self.message("assistant", "I can ")
        var begun = [
            Self.messages(Backend.question, prefix), Self.number("temperature", 0),
            Self.number("max_tokens", Double(Self.plainTokens)),
        ]
        if server.dialect == .vllm {
            begun += [
                .init("continue_final_message", .bool(true)), .init("add_generation_prompt", .bool(false)),
            ]
        }
        return [
            Test(name: "n", ability: .choices, body: Self.ask(Self.number("n", 2), temperature: 1, tokens: 2))
            {
                answer, _ in
                answer.problem.map { .no($0) }
                    ?? Self.yes(
                        Set(answer.reasons.keys) == [0, 1], "gives \(answer.reasons.count) of 2 answers")
            },
            Test(
                name: "several prompts", ability: .prompts, path: InferenceKind.completion.path,
                body: [
                    .init("prompt", .array([.string(Backend.question), .string(Backend.question)])),
                    Self.number("max_tokens", 2),
                ] + Self.stream
            ) { answer, _ in
                answer.problem.map { .no($0) }
                    ?? Self.yes(
                        Set(answer.reasons.keys) == [0, 1], "gives \(answer.reasons.count) of 2 answers")
            },
            Test(name: "last assistant message", body: begun + Self.stream) { answer, tests in
                if let problem = answer.problem { return .no(problem) }
                guard tests.plain.hasPrefix("I can ") else {
                    return answer.text.hasPrefix("I can")
                        ? .differs("answered anew") : .differs("can't be told")
                }
                return tests.plain.dropFirst(6).hasPrefix(answer.text.prefix(8))
                    ? .yes : .differs("answered anew")
            },
            Test(
                name: "logprobs", ability: .logprobs,
                body: Self.ask(.init("logprobs", .bool(true)), Self.number("top_logprobs", 2), tokens: 2)
            ) { answer, _ in answer.problem.map { .no($0) } ?? Self.yes(answer.hasLogprobs, "ignored") },
            Test(
                name: "logit_bias", ability: .logitBias,
                body: Self.ask(.init("logit_bias", .object([Self.number("100", 100)])))
            ) { answer, tests in
                answer.problem.map { .no($0) } ?? Self.yes(answer.text != tests.plain, "ignored")
            },
            Test(
                name: "top_k", ability: .sampling, body: Self.ask(Self.number("top_k", 1), temperature: 2),
                judge: asPlain),
            Test(
                name: "min_p", ability: .sampling, body: Self.ask(Self.number("min_p", 1), temperature: 2),
                judge: asPlain),
        ]
    }

    private var formats: [Test] {
        func format(_ type: String, _ schema: JSONTree? = nil) -> JSONTree.Member {
            var members: [JSONTree.Member] = [.init("type", .string(type))]
            if let schema {
                members.append(
                    .init(
                        "json_schema",
                        .object([
                            .init("name", .string("answer")), .init("strict", .bool(true)),
                            .init("schema", schema),
                        ])))
            }
            return .init("response_format", .object(members))
        }
        let word = JSONTree.object([
            .init("type", .string("string")), .init("enum", .array([.string("zq7")])),
        ])
        let schema = JSONTree.object([
            .init("type", .string("object")), .init("properties", .object([.init("a", word)])),
            .init("required", .array([.string("a")])), .init("additionalProperties", .bool(false)),
        ])
        let tool = JSONTree.object([
            .init("type", .string("function")),
            .init(
                "function",
                .object([
                    .init("name", .string("get_weather")),
                    .init(
                        "parameters",
                        .object([.init("type", .string("object")), .init("properties", .object([]))])),
                ])),
        ])
        // A red square of 64 × 64: some models take nothing smaller than 28.
        let square =
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAS0lEQVR42u3PQQkAAAgAsetfWiP4FgYrsKZeS0BA"
            + "QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEDgsqnc8OJg6Ln3AAAAAElFTkSuQmCC"
        let picture = JSONTree.object([
            .init("role", .string("user")),
            .init(
                "content",
                .array([
                    .object([.init("type", .string("text")), .init("text", .string("What color is this?"))]),
                    .object([
                        .init("type", .string("image_url")),
                        .init("image_url", .object([.init("url", .string(square))])),
                    ]),
                ])),
        ])
        return [
            Test(
                name: "json_schema", ability: .jsonSchema,
                body: Self.ask(format("json_schema", schema), tokens: 40)
            ) {
                answer, _ in
                if let problem = answer.problem { return .no(problem) }
                if answer.text.contains("zq7") { return .yes }
                return answer.text.contains("{") && answer.reasons[0] == "length"
                    ? .differs("no value in 40 tokens: can't be told") : .no("ignored")
            },
            Test(name: "json_object", body: Self.ask(format("json_object"), tokens: 40)) {
                answer, _ in
                answer.problem.map { .no($0) }
                    ?? Self.yes(answer.text.contains("{"), "ignored")
            },
            Test(
                name: "tools",
                body: Self.ask(
                    .init("tools", .array([tool])), .init("tool_choice", .string("required")), tokens: 60)
            ) { answer, _ in
                answer.problem.map { .no($0) }
                    ?? (answer.hasCalls ? .yes : .accepted("no error, and no tool is called"))
            },
            Test(
                name: "images",
                body: [.init("messages", .array([picture])), Self.number("max_tokens", 16)] + Self.stream
            ) { answer, _ in
                if let problem = answer.problem { return .no(problem) }
                return answer.text.lowercased().contains("red")
                    ? .yes : .accepted("no error, and nothing of the red picture in the answer")
            },
        ]
    }

    private var embeddings: [Test] {
        func embed(_ more: JSONTree.Member...) -> [JSONTree.Member] {
            [.init("input", .array([.string("hello"), .string("goodbye")]))] + more
        }
        return [
            Test(name: "embeddings", path: InferenceKind.embedding.path, body: embed()) { answer, _ in
                answer.problem.map { .no($0) }
                    ?? Self.yes(answer.vectors.count == 2, "\(answer.vectors.count) of 2 vectors")
            },
            Test(
                name: "dimensions", ability: .dimensions, path: InferenceKind.embedding.path,
                body: embed(Self.number("dimensions", 8))
            ) { answer, _ in answer.problem.map { .no($0) } ?? Self.yes(answer.vectors == [8, 8], "ignored")
            },
        ]
    }

    /// How the server names what it refuses. The long prompt is left out where the context is unknown or so large that an
    /// honest server would work for long.
    func errors(context: UInt32?) -> [Test] {
        var tests = [
            Test(
                name: "errors: impossible field", body: [Self.question, .init("max_tokens", .string("many"))]
            ) {
                answer, _ in
                (400..<500).contains(answer.status)
                    ? .yes : .differs(answer.broken ?? "status \(answer.status)")
            }
        ]
        if let context, context <= Self.longContextMax {
            let words = String(repeating: "one ", count: Int(context) + 64)
            tests.append(
                Test(
                    name: "errors: too long a prompt",
                    body: [Self.messages(words), Self.number("max_tokens", 1)] + Self.stream
                ) { answer, _ in
                    if answer.meaning == .contextExceeded { return .yes }
                    if let broken = answer.broken { return .differs(broken) }
                    guard let problem = answer.problem else { return .differs("the prompt is cut") }
                    return .differs("not told apart from other errors: \(problem)")
                })
        }
        return tests
    }

    private static let longContextMax: UInt32 = 16_384
}

/// What a test of a model server showed.
public enum TestOutcome: Sendable, Hashable {
    case yes
    /// The server takes the field, and its answer shows nothing of it.
    case accepted(String)
    case no(String)
    case differs(String)
}

public struct TestResult: Sendable, Hashable {
    public var name: String
    public var ability: Abilities
    public var outcome: TestOutcome
}

// MARK: - Reading an answer

extension ServerTests.Answer {
    init(_ result: Fetch.Result) {
        switch result {
        case .failure(let failure): problem = failure.message
        case .answer(let status, let body):
            self.status = status
            read(body)
        }
    }

    private mutating func read(_ body: [UInt8]) {
        guard status == 200 else { return fail(BackendErrorBody(body: body)) }
        var parser = ServerSentEvents()
        var events: [ServerSentEvent] = []
        try? parser.feed(body, into: &events)
        isStream = !events.isEmpty
        let documents = isStream ? events.map(\.data) : [body]
        for document in documents where !document.elementsEqual("[DONE]".utf8) {
            guard let tree = try? JSONTree(parsing: document) else { continue }
            read(tree, document)
        }
        if texts.isEmpty, reasons.isEmpty, vectors.isEmpty, problem == nil {
            fail(BackendErrorBody(body: body))
        }
    }

    private mutating func read(_ tree: JSONTree, _ bytes: [UInt8]) {
        if tree["error"]?.isNull == false { return fail(BackendErrorBody(body: bytes)) }
        if let counted = tree["usage"], counted.members != nil {
            usage = (try? BackendChunk(scanning: bytes))?.usage
        }
        for item in tree["data"]?.elements ?? [] {
            if let vector = item["embedding"]?.elements { vectors.append(vector.count) }
        }
        for choice in tree["choices"]?.elements ?? [] {
            let index = choice["index"]?.whole ?? 0
            let said = choice["delta"] ?? choice["message"]
            texts[index, default: ""] += said?["content"]?.text ?? choice["text"]?.text ?? ""
            if let reason = choice["finish_reason"]?.text { reasons[index] = reason }
            if said?["tool_calls"]?.elements?.isEmpty == false { hasCalls = true }
            if choice["logprobs"]?.isLogprobsOfTokens == true { hasLogprobs = true }
        }
    }

    private mutating func fail(_ error: BackendErrorBody) {
        meaning = error.meaning
        let words = error.message.isEmpty ? "" : ": \(error.message)"
        problem = status == 200 ? "no answer\(words)" : "status \(status)\(words)"
    }
}
