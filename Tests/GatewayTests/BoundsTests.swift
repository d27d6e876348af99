import Testing

@testable import Gateway

/// What clients may hold: connections, and bodies that don't end.
@Suite struct Bounds {
    private let quick = FakeNode(script: { task in
        task.award()
        task.say("Hi")
        task.finish()
    })

    private func head(_ length: Int, more: String = "") -> [UInt8] {
        Array(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: \(length)\r\n\(more)\r\n"
                .utf8)
    }

    // MARK: Connections

    @Test func idleConnectionsMakeRoomAndRunningAnswersStay() async throws {
        let node = FakeNode()
        try await withGateway(node, { $0.connectionsMax = 3 }) { port in
            let (client, task) = try await begun(port, node)
            let idle = try (0..<6).map { _ in try RawClient(port: port) }
            let status = try await ask(port, "GET", "/health").status
            #expect(status == 200)
            // It came before the last two, and is closed.
            let silence = await idle[0].receive { _ in false }
            #expect(silence.isEmpty)
            let metrics = try await ask(port, "GET", "/metrics").body
            let held = metrics.firstMatch(of: /starling_http_connections (\d+)\n/).flatMap { Int($0.1) }
            #expect((1...3).contains(held ?? 0))
            #expect(metrics.contains("starling_queue_places{model=\"wren-m\"} 32\n"))
            #expect(metrics.contains("starling_queue_waiting{model=\"wren-m\"} 3\n"))
            #expect(metrics.contains("starling_http_connections_dropped_total{as=\"replaced\"} "))
            task.say("ended")
            task.finish()
            let body = try await client.response().body
            #expect(body.contains("ended") && body.hasSuffix("[DONE]\n\n"))
            withExtendedLifetime(idle) {}
        }
    }

    @Test func whereEveryConnectionIsAnsweredANewOneIsClosedAtOnce() async throws {
        let node = FakeNode()
        try await withGateway(node, { $0.connectionsMax = 1 }) { port in
            let (client, task) = try await asked(port, node, body: chatBody)
            let refused = try RawClient(port: port)
            let silence = await refused.receive { _ in false }
            #expect(silence.isEmpty)
            task.award()
            task.finish()
            let status = try await client.response().status
            #expect(status == 200)
        }
    }

    @Test func aClientThatAsksAndDoesNotReadMakesRoom() async throws {
        try await withGateway(quick, { $0.connectionsMax = 1 }) { port in
            let hoarder = try RawClient(port: port)
            let request = Array("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".utf8)
            // Its answers are some 20 MB, which no socket buffers.
            let sending = Task { await hoarder.send(Array(repeatElement(request, count: 5_000).joined())) }
            // Refused as long as the hoarder is served.
            while (try? await ask(port, "GET", "/health").status) != 200 { await Task.yield() }
            // It was closed, whatever its socket had taken by then.
            _ = await sending.value
            _ = await hoarder.receive { _ in false }
        }
    }

    // MARK: Bodies

    @Test(arguments: ["", "Connection: close\r\n", "Expect: 100-continue\r\n"])
    func aBodyThatIsNotCompleteInTimeIsRefusedAndItsConnectionClosed(more: String) async throws {
        try await withGateway(quick, { $0.bodyTime = .milliseconds(50) }) { [quick] port in
            let client = try RawClient(port: port)
            await client.send(head(1_000, more: more) + Array("{".utf8))
            let response = try await client.response()
            #expect(response.status == 408)
            #expect(try response.error()["code"] as? String == "body_timeout")
            #expect(response["connection"] == "close" && response["retry-after"] == "1")
            let rest = await client.receive { _ in false }
            #expect(rest.isEmpty)
            #expect(quick.requests.isEmpty)
        }
    }

    @Test func aRefusedBodyThatDoesNotEndIsNotReadForEver() async throws {
        try await withGateway(quick, { $0.bodyTime = .milliseconds(50) }) { port in
            for (length, path, status) in [
                (1 << 30, "/v1/chat/completions", 413), (1_000, "/nowhere", 404), (1_000, "/health", 405),
            ] {
                let client = try RawClient(port: port)
                await client.send("POST", path, headers: ["Content-Length": String(length)])
                let response = try await client.response()
                #expect(response.status == status)
                let rest = await client.receive { _ in false }
                #expect(rest.isEmpty)
            }
        }
    }

    @Test func timeIsCountedForEachBodyOfAConnection() async throws {
        let node = FakeNode()
        try await withGateway(node, { $0.bodyTime = .milliseconds(50) }) { port in
            let client = try RawClient(port: port)
            await client.send("POST", "/v1/chat/completions", body: chatBody)
            let first = await node.nextTask()
            // The second body can't be taken before the first answer, however long that is.
            await client.send(head(chatBody.utf8.count) + Array(chatBody.utf8.prefix(10)))
            first.award()
            first.finish()
            let status = try await client.response().status
            #expect(status == 200)
            let second = try await client.response().status
            #expect(second == 408)
        }
    }

    @Test func largeBodiesTogetherAreBoundedAndSmallOnesPass() async throws {
        try await withGateway(quick, { $0.bodiesBytesMax = 64 << 10 }) { port in
            let long =
                #"{"model":"wren-m","messages":[{"role":"user","content":""#
                + String(repeating: "word ", count: 40_000) + #""}]}"#
            for more in [[:], ["Connection": "close"]] {
                let response = try await ask(
                    port, "POST", "/v1/chat/completions", body: long, headers: more)
                #expect(response.status == 503)
                #expect(try response.error()["code"] as? String == "too_many_bodies")
                #expect(response["retry-after"] == "5" && response["x-should-retry"] == "true")
            }
            let small = try await ask(port, "POST", "/v1/chat/completions", body: chatBody).status
            #expect(small == 200)
        }
    }

    @Test func aBodyCountsWhileItIsHeldBeyondItsFirstPart() {
        let budget = BodyBudget(bytesMax: 100)
        let free = BodyBudget.freeBytes
        var first: BodyShare? = BodyShare(of: budget)
        let second = BodyShare(of: budget)
        #expect(first?.grow(to: free) == true && budget.bytes == 0)
        #expect(first?.grow(to: free + 60) == true && budget.bytes == 60)
        #expect(first?.grow(to: free + 60) == true && budget.bytes == 60)
        #expect(second.grow(to: free + 40) && budget.bytes == 100)
        #expect(!second.grow(to: free + 41) && budget.bytes == 100)
        first = nil
        #expect(second.grow(to: free + 41) && budget.bytes == 41)
    }
}
