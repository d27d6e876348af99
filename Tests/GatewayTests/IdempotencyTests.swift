import Market
import NIOCore
import Primitives
import Testing

@testable import Gateway

private let path = "/v1/chat/completions"
private func keyed(_ key: String, _ more: [String: String] = [:]) -> [String: String] {
    ["Idempotency-Key": key].merging(more) { $1 }
}

@Suite struct IdempotencyTests {
    private func answering() -> FakeNode {
        FakeNode { task in
            task.award()
            _ = task.say("I can add.")
            task.finish()
        }
    }

    @Test func aRequestThatComesAgainGetsTheSameAnswerAndStartsNoTask() async throws {
        for body in [chatBody, streamBody] {
            let node = answering()
            try await withGateway(node) { port in
                let first = try await ask(port, "POST", path, body: body, headers: keyed("a"))
                let again = try await ask(port, "POST", path, body: body, headers: keyed("a"))
                #expect(first.status == 200 && again.status == 200)
                #expect(again.body == first.body && first.body.contains("I can add."))
                #expect(again.headers["x-request-id"] == first.headers["x-request-id"])
                #expect(first.headers["idempotent-replayed"] == nil)
                #expect(again.headers["idempotent-replayed"] == "true")
                #expect(node.requests.count == 1)
                let other = try await ask(port, "POST", path, body: body, headers: keyed("b"))
                #expect(other.status == 200 && node.requests.count == 2)
            }
        }
    }

