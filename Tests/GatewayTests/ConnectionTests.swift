import Foundation
import Testing

/// HTTP/1.1 and HTTP/1.0 as clients speak it, and as they break it.
@Suite struct ConnectionTests {
    private let quick = FakeNode(script: { task in
        task.award()
        task.say("Hi")
        task.finish()
    })

    private func raw(_ text: String) -> [UInt8] { Array(text.replacing("\n", with: "\r\n").utf8) }

    /// Everything that is sent until the connection ends.
    private func all(_ client: RawClient) async -> String {
        String(decoding: await client.receive { _ in false }, as: UTF8.self)
    }

    // MARK: HTTP/1.0

    @Test(arguments: ["", "Host: 127.0.0.1\n", "Connection: close\n"])
    func aClientOfHTTP10GetsItsAnswerAndTheEnd(headers: String) async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            await client.send(raw("GET /health HTTP/1.0\n\(headers)\n"))
            let text = await all(client)
            #expect(text.hasPrefix("HTTP/1.0 200 OK\r\n") && text.hasSuffix("}"))
            #expect(text.lowercased().contains("connection: close"))
        }
    }

    @Test func aClientOfHTTP10CanKeepItsConnection() async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            for _ in 0..<2 {
                await client.send(raw("GET /health HTTP/1.0\nConnection: keep-alive\n\n"))
                let response = try await client.response()
                #expect(response.status == 200 && response["connection"] == "keep-alive")
            }
        }
    }

    @Test func aStreamToAClientOfHTTP10HasNoChunksAndEndsWithTheConnection() async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            await client.send(
                raw(
                    "POST /v1/chat/completions HTTP/1.0\nConnection: keep-alive\nContent-Length: \(streamBody.utf8.count)\n\n"
                ) + Array(streamBody.utf8))
            let text = await all(client)
            let body = try #require(text.split(separator: "\r\n\r\n", maxSplits: 1).last)
            #expect(!text.lowercased().contains("transfer-encoding"))
            #expect(body.hasPrefix("data: {") && body.hasSuffix("data: [DONE]\n\n"))
        }
    }

    // MARK: One request after the other

    @Test func requestsInOneSegmentAreAnsweredInOrder() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            let post = { (body: String) in
                "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Length: \(body.utf8.count)\n\n\(body)"
            }
            await client.send(
                raw(post(streamBody) + post(chatBody) + "GET /health HTTP/1.1\nHost: localhost\n\n"))
            for text in ["first", "second"] {
                let task = await node.nextTask()
                #expect(node.requests.count == (text == "first" ? 1 : 2), "one at a time")
                task.award()
                task.say(text)
                task.finish()
                let body = try await client.response().body
                #expect(body.contains(text))
            }
            let health = try await client.response().status
            #expect(health == 200)
        }
    }

    @Test func tenThousandSmallRequestsOnOneConnection() async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            let request = raw("GET /health HTTP/1.1\nHost: localhost\n\n")
            let batch = Array(repeatElement(request, count: 50).joined())
            for _ in 0..<200 {
                await client.send(batch)
                for _ in 0..<50 {
                    let status = try await client.response().status
                    try #require(status == 200)
                }
            }
        }
    }

    @Test func aRequestMayArriveByteByByte() async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            let body =
                "5\r\n{\"mod\r\n\(String(chatBody.utf8.count - 5, radix: 16))\r\n\(chatBody.dropFirst(5))\r\n0\r\nx-trailer: 1\r\n\r\n"
            let head = raw(
                "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n")
            for byte in head + Array(body.utf8) { await client.send([byte]) }
            let status = try await client.response().status
            #expect(status == 200)
        }
    }

    @Test(arguments: [
        "Connection: close\n",
        "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n",
    ])
    func theConnectionEndsAfterItsLastRequest(headers: String) async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            await client.send(
                raw(
                    "POST /v1/chat/completions HTTP/1.1\nHost: localhost\n\(headers)Content-Length: \(chatBody.utf8.count)\n\n\(chatBody)"
                ))
            let response = try await client.response()
            #expect(response.status == 200 && response["connection"] == "close")
            let rest = await all(client)
            #expect(rest.isEmpty)
        }
    }

    @Test func aHalfClosedClientGetsAllItsAnswersAndTheEnd() async throws {
        try await withGateway(quick) { port in
            for version in ["1.0", "1.1"] {
                let client = try RawClient(port: port)
                await client.send(raw("GET /health HTTP/\(version)\nHost: localhost\n\n"))
                client.endSending()
                let text = await all(client)
                #expect(text.hasPrefix("HTTP/\(version) 200") && text.hasSuffix("}"))
            }
            let client = try RawClient(port: port)
            let request =
                "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Length: \(chatBody.utf8.count)\n\n\(chatBody)"
            await client.send(raw(request + request))
            client.endSending()
            let text = await all(client)
            #expect(text.components(separatedBy: "HTTP/1.1 200").count == 3)
        }
    }

    // MARK: What is not HTTP, or not allowed

    @Test(
        arguments: [
            ("GET /\n\n", 505), ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", 400), ("hello\n\n", 400),
            ("GET / HTTP/1.1\nHost localhost\n\n", 400), ("GET / HTTP/2.0\nHost: localhost\n\n", 505),
            ("POST / HTTP/1.1\nHost: localhost\nContent-Length: -1\n\n", 400),
            ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", 400),
            ("GET / HTTP/1.1\nHost: localhost\nX: \(String(repeating: "x", count: 70_000))\n\n", 431),
            ("GET /\(String(repeating: "x", count: 70_000)) HTTP/1.1\nHost: localhost\n\n", 431),
            ("GET / HTTP/1.1\nHost: localhost\n\(String(repeating: "X: 1\n", count: 300))\n", 431),
            ("POST /v1/chat/completions HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\nxyz\n", 400),
        ] as [(String, Int)])
    func whatCannotBeReadIsRefusedInJSONAndTheConnectionEnds(request: String, status: Int) async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            await client.send(raw(request))
            let response = try await client.response()
            #expect(response.status == status && response["connection"] == "close")
            #expect(try response.error()["code"] as? String == "malformed_request")
            let rest = await all(client)
            #expect(rest.isEmpty)
        }
    }

    /// None waits for the rest of its body, and what came before the odd chunk doesn't matter.
    @Test(arguments: [
        "\r\n", " 5\r\nabcde\r\n", "5 \r\nabcde\r\n", "0x5\r\nabcde\r\n", "-5\r\nabcde\r\n",
        "+5\r\nabcde\r\n",
        "5\r\nabcdefgh", "5\r\nabcde0\r\n", "5\rabcde\r\n", "5\nabcde\n", "5g", "FFFFFFFFFFFFFFFFF\r\nabc",
        "5;x=\"\r\nabcde", "0\r\nno trailer\r\n\r\n",
    ])
    func anOddChunkIsRefusedAtOnce(chunk: String) async throws {
        try await withGateway(quick) { port in
            for before in ["", "5\r\n{\"mod\r\n"] {
                let client = try RawClient(port: port)
                await client.send(
                    raw("POST /v1/chat/completions HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n")
                )
                await client.send(Array((before + chunk).utf8))
                let response = try await client.response()
                #expect(response.status == 400 && response["connection"] == "close")
                #expect(try response.error()["code"] as? String == "malformed_request")
            }
        }
    }

    @Test func whatCannotBeReadIsRefusedAfterTheAnswersBefore() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            await client.send(
                raw(
                    "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Length: \(chatBody.utf8.count)\n\n\(chatBody)GARBAGE\n\n"
                ))
            let task = await node.nextTask()
            task.award()
            task.finish()
            let first = try await client.response().status
            let second = try await client.response().status
            #expect(first == 200 && second == 400)
        }
    }

    @Test func aRequestNamesOneHostUnlessItIsOfHTTP10() async throws {
        try await withGateway(quick) { port in
            for (request, status) in [
                ("GET /health HTTP/1.1\n\n", 400),
                ("GET /health HTTP/1.1\nHost: localhost\nHost: localhost\n\n", 400),
                ("GET /health HTTP/1.0\nHost: evil.example\n\n", 403),
                ("GET http://localhost:\(port)/health HTTP/1.1\nHost: localhost\n\n", 200),
                ("GET http://evil.example/health HTTP/1.1\nHost: localhost\n\n", 403),
                ("OPTIONS * HTTP/1.1\nHost: localhost\n\n", 204),
                ("CONNECT localhost:80 HTTP/1.1\nHost: localhost\n\n", 404),
            ] {
                let client = try RawClient(port: port)
                await client.send(raw(request))
                let answered = try await client.response().status
                #expect(answered == status, "\(request)")
            }
        }
    }

    @Test func aRefusedClientThatWaitsToSendItsBodyIsNotToldToContinue() async throws {
        try await withGateway(quick) { port in
            for (path, length, status) in [("/nowhere", 5, 404), ("/v1/chat/completions", 1 << 30, 413)] {
                let client = try RawClient(port: port)
                await client.send(
                    "POST", path, headers: ["Content-Length": "\(length)", "Expect": "100-continue"])
                let response = try await client.response()
                #expect(response.status == status && response["connection"] == "close")
                let rest = await all(client)
                #expect(rest.isEmpty)
            }
        }
    }

    @Test(arguments: [
        ("Content-Length: 18446744073709551614", 413), ("Content-Length: 9223372036854775807", 413),
        ("Transfer-Encoding: gzip, chunked", 415),
    ])
    func aBodyThatCanNotBeTakenIsRefusedByItsHead(header: String, status: Int) async throws {
        try await withGateway(quick) { port in
            let client = try RawClient(port: port)
            await client.send(raw("POST /v1/chat/completions HTTP/1.1\nHost: localhost\n\(header)\n\n"))
            let answered = try await client.response().status
            #expect(answered == status)
        }
    }

    @Test func aCompressedBodyIsRefusedByName() async throws {
        try await withGateway(quick) { [quick] port in
            let response = try await ask(
                port, "POST", "/v1/chat/completions", body: "\u{1F}\u{8B}",
                headers: ["Content-Encoding": "gzip"])
            #expect(response.status == 415 && response["accept-encoding"] == "identity")
            #expect(response.body.contains("Content-Encoding: gzip"))
            #expect(quick.requests.isEmpty)
            let plain = try await ask(
                port, "POST", "/v1/chat/completions", body: chatBody,
                headers: ["Content-Encoding": "identity"])
            #expect(plain.status == 200)
        }
    }

    @Test func aByteOrderMarkBeforeTheBodyIsIgnored() async throws {
        try await withGateway(quick) { port in
            let status = try await ask(port, "POST", "/v1/chat/completions", body: "\u{FEFF}" + chatBody)
                .status
            #expect(status == 200)
            let twice = try await ask(
                port, "POST", "/v1/chat/completions", body: "\u{FEFF}\u{FEFF}" + chatBody)
            #expect(twice.status == 400)
        }
    }

    @Test func everyResponseIsDated() async throws {
        try await withGateway(quick) { port in
            let date = try #require(try await ask(port, "GET", "/health")["date"])
            let format = DateFormatter()
            format.locale = Locale(identifier: "en_US_POSIX")
            format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
            #expect(format.date(from: date) != nil)
        }
    }

    // MARK: Web pages

    @Test func aPreflightAllowsTheHeadersThatAnSDKAsksFor() async throws {
        try await withGateway(quick, { $0.origins = ["http://localhost:3000"] }) { port in
            let asked = "authorization,content-type,x-stainless-os,x-stainless-retry-count"
            let preflight = try await ask(
                port, "OPTIONS", "/v1/chat/completions",
                headers: [
                    "Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": asked,
                ])
            #expect(preflight.status == 204)
            #expect(preflight["access-control-allow-origin"] == "http://localhost:3000")
            #expect(preflight["access-control-allow-headers"] == asked)
            #expect(preflight["access-control-allow-methods"] == "POST, OPTIONS")
            let answer = try await ask(
                port, "POST", "/v1/chat/completions", body: chatBody,
                headers: ["Origin": "http://localhost:3000"])
            #expect(answer.status == 200 && answer["access-control-expose-headers"] == "*")
            #expect(answer["vary"] == "origin")
        }
    }

    @Test func aStarAdmitsEveryPage() async throws {
        try await withGateway(quick, { $0.origins = ["*"] }) { port in
            for origin in ["https://any.example", "null"] {
                let response = try await ask(port, "GET", "/v1/models", headers: ["Origin": origin])
                #expect(response.status == 200 && response["access-control-allow-origin"] == origin)
            }
            let rebound = try await ask(port, "GET", "/v1/models", headers: ["Host": "evil.example"]).status
            #expect(rebound == 403, "the host is checked all the same")
        }
    }

    // MARK: Clients that break off, or are slow

    @Test func aResetInAnyStateLeavesNothingBehind() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let head =
                "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Length: \(streamBody.utf8.count)\n\n"
            for begun in [
                "", "PO", head, head + streamBody.prefix(9), "GET /health HTTP/1.1\nHost: localhost\n\n",
            ] {
                let client = try RawClient(port: port)
                await client.send(raw(begun))
                client.reset()
            }
            for (index, steps) in [[], ["award"], ["award", "begun"]].enumerated() {
                let client = try RawClient(port: port)
                // Another request waits behind.
                await client.send(raw(head + streamBody + head + streamBody))
                let task = await node.nextTask()
                if steps.contains("award") { task.award() }
                if steps.contains("begun") {
                    task.say("begun")
                    _ = await client.receive(untilText: "begun")
                }
                client.reset()
                #expect(await task.cancelled.happens(within: .seconds(5)))
                #expect(node.requests.count == index + 1, "nobody waits for the second")
            }
            let metrics = try await ask(port, "GET", "/metrics").body
            #expect(metrics.contains("starling_http_answers_open 0\n"))
            #expect(metrics.contains("starling_http_connections 1\n"))
        }
    }

    @Test func aWholeAnswerWaitsForASlowReaderAlsoWhenTheConnectionEndsWithIt() async throws {
        let number = "0.12345678,"
        let vector = "[" + String(repeating: number, count: 400_000) + "1]"
        let node = FakeNode(script: { task in
            task.award()
            task.finish(extra: #"{"data":[{"index":0,"embedding":\#(vector)}]}"#)
        })
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            await client.send(
                "POST", "/v1/embeddings", body: #"{"model":"wren-m","input":"a","encoding_format":"float"}"#,
                headers: ["Connection": "close"])
            _ = await client.receive(untilText: "\r\n\r\n")
            // Its socket holds a part; others are served meanwhile.
            let status = try await ask(port, "GET", "/health").status
            #expect(status == 200)
            let response = try await client.response()
            #expect(response.status == 200 && response.body.utf8.count > vector.utf8.count)
        }
    }

    @Test func aStreamThatCannotGoOnIsCutNotEnded() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let (client, task) = try await begun(port, node)
            task.stream.cancel()
            let rest = await all(client)
            #expect(!rest.contains("0\r\n\r\n") && !rest.contains("[DONE]"))
        }
    }
}
