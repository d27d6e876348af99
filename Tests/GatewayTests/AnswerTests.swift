import Cryptography
import Foundation
import Gateway
import Market
import Primitives
import Testing
import Wire

/// Answers, streamed and whole, and their failures.
@Suite struct Answers {
    @Test func aWholeAnswerCarriesTextBillAndHeaders() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say("Hello \"wor")
            task.say("ld\"\n✓")
            task.finish()
        })
        try await withGateway(node) { port in
            let response = try await ask(port, "POST", "/v1/chat/completions", body: chatBody)
            #expect(response.status == 200)
            let id = try #require(response["x-request-id"])
            let json = try response.json()
            #expect(json["id"] as? String == "chatcmpl-" + id)
            #expect(json["object"] as? String == "chat.completion")
            #expect(json["model"] as? String == "wren-m")
            let choice = try #require((json["choices"] as? [[String: Any]])?.first)
            #expect((choice["message"] as? [String: Any])?["content"] as? String == "Hello \"world\"\n✓")
            #expect(choice["finish_reason"] as? String == "stop")
            let usage = try #require(json["usage"] as? [String: Any])
            #expect(usage["total_tokens"] as? Int == 30)
            #expect(usage["cost_ucr"] as? Int == 46)
            #expect(response.body.contains(#""cost":0.000046"#))
            #expect((json["starling"] as? [String: Any])?["task"] as? String == id)
            #expect(response["starling-worker"] == FakeTask.worker.nodeID.description)
            #expect(response["starling-model"]?.hasPrefix("wren-m; quantization=q8_0; digest=9f00") == true)
            #expect(response["starling-price"] == "input=0.20, cached_input=0.02, output=2.00")
            #expect(response["starling-auction"] == "known=5, asked=3, bids=3")
            #expect(response["starling-resume"] == "stream")
            #expect(response["starling-cost"] == "0.000046")
            #expect(response["server-timing"] == "choose;dur=0.1, bids;dur=1.4, award;dur=0.8, first;dur=3.1")
        }
    }

    @Test func aWholeAnswerThatBeganAgainHoldsOnlyItsLastBeginning() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say("Hel")
            task.stream.append(.restarted)
            task.award(name: "bob")
            task.say("Hullo")
            task.finish()
        })
        try await withGateway(node) { port in
            let json = try await ask(port, "POST", "/v1/chat/completions", body: chatBody).json()
            let choice = try #require((json["choices"] as? [[String: Any]])?.first)
            #expect((choice["message"] as? [String: Any])?["content"] as? String == "Hullo")
        }
        #expect(node.requests.map(\.streams) == [false])
    }

    @Test func aStreamIsChunksThenTheEndThenTheBill() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say("One ")
            task.say("two\n")
            task.finish("length")
        })
        try await withGateway(node) { port in
            let body = streamBody.dropLast() + #","stream_options":{"include_usage":true}}"#
            let response = try await ask(port, "POST", "/v1/chat/completions", body: String(body))
            #expect(response.status == 200)
            #expect(response["content-type"] == "text/event-stream; charset=utf-8")
            let events = response.body.components(separatedBy: "\n\n").filter { !$0.isEmpty }
            #expect(events.last == "data: [DONE]")
            let chunks = try events.dropLast().map {
                try #require(
                    try JSONSerialization.jsonObject(with: Data($0.dropFirst("data: ".count).utf8))
                        as? [String: Any])
            }
            #expect(
                Set(chunks.map { $0["id"] as? String }) == ["chatcmpl-" + (response["x-request-id"] ?? "")])
            #expect(Set(chunks.map { $0["created"] as? Int }).count == 1)
            let choices = chunks.map { ($0["choices"] as? [[String: Any]])?.first }
            let deltas = choices.map { $0?["delta"] as? [String: Any] }
            #expect(deltas.first??["role"] as? String == "assistant")
            #expect(deltas.compactMap { $0?["content"] as? String }.joined() == "One two\n")
            #expect(choices.dropLast().last??["finish_reason"] as? String == "length")
            #expect((chunks.last?["choices"] as? [Any])?.isEmpty == true)
            #expect((chunks.last?["usage"] as? [String: Any])?["cost_ucr"] as? Int == 46)
            #expect((chunks.last?["starling"] as? [String: Any])?["failovers"] as? Int == 0)
        }
    }

    @Test func aStreamThatAskedForNoUsageGetsNone() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say("x")
            task.finish()
        })
        try await withGateway(node) { port in
            let usage = try await ask(port, "POST", "/v1/chat/completions", body: streamBody).body.contains(
                "usage")
            #expect(!usage)
        }
    }

    @Test func aConnectionServesOneAnswerAfterTheOther() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say("x")
            task.finish()
        })
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            for body in [streamBody, chatBody, streamBody] {
                await client.send("POST", "/v1/chat/completions", body: body)
                let status = try await client.response().status
                #expect(status == 200)
            }
        }
    }

    @Test func nothingIsSentBeforeTheAwardNorBeforeTheFirstDelta() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let (client, task) = try await awarded(port, node)
            task.fail(.backendError, "ada's model server answered 500.")
            let response = try await client.response()
            #expect(response.status == 502)
            #expect(response["x-should-retry"] == "false")
            #expect(response["x-request-id"] == task.stream.id.description)
        }
    }

    @Test func anAwardedStreamThatStaysSilentGetsItsStatusAndSignsOfLife() async throws {
        let node = FakeNode()
        try await withGateway(
            node,
            {
                $0.firstSignOfLife = .milliseconds(50)
                $0.signOfLifeEvery = .milliseconds(50)
            }
        ) { port in
            let (client, task) = try await asked(port, node)
            task.award(name: "ada\u{1b}[31m")
            let early = await client.receive { bytes in
                String(decoding: bytes, as: UTF8.self).components(
                    separatedBy: ": waiting for ada\\u{1b}[31m\n\n"
                )
                .count > 2
            }
            #expect(String(decoding: early, as: UTF8.self).hasPrefix("HTTP/1.1 200"))
            task.say("late")
            task.finish()
            let response = try await client.response()
            #expect(response.body.contains("late"))
            #expect(response.body.hasSuffix("data: [DONE]\n\n"))
        }
    }

    @Test func aStreamThatWaitsInAQueueSaysWhereAndWhenThatChanges() async throws {
        let node = FakeNode()
        try await withGateway(
            node,
            {
                $0.firstSignOfLife = .milliseconds(50)
                $0.signOfLifeEvery = .minutes(1)
            }
        ) { port in
            let (client, task) = try await asked(port, node)
            task.award()
            task.queued(place: 3, milliseconds: 11_200)
            func comments(_ last: String) async -> [String] {
                let bytes = await client.receive { String(decoding: $0, as: UTF8.self).contains(last) }
                return String(decoding: bytes, as: UTF8.self).matches(of: /: queued[^\n]*/)
                    .map { String($0.output) }
            }
            #expect(await comments("about 12 s") == [": queued, place 3, about 12 s"])
            task.queued(place: 3, milliseconds: 11_100)
            task.queued(place: 3, milliseconds: 9_000)
            #expect(await comments("about 9 s").last == ": queued, place 3, about 9 s")
            task.queued(place: 2, milliseconds: 9_000)
            let all = await comments("place 2")
            #expect(all.last == ": queued, place 2, about 9 s" && all.count <= 3)
            task.say("at last")
            task.finish()
            #expect(try await client.response().body.contains("at last"))
        }
    }

    @Test func aTaskThatFailsInTheQueueBeforeItsStreamBeganHasAStatus() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let (client, task) = try await awarded(port, node)
            task.queued(place: 1, milliseconds: 500)
            task.fail(.backendDown)
            #expect(try await client.response().status == 503)
        }
    }

    @Test func aFailureInMidStreamIsAnErrorEventAndTheEnd() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let (client, task) = try await begun(port, node)
            task.fail(.workerLost, "ada fell silent, and nobody can go on.") {
                $0.delivered = TaskSummary(
                    reason: "", promptTokens: 8, cachedTokens: 0, completionTokens: 1,
                    cost: Money(microCredits: 2), workers: [],
                    failovers: 0,
                    firstToken: .zero, extra: [])
            }
            let body = try await client.response().body
            let last = try #require(body.components(separatedBy: "\n\n").filter { !$0.isEmpty }.last)
            #expect(last.hasPrefix(#"data: {"error":{"message":"ada fell silent"#))
            #expect(last.contains(#""code":"worker_lost""#))
            #expect(last.contains(#""cost_ucr":2"#))
            #expect(!body.contains("[DONE]"))
        }
    }

    @Test func anUnexplainedWorkerCannotInjectEvents() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say("", extra: "[]}\n\ndata: {\"evil\":1}\n\n")
            task.say("", extra: #"[{"index":0,"delta":{"reasoning_content":"hm"}}]"#)
            task.stream.append(.delta(text: [0x61, 0xFF, 0x0A], tokens: 1, extra: []))
            task.finish()
        })
        try await withGateway(node) { port in
            let body = try await ask(port, "POST", "/v1/chat/completions", body: streamBody).body
            #expect(!body.contains("evil"))
            #expect(body.contains(#""reasoning_content":"hm""#))
            #expect(body.contains(#""content":"a\#u{FFFD}\n""#))
        }
    }

    @Test func toolCallsArePutTogetherFromTheirDeltas() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say(
                "",
                extra:
                    #"[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":""}}]}}]"#
            )
            task.say(
                "",
                extra:
                    #"[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}]"#)
            task.say(
                "",
                extra: #"[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]"#)
            task.finish("tool_calls")
        })
        try await withGateway(node) { port in
            let body = chatBody.dropLast() + #","tools":[{"type":"function","function":{"name":"add"}}]}"#
            let response = try await ask(port, "POST", "/v1/chat/completions", body: String(body))
            #expect(node.requests.first?.features == [.chat, .tools])
            #expect(node.requests.first?.resumable == false)
            #expect(
                response.body.contains(
                    #""tool_calls":[{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]"#
                ))
            #expect(response.body.contains(#""content":null"#))
            #expect(response.body.contains(#""finish_reason":"tool_calls""#))
        }
    }

    @Test func completionsHaveTheirOwnShape() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.say("Paris")
            task.finish()
        })
        try await withGateway(node) { port in
            let whole = try await ask(
                port, "POST", "/v1/completions", body: #"{"model":"wren-m","prompt":"The capital"}"#)
            let json = try whole.json()
            #expect(json["object"] as? String == "text_completion")
            #expect((json["id"] as? String)?.hasPrefix("cmpl-") == true)
            #expect(((json["choices"] as? [[String: Any]])?.first)?["text"] as? String == "Paris")
            let stream = try await ask(
                port, "POST", "/v1/completions",
                body: #"{"model":"wren-m","prompt":"The capital","stream":true}"#)
            #expect(stream.body.contains(#""choices":[{"index":0,"text":"Paris""#))
            #expect(!stream.body.contains("role"))
        }
    }

    @Test func embeddingsAreFloatsOrBase64AsAsked() async throws {
        let node = FakeNode(script: { task in
            task.award()
            task.finish(extra: #"{"data":[{"index":0,"embedding":[1,-0.5]}],"model":"x"}"#)
        })
        try await withGateway(node) { port in
            let floats = try await ask(
                port, "POST", "/v1/embeddings", body: #"{"model":"wren-m","input":"a"}"#)
            #expect(floats.body.contains(#""embedding":[1,-0.5]"#))
            let text = try await ask(
                port, "POST", "/v1/embeddings",
                body: #"{"model":"wren-m","input":["a"],"encoding_format":"base64"}"#)
            #expect(text.body.contains(#""embedding":"AACAPwAAAL8=""#))
            #expect(
                node.requests.allSatisfy {
                    $0.kind == .embedding && $0.features == .embedding && !$0.resumable
                })
        }
    }

    @Test func aSlowClientHoldsTheSourceBackAndLosesNothing() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let (client, task) = try await awarded(port, node)
            let piece = String(repeating: "x", count: 32_768)
            var sent = 0
            // The client doesn't read: the socket fills, then the pipe.
            while sent < 4_096, task.say(piece) { sent += 1 }
            #expect(sent < 4_096)
            #expect(!task.drained.hasHappened)
            async let response = client.response()
            #expect(await task.drained.happens(within: .seconds(10)))
            task.finish()
            let body = try await response.body
            #expect(body.utf8.filter { $0 == UInt8(ascii: "x") }.count >= (sent + 1) * 32_768)
            #expect(body.hasSuffix("data: [DONE]\n\n"))
        }
    }
}

