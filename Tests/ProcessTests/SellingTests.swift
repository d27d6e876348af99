import Foundation
import Testing

/// Sellers and the model servers behind them.
extension ProcessTests {
    @Suite(.serialized) struct Selling {
        @Test func aWorkerThatAcceptsNoConnectionDialsAndSells() async throws {
            let nodes = "ada: {serves: wren-m, price: {input: 0.2, output: 2}, inbound: false}\nfay: {}"
            try await TestMesh.with(nodes) { mesh in
                let (ada, fay) = (try await mesh.node("ada"), try await mesh.node("fay"))
                #expect(throws: Socket.NobodyListens.self) { try Socket.connected(to: ada.udpPort).close() }
                let answer = try await mesh.chat("What is 3 + 4?", model: "wren-m", at: fay)
                #expect(answer.json["choices"][0]["message"]["content"].text == "7", "\(answer.body)")
                #expect(answer.headers["starling-worker"] == ada.id)
                // Again, over the same channel or a new one, and with the seller as its own buyer.
                #expect(
                    try await mesh.chat("What is 3 + 5?", model: "wren-m", at: fay).json["choices"][0][
                        "message"]["content"].text == "8")
                #expect(try await mesh.chat("What is 3 + 4?", model: "wren-m", at: ada).status == 200)
            }
        }

