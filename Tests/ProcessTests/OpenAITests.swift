import Foundation
import Testing

/// The official `openai` package at nodes of the market.
extension ProcessTests.OnMarket {
    @Suite(.serialized) struct OpenAI {
        private func outcome(
            _ action: String, _ arguments: String, at name: String = "fay"
        ) async throws -> JSON {
            let mesh = try market()
            let call = OpenAIPackage.Call(
                action: action, node: try await mesh.node(name), arguments: arguments)
            return try await OpenAIPackage([call], in: mesh.folder).outcome()
        }

        @Test func anyNodeListsTheModelsAndAnswersWhetherItSellsOrAsks() async throws {
            let mesh = try market()
            var calls: [OpenAIPackage.Call] = []
            for name in ["fay", "ada", "dot"] {
                let node = try await mesh.node(name)
                calls.append(.init(action: "models", node: node))
                calls.append(
                    .init(action: "chat", node: node, arguments: chatBody("What is 3 + 4?", model: "wren-m")))
            }
            let outcomes = try await OpenAIPackage(calls, in: mesh.folder).outcomes()
            for (index, outcome) in outcomes.enumerated() {
                if index % 2 == 0 {
                    #expect(Set(outcome["ids"].list.compactMap(\.text)) == ["wren-l", "wren-m", "wren-s"])
                } else {
                    #expect(outcome["text"].text == "7", "\(outcome)")
                    #expect(outcome["finish_reason"].text == "stop")
                    #expect(outcome["model"].text == "wren-m")
                }
            }
        }

        @Test func aChatStatesUsageAndBillAndItsRequestIdIsTheTask() async throws {
            let mesh = try market()
            let answer = try await outcome("chat", chatBody("What is 30 + 41?", model: "wren-m"))
            let usage = answer["usage"]
            #expect(
                try #require(usage["prompt_tokens"].int) > 0 && #require(usage["completion_tokens"].int) > 0)
            #expect(
                usage["total_tokens"].int == (usage["prompt_tokens"].int ?? 0)
                    + (usage["completion_tokens"].int ?? 0))
            let cost = try #require(usage["cost_ucr"].int)
            #expect(cost > 0)
            #expect(abs(try #require(usage["cost"].number) - Double(cost) / 1e6) < 1e-12)
            let task = try #require(answer["request_id"].text)
            let transcript = try await mesh.transcript(task, at: mesh.node("fay"))
            #expect(transcript["task"].text == task)
            #expect(transcript["state"].text == "delivered")
            #expect(transcript["usage"]["cost_ucr"].int == cost)
            // One on the fast path.
            #expect((1...3).contains(transcript["candidates"]["asked"].int ?? 0))
            #expect(transcript["bids"].list.filter { $0["outcome"].text == "won" }.count == 1)
            let headers = answer["headers"]
            for name in [
                "starling-worker", "starling-model", "starling-price", "starling-auction", "starling-resume",
                "starling-cost", "server-timing",
            ] {
                #expect(headers[name].text != nil, "\(name)")
            }
            #expect(!"\(transcript)".contains("30 + 41"), "a transcript never holds the prompt")
        }