/// The task that the node gets, as read from the request.
@Suite struct Requests {
    @Test func preferencesDeadlineAndLimitsReachTheMarket() async throws {
        let node = FakeNode(script: { $0.fail(.busy) })
        try await withGateway(
            node,
            {
                $0.preferences.maxInputPrice = 5
                $0.preferences.minMillitrust = 250
                $0.extraFields = ["x_unknown"]
            }
        ) { port in
            let body = """
                {"model":"Wren-M","temperature":0.70,"max_completion_tokens":20,"x_unknown":[1],
                 "messages":[{"role":"user","content":"Hello, you."}],
                 "provider":{"only":["ada"],"sort":"price","max_price":{"completion":1.6},"max_cost":"0.5","allow_fallbacks":false,
                  "quantizations":["Q8_0"],"preferred_min_throughput":30,"preferred_max_latency":1.5,"deadline_ms":2500}}
                """
            _ = try await ask(port, "POST", "/v1/chat/completions", body: body)
            let request = try #require(node.requests.first)
            #expect(request.model == "wren-m")
            let passed = String(decoding: request.body, as: UTF8.self)
            #expect(passed.contains(#""temperature":0.70"#) && passed.contains(#""x_unknown":[1]"#))
            #expect(!passed.contains("provider"))
            #expect(request.tokensIn == 7)
            #expect(request.tokensOutEstimate == 20)
            #expect(request.tokensOutMax == 20)
            #expect(request.deadline == .milliseconds(2_500))
            #expect(request.resumable)
            #expect(request.features == .chat)
            let preferences = request.preferences
            #expect(preferences.only == [FakeTask.worker.publicKey])
            #expect(preferences.weights.timePerSecond == 0)
            #expect(preferences.maxOutputPrice == 1_600_000)
            #expect(preferences.maxInputPrice == 5)
            #expect(preferences.maxCost == Money(microCredits: 500_000))
            #expect(preferences.minMillitrust == 250)
            #expect(!preferences.allowFallbacks)
            #expect(preferences.quantizations == ["q8_0"])
            #expect(preferences.minMillitokensPerSecond == 30_000)
            #expect(preferences.maxFirstTokenMilliseconds == 1_500)
        }
    }

