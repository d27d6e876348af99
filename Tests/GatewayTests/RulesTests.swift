import Foundation
import Gateway
import Logging
import MeshDocuments
import Testing

/// Admission, and what a request must look like.
@Suite struct Rules {
    private let quick = FakeNode(script: { task in
        task.award()
        task.say("Hi")
        task.finish()
    })

    @Test func foreignOriginsAreRefusedAndOwnAndListedOnesAreNot() async throws {
        try await withGateway(quick, { $0.origins = ["https://chat.example"] }) { [quick] port in
            for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
                let response = try await ask(
                    port, "POST", "/v1/chat/completions", body: chatBody,
                    headers: ["Origin": origin, "Content-Type": "text/plain"])
                #expect(response.status == 403)
                #expect(response["access-control-allow-origin"] == nil)
                #expect(response["x-should-retry"] == "false")
            }
            #expect(quick.requests.isEmpty)
            for origin in ["https://chat.example", "http://127.0.0.1:\(port)"] {
                let response = try await ask(
                    port, "POST", "/v1/chat/completions", body: chatBody, headers: ["Origin": origin])
                #expect(response.status == 200)
                #expect(response["access-control-allow-origin"] == origin)
            }
        }
    }

    @Test func aHostThatIsAForeignNameIsRefused() async throws {
        try await withGateway(quick, { $0.hosts = ["attic.lan"] }) { port in
            for host in ["evil.example", "evil.example:\(port)", "127.0.0.1.evil.example"] {
                let foreign = try await ask(port, "GET", "/mesh/status", headers: ["Host": host]).status
                #expect(foreign == 403)
            }
            for host in ["localhost:\(port)", "127.0.0.1", "[::1]:\(port)", "attic.lan", "ATTIC.lan:80"] {
                let own = try await ask(port, "GET", "/mesh/status", headers: ["Host": host]).status
                #expect(own == 200)
            }
        }
    }

    @Test func aConfiguredKeyIsAskedForEverywhereButOnThePageAndHealth() async throws {
        try await withGateway(quick, { $0.apiKeys = ["sesame", "other"] }) { port in
            let refused = try await ask(port, "GET", "/v1/models")
            #expect(refused.status == 401)
            #expect(try refused.error()["code"] as? String == "invalid_api_key")
            for wrong in ["Bearer sesam", "Bearer sesame2", "sesame", "Basic sesame", "Bearer "] {
                let wrongKey = try await ask(port, "GET", "/mesh/status", headers: ["Authorization": wrong])
                    .status
                #expect(wrongKey == 401)
            }
            let rightKey = try await ask(
                port, "GET", "/v1/models", headers: ["Authorization": "Bearer other"]
            )
            .status
            #expect(rightKey == 200)
            let health = try await ask(port, "GET", "/health").status
            #expect(health == 200)
            let page = try await ask(port, "GET", "/").status
            #expect(page == 200)
            let metrics = try await ask(port, "GET", "/metrics").status
            #expect(metrics == 401)
        }
    }

    @Test(arguments: ["0.0.0.0", "192.168.1.20", "::", "attic.lan"])
    func anOpenAddressNeedsAKey(host: String) {
        var configuration = GatewayConfiguration()
        configuration.host = host
        #expect(throws: GatewayError.openWithoutKeys(host: host)) {
            try Gateway(node: FakeNode(), configuration: configuration, logger: Logger(label: "test"))
        }
        configuration.apiKeys = ["k"]
        #expect(throws: Never.self) {
            try Gateway(node: FakeNode(), configuration: configuration, logger: Logger(label: "test"))
        }
    }

    @Test func aTakenPortIsNamed() async throws {
        try await withGateway(quick) { [quick] port in
            await #expect(throws: GatewayError.portTaken(host: "127.0.0.1", port: port)) {
                try await withGateway(quick, { $0.port = port }) { _ in }
            }
        }
    }

    @Test func unknownPathsAndWrongMethodsAreExplainedInJSON() async throws {
        try await withGateway(quick) { port in
            for path in ["/v1/responses", "/v1/messages", "/v1", "/v1/chat/completions/7"] {
                let response = try await ask(port, "POST", path, body: "{}")
                #expect(response.status == 404)
                #expect(
                    try (response.error()["message"] as? String)?.contains("/v1/chat/completions") == true)
            }
            for path in ["/mesh/tasks/ID", "/mesh/resume", "/v1/embeddings", "/v1/completions"] {
                let hint = try await ask(port, "GET", "/mesh").body
                #expect(hint.contains(path))
            }
            let wrongBase = try await ask(port, "POST", "/chat/completions", body: "{}")
            #expect(wrongBase.body.contains("/v1/chat/completions"))
            let icon = try await ask(port, "GET", "/favicon.ico").status
            #expect(icon == 404)
            let wrong = try await ask(port, "GET", "/v1/chat/completions")
            #expect(wrong.status == 405)
            #expect(wrong["allow"] == "POST, OPTIONS")
            let deletion = try await ask(port, "DELETE", "/v1/models").status
            #expect(deletion == 405)
        }
    }

    @Test func headAndOptionsAreAnswered() async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            await client.send("HEAD", "/v1/models")
            let head = try await client.response(head: true)
            #expect(head.status == 200)
            #expect(Int(head["content-length"] ?? "") ?? 0 > 100)
            await client.send(
                "OPTIONS", "/v1/chat/completions", headers: ["Origin": "http://127.0.0.1:\(port)"])
            let options = try await client.response()
            #expect(options.status == 204)
            #expect(options["access-control-allow-methods"] == "POST, OPTIONS")
        }
    }

    @Test(
        arguments: [
            ("", nil), ("   ", nil), ("[1]", nil), ("{\"model\":", nil), ("{}", "model"),
            (#"{"model":7,"messages":[]}"#, "model"), (#"{"model":"m"}"#, "messages"),
            (#"{"model":"m","messages":"hi"}"#, "messages"), (#"{"model":"m","messages":[]}"#, "messages"),
            (#"{"model":"m","messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
            (#"{"model":"m","messages":[{"content":"x"}]}"#, "messages[0].role"),
            (#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":"yes"}"#, "stream"),
            (#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":-1}"#, "max_tokens"),
            (
                #"{"model":"m","messages":[{"role":"user","content":"x"}],"provider":{"max_prize":{}}}"#,
                "provider.max_prize"
            ),
            (
                #"{"model":"m","messages":[{"role":"user","content":"x"}],"provider":{"only":["nobody"]}}"#,
                "provider.only[0]"
            ),
        ] as [(String, String?)])
    func aBodyThatCannotBeUnderstoodNamesTheField(body: String, param: String?) async throws {
        try await withGateway(quick) { [quick] port in
            let response = try await ask(port, "POST", "/v1/chat/completions", body: body)
            #expect(response.status == 400)
            #expect(response["x-should-retry"] == "false")
            #expect(response["x-request-id"] != nil)
            #expect(response.body.hasPrefix(#"{"error":{"message":"#))
            let error = try response.error()
            #expect(error["type"] as? String == "invalid_request_error")
            #expect(error["param"] as? String == param)
            #expect((error["code"] as? String == "invalid_json") == (param == nil))
            #expect(error["code"] as? String != nil && quick.requests.isEmpty)
        }
    }

    @Test func aNameThatIsNoIdentityIsRefusedWithTheNodesThatItMightMean() async throws {
        @Sendable func problem(_ name: String, _ port: Int) async throws -> String {
            let body =
                #"{"model":"m","messages":[{"role":"user","content":"x"}],"provider":{"order":["ada","\#(name)"]}}"#
            let response = try await ask(port, "POST", "/v1/chat/completions", body: body)
            let error = try response.error()
            #expect(response.status == 400 && error["param"] as? String == "provider.order[1]")
            #expect((error["code"] as? String)?.hasPrefix("node_") == true)
            return error["message"] as? String ?? ""
        }
        try await withGateway(quick) { port in
            let candidate = "\(FakeTask.worker.publicKey) (\"eve\" at 127.0.0.1:7827)"
            let labelled = try await problem("eve", port)
            #expect(
                labelled.contains("a label that any node can give itself") && labelled.contains(candidate))
            #expect(labelled.contains("`names: {eve: PUBLICKEY}`"))
            let several = try await problem("0000000000000", port)
            #expect(several.contains("several ids begin") && several.contains("\(candidate), \(candidate)"))
            #expect(try await problem("nobody", port).contains("the first 12 characters"))
        }
    }

    @Test func invalidUTF8IsRefused() async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            let body = Array(#"{"model":""#.utf8) + [0xFF, 0xFE] + Array("\"}".utf8)
            let head =
                "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.count)\r\n\r\n"
            await client.send(Array(head.utf8) + body)
            let response = try await client.response()
            #expect(response.status == 400)
            #expect(response.body.contains("UTF-8"))
        }
    }

    @Test func aHugeBodyIsRefusedBeforeItIsReadAndAlsoWhenItsLengthIsNotTold() async throws {
        try await withGateway(quick) { port in
            let announced = try RawClient(port: port)
            await announced.send("POST", "/v1/chat/completions", headers: ["Content-Length": "100000000"])
            let early = try await announced.response()
            #expect(early.status == 413)
            #expect(early.body.contains("16 MiB"))

            let chunked = try RawClient(port: port)
            await chunked.send("POST", "/v1/chat/completions", headers: ["Transfer-Encoding": "chunked"])
            let chunk =
                Array("100000\r\n".utf8) + [UInt8](repeating: 0x20, count: 0x100000) + Array("\r\n".utf8)
            for _ in 0..<20 { await chunked.send(chunk) }
            await chunked.send(Array("0\r\n\r\n".utf8))
            let tooLarge = try await chunked.response().status
            #expect(tooLarge == 413)
            // The connection is still usable: the rest of the body was discarded.
            await chunked.send("GET", "/health")
            let afterwards = try await chunked.response().status
            #expect(afterwards == 200)
        }
    }

    @Test func aClientThatExpectsIsToldToContinue() async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            await client.send(
                "POST", "/v1/chat/completions",
                headers: ["Expect": "100-continue", "Content-Length": String(chatBody.utf8.count)])
            #expect(await client.receive(untilText: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
            await client.send(Array(chatBody.utf8))
            let answered = try await client.response().status
            #expect(answered == 200)
        }
    }
}

/// The documents about the mesh.
@Suite struct MeshDocumentRoutes {
    @Test func documentsAreServedAsTheNodeGivesThem() async throws {
        try await withGateway(FakeNode()) { port in
            let peers = try await ask(port, "GET", "/mesh/peers")
            let decoded = try JSONDecoder().decode(PeersDocument.self, from: Data(peers.body.utf8))
            #expect(decoded.own.name == "fay")
            #expect(peers.body.contains(#""self":{"#))
            let offers = try await ask(port, "GET", "/mesh/offers?model=a%2Fb").body.contains(
                "asked for a/b")
            #expect(offers)
            let task = try await ask(port, "GET", "/mesh/tasks/7f3k2m").status
            #expect(task == 200)
            let short = try await ask(port, "GET", "/mesh/tasks/7f3k2")
            #expect(short.status == 400 && short.body.contains("first 6 letters"))
            let unknown = try await ask(port, "GET", "/mesh/tasks/000000")
            #expect(unknown.status == 404)
            #expect(unknown.body.contains("000000"))
        }
    }

    @Test func pausingAndResumingAnswerWithTheNewStatus() async throws {
        try await withGateway(FakeNode()) { port in
            let paused = try await ask(port, "POST", "/mesh/pause").json()["state"] as? String
            #expect(paused == "paused")
            let resumed = try await ask(port, "POST", "/mesh/resume").json()["state"] as? String
            #expect(resumed == "serving")
            let wrongMethod = try await ask(port, "GET", "/mesh/pause").status
            #expect(wrongMethod == 405)
        }
    }

    @Test func modelsAreListedAndFoundByName() async throws {
        try await withGateway(FakeNode()) { port in
            let list = try #require(
                try await ask(port, "GET", "/v1/models").json()["data"] as? [[String: Any]])
            #expect(list.map { $0["id"] as? String } == ["wren-l", "wren-m", "wren-s"])
            #expect((list[1]["starling"] as? [String: Any])?["providers"] as? Int == 3)
            let model = try await ask(port, "GET", "/v1/models/Wren-M").json()["id"] as? String
            #expect(model == "wren-m")
            let unknown = try await ask(port, "GET", "/v1/models/wren")
            #expect(unknown.status == 404)
            #expect(
                try unknown.error()["message"] as? String
                    == "No node serves 'wren'. Did you mean wren-l, wren-m or wren-s?")
        }
    }

    @Test func metricsAreInPrometheusTextWithEscapedLabels() async throws {
        try await withGateway(FakeNode()) { port in
            _ = try await ask(port, "GET", "/nothing")
            let metrics = try await ask(port, "GET", "/metrics")
            #expect(metrics["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
            let lines = metrics.body.split(separator: "\n").map(String.init)
            #expect(
                lines.contains(
                    #"starling_info{name="fay <script>\"",mesh="testnet-market",version="0.1.0"} 1"#))
            #expect(lines.contains(#"starling_bids_total{model="wren-m",outcome="lost"} 2"#))
            #expect(lines.contains(#"starling_datagrams_dropped_total{reason="bad_mac"} 3"#))
            #expect(lines.contains(#"starling_http_responses_total{code="404"} 1"#))
        }
    }

    @Test func thePageLoadsNothingFromElsewhereAndFramesNowhere() async throws {
        try await withGateway(FakeNode()) { port in
            let page = try await ask(port, "GET", "/")
            #expect(page["content-type"] == "text/html; charset=utf-8")
            #expect(page["content-security-policy"]?.contains("default-src 'none'") == true)
            #expect(page["content-security-policy"]?.contains("frame-ancestors 'none'") == true)
            #expect(!page.body.contains("innerHTML"))
        }
    }
}
