import OpenAIFormat
import Primitives
import Testing

@testable import Inference

/// What model servers do wrong, each as it was seen.
@Suite(.serialized) struct ServerFaultTests {
    let loop = TestLoop()

    private func rig(
        _ dialect: BackendDialect = .llamaCpp, limits: BackendLimits = .init(),
        job: @escaping (ScriptedServer.Connection) -> Void
    ) -> (ScriptedServer, Rig) {
        let server = ScriptedServer(loop, handler: Script.llama(job: job))
        let rig = Rig(.url(server.url), dialect: dialect, loop: loop, limits: limits)
        _ = loop.run { rig.backend.status.isUp }
        return (server, rig)
    }

    private func run(_ rig: Rig, _ id: JobID = 1, body: String? = nil, kind: InferenceKind = .chat) {
        let chat = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"
        #expect(rig.backend.start(JobRequest(id: id, kind: kind, body: Array((body ?? chat).utf8))) == nil)
        #expect(loop.run { rig.isOver(id) })
    }

    /// libcurl repeats a request by itself when a connection that it had kept dies before the answer.
    @Test func aJobIsOneRequestAtTheServer() {
        var asked = 0
        let (server, rig) = rig { connection in
            asked += 1
            guard asked == 1 else { return connection.close() }
            let answer = Script.answer(["well"])
            connection.head(length: answer.utf8.count)
            connection.write(answer)
        }
        run(rig)
        run(rig, 2)
        #expect(rig.text(1) == "well" && rig.failure(2)?.code == .closedEarly)
        #expect(asked == 2)
        rig.close()
        server.close()
    }

    /// llama.cpp does so, without `Connection: close`.
    @Test func aServerMayCloseAfterEachStreamedAnswer() {
        let (server, rig) = rig { connection in
            connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            let answer = Script.answer(["well"])
            connection.write(String(answer.utf8.count, radix: 16) + "\r\n\(answer)\r\n0\r\n\r\n")
        }
        for id in 1..<20 {
            run(rig, JobID(rawValue: UInt64(id)))
            #expect(rig.text(JobID(rawValue: UInt64(id))) == "well")
        }
        #expect(server.connections.count >= 19, "each answer has a connection of its own")
        rig.close()
        server.close()
    }

    @Test func aServerThatNamesItselfAsAnotherKeepsItsConnection() {
        let (server, rig) = rig { connection in
            connection.write("HTTP/1.1 200 OK\r\nServer: uvicorn\r\nTransfer-Encoding: chunked\r\n\r\n")
            let answer = Script.answer(["well"])
            connection.write(String(answer.utf8.count, radix: 16) + "\r\n\(answer)\r\n0\r\n\r\n")
        }
        for id in 1..<20 {
            run(rig, JobID(rawValue: UInt64(id)))
            #expect(rig.text(JobID(rawValue: UInt64(id))) == "well")
        }
        #expect(server.connections.count < 10)
        rig.close()
        server.close()
    }

    /// A server that writes token by token is not read at each of them.
    @Test(arguments: [true, false])
    func anAnswerOfManyWritesIsReadToItsEndOrUntilItIsCancelled(isCancelled: Bool) {
        var answering: ScriptedServer.Connection?
        let (server, rig) = rig { connection in
            connection.head()
            answering = connection
        }
        #expect(rig.ask(1) == nil)
        #expect(loop.run { answering != nil })
        for tokens in 1...20 {
            answering?.write(Script.chunk("a"))
            #expect(loop.run { rig.tokens(1) == tokens })
        }
        if isCancelled {
            rig.backend.cancel(1)
            #expect(loop.run { answering?.leftAt != nil })
        } else {
            answering?.write(Script.end(20))
            #expect(loop.run { rig.isOver(1) })
            #expect(rig.text(1) == String(repeating: "a", count: 20))
        }
        rig.close()
        server.close()
    }

