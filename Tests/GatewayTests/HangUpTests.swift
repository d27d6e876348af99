import Testing

/// A client that leaves stops the work, in any phase.
@Suite struct HangUps {
    /// Long, so that a busy machine fails no test: a hang-up is noticed in milliseconds, or never.
    private let limit = Duration.seconds(10)

    @Test(arguments: [chatBody, streamBody])
    func whileTheAuctionRuns(body: String) async throws {
        let node = FakeNode()
        try await withGateway(node) { [limit] port in
            let (client, task) = try await asked(port, node, body: body)
            client.hangUp()
            #expect(await task.cancelled.happens(within: limit))
        }
    }

    @Test(arguments: [chatBody, streamBody])
    func whileItWaitsForTheFirstToken(body: String) async throws {
        let node = FakeNode()
        try await withGateway(node) { [limit] port in
            let (client, task) = try await awarded(port, node, body: body)
            client.hangUp()
            #expect(await task.cancelled.happens(within: limit))
        }
    }

    @Test func inMidStreamWhileNothingIsWritten() async throws {
        let node = FakeNode()
        try await withGateway(node) { [limit] port in
            let (client, task) = try await begun(port, node)
            client.hangUp()
            #expect(await task.cancelled.happens(within: limit))
        }
    }

    @Test func inMidStreamWhileItsSocketIsFull() async throws {
        let node = FakeNode()
        try await withGateway(node) { [limit] port in
            let (client, task) = try await awarded(port, node)
            let piece = String(repeating: "x", count: 32_768)
            var sent = 0
            while sent < 4_096, task.say(piece) { sent += 1 }
            client.hangUp()
            #expect(await task.cancelled.happens(within: limit))
        }
    }

    @Test func aFinishedAnswerIsNotCancelledByTheEndOfItsConnection() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            await client.send("POST", "/v1/chat/completions", body: chatBody)
            let first = await node.nextTask()
            first.award()
            first.finish()
            let status = try await client.response().status
            #expect(status == 200)
            await client.send("POST", "/v1/chat/completions", body: chatBody)
            let second = await node.nextTask()
            client.hangUp()
            #expect(await second.cancelled.happens(within: limit))
            #expect(!first.cancelled.hasHappened)
        }
    }

    @Test(arguments: [chatBody, streamBody])
    func aClientThatEndsOnlyItsSendingHalfGetsItsAnswer(body: String) async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            await client.send("POST", "/v1/chat/completions", body: body)
            client.endSending()
            let task = await node.nextTask()
            // It has seen the end of what the client sends.
            _ = await client.receive(untilText: "100 Continue")
            task.award()
            task.say("Hello")
            task.finish()
            let response = try await client.response()
            #expect(response.status == 200 && response.body.contains("Hello"))
            #expect(!task.cancelled.hasHappened)
        }
    }

    @Test func aHalfClosedStreamGoesOnAndEndsWithItsClient() async throws {
        let node = FakeNode()
        try await withGateway(node) { [limit] port in
            let (client, task) = try await begun(port, node)
            client.endSending()
            _ = await client.receive(untilText: ":\n\n")
            task.say("more")
            _ = await client.receive(untilText: "more")
            #expect(!task.cancelled.hasHappened)
            client.hangUp()
            // The end of a half-closed connection shows only when something is sent.
            for _ in 0..<2 { task.say("lost") }
            #expect(await task.cancelled.happens(within: limit))
        }
    }

    @Test func aHalfClosedClientOfHTTP10CountsAsGone() async throws {
        let node = FakeNode()
        try await withGateway(node) { [limit] port in
            let client = try RawClient(port: port)
            let head =
                "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Length: \(chatBody.utf8.count)"
            await client.send(Array("\(head)\r\n\r\n\(chatBody)".utf8))
            let task = await node.nextTask()
            client.endSending()
            #expect(await task.cancelled.happens(within: limit))
        }
    }

    @Test func nothingStaysOpenAfterClientsHaveLeft() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            for body in [chatBody, streamBody] {
                let (client, task) = try await awarded(port, node, body: body)
                client.hangUp()
                #expect(await task.cancelled.happens(within: limit))
            }
            let metrics = try await ask(port, "GET", "/metrics")
            #expect(metrics.body.contains("starling_http_answers_open 0\n"))
        }
    }
}
