import OpenAIFormat
import Primitives
import Testing

@testable import Inference

@Suite(.serialized) struct BackendTests {
    let loop = TestLoop()

    @Test func anAnswerIsTheSameWhereverItsBytesAreCut() {
        let words = ["I ", "can ", "\\ud83d\\ude00", "h\u{E9}", "\\n."]
        let whole = Array(Script.answer(words).utf8)
        var cut = 0
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head(length: whole.count)
                connection.write(Array(whole[..<cut]))
                connection.write(Array(whole[cut...]))
            })
        let rig = Rig(server, loop: loop)
        for at in 0..<whole.count {
            cut = at
            let id = JobID(rawValue: UInt64(at))
            #expect(rig.ask(id) == nil)
            #expect(loop.run { rig.isOver(id) })
            #expect(rig.text(id) == "I can 😀hé\n.")
            #expect(rig.finish(id)?.usage == BackendUsage(promptTokens: 5, completionTokens: 5))
            #expect(rig.events[id]?.first == .started && rig.tokens(id) == 5)
        }
        #expect(rig.backend.busySlots == 0)
        #expect(server.connections.count <= 3, "connections are used again")
        rig.close()
        server.close()
    }

    @Test func anAnswerThatComesByteByByteAndChunkedIsRead() {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for byte in Script.answer(["a", "b"]).utf8 {
                    connection.write([0x31, 0x0D, 0x0A, byte, 0x0D, 0x0A])
                }
                connection.write("0\r\n\r\n")
            })
        let rig = Rig(server, loop: loop)
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.text(1) == "ab")
        rig.close()
        server.close()
    }

    @Test(arguments: [
        ("500", BackendFailure.Code.error), ("early", .closedEarly), ("half", .closedEarly),
        ("garbage", .garbage),
        ("html", .garbage), ("silent", .hung), ("stuck", .hung), ("long", .oversized),
        ("error event", .error),
    ])
    func aBackendThatFailsIsNamedIsNotSoldAndComesBack(_ how: String, _ code: BackendFailure.Code) {
        var isIll = true
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                guard isIll else {
                    let answer = Script.answer(["well"])
                    connection.head(length: answer.utf8.count)
                    return connection.write(answer)
                }
                switch how {
                case "500": connection.answer(500, "{\"error\":{\"message\":\"out of memory\"}}")
                case "early":
                    connection.head(length: 10_000)
                    connection.write(Script.chunk("a"))
                    connection.close()
                case "half":
                    connection.head()
                    connection.write(Script.chunk("a"))
                    connection.close()
                case "garbage":
                    connection.head()
                    connection.write("data: {\"choices\":[{\"delta\":{\"content\":\"\n\n")
                case "html":
                    connection.head()
                    connection.write("<html><body>Welcome</body></html>\n")
                    connection.close()
                case "silent": break
                case "stuck":
                    connection.head()
                    connection.write(Script.chunk("a"))
                case "long":
                    connection.head()
                    connection.write(
                        [UInt8](repeating: 0x61, count: ServerSentEvents.lengthMaxDefault + 4_096))
                default:
                    connection.head()
                    connection.write(Script.chunk("a") + "data: {\"error\":{\"message\":\"slot gone\"}}\n\n")
                }
            })
        var limits = BackendLimits()
        limits.backoffMin = .milliseconds(20)
        if how == "silent" { limits.firstToken = .milliseconds(60) }
        limits.betweenTokens = .milliseconds(how == "stuck" ? 60 : 10_000)
        let rig = Rig(server, loop: loop, limits: limits)
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.failure(1)?.code == code)
        #expect(rig.failure(1)?.isRetryable == true)
        // Where the request may be the reason, a trial decides first.
        #expect(loop.run { !rig.backend.status.isUp })
        #expect(rig.ask(2)?.code == .down)
        if case .down(let reason)? = rig.statuses.last?.state {
            #expect(reason == rig.failure(1))
        } else {
            Issue.record("\(rig.statuses)")
        }
        // The probe passes all the time; only a real answer proves that the server is healthy.
        let asked = server.requests.count
        #expect(loop.run { server.requests.count >= asked + 4 })
        #expect(!rig.backend.status.isUp)
        isIll = false
        #expect(loop.run { rig.backend.status.isUp })
        #expect(rig.ask(3) == nil)
        #expect(loop.run { rig.isOver(3) })
        #expect(rig.text(3) == "well")
        rig.close()
        server.close()
    }

    /// A buyer blames the node that passes it on.
    @Test(
        arguments: [
            ("4611686018427387904", "stop", nil), ("1e300", "stop", nil), ("128", "stop", nil),
            ("7", "stop", nil),
            ("0", "a\\r\\nb\\u0000", "stop"), ("0", "STOP", "stop"),
            ("0", String(repeating: "a", count: 33), "stop"),
            ("0", "tool_calls", "tool_calls"),
        ] as [(String, String, String?)])
    func whatAServerSaysThatNoBuyerWouldBelieveIsNotPassedOn(
        _ index: String, _ reason: String, _ told: String?
    ) {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head()
                connection.write(
                    "data: {\"choices\":[{\"index\":\(index),\"delta\":{\"content\":\"a\"}}]}\n\n")
                connection.write(Script.end(1, reason: reason))
            })
        let rig = Rig(server, loop: loop)
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect((rig.failure(1)?.code == .garbage) == (told == nil))
        #expect(rig.finish(1)?.reason == told)
        rig.close()
        server.close()
    }

    @Test(arguments: ["500", "early"])
    func aQuestionThatBreaksItsAnswerDoesNotTakeTheServerFromOthers(_ how: String) {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                if connection.body.contains("KILL") {
                    if how == "500" { return connection.answer(500, "{\"error\":{\"message\":\"boom\"}}") }
                    connection.head(length: 10_000)
                    return connection.close()
                }
                let answer = Script.answer(["well"])
                connection.head(length: answer.utf8.count)
                connection.write(answer)
            })
        let rig = Rig(server, loop: loop)
        let told = rig.statuses.count
        for round in 0..<3 {
            let (bad, good) = (JobID(rawValue: UInt64(2 * round + 1)), JobID(rawValue: UInt64(2 * round + 2)))
            #expect(rig.ask(bad, body: #"{"messages":[{"role":"user","content":"KILL"}]}"#) == nil)
            #expect(loop.run { rig.isOver(bad) })
            #expect(rig.failure(bad) != nil && rig.backend.status.isUp)
            #expect(rig.ask(good) == nil, "others are served while the trial runs")
            #expect(loop.run { rig.isOver(good) && !rig.backend.isOnTrial })
            #expect(rig.text(good) == "well" && rig.backend.status.isUp)
        }
        let later = rig.statuses[told...].map(\.isUp)
        #expect(!later.contains(false))
        rig.close()
        server.close()
    }

    @Test(arguments: [
        (400, "exceed_context_size_error", BackendFailure.Code.contextExceeded, true),
        (400, "invalid_request_error", .invalidRequest, true), (429, "", .busy, true),
        (404, "not_found", .modelMissing, false), (401, "", .unauthorized, false),
    ])
    func aRefusedRequestBlamesTheBackendOnlyWhereItIsToBlame(
        _ status: Int, _ type: String, _ code: BackendFailure.Code, _ staysUp: Bool
    ) {
        let server = ScriptedServer(
            loop,
            handler: Script.llama {
                $0.answer(status, "{\"error\":{\"code\":\(status),\"message\":\"no\",\"type\":\"\(type)\"}}")
            })
        let rig = Rig(server, loop: loop)
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.failure(1)?.code == code)
        #expect(rig.backend.status.isUp == staysUp)
        rig.close()
        server.close()
    }

    @Test func aBackendThatIsAwayIsDownAndIsFoundWhenItComes() {
        let place = ScriptedServer(loop) { _ in }
        let port = place.port
        place.close()
        let rig = Rig(.url("http://127.0.0.1:\(port)/v1/"), loop: loop)
        #expect(loop.run { rig.statuses.last.map { $0.state != .starting } ?? false })
        #expect(rig.ask(1)?.code == .down)
        let server = ScriptedServer(loop, port: port, handler: Script.llama { _ in })
        #expect(loop.run { rig.backend.status.isUp })
        #expect(
            rig.backend.status.description
                == ModelDescription(
                    name: "wren-m", context: 512, quantization: "q8_0", slots: 2))
        rig.close()
        server.close()
    }

    @Test func aCancelReachesTheBackendAtOnceInEveryPhase() {
        for started in [false, true] {
            let server = ScriptedServer(
                loop,
                handler: Script.llama { connection in
                    guard started else { return }
                    connection.head()
                    connection.write(Script.chunk("a"))
                })
            let rig = Rig(server, loop: loop)
            #expect(rig.ask(1) == nil)
            #expect(
                loop.run {
                    started ? rig.text(1) == "a" : server.requests.last?.path == "/v1/chat/completions"
                })
            let cancelledAt = LoopAlarm.now()
            let before = rig.events[1]?.count ?? 0
            rig.backend.cancel(1)
            #expect(rig.backend.busySlots == 0)
            #expect(loop.run { server.connections.contains { $0.leftAt != nil } })
            let left = server.connections.compactMap(\.leftAt).first ?? .never
            #expect(left - cancelledAt < .milliseconds(200))
            #expect((rig.events[1]?.count ?? 0) == before)
            rig.close()
            server.close()
        }
    }

    @Test func aServerThatWasSilentWhenItsJobWasGivenUpIsTriedBeforeItIsSoldAgain() {
        var isHung = false
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                guard !isHung else { return }
                connection.head()
                connection.write(Script.answer(["a", "b", "c", "d", "e"]))
            })
        var limits = BackendLimits()
        limits.suspicion = .milliseconds(50)
        limits.trial = .milliseconds(100)
        let rig = Rig(server, measures: true, loop: loop, limits: limits)
        #expect(loop.run { rig.backend.status.isUp })
        isHung = true
        #expect(rig.ask(1) == nil)
        rig.backend.cancel(1)
        #expect(rig.backend.status.isUp, "a quick hang-up says nothing")
        #expect(rig.ask(2) == nil)
        loop.run(for: .milliseconds(100))
        rig.backend.cancel(2)
        #expect(!rig.backend.status.isUp)
        let isDown = loop.run {
            if case .down(let why) = rig.backend.status.state { return why.code == .hung }
            return false
        }
        #expect(isDown)
        isHung = false
        #expect(loop.run { rig.backend.status.isUp })
        rig.close()
        server.close()
    }

    @Test func aCancelFromInsideAnEventIsTheLast() {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head()
                connection.write(Script.answer(["a", "b"]))
            })
        let rig = Rig(server, loop: loop)
        rig.onEvent = { id, event in if case .text = event { rig.backend.cancel(id) } }
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.backend.busySlots == 0 })
        loop.run(for: .milliseconds(20))
        #expect(rig.events[1]?.count == 2)
        rig.onEvent = nil
        rig.close()
        server.close()
    }

    @Test func aPausedJobSaysNothingStopsTheServerAndLosesNothing() {
        let count = 30_000
        var sender: ScriptedServer.Connection?
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                sender = connection
                connection.head()
                for _ in 0..<count / 100 {
                    connection.write(String(repeating: Script.chunk("ab"), count: 100))
                }
                connection.write(Script.end(count))
            })
        let rig = Rig(server, loop: loop)
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.tokens(1) > 0 })
        rig.backend.pause(1)
        let seen = rig.tokens(1)
        loop.run(for: .milliseconds(100))
        #expect(rig.tokens(1) == seen)
        #expect((sender?.unsent ?? 0) > 0, "the server feels the pause")
        rig.backend.resume(1)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.text(1).utf8.count == 2 * count && rig.tokens(1) == count)
        rig.close()
        server.close()
    }

    @Test func aPacedAnswerKeepsToItsSpeedFromTheFirstTokenOn() {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head()
                connection.write(Script.answer((0..<20).map { "\($0) " }))
            })
        let rig = Rig(server, speed: 100, loop: loop)
        var times: [MonotonicTime] = []
        rig.onEvent = { _, event in if case .text = event { times.append(LoopAlarm.now()) } }
        let start = LoopAlarm.now()
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.tokens(1) == 20)
        #expect(times.count >= 10)
        #expect((times.first ?? start) - start >= .milliseconds(10))
        #expect((times.last ?? start) - start >= .milliseconds(190))
        #expect(rig.backend.status.announced.tokensPerSecond == 100)
        rig.onEvent = nil
        rig.close()
        server.close()
    }

    @Test func noMoreJobsRunThanThereAreSlots() {
        let server = ScriptedServer(loop, handler: Script.llama { _ in })
        let rig = Rig(server, slots: 2, loop: loop)
        #expect(rig.backend.busySlots == 0)
        #expect(rig.ask(1) == nil)
        #expect(rig.ask(2) == nil)
        #expect(rig.backend.busySlots == 2)
        #expect(rig.ask(3)?.code == .busy)
        rig.backend.cancel(1)
        #expect(rig.ask(3) == nil)
        rig.close()
        server.close()
    }

    @Test func aDeadlineEndsAJob() {
        let server = ScriptedServer(loop, handler: Script.llama { _ in })
        let rig = Rig(server, loop: loop)
        let body = Array("{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}".utf8)
        let soon = LoopAlarm.now() + .milliseconds(30)
        #expect(rig.backend.start(JobRequest(id: 1, kind: .chat, body: body, deadline: soon)) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.failure(1)?.code == .deadlineExceeded && rig.failure(1)?.isRetryable == false)
        #expect(rig.backend.status.isUp)
        rig.close()
        server.close()
    }

    @Test(arguments: [
        (#""chat_template":"x""#, "chat_template"), (#""keep_alive":"1h""#, "keep_alive"),
        (#""grammar":"g""#, "grammar"),
        (#""n":5"#, "`n` is 5"),
    ])
    func aStrangersFieldsDontReachTheServer(_ field: String, _ name: String) {
        let server = ScriptedServer(loop, handler: Script.llama { _ in })
        let rig = Rig(server, loop: loop)
        let asked = server.requests.count
        let refusal = rig.ask(1, body: "{\(field),\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}")
        #expect(refusal?.code == .invalidRequest && refusal?.isRetryable == false)
        #expect(refusal?.message.contains(name) == true)
        #expect(server.requests.count == asked)
        rig.close()
        server.close()
    }

    @Test func whatSaysNothingToAModelIsLeftOutAndNamed() {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head()
                connection.write(Script.answer(["ok"]))
            })
        let rig = Rig(server, loop: loop)
        let body = #"{"messages":[{"role":"user","content":"Hi","id":"m","x":{"y":1}}]}"#
        #expect(rig.ask(1, body: body, delivered: "I can") == nil)
        #expect(loop.run { rig.isOver(1) })
        let sent = server.requests.last?.body ?? ""
        #expect(sent.contains(#"{"role":"assistant","content":"I can"}"#) && !sent.contains("\"x\""))
        #expect(rig.finish(1)?.droppedFields == ["messages[].id", "messages[].x"])
        rig.close()
        server.close()
    }

    @Test func anEmbeddingArrivesWhole() {
        let answer =
            #"{"data":[{"embedding":[0.1,-2e-3],"index":0}],"usage":{"prompt_tokens":4,"total_tokens":4}}"#
        let server = ScriptedServer(loop, handler: Script.llama { $0.answer(200, answer) })
        let rig = Rig(server, loop: loop)
        let job = JobRequest(id: 1, kind: .embedding, body: Array("{\"input\":\"Hi\"}".utf8))
        #expect(rig.backend.start(job) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.finish(1)?.extra == Array(answer.utf8) && rig.finish(1)?.usage.promptTokens == 4)
        rig.close()
        server.close()
    }

    /// Large documents are read on another thread, so what was wrong with one is an event.
    @Test func aLargeRequestIsReadOffTheLoopAndMayBeCancelledMeanwhile() {
        var asked = 0
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                asked += 1
                let answer = Script.answer(["large"])
                connection.head(length: answer.utf8.count)
                connection.write(answer)
            })
        let rig = Rig(server, loop: loop)
        let words = String(repeating: "word ", count: 20_000)
        let body = "{\"messages\":[{\"x\":1,\"role\":\"user\",\"content\":\"\(words)\"}]}"
        #expect(rig.ask(1, body: body) == nil)
        rig.backend.cancel(1)
        #expect(rig.ask(2, body: "{\"messages\":[{\"content\":\"\(words)\"}]}") == nil)
        #expect(rig.ask(3, body: body) == nil)
        #expect(rig.backend.busySlots == 2)
        #expect(loop.run { rig.isOver(2) && rig.isOver(3) })
        #expect(rig.events[1] == nil)
        #expect(rig.failure(2)?.code == .invalidRequest)
        #expect(rig.text(3) == "large" && rig.finish(3)?.droppedFields == ["messages[].x"])
        #expect(asked == 1 && rig.backend.busySlots == 0)
        rig.close()
        server.close()
    }

    @Test(arguments: [
        #"{"data":[]}"#, #"{"data":[{"embedding":[0.1],"index":0}]}"#, "[]", "{",
        #"{"data":[{"embedding":[0.1],"index":0},{"embedding":[[0.1]],"index":1}]}"#,
    ])
    func anEmbeddingOfTheWrongShapeIsTheServersFailure(_ answer: String) {
        let server = ScriptedServer(loop, handler: Script.llama { $0.answer(200, answer) })
        let rig = Rig(server, loop: loop)
        let job = JobRequest(id: 1, kind: .embedding, body: Array("{\"input\":[\"Hi\",\"you\"]}".utf8))
        #expect(rig.backend.start(job) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.failure(1)?.code == .garbage)
        rig.close()
        server.close()
    }

    @Test(arguments: [true, false]) func aLargeEmbeddingArrivesWholeOrIsNamedGarbage(isWhole: Bool) {
        let vector = [String](repeating: "0.25", count: 20_000).joined(separator: ",")
        let answer =
            "{\"data\":[{\"embedding\":[\(vector)],\"index\":0}],\"usage\":{\"prompt_tokens\":4}"
            + (isWhole ? "}" : "")
        let server = ScriptedServer(loop, handler: Script.llama { $0.answer(200, answer) })
        let rig = Rig(server, loop: loop)
        let job = JobRequest(id: 1, kind: .embedding, body: Array("{\"input\":\"Hi\"}".utf8))
        #expect(rig.backend.start(job) == nil)
        #expect(loop.run { rig.isOver(1) })
        if isWhole {
            #expect(rig.finish(1)?.extra == Array(answer.utf8) && rig.finish(1)?.usage.promptTokens == 4)
        } else {
            #expect(rig.failure(1)?.code == .garbage)
        }
        rig.close()
        server.close()
    }

    @Test func tokensAreCountedByVLLMsRunningCount() {
        func chunk(_ text: String, _ count: Int, _ end: String = "null") -> String {
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\(text)\"},\"finish_reason\":\(end)}],"
                + "\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":\(count)}}\n\n"
        }
        let server = ScriptedServer(loop) { connection in
            switch connection.path {
            case "/health": connection.answer(200, "")
            case "/v1/models": connection.answer(200, "{\"data\":[{\"id\":\"m\",\"max_model_len\":64}]}")
            default:
                connection.head()
                connection.write(
                    chunk("", 0) + chunk("a b c", 3) + chunk("d", 4) + chunk("e f", 6, "\"stop\""))
                connection.write("data: [DONE]\n\n")
            }
        }
        let rig = Rig(.url(server.url), dialect: .vllm, loop: loop)
        #expect(loop.run { rig.backend.status.isUp })
        #expect(rig.backend.status.description?.context == 64)
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.tokens(1) == 6 && rig.finish(1)?.usage.completionTokens == 6)
        rig.close()
        server.close()
    }

    @Test func ollamaIsDescribedByWhatItHasLoadedAndUnloadsWhenTold() {
        let server = ScriptedServer(loop) { connection in
            switch connection.path {
            case "/api/version": connection.answer(200, "{\"version\":\"0.30\"}")
            case "/api/tags":
                connection.answer(200, "{\"models\":[{\"name\":\"a:1b\"},{\"name\":\"b:latest\"}]}")
            case "/api/ps":
                connection.answer(200, "{\"models\":[{\"name\":\"b:latest\",\"context_length\":8192}]}")
            default: connection.answer(200, "{}")
            }
        }
        let http = HTTPStreams(loop: loop.uv)
        let backend = Backend(
            BackendConfiguration(
                id: 0, dialect: .ollama, place: .url(server.url), model: "b", measures: false),
            http: http, loop: loop.uv)
        backend.run()
        #expect(loop.run { backend.status.isUp })
        #expect(backend.status.description?.context == 8_192)
        backend.close()
        http.close()
        server.close()
    }

    @Test func noStreamOfGarbageDoesMoreThanFailItsJob() throws {
        var random = SeededRandom(seed: 3)
        var stream: [UInt8] = []
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head()
                connection.write(stream)
                connection.close()
            })
        let rig = Rig(server, loop: loop)
        let body = try JSONTree(
            parsing: Array("{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}".utf8))
        var ends = 0
        for round in 0..<300 {
            stream = Array(Script.answer(["a", "\\ud83d", "\u{E9}"]).utf8)
            for _ in 0...random.below(4) {
                let at = random.below(stream.count)
                switch random.below(3) {
                case 0: stream[at] = UInt8(random.below(256))
                case 1: stream.removeSubrange(at..<min(stream.count, at + random.below(40)))
                default: stream.insert(contentsOf: random.bytes(random.below(40)), at: at)
                }
            }
            var isOver = false
            _ = rig.backend.startOwn(body: body, timeout: .seconds(10)) { event in
                switch event {
                case .finished, .failed:
                    #expect(!isOver)
                    isOver = true
                    ends += 1
                case .text(let text, _): #expect(String(validating: text, as: UTF8.self) != nil)
                case .started, .complex, .progress: break
                }
            }
            #expect(loop.run { isOver }, "round \(round)")
        }
        #expect(ends == 300)
        rig.close()
        server.close()
    }

    /// Its buyer would blame the node.
    @Test func anAnswerThatNobodyAskedForIsTheServersFailure() {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head()
                connection.write(
                    "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n"
                )
                connection.write(Script.end(1))
            })
        let rig = Rig(server, loop: loop)
        #expect(rig.ask(1, body: "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"n\":2}") == nil)
        #expect(loop.run { rig.isOver(1) })
        #expect(rig.failure(1) == nil && rig.finish(1) != nil)
        #expect(rig.ask(2) == nil)
        #expect(loop.run { rig.isOver(2) })
        #expect(rig.failure(2)?.code == .garbage)
        rig.close()
        server.close()
    }

    @Test func aServerThatRepeatsThePrefixDoesNotContinue() {
        let server = ScriptedServer(
            loop,
            handler: Script.llama { connection in
                connection.head()
                connection.write(
                    Script.answer(["one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight "]))
            })
        let rig = Rig(server, measures: true, loop: loop)
        #expect(rig.backend.status.isUp)
        #expect(rig.backend.status.continues == false)
        rig.close()
        server.close()
    }
}

@Suite struct ModelServerTests {
    @Test func modelServersAreFoundAndToldApart() {
        // detectModelServers runs its own loop and blocks, so the servers need another thread.
        let urls = Servers.shared.urls
        let found = detectModelServers(at: urls + ["http://127.0.0.1:1"], timeout: .seconds(5))
        #expect(found.map(\.dialect) == [.ollama, .llamaCpp, .vllm, .openAI])
        #expect(found.map(\.url) == urls)
        #expect(found.first?.models.map(\.name) == ["qwen3:8b", "llama3.2:3b"])
        #expect(found.first?.models.first?.context == 8_192)
        #expect(found.first?.models.first?.quantization == "q4_k_m")
        #expect(found.first?.models.first?.digest?.bytes.first == 0xAB)
        #expect(found[2].models.first?.context == 32_768)
    }
}