    @Test(arguments: [429, 503], ["Retry-After: 7\r\n", ""])
    func aBusyServerSaysWhenItMayBeAskedAgain(_ status: Int, _ header: String) {
        let (server, rig) = rig { connection in
            let body = #"{"error":{"message":"Too many requests","code":"rate_limit_exceeded"}}"#
            connection.write(
                "HTTP/1.1 \(status) X\r\n\(header)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        }
        run(rig)
        #expect(rig.failure(1)?.code == .busy && rig.failure(1)?.isRetryable == true)
        #expect(rig.failure(1)?.retryAfter == (header.isEmpty ? nil : .seconds(7)))
        #expect(rig.failure(1)?.message.contains("Too many requests") == true)
        #expect(rig.backend.status.isUp)
        rig.close()
        server.close()
    }

    @Test(
        arguments: [
            (#"{"error":{"message":"CUDA out of memory"}}"#, "CUDA out of memory"),
            (#"{"detail":"Not \u001b[31mready"}"#, "Not  [31mready"),
            (
                "<html>\n<head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
                "502 Bad Gateway nginx"
            ),
            ("upstream timed out", "upstream timed out"), ("", "is empty"),
            (String(repeating: "x", count: 5_000), String(repeating: "x", count: 400)),
        ])
    func anAnswerThatIsNoStreamTellsItsCause(_ body: String, _ cause: String) {
        let (server, rig) = rig { connection in
            connection.head(type: "application/json", length: body.utf8.count)
            connection.write(body)
        }
        run(rig)
        #expect(rig.failure(1)?.message.contains(cause) == true, "\(rig.failure(1)?.message ?? "")")
        #expect(rig.failure(1)?.message.contains(String(repeating: "x", count: 401)) == false)
        rig.close()
        server.close()
    }

    @Test(
        arguments: [
            // llama.cpp
            (
                400,
                #"{"error":{"code":400,"message":"request (1758 tokens) exceeds the available context size (512 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":1758,"n_ctx":512}}"#,
                512
            ),
            // vLLM
            (
                400,
                #"{"error":{"message":"This model's maximum context length is 512 tokens. However, you requested 1200 tokens in the messages","type":"BadRequestError","param":null,"code":400}}"#,
                nil
            ),
            // Ollama, which repeats its runner's error as text
            (
                400,
                #"{"error":{"message":"{\"error\":{\"code\":400,\"message\":\"request (1203 tokens) exceeds the available context size (256 tokens)\",\"type\":\"exceed_context_size_error\",\"n_ctx\":256}}","type":"invalid_request_error"}}"#,
                256
            ),
            (
                500,
                #"{"error":{"message":"POST predict: {\"error\":{\"message\":\"input length exceeds the context length\",\"n_ctx\":256}}"}}"#,
                256
            ),
            // OpenAI, LM Studio
            (
                400,
                #"{"error":{"message":"Please reduce the length","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                nil
            ),
            (200, #"{"error":{"message":"the prompt exceeds the context window"}}"#, nil),
        ] as [(Int, String, UInt32?)])
    func everyServersWordForTooLongAPromptIsUnderstood(_ status: Int, _ body: String, _ context: UInt32?) {
        let (server, rig) = rig { $0.answer(status, body) }
        run(rig)
        let failure = rig.failure(1)
        #expect(failure?.code == .contextExceeded && failure?.isRetryable == false)
        #expect(failure?.contextMax == context && failure?.message.contains("{") == false)
        #expect(rig.backend.status.isUp && rig.backend.status.description?.context == context ?? 512)
        rig.close()
        server.close()
    }

    @Test func anEmbeddingThatIsAnErrorTellsItsCause() {
        let (server, rig) = rig { $0.answer(200, #"{"error":{"message":"pooling is off"}}"#) }
        run(rig, body: #"{"input":"Hi"}"#, kind: .embedding)
        #expect(rig.failure(1)?.message == "The model server's answer is no embedding: pooling is off")
        rig.close()
        server.close()
    }

    @Test func aContentFilterKeepsItsName() {
        let (server, rig) = rig {
            $0.answer(400, #"{"error":{"message":"The response was filtered","code":"content_filter"}}"#)
        }
        run(rig)
        #expect(rig.failure(1)?.code == .contentFilter && rig.backend.status.isUp)
        rig.close()
        server.close()
    }

    @Test func ofSeveralAnswersEachEndsWithItsOwnReasonAndAllAreCounted() throws {
        let (server, rig) = rig { connection in
            connection.head()
            for index in [0, 1] {
                connection.write(
                    "data: {\"choices\":[{\"index\":\(index),\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n"
                )
            }
            connection.write(
                "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n")
            connection.write(
                "data: {\"choices\":[],\"usage\":{\"completion_tokens\":3,\"prompt_tokens\":6}}\n\n")
            connection.write(
                "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
            connection.write(
                "data: {\"choices\":[],\"usage\":{\"completion_tokens\":4,\"prompt_tokens\":6}}\n\n")
            connection.write("data: [DONE]\n\n")
        }
        run(rig, body: "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"n\":2}")
        var whole = WholeAnswer()
        var tokens = 0
        for case .complex(let choices, let count) in rig.events[1] ?? [] {
            let isTaken = whole.append(choices: choices)
            #expect(isTaken)
            tokens += count
        }
        #expect(tokens == 2 && rig.finish(1)?.usage == BackendUsage(promptTokens: 6, completionTokens: 7))
        let identity = AnswerIdentity(kind: .chat, task: "t", created: 0, model: "m")
        let usage = Usage(
            promptTokens: 0, cachedTokens: 0, completionTokens: 0, cost: .zero, task: "t", workers: [],
            failovers: 0)
        let tree = try JSONTree(parsing: whole.body(identity, reason: "x", usage: usage))
        #expect(tree["choices"]?.elements?.map { $0["finish_reason"]?.text } == ["stop", "length"])
        rig.close()
        server.close()
    }

    @Test(arguments: [
        #"{"index":0,"delta":{},"finish_reason":"stop"}"#,
        #"{"index":0,"delta":{},"finish_reason":"stop"},{"index":0,"delta":{},"finish_reason":"stop"}"#,
    ])
    func anAnswerOfWhichOnePartNeverEndedIsLost(ends: String) {
        let (server, rig) = rig { connection in
            connection.head()
            for index in [0, 1] {
                connection.write(
                    "data: {\"choices\":[{\"index\":\(index),\"delta\":{\"content\":\"a\"}}]}\n\n")
            }
            connection.write("data: {\"choices\":[\(ends)]}\n\ndata: [DONE]\n\n")
        }
        run(rig, body: "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"n\":2}")
        #expect(rig.failure(1)?.code == .closedEarly)
        rig.close()
        server.close()
    }

    @Test(arguments: ["error", "abort"])
    func anAnswerThatItsServerGaveUpIsLost(reason: String) {
        let (server, rig) = rig { connection in
            connection.head()
            connection.write(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"\(reason)\"}]}\n\n"
            )
            connection.write("data: [DONE]\n\n")
        }
        run(rig, body: "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}")
        #expect(rig.failure(1)?.message.contains(reason) == true)
        rig.close()
        server.close()
    }

    @Test func anAnswerWithItsReasonIsWholeThoughItsConnectionStaysOpen() {
        let (server, rig) = rig { connection in
            connection.head()
            connection.write(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n"
            )
        }
        run(rig, body: "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}")
        #expect(rig.finish(1)?.reason == "stop")
        rig.close()
        server.close()
    }

    @Test func answersToSeveralPromptsMayBeginWithNull() {
        let (server, rig) = rig { connection in
            connection.head()
            connection.write("data: null\n\n")
            for index in [1, 0] {
                connection.write(
                    "data: {\"choices\":[{\"text\":\"a\",\"index\":\(index),\"finish_reason\":\"stop\"}]}\n\n"
                )
            }
            connection.write("data: [DONE]\n\n")
        }
        run(rig, body: #"{"prompt":["a","b"]}"#, kind: .completion)
        #expect(rig.failure(1) == nil && rig.backend.status.isUp)
        #expect(rig.events[1]?.contains { if case .complex = $0 { true } else { false } } == true)
        rig.close()
        server.close()
    }

    @Test func theServersKeyAndCertificateAreNamed() {
        let server = ScriptedServer(loop) { connection in
            connection.path == "/health"
                ? connection.answer(200, "{}")
                : connection.answer(401, #"{"error":{"message":"Invalid API Key"}}"#)
        }
        let rig = Rig(.url(server.url), loop: loop)
        #expect(loop.run { rig.statuses.last.map { $0.state != .starting } ?? false })
        if case .down(let failure)? = rig.statuses.last?.state {
            #expect(failure.code == .unauthorized && failure.message.contains("api_key"))
        } else {
            Issue.record("\(rig.statuses)")
        }
        #expect(BackendFailure.untrusted("self-signed").message.contains("ca_file"))
        rig.close()
        server.close()
    }

    // MARK: Silence

    @Test func llamaCppSaysHowFarItHasReadThePrompt() {
        func progress(_ read: Int) -> String {
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],\"prompt_progress\":{\"total\":100,\"cache\":0,\"processed\":\(read),\"time_ms\":1}}\n\n"
        }
        let (server, rig) = rig { connection in
            connection.head()
            connection.write(progress(0) + progress(64) + progress(32) + progress(100) + Script.answer(["a"]))
        }
        run(rig)
        #expect(server.requests.last?.body.contains("\"return_progress\":true") == true)
        let told = (rig.events[1] ?? []).compactMap { event -> JobProgress? in
            if case .progress(let progress) = event { progress } else { nil }
        }
        #expect(told == [.prefill(tokens: 0), .prefill(tokens: 64), .prefill(tokens: 100)])
        #expect(rig.text(1) == "a" && rig.tokens(1) == 1)
        rig.close()
        server.close()
    }

    @Test func aSilentServerIsAskedWhatItDoes() {
        var unread = 3_000
        var limits = BackendLimits()
        limits.inquiry = .milliseconds(10)
        let (server, rig) = rig(limits: limits) { connection in
            guard connection.path == "/slots" else { return }
            unread -= 1_000
            connection.answer(
                200,
                #"[{"id":0,"is_processing":true,"n_prompt_tokens":5000,"n_prompt_tokens_processed":\#(5_000 - unread),"next_token":[{"n_decoded":0}]},{"id":1,"is_processing":false}]"#
            )
        }
        #expect(rig.ask(1) == nil)
        #expect(loop.run { (rig.events[1]?.count ?? 0) >= 2 })
        #expect(
            rig.events[1]?.prefix(2) == [
                .progress(.queued(milliseconds: 2_000)), .progress(.queued(milliseconds: 1_000)),
            ])
        rig.close()
        server.close()
    }

    @Test(arguments: [BackendDialect.vllm, .openAI]) func ofOtherServersNothingIsGuessed(
        _ dialect: BackendDialect
    ) {
        var limits = BackendLimits()
        limits.inquiry = .milliseconds(5)
        let (server, rig) = rig(dialect, limits: limits) { _ in }
        #expect(rig.ask(1) == nil)
        let asked = server.requests.count
        loop.run(for: .milliseconds(60))
        #expect(rig.events[1] == nil && server.requests.count <= asked + 1)
        rig.close()
        server.close()
    }

    @Test func slotsTellWhatComesFirst() throws {
        func report(_ json: String) throws -> JobProgress? {
            SlotsReport(try JSONTree(parsing: Array(json.utf8)))?.progress(
                tokensPerSecond: 100, generating: 10)
        }
        let reading =
            #"{"is_processing":true,"n_prompt_tokens":500,"n_prompt_tokens_processed":100,"n_prompt_tokens_cache":100,"next_token":[{"n_decoded":0}]}"#
        let writing =
            #"{"is_processing":true,"n_prompt_tokens":9,"next_token":[{"n_decoded":4,"n_remain":20}]}"#
        let endless = #"{"is_processing":true,"next_token":[{"n_decoded":4,"n_remain":-1}]}"#
        #expect(try report("[\(reading),\(writing)]") == .queued(milliseconds: 3_000))
        #expect(try report("[\(writing),\(endless)]") == .queued(milliseconds: 2_000))
        #expect(try report("[\(endless)]") == .queued(milliseconds: 0))
        #expect(try report("[\(writing),{\"is_processing\":false}]") == nil)
        #expect(try report("[]") == nil && report("{}") == nil)
    }

    // MARK: Ollama

    @Test func ollamasContextIsWhatItSaysAndIsCorrectedOnceTheModelIsLoaded() {
        var isLoaded = false
        var limits = BackendLimits()
        limits.inquiry = .milliseconds(10)
        var waiting: ScriptedServer.Connection?
        let server = ScriptedServer(loop) { connection in
            switch connection.path {
            case "/api/version": connection.answer(200, #"{"version":"0.30"}"#)
            case "/api/tags": connection.answer(200, #"{"models":[{"name":"a:1b"}]}"#)
            case "/api/ps":
                connection.answer(
                    200, isLoaded ? #"{"models":[{"name":"a:1b","context_length":8192}]}"# : #"{"models":[]}"#
                )
            case "/api/show":
                connection.answer(
                    200,
                    #"{"model_info":{"llama.context_length":131072},"capabilities":["completion","tools"]}"#)
            default: waiting = connection
            }
        }
        let rig = Rig(.url(server.url), dialect: .ollama, loop: loop, limits: limits)
        #expect(loop.run { rig.backend.status.isUp })
        #expect(rig.backend.status.description?.context == 131_072)
        #expect(rig.backend.status.abilities.contains([.chat, .tools]))
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.events[1]?.first == .progress(.loading) })
        isLoaded = true
        waiting?.head()
        waiting?.write(Script.answer(["a"]))
        #expect(loop.run { rig.isOver(1) && rig.backend.status.description?.context == 8_192 })
        #expect(rig.statuses.last?.description?.context == 8_192)
        rig.close()
        server.close()
    }

    @Test func ollamasOwnSettingComesBeforeTheModelsMost() {
        let server = ScriptedServer(loop) { connection in
            switch connection.path {
            case "/api/version": connection.answer(200, #"{"version":"0.30"}"#)
            case "/api/tags": connection.answer(200, #"{"models":[{"name":"a:1b"}]}"#)
            case "/api/ps": connection.answer(200, #"{"models":[]}"#)
            default:
                connection.answer(
                    200,
                    #"{"parameters":"stop    \"<|end|>\"\nnum_ctx    16384","model_info":{"llama.context_length":131072},"capabilities":["embedding"]}"#
                )
            }
        }
        let rig = Rig(.url(server.url), dialect: .ollama, loop: loop)
        #expect(loop.run { rig.backend.status.isUp })
        #expect(rig.backend.status.description?.context == 16_384)
        #expect(rig.backend.status.abilities.contains(.embedding))
        rig.close()
        server.close()
    }

    // MARK: What a server can do

    /// A server that was busy while it was tried would never be offered for what it can do.
    @Test func testsThatWereDisturbedAreNotRemembered() {
        var asked = 0
        let handle = able([.completion, .choices])
        let server = ScriptedServer(loop) { connection in
            if connection.path.hasSuffix("completions") { asked += 1 }
            asked == 6 ? connection.answer(503, "{}") : handle(connection)
        }
        let http = HTTPStreams(loop: loop.uv)
        let backend = Backend(
            BackendConfiguration(id: 0, dialect: .openAI, place: .url(server.url)), http: http, loop: loop.uv)
        backend.run()
        #expect(loop.run { backend.status.isUp && backend.tests == nil })
        #expect(backend.status.tested == nil && backend.status.abilities == .chat)
        backend.close()
        http.close()
        server.close()
    }

    /// A server that answers greedily with fixed words, and does of a request only what `does` lists.
    private func able(_ does: Abilities) -> (ScriptedServer.Connection) -> Void {
        { connection in
            guard connection.path.hasPrefix("/v1/"), connection.path != "/v1/models" else {
                return connection.path == "/v1/models"
                    ? connection.answer(200, #"{"data":[{"id":"m","owned_by":"me"}]}"#)
                    : connection.answer(404, "{}")
            }
            guard let body = try? JSONTree(parsing: Array(connection.body.utf8)) else {
                return connection.answer(400, "{}")
            }
            let isChat = connection.path.hasSuffix("chat/completions")
            if !isChat, !does.contains(.completion) {
                return connection.answer(404, #"{"detail":"Not Found"}"#)
            }
            var text = "I can add"
            if (body["temperature"]?.real ?? 0) > 0,
                !(does.contains(.sampling) && (body["top_k"] ?? body["min_p"]) != nil)
            {
                text = "What?"
            }
            if body["logit_bias"] != nil, does.contains(.logitBias) { text = "xxx" }
            if let format = body["response_format"], does.contains(.jsonSchema) {
                text = format["type"]?.text == "json_schema" ? #"{\"a\":\"zq7\"}"# : "{}"
            }
            var answers = 1
            if body["n"]?.whole == 2, does.contains(.choices) { answers = 2 }
            if body["prompt"]?.elements?.count == 2, does.contains(.prompts) { answers = 2 }
            let logprobs =
                body["logprobs"] != nil && does.contains(.logprobs)
                ? #"{"content":[{"token":"x","logprob":-1,"top_logprobs":[]}]}"# : "null"
            connection.head()
            for index in 0..<answers {
                let said = isChat ? #""delta":{"content":"\#(text)"}"# : #""text":"\#(text)""#
                connection.write(
                    "data: {\"choices\":[{\"index\":\(index),\(said),\"logprobs\":\(logprobs),\"finish_reason\":\"stop\"}]}\n\n"
                )
            }
            connection.write("data: [DONE]\n\n")
            connection.close()
        }
    }

    /// Ollama had no log-probabilities before 0.12.
    @Test func aServerThatComesBackInAnotherVersionIsTriedAgain() {
        var (version, does) = ("0.11", Abilities.completion)
        let server = ScriptedServer(loop) { [self] connection in
            switch connection.path {
            case "/api/version": connection.answer(200, "{\"version\":\"\(version)\"}")
            case "/api/tags": connection.answer(200, #"{"models":[{"name":"m"}]}"#)
            case "/api/ps", "/api/show": connection.answer(200, "{}")
            default: able(does)(connection)
            }
        }
        let http = HTTPStreams(loop: loop.uv)
        let configuration = BackendConfiguration(id: 0, dialect: .ollama, place: .url(server.url))
        let backend = Backend(configuration, http: http, loop: loop.uv)
        backend.run()
        #expect(loop.run { backend.status.tested != nil })
        #expect(!backend.status.abilities.contains(.logprobs))
        (version, does) = ("0.12", [.completion, .logprobs])
        backend.check()
        #expect(loop.run { backend.status.abilities.contains(.logprobs) })
        #expect(backend.status.description?.version == "0.12")
        backend.close()

        // What was kept from an earlier run counts for that version alone.
        for (remembered, isTried) in [("0.12", false), ("0.11", true), (nil, true)] {
            let asked = server.requests.count
            var meter = SpeedMeter()
            (meter.tokensPerSecond, meter.warmFirstTokenSeconds) = (1, 1)
            let again = Backend(
                configuration, http: http, loop: loop.uv, meter: meter, continues: false, tested: [],
                version: remembered)
            again.run()
            #expect(loop.run { again.status.isUp && again.tests == nil })
            #expect(again.status.abilities.contains(.logprobs) == isTried)
            let questions = server.requests[asked...].contains { $0.path.hasPrefix("/v1/") }
            #expect(questions == isTried)
            again.close()
        }
        http.close()
        server.close()
    }

    @Test func aContextBeyondTheServersIsNotOffered() {
        let server = ScriptedServer(loop, handler: Script.llama { _ in })
        let http = HTTPStreams(loop: loop.uv)
        for (stated, offered) in [(nil, 512), (100_000, 512), (512, 512), (256, 256)] as [(UInt32?, UInt32)] {
            let backend = Backend(
                BackendConfiguration(
                    id: 0, dialect: .llamaCpp, place: .url(server.url), context: stated, measures: false),
                http: http, loop: loop.uv)
            backend.run()
            #expect(loop.run { backend.status.isUp })
            #expect(backend.status.description?.context == offered)
            backend.close()
        }
        http.close()
        server.close()
    }

    @Test(
        arguments: [
            [], [.completion], [.completion, .prompts], [.choices], [.logprobs], [.jsonSchema], [.logitBias],
            [.sampling],
            [.completion, .choices, .prompts, .logprobs, .jsonSchema, .logitBias, .sampling],
        ] as [Abilities])
    func whatAnUnknownServerIsOfferedForIsTriedOnce(_ does: Abilities) {
        let server = ScriptedServer(loop, handler: able(does))
        let http = HTTPStreams(loop: loop.uv)
        let backend = Backend(
            BackendConfiguration(id: 0, dialect: .openAI, place: .url(server.url)), http: http, loop: loop.uv)
        backend.run()
        #expect(loop.run { backend.status.tested != nil })
        #expect(backend.status.abilities == does.union(.chat), "\(backend.status.abilities.names)")
        #expect(backend.status.tested == does)
        let asked = server.requests.count
        var meter = SpeedMeter()
        meter.tokensPerSecond = 1
        meter.warmFirstTokenSeconds = 1
        let again = Backend(
            BackendConfiguration(id: 0, dialect: .openAI, place: .url(server.url)), http: http, loop: loop.uv,
            meter: meter, continues: false, tested: backend.status.tested)
        again.run()
        #expect(loop.run { again.status.isUp })
        #expect(again.status.abilities == does.union(.chat))
        #expect(server.requests.count == asked + 2, "the probe and the list of models")
        for backend in [backend, again] { backend.close() }
        http.close()
        server.close()
    }
}