        @Test func twoNodesThatAcceptNoConnectionCantTradeAndSaySo() async throws {
            let nodes =
                "ada: {serves: wren-m, price: {output: 2}, inbound: false}\nfay: {inbound: false}\ngus: {}"
            try await TestMesh.with(nodes) { mesh in
                let (fay, gus) = (try await mesh.node("fay"), try await mesh.node("gus"))
                let refused = try await mesh.chat("Hello", model: "wren-m", at: fay)
                #expect(
                    refused.status == 503 && refused.json["error"]["code"].text == "unreachable",
                    "\(refused.body)")
                #expect(try await mesh.chat("Hello", model: "wren-m", at: gus).status == 200)
            }
        }

        @Test func onlyTheFieldsThatTheDriverListsReachTheModelServer() async throws {
            try await ScriptedBackend.with(#"{"tokens": 3}"#) { backend in
                try await TestMesh.with(backend.seller("ada") + "\nfay: {}") { mesh in
                    let fay = try await mesh.node("fay")
                    let plain =
                        #""model": "parrot", "messages": [{"role": "user", "content": "Hello", "extra": "smuggled-1"}]"#
                    for field in [
                        #""chat_template": "{{ smuggled-2 }}""#,
                        #""chat_template_kwargs": {"a": "smuggled-3"}"#,
                        #""keep_alive": -1"#, #""grammar": "root ::= smuggled-4""#,
                        #""options": {"num_ctx": 100000}"#,
                        #""ignore_eos": true"#, #""id_slot": 0"#, #""lora": [{"id": 0, "scale": 1}]"#,
                        #""n_predict": 9"#,
                    ] {
                        let refused = try await mesh.post(
                            "/v1/chat/completions", "{\(plain), \(field)}", at: fay)
                        let name = String(field.split(separator: "\"")[0])
                        #expect(
                            refused.status == 400 && refused.json["error"]["param"].text == name,
                            "\(refused.body)")
                    }
                    let answer = try await mesh.post(
                        "/v1/chat/completions",
                        "{\(plain), \"temperature\": 0.5, \"seed\": 7, \"max_tokens\": 9}",
                        at: fay)
                    #expect(answer.status == 200, "\(answer.body)")
                    let seen = try #require(try await backend.requests().last?.body)
                    #expect(
                        seen.keys == [
                            "model", "messages", "temperature", "seed", "max_tokens", "stream",
                            "stream_options",
                        ])
                    #expect(try await backend.requests().allSatisfy { !"\($0.body)".contains("smuggled") })
                    #expect(
                        seen["seed"].int == 7 && seen["max_tokens"].int == 9 && seen["stream"].flag == true)
                    let transcript = try await mesh.transcript(answer.headers["x-request-id"] ?? "", at: fay)
                    let dropped = transcript["assignments"][0]["dropped_fields"].list.compactMap(\.text)
                    #expect(dropped == ["messages[].extra"])

                    let before = try await backend.requests().count
                    let image = #"""
                        {"model": "parrot", "messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"},
                         {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}]}]}
                        """#
                    let refused = try await mesh.post("/v1/chat/completions", image, at: fay)
                    #expect(refused.status >= 400, "\(refused.body)")
                    let later = try await backend.requests().dropFirst(before)
                    #expect(later.allSatisfy { !"\($0.body)".contains("169.254") })
                }
            }
        }

        @Test func aQuoteShowsTheBidsAndTakesNothingOfTheSellers() async throws {
            try await ScriptedBackend.with(#"{"tokens": 3}"#) { backend in
                let nodes = backend.seller("ada", output: 3) + "\n" + backend.seller("bob") + "\nfay: {}"
                try await TestMesh.with(nodes) { mesh in
                    let fay = try await mesh.node("fay")
                    let quote = try await mesh.post(
                        "/mesh/quote", chatBody("Hello", model: "parrot", more: #", "max_tokens": 50"#),
                        at: fay)
                    #expect(quote.status == 200, "\(quote.body)")
                    let bids = quote.json["bids"].list
                    #expect(bids.map { $0["name"].text } == ["bob", "ada"], "\(quote.body)")
                    #expect(bids.allSatisfy { $0["outcome"].text == "bid" && $0["queue_ms"].int == 0 })
                    let text = try await mesh.starling(
                        "quote", "parrot", "--tokens-in", "200", "--via", "fay")
                    #expect(text.status == 0 && text.out.contains("bob"), "\(text.out)\(text.err)")
                    #expect(try await backend.requests().isEmpty)
                    for name in ["ada", "bob"] {
                        let node = try await mesh.node(name)
                        let model = try await mesh.get("/mesh/status", at: node).json["models"][0]
                        #expect(model["bids"]["calls"].int == 0 && model["slots_busy"].int == 0, "\(model)")
                        #expect(model["places"].int == 64 && model["waiting"].int == 0)
                    }
                    #expect(try await mesh.get("/mesh/status", at: fay).json["tasks"]["delivered"].int == 0)
                }
            }
        }

        @Test func aStreamThatWaitsForTheOnlySlotSaysSo() async throws {
            try await ScriptedBackend.with(#"{"tokens": 500, "every": 0.01}"#) { backend in
                try await TestMesh.with(backend.seller("ada") + "\nfay: {}") { mesh in
                    let (ada, fay) = (try await mesh.node("ada"), try await mesh.node("fay"))
                    let long = Task { try await mesh.chat("Talk", model: "parrot", at: fay) }
                    try await until("the slot is taken") { try await backend.requests().count == 1 }
                    let body = chatBody("Hello", model: "parrot", more: #", "stream": true"#)
                    let waits = Task { try await mesh.post("/v1/chat/completions", body, at: fay) }
                    try await until("it waits") {
                        try await mesh.get("/mesh/status", at: ada).json["models"][0]["waiting"].int == 1
                    }
                    let answer = try await waits.value
                    #expect(
                        answer.status == 200 && answer.body.contains(": queued, place 1"), "\(answer.body)")
                    #expect(answer.body.hasSuffix("data: [DONE]\n\n"))
                    #expect(try await long.value.status == 200)
                }
            }
        }

        @Test func aFullSellerIsWaitedForAsLongAsTheDeadlineAllows() async throws {
            try await ScriptedBackend.with(#"{"tokens": 400, "every": 0.01}"#) { backend in
                try await TestMesh.with(backend.seller("ada") + "\nfay: {}") { mesh in
                    let fay = try await mesh.node("fay")
                    let long = Task { try await mesh.chat("Talk", model: "parrot", at: fay) }
                    try await until("the slot is taken") { try await backend.requests().count == 1 }
                    let waits = Task { try await mesh.chat("Hello", model: "parrot", at: fay) }
                    let refused = try await mesh.chat(
                        "Hello", model: "parrot", at: fay, more: #", "provider": {"deadline_ms": 500}"#)
                    // Whether a slot was expected before that is the seller's estimate.
                    #expect(refused.status == 503 || refused.status == 504, "\(refused.body)")
                    #expect(
                        refused.body.contains("queue is too long") || refused.body.contains("free slot"),
                        "\(refused.body)")
                    #expect(
                        refused.headers["x-should-retry"] == "true" && refused.headers["retry-after"] != nil)
                    #expect(try await long.value.status == 200)
                    #expect(try await waits.value.status == 200)
                }
            }
        }
    }

    /// What a seller keeps for those who paid it, across its own restart.
    @Suite(.serialized) struct Shares {
        @Test func aRestartedSellerStillKeepsHalfOfItsSlotsForThoseWhoPaidIt() async throws {
            try await ScriptedBackend.with(#"{"tokens": 40}"#) { backend in
                let nodes = backend.seller("ada", slots: 2) + "\nfay: {}\ngus: {}\nkim: {}"
                try await TestMesh.with(nodes) { mesh in
                    let fay = try await mesh.node("fay")
                    #expect(try await mesh.chat("Hello", model: "parrot", at: fay).status == 200)
                    let ada = try await mesh.node("ada")
                    try await until("the receipt has come") {
                        try await mesh.get("/mesh/status", at: ada).json["earned_from"].int == 1
                    }
                    try await mesh.testnet("stop", "ada")
                    try await mesh.testnet("restart", "ada")
                    let (gus, kim) = (try await mesh.node("gus"), try await mesh.node("kim"))
                    for node in [fay, gus, kim] {
                        try await until("\(node.name) finds ada again") {
                            try await mesh.get("/v1/models", at: node).body.contains("parrot")
                        }
                    }
                    try await backend.play(#"{"tokens": 800, "every": 0.01}"#)
                    let long = Task { try await mesh.chat("Talk", model: "parrot", at: gus) }
                    try await until("a stranger has a slot") { try await backend.requests().count == 2 }
                    try await backend.play(#"{"tokens": 3}"#)
                    let refused = try await mesh.chat(
                        "Hello", model: "parrot", at: kim, more: #", "provider": {"deadline_ms": 500}"#)
                    #expect(refused.status == 503 || refused.status == 504, "\(refused.body)")
                    #expect(try await mesh.chat("Hello", model: "parrot", at: fay).status == 200)
                    #expect(try await long.value.status == 200)
                }
            }
        }
    }

    /// A model server that fails.
    @Suite(.serialized) struct BackendTrouble {
        /// ada is cheap and has the failing backend; bob is expensive and healthy.
        private func withPair(_ body: (ScriptedBackend, TestMesh, TestMesh.Node) async throws -> Void)
            async throws
        {
            try await ScriptedBackend.with(#"{"tokens": 8}"#) { troubled in
                try await ScriptedBackend.with(#"{"tokens": 8}"#) { well in
                    let nodes =
                        troubled.seller("ada", slots: 2) + "\n" + well.seller("bob", slots: 2, output: 25)
                        + "\nfay: {}"
                    try await TestMesh.with(nodes) { mesh in try await body(troubled, mesh, mesh.node("fay"))
                    }
                }
            }
        }

        private func ask(_ mesh: TestMesh, _ fay: TestMesh.Node, _ more: String = "") async throws
            -> TestMesh.Answer
        {
            try await mesh.chat(
                "Talk", model: "parrot", at: fay, more: #", "provider": {"sort": "price"\#(more)}"#)
        }

        private func backendState(_ mesh: TestMesh, _ name: String) async throws -> JSON {
            try await mesh.get("/mesh/status", at: mesh.node(name)).json["models"][0]["backend"]
        }

        /// Expects that it isn't offered while it fails, and that it is once it has recovered.
        private func expectRecovery(_ troubled: ScriptedBackend, _ mesh: TestMesh, _ fay: TestMesh.Node)
            async throws
        {
            try await until("its node knows", within: 2) {
                try await backendState(mesh, "ada")["state"].text != "ok"
            }
            let meanwhile = try await ask(mesh, fay)
            #expect(meanwhile.status == 200)
            #expect(
                try await meanwhile.headers["starling-worker"] == mesh.node("bob").id,
                "the node doesn't bid for it")
            try await troubled.play(#"{"mode": "answer", "after": 0}"#)
            let took = try await until("its node notices that it is well", within: 20) {
                try await backendState(mesh, "ada")["state"].text == "ok"
            }
            measured("recovery of a model server noticed", took)
            try await until("ada sells again", within: 20) {
                try await ask(mesh, fay, #", "only": ["ada"]"#).status == 200
            }
        }

        @Test(arguments: ["error", "close", "garbage"])
        func oneThatFailsAtOnceCostsNoTaskIsntOfferedAndComesBackWhenItIsWell(
            mode: String
        ) async throws {
            try await withPair { troubled, mesh, fay in
                try await troubled.play(#"{"mode": "\#(mode)"}"#)
                let answer = try await ask(mesh, fay)
                #expect(answer.status == 200, "\(answer.body)")
                let transcript = try await mesh.transcript(answer.headers["x-request-id"] ?? "", at: fay)
                #expect(
                    transcript["assignments"].list.compactMap { $0["name"].text } == ["ada", "bob"],
                    "\(transcript["assignments"])")
                #expect(transcript["assignments"][0]["ended"].text == "failed")
                try await expectRecovery(troubled, mesh, fay)
            }
        }

        @Test(arguments: ["close", "garbage"])
        func oneThatFailsInMidAnswerAndCantBeContinuedHasTheAnswerBeginAgainWhereTheClientDoesntStream(
            mode: String
        ) async throws {
            try await withPair { troubled, mesh, fay in
                try await troubled.play(#"{"mode": "\#(mode)", "after": 3}"#)
                try await expectNewBeginning(mesh, fay)
                try await expectRecovery(troubled, mesh, fay)
            }
        }

        /// An answer of which its client has nothing yet is begun again by the other seller.
        private func expectNewBeginning(_ mesh: TestMesh, _ fay: TestMesh.Node) async throws {
            let answer = try await ask(mesh, fay)
            #expect(answer.status == 200, "\(answer.body)")
            let text = answer.json["choices"][0]["message"]["content"].text
            #expect(text == "w0 w1 w2 w3 w4 w5 w6 w7 ", "not a byte of the first beginning")
            #expect(answer.json["usage"]["completion_tokens"].int == 8)
            #expect(answer.json["starling"]["failovers"].int == 1)
            #expect(try await answer.headers["starling-worker"] == mesh.node("bob").id)
        }

        @Test func oneThatHangsBeforeItsFirstTokenLosesTheTaskBeforeTheDeadlineIsntOfferedAndComesBack()
            async throws
        {
            try await withPair { troubled, mesh, fay in
                try await troubled.play(#"{"mode": "hang"}"#)
                let answer = try await ask(mesh, fay, #", "deadline_ms": 5000"#)
                #expect(answer.status == 200, "\(answer.body)")
                #expect(try await answer.headers["starling-worker"] == mesh.node("bob").id)
                try await until("the hung request is given up", within: 3) {
                    try await troubled.requests().allSatisfy { $0.how == "aborted" }
                }
                try await expectRecovery(troubled, mesh, fay)
            }
        }

        @Test func oneThatHangsInMidAnswerHasItBeginAgainIsntOfferedAndComesBack() async throws {
            try await withPair { troubled, mesh, fay in
                try await troubled.play(#"{"mode": "hang", "after": 3}"#)
                try await expectNewBeginning(mesh, fay)
                try await expectRecovery(troubled, mesh, fay)
            }
        }

        @Test func aModelServerThatIsKilledIsStartedAgain() async throws {
            try await TestMesh.with("ada: {serves: wren-m, price: {output: 2}}\nfay: {}") { mesh in
                let fay = try await mesh.node("fay")
                let servers = processes(with: "\(mesh.folder)/models")
                try #require(servers.count == 1)
                kill(servers[0], SIGKILL)
                try await until("the node notices") {
                    try await backendState(mesh, "ada")["state"].text != "ok"
                }
                try await until("it sells again", within: 20) {
                    try await mesh.chat("What is 3 + 4?", model: "wren-m", at: fay).status == 200
                }
                #expect(processes(with: "\(mesh.folder)/models").filter { $0 != servers[0] }.count == 1)
            }
        }
    }
}
