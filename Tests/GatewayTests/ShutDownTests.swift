import Gateway
import Logging
import Testing

@Suite struct ShuttingDown {
    @Test func aRunningAnswerIsFinishedAndNobodyElseGetsIn() async throws {
        let node = FakeNode()
        var configuration = GatewayConfiguration()
        configuration.port = 0
        let gateway = try Gateway(node: node, configuration: configuration, logger: Logger(label: "gateway"))
        let (ports, listening) = AsyncStream<Int>.makeStream()
        let running = Task {
            defer { listening.finish() }
            try await gateway.run { listening.yield($0) }
        }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        let client = try RawClient(port: port)
        await client.send("POST", "/v1/chat/completions", body: streamBody)
        let task = await node.nextTask()
        task.award()
        task.say("begun")
        _ = await client.receive(untilText: "begun")
        await gateway.shutDown()
        task.say("ended")
        task.finish()
        let body = try await client.response().body
        #expect(body.contains("ended"))
        #expect(body.hasSuffix("data: [DONE]\n\n"))
        try await running.value
        #expect(throws: RawClient.Refused.self) { try RawClient(port: port) }
    }
}