    @Test func theSDKsTimeoutIsTheDeadlineWhenNoneIsStated() async throws {
        let node = FakeNode(script: { $0.fail(.busy) })
        try await withGateway(node) { port in
            _ = try await ask(
                port, "POST", "/v1/chat/completions", body: chatBody,
                headers: ["x-stainless-read-timeout": "12.5"])
            _ = try await ask(port, "POST", "/v1/chat/completions", body: chatBody)
            #expect(node.requests.map(\.deadline) == [.milliseconds(12_500), .seconds(600)])
        }
    }

    @Test func theAnswerNamesTheModelThatWasSoldAsTheClientWroteIt() async throws {
        let node = FakeNode(script: { task in
            task.award(model: "wren-s")
            task.say("Hello")
            task.finish()
        })
        try await withGateway(node) { port in
            for stream in [false, true] {
                let body =
                    #"{"models": ["wren-m", "Wren-S"], "stream": \#(stream), "messages": [{"role": "user", "content": "Hi"}]}"#
                let response = try await ask(port, "POST", "/v1/chat/completions", body: body)
                #expect(response.status == 200 && response.body.contains(#""model":"Wren-S""#))
                #expect(
                    !response.body.contains("wren-m")
                        && response["starling-model"]?.hasPrefix("Wren-S") == true)
            }
            #expect(node.requests.first?.fallbackModels == ["wren-s"])
        }
    }
}