    @Test func aSecondClientJoinsAStreamFromItsBeginning() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let first = try RawClient(port: port)
            await first.send("POST", path, body: streamBody, headers: keyed("a"))
            let task = await node.nextTask()
            task.award()
            _ = task.say("one ")
            _ = await first.receive(untilText: "one ")
            let second = try RawClient(port: port)
            await second.send("POST", path, body: streamBody, headers: keyed("a"))
            _ = await second.receive(untilText: "one ")
            _ = task.say("two ")
            _ = await second.receive(untilText: "two ")
            task.finish()
            let (a, b) = (try await first.response(), try await second.response())
            #expect(a.body == b.body && a.body.contains("[DONE]"))
            #expect(node.requests.count == 1)
        }
    }

    @Test func aClientThatIsCutOffFindsItsAnswerWhenItComesBack() async throws {
        for body in [chatBody, streamBody] {
            let node = FakeNode()
            try await withGateway(node) { port in
                let first = try RawClient(port: port)
                await first.send("POST", path, body: body, headers: keyed("a"))
                let task = await node.nextTask()
                task.award()
                _ = task.say("one ")
                first.reset()
                _ = task.say("two ")
                let second = try RawClient(port: port)
                await second.send("POST", path, body: body, headers: keyed("a"))
                task.finish()
                let answer = try await second.response()
                #expect(answer.status == 200 && answer.body.contains("one "), "\(answer.body)")
                #expect(node.requests.count == 1 && !task.cancelled.hasHappened)
            }
        }
    }

    @Test func withoutAKeyATaskEndsWithItsClient() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let (client, task) = try await asked(port, node)
            client.reset()
            #expect(await task.cancelled.happens(within: .seconds(10)))
        }
    }

    @Test func anotherRequestWithTheKeyIsRefused() async throws {
        let node = answering()
        try await withGateway(node) { port in
            _ = try await ask(port, "POST", path, body: chatBody, headers: keyed("a"))
            let other = try await ask(port, "POST", path, body: streamBody, headers: keyed("a"))
            #expect(other.status == 422 && other.body.contains("idempotency_key_reused"), "\(other.body)")
            #expect(other.headers["x-should-retry"] == "false")
            let route = try await ask(
                port, "POST", "/v1/completions", body: #"{"model": "wren-m", "prompt": "x"}"#,
                headers: keyed("a"))
            #expect(route.status == 422 && node.requests.count == 1)
            for key in ["", String(repeating: "k", count: 256)] {
                let bad = try await ask(port, "POST", path, body: chatBody, headers: keyed(key))
                #expect(bad.status == 400 && bad.body.contains("invalid_idempotency_key"), "\(bad.body)")
            }
        }
    }

    @Test func theKeysOfClientsAreApart() async throws {
        let node = answering()
        let clients = ["a", "b"].map { ClientKey(name: $0, digest: ClientKey.digest(of: "key-\($0)".utf8)) }
        try await withGateway(
            node,
            {
                $0.apiKeys = ["owner"]
                $0.clientKeys = clients
            }
        ) { port in
            for key in ["owner", "key-a", "key-b"] {
                let headers = keyed("same", ["Authorization": "Bearer \(key)"])
                let answer = try await ask(port, "POST", path, body: chatBody, headers: headers)
                #expect(answer.status == 200 && answer.headers["idempotent-replayed"] == nil)
            }
            #expect(node.clients == ["", "a", "b"])
        }
    }

    @Test func aFailureIsNotKeptSoThatARetryIsOne() async throws {
        for body in [chatBody, streamBody] {
            let node = FakeNode()
            try await withGateway(node) { port in
                let client = try RawClient(port: port)
                await client.send("POST", path, body: body, headers: keyed("a"))
                await node.nextTask().fail(.busy)
                let refused = try await client.response()
                #expect(refused.status == 503 && refused.headers["x-should-retry"] == "true")
                await client.send("POST", path, body: body, headers: keyed("a"))
                let task = await node.nextTask()
                task.award()
                _ = task.say("now")
                task.finish()
                #expect(try await client.response().body.contains("now"))
            }
        }
    }

    @Test func aStreamThatBreaksOffIsNotKept() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            await client.send("POST", path, body: streamBody, headers: keyed("a"))
            let task = await node.nextTask()
            task.award()
            _ = task.say("begun")
            _ = await client.receive(untilText: "begun")
            task.fail(.workerLost)
            #expect(try await client.response().body.contains("worker_lost"))
            await client.send("POST", path, body: streamBody, headers: keyed("a"))
            let again = await node.nextTask()
            again.award()
            again.finish()
            #expect(try await client.response().body.contains("[DONE]"))
        }
    }

    @Test func anAnswerIsKeptForItsTimeAndNoLonger() async throws {
        let node = answering()
        try await withGateway(node, { $0.replaysFor = .zero }) { port in
            for _ in 0..<2 {
                let answer = try await ask(port, "POST", path, body: chatBody, headers: keyed("a"))
                #expect(answer.headers["idempotent-replayed"] == nil)
            }
            #expect(node.requests.count == 2)
        }
    }

    @Test func anAnswerTooLargeToBeKeptReachesItsClientAndIsNotBoughtAgain() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let client = try RawClient(port: port)
            await client.send("POST", path, body: streamBody, headers: keyed("a"))
            let task = await node.nextTask()
            task.award()
            let piece = String(repeating: "x", count: 64 << 10)
            for _ in 0..<(Replays.answerBytesMax >> 16 + 2) { _ = task.say(piece) }
            task.finish()
            let answer = try await client.response()
            #expect(answer.body.utf8.count > Replays.answerBytesMax && answer.body.contains("[DONE]"))
            let again = try await ask(port, "POST", path, body: streamBody, headers: keyed("a"))
            #expect(again.status == 409 && again.headers["x-should-retry"] == "false", "\(again.body)")
            #expect(node.requests.count == 1)
        }
    }

    // MARK: - Bounds

    private func key(_ number: Int) -> Replays.Key { Replays.Key(client: "", text: "\(number)") }
    private let digest = Bytes32(1, 2, 3, 4)

    @Test func entriesAreBoundedTheOldestAnswersLeaveAndTasksThatRunStay() {
        let replays = Replays(keeps: .minutes(10))
        let now = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
        for number in 0..<Replays.countMax {
            guard case .first = replays.claim(key(number), digest, now: now) else {
                Issue.record("no room for \(number)")
                return
            }
        }
        guard case .full = replays.claim(key(-1), digest, now: now) else {
            Issue.record("too many")
            return
        }
        replays.ended(key(5), succeeded: true, now: now)
        guard case .first = replays.claim(key(-1), digest, now: now) else {
            Issue.record("an answer that is over makes room")
            return
        }
        guard case .again = replays.claim(key(4), digest, now: now) else {
            Issue.record("one that runs stays")
            return
        }
        #expect(replays.count == Replays.countMax)
    }

    @Test func bytesAreBoundedAndGivenBack() {
        let replays = Replays(keeps: .minutes(10))
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
        let size = Replays.answerBytesMax
        let fitting = Replays.bytesMax / size
        for number in 0..<fitting + 3 {
            _ = replays.claim(key(number), digest, now: start)
            #expect(replays.grow(key(number), by: size), "\(number)")
            replays.ended(key(number), succeeded: true, now: start)
            #expect(replays.bytes <= Replays.bytesMax)
        }
        replays.purge(now: start + .minutes(11))
        #expect(replays.count == 0 && replays.bytes == 0)
    }
}