        @Test func aStreamIsTheSameTextAsThePlainAnswerWithOneUsageBlock() async throws {
            let mesh = try market()
            let fay = try await mesh.node("fay")
            let question = chatBody("Count from 5 to 12.", model: "wren-m", more: #", "max_tokens": 30"#)
            let streamed = question.dropLast() + #", "stream_options": {"include_usage": true}}"#
            let outcomes = try await OpenAIPackage(
                [
                    .init(action: "chat", node: fay, arguments: question),
                    .init(action: "stream", node: fay, arguments: String(streamed)),
                ],
                in: mesh.folder
            ).outcomes()
            #expect(outcomes[0]["text"].text?.isEmpty == false)
            #expect(outcomes[1]["text"] == outcomes[0]["text"])
            let usages = outcomes[1]["usages"].list
            #expect(usages.count == 1)
            #expect(usages.first?["completion_tokens"] == outcomes[0]["usage"]["completion_tokens"])
            #expect((usages.first?["cost"].number ?? 0) > 0)
            #expect(outcomes[1]["finish_reasons"].list.count == 1)
            let task = try #require(outcomes[1]["request_id"].text)
            #expect(try await mesh.transcript(task, at: fay)["state"].text == "delivered")
        }

        @Test func aStreamThatAsksForNoUsageGetsNone() async throws {
            let streamed = try await outcome("stream", chatBody("What is 3 + 4?", model: "wren-m"))
            #expect(streamed["text"].text == "7")
            #expect(streamed["usages"].list.isEmpty)
        }

        @Test func providerPreferencesChooseTheWorker() async throws {
            let mesh = try market()
            func body(_ provider: String) -> String {
                chatBody(
                    "What is 3 + 4?", model: "wren-m", more: #", "extra_body": {"provider": {\#(provider)}}"#)
            }
            let fay = try await mesh.node("fay")
            let preferences = [
                #""only": ["cyd"]"#, #""sort": "throughput""#, #""sort": "price""#,
                #""ignore": ["ada", "cyd"]"#,
                #""max_price": {"completion": 1.6}"#,
            ]
            let outcomes = try await OpenAIPackage(
                preferences.map { .init(action: "chat", node: fay, arguments: body($0)) }, in: mesh.folder
            ).outcomes()
            let wanted = try await ["cyd", "cyd", "bob", "bob", "bob"].asyncMap { try await mesh.node($0).id }
            #expect(outcomes.map { $0["headers"]["starling-worker"].text } == wanted)
        }

        @Test func errorsAreOpenAIsExplainedAndThePackageSendsEachRequestOnce() async throws {
            let mesh = try market()
            let gus = try await mesh.node("gus")
            func chat(_ model: String, _ more: String) -> OpenAIPackage.Call {
                .init(
                    action: "chat", node: gus, arguments: chatBody("What is 3 + 4?", model: model, more: more)
                )
            }
            let calls = [
                chat("wren-x", ""),
                .init(action: "chat", node: gus, arguments: #"{"model": "wren-m", "messages": "hello"}"#),
                chat("wren-m", #", "extra_body": {"provider": {"max_price": {"completion": 1.0}}}"#),
                .init(
                    action: "chat", node: gus,
                    arguments: chatBody(
                        "Count from 5 to 60.", model: "wren-m",
                        more: #", "max_tokens": 150, "extra_body": {"provider": {"deadline_ms": 400}}"#)),
                chat("wren-m", #", "extra_body": {"provider": {"max_prise": 1}}"#),
                .init(action: "embed", node: gus, arguments: #"{"model": "wren-m", "input": "hello"}"#),
            ]
            let before = try await responses(mesh, gus)
            let outcomes = try await OpenAIPackage(calls, in: mesh.folder).outcomes().map { $0["error"] }
            let after = try await responses(mesh, gus)
            // Two reads of /metrics, the first of which is counted in the second.
            #expect(after - before == calls.count + 1, "one HTTP request for each call")

            #expect(outcomes[0]["class"].text == "NotFoundError" && outcomes[0]["status"].int == 404)
            #expect(outcomes[0]["code"].text == "model_not_found")
            #expect(
                outcomes[0]["message"].text?.contains("wren-m") == true,
                "names what there is: \(outcomes[0]["message"])")

            #expect(outcomes[1]["class"].text == "BadRequestError" && outcomes[1]["status"].int == 400)
            #expect(outcomes[1]["body"]["type"].text == "invalid_request_error")

            let price = outcomes[2]
            #expect(price["class"].text == "InternalServerError" && price["status"].int == 503)
            #expect(price["code"].text == "over_max_price")
            #expect(price["param"].text == "provider.max_price.completion")
            #expect(
                price["message"].text?.contains("1.60") == true
                    && price["message"].text?.contains("bob") == true, "\(price)")
            let metadata = price["body"]["metadata"]
            let counts = metadata["reasons"]
            #expect(metadata["known"].int == 5)
            #expect(counts.keys.reduce(0) { $0 + (counts[$1].int ?? 0) } == 5, "\(counts)")
            #expect(counts["over_max_price"].int == 3 && counts["other_model"].int == 2)
            #expect(metadata["nearest"]["name"].text == "bob")
            #expect(metadata["nearest"]["change"]["provider.max_price.completion"].number == 1.6)
            #expect(metadata["alternatives"].list.contains { $0["model"].text == "wren-s" })

            #expect(outcomes[3]["status"].int == 504 && outcomes[3]["code"].text == "deadline_exceeded")
            #expect(
                outcomes[4]["status"].int == 400 && outcomes[4]["message"].text?.contains("max_price") == true
            )
            // No node of the market sells embeddings: that must be reported as such, not as a broken answer.
            #expect([400, 404, 503].contains(outcomes[5]["status"].int ?? 0), "\(outcomes[5])")
            #expect(outcomes[5]["message"].text?.isEmpty == false)

            for error in outcomes {
                #expect(error["headers"]["x-should-retry"].text == "false", "\(error)")
                #expect(error["request_id"].text != nil)
                #expect(
                    error["body"]["message"].text?.isEmpty == false && error["body"]["code"] != .null
                        || error["status"].int == 400)
            }
            for refused in [outcomes[2], outcomes[3]] {
                let transcript = try await mesh.transcript(refused["request_id"].text ?? "", at: gus)
                #expect(["refused", "failed"].contains(transcript["state"].text), "\(transcript)")
                #expect(transcript["reason"] == refused["code"])
            }
        }

        /// The number of HTTP responses that a node has begun, from its metrics.
        private func responses(_ mesh: TestMesh, _ node: TestMesh.Node) async throws -> Int {
            let metrics = try await mesh.get("/metrics", at: node).body
            return metrics.matches(of: /starling_http_responses_total\{code="\d+"\} (\d+)/).reduce(0) {
                $0 + (Int($1.1) ?? 0)
            }
        }

        @Test func aForeignOriginOrHostIsRefused() async throws {
            let mesh = try market()
            let fay = try await mesh.node("fay")
            let body = chatBody("What is 3 + 4?", model: "wren-m")
            for header in ["Origin: http://evil.example", "Host: evil.example", "Origin: null"] {
                let answer = try await blocking {
                    let socket = try Socket.connected(to: fay.httpPort)
                    defer { socket.close() }
                    _ = socket.write(
                        httpRequest(
                            "POST", "/v1/chat/completions", body,
                            headers: [header, "Content-Type: text/plain", "Connection: close"]))
                    return socket.read()
                }
                #expect(answer.hasPrefix("HTTP/1.1 403"), "\(header): \(answer)")
                #expect(!answer.lowercased().contains("access-control-allow-origin"))
            }
        }
    }
}

extension Sequence {
    func asyncMap<T>(_ transform: (Element) async throws -> T) async rethrows -> [T] {
        var all: [T] = []
        for element in self { all.append(try await transform(element)) }
        return all
    }
}