/// Refusals as HTTP responses.
@Suite struct Refusals {
    @Test(
        arguments: [
            (.modelNotFound, 404, "invalid_request_error", "false"), (.noBid, 503, "no_bid", "false"),
            (.overMaxPrice, 503, "no_bid", "false"), (.tooSlow, 503, "no_bid", "false"),
            (.busy, 503, "no_bid", "true"), (.unreachable, 503, "no_bid", "true"),
            (.contextTooSmall, 400, "invalid_request_error", "false"),
            (.deadlineExceeded, 504, "deadline_exceeded", "false"),
            // Nothing was delivered, or it would have been bought again.
            (.workerLost, 502, "worker_error", "true"),
            (.contentFilter, 400, "invalid_request_error", "false"),
            (.backendError, 502, "worker_error", "false"), (.tooManyTasks, 429, "rate_limit_error", "true"),
            (.invalidRequest, 400, "invalid_request_error", "false"), (.leaving, 503, "leaving", "true"),
        ] as [(Reason, Int, String, String)])
    func everyFailureHasItsStatusAndSaysWhetherToRetry(
        reason: Reason, status: Int, type: String, retry: String
    ) async throws {
        let node = FakeNode(script: { $0.fail(reason) })
        try await withGateway(node) { port in
            for body in [chatBody, streamBody] {
                let response = try await ask(port, "POST", "/v1/chat/completions", body: body)
                #expect(response.status == status)
                #expect(response["x-should-retry"] == retry)
                #expect((response["retry-after"] != nil) == (retry == "true"))
                #expect(response["starling-auction"] != nil)
                #expect(response["server-timing"] != nil)
                let error = try response.error()
                #expect(error["type"] as? String == type)
                #expect(error["code"] as? String == reason.code)
            }
        }
    }

