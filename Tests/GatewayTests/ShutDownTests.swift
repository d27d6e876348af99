import Gateway
import Logging
import Testing

@Suite struct ShuttingDown {
    /// A running gateway, its port, and the task that ends when it has ended.
    private func start(_ node: FakeNode) async throws -> (Gateway, Int, Task<Void, any Error>) {
        var configuration = GatewayConfiguration()
        configuration.port = 0
        let gateway = try Gateway(node: node, configuration: configuration, logger: Logger(label: "gateway"))
        let (ports, listening) = AsyncStream<Int>.makeStream()
        let running = Task {
            defer { listening.finish() }
            try await gateway.run { listening.yield($0) }
        }
        var iterator = ports.makeAsyncIterator()
        return (gateway, try #require(await iterator.next()), running)
    }

    @Test func aRunningAnswerIsFinishedAndNobodyElseGetsIn() async throws {
        let node = FakeNode()
        let (gateway, port, running) = try await start(node)
        let (client, task) = try await begun(port, node)
        await gateway.shutDown()
        task.say("ended")
        task.finish()
        let body = try await client.response().body
        #expect(body.contains("ended"))
        #expect(body.hasSuffix("data: [DONE]\n\n"))
        try await running.value
        #expect(throws: RawClient.Refused.self) { try RawClient(port: port) }
    }

    @Test func idleConnectionsAreClosedAndWhatWasSentAheadIsNotBegun() async throws {
        let node = FakeNode()
        let (gateway, port, running) = try await start(node)
        let idle = try RawClient(port: port)
        await idle.send("GET", "/health")
        let status = try await idle.response().status
        let busy = try RawClient(port: port)
        await busy.send("POST", "/v1/chat/completions", body: chatBody)
        await busy.send("POST", "/v1/chat/completions", body: chatBody)
        let task = await node.nextTask()
        await gateway.shutDown()
        let silence = await idle.receive { _ in false }
        #expect(status == 200 && silence.isEmpty)
        task.award()
        task.finish()
        let response = try await busy.response()
        #expect(response.status == 200 && response["connection"] == "close")
        let rest = await busy.receive { _ in false }
        #expect(rest.isEmpty && node.requests.count == 1)
        busy.hangUp()
        try await running.value
    }

    @Test func aGatewayThatIsToldToEndBeforeItListensEnds() async throws {
        var configuration = GatewayConfiguration()
        configuration.port = 0
        let gateway = try Gateway(
            node: FakeNode(), configuration: configuration, logger: Logger(label: "gateway"))
        await gateway.shutDown()
        try await gateway.run()
    }
}