    @Test func theExplainedRefusalAddsUpAndNamesTheFix() async throws {
        let node = FakeNode(script: { task in
            task.fail(.overMaxPrice, "No node sells wren-m at 1.00 cr per million output tokens.") {
                $0.known = 5
                $0.reasons = Reason.filters.map {
                    ($0, $0 == .notServed ? 2 : $0 == .overMaxPrice ? 3 : 0)
                }
                $0.nearest = NearestOffer(
                    worker: FakeTask.worker.publicKey, name: "bob",
                    parameter: "provider.max_price.completion",
                    value: 1_600_000)
                $0.alternatives = [("wren-s", 500_000)]
            }
        })
        try await withGateway(node) { port in
            let response = try await ask(port, "POST", "/v1/chat/completions", body: chatBody)
            let error = try response.error()
            #expect(error["param"] as? String == "provider.max_price.completion")
            let metadata = try #require(error["metadata"] as? [String: Any])
            #expect(metadata["known"] as? Int == 5)
            #expect((metadata["reasons"] as? [String: Int])?.values.reduce(0, +) == 5)
            #expect(response.body.contains(#""change":{"provider.max_price.completion":1.6}"#))
            #expect(response.body.contains(#""alternatives":[{"model":"wren-s","completion":0.5}]"#))
            #expect(response["starling-auction"] == "known=5, asked=0, bids=0")
        }
    }

    @Test func busyNodesSayWhenToComeBack() async throws {
        let node = FakeNode(script: { task in task.fail(.busy) { $0.retryAfter = .milliseconds(2_100) } })
        try await withGateway(node) { port in
            let response = try await ask(port, "POST", "/v1/chat/completions", body: chatBody)
            #expect(response["retry-after"] == "3")
            #expect(response.body.contains(#""retry_after_s":2.1"#))
        }
    }
}
