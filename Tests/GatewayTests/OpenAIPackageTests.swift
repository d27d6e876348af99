// Runs the real package once, in its own process; then one test for each behaviour that developers rely on.

import Foundation
import Market
import Testing

private struct Package: Sendable {
    static let node = FakeNode(
        highWater: 0, lowWater: 1,
        script: { task in
            let model = task.request.model
            if task.request.kind == .embedding {
                task.award()
                task.finish(extra: #"{"data":[{"index":0,"embedding":[0.25,-1]}]}"#)
            } else if model == "fail-in-mid-stream" {
                task.award()
                task.say("begun")
                // A failure before the first delta is still reported by a status.
                Task {
                    _ = await task.drained.happens(within: .seconds(10))
                    task.fail(.workerLost, "ada fell silent.")
                }
            } else if model == "slow" {
                // Longer than the client waits.
                Task {
                    try await Task.sleep(for: .seconds(1))
                    task.award()
                    task.say("at last")
                    task.finish()
                }
            } else if model.hasPrefix("fail-"),
                let reason = Reason.allCases.first(where: { $0.code == model.dropFirst(5) })
            {
                task.fail(reason, "It failed: \(reason.code).")
            } else {
                task.award()
                task.say("I can add, ")
                task.say("subtract. ✓")
                task.finish()
            }
        })

    /// The script's output, or why it could not run.
    static let outcome = Task { () -> Data in
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let python = root.appending(path: ".cache/venv/bin/python").path
        guard FileManager.default.isExecutableFile(atPath: python) else {
            throw Missing(text: "There is no \(python): run scripts/setup, which installs openai there.")
        }
        let script = root.appending(path: "Tests/GatewayTests/openai_client.py").path
        let (results, continuation) = AsyncStream<Data>.makeStream()
        try await withGateway(node) { port in
            let (status, output, errors) = try await run(python, [script, "http://127.0.0.1:\(port)/v1"])
            guard status == 0 else { throw Missing(text: "openai_client.py failed:\n\(errors)") }
            continuation.yield(output)
        }
        var iterator = results.makeAsyncIterator()
        return try #require(await iterator.next())
    }

    struct Missing: Error, CustomStringConvertible {
        var text: String
        var description: String { text }
    }

    static func run(_ program: String, _ arguments: [String]) async throws -> (Int32, Data, String) {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                let process = Process()
                let (output, errors) = (Pipe(), Pipe())
                process.executableURL = URL(filePath: program)
                process.arguments = arguments
                process.standardOutput = output
                process.standardError = errors
                do {
                    try process.run()
                    let data = output.fileHandleForReading.readDataToEndOfFile()
                    let text = String(
                        decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                    process.waitUntilExit()
                    continuation.resume(returning: (process.terminationStatus, data, text))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    static func seen() async throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: try await outcome.value) as? [String: Any])
    }

    static func seen(_ key: String) async throws -> [String: Any] {
        try #require(try await seen()[key] as? [String: Any])
    }

    static func error(_ key: String) async throws -> [String: Any] {
        try #require(try await seen("errors")[key] as? [String: Any])
    }
}

@Suite(.timeLimit(.minutes(2))) struct OpenAIPackage {
    @Test func listsAndFindsModels() async throws {
        let seen = try await Package.seen()
        #expect(seen["version"] as? String == "3.54.0")
        let models = try #require(seen["models"] as? [[Any]])
        #expect(models.map { $0[0] as? String } == ["wren-l", "wren-m", "wren-s"])
        #expect(models.map { $0[1] as? Int } == [1, 3, 1])
        #expect(seen["model"] as? String == "wren-m")
    }

    @Test func completesAChatWithBillAndRequestID() async throws {
        let whole = try await Package.seen("whole")
        #expect(whole["text"] as? String == "I can add, subtract. ✓")
        #expect(whole["role"] as? String == "assistant")
        #expect(whole["reason"] as? String == "stop")
        #expect(whole["cost"] as? Double == 4.6e-05)
        #expect(whole["total"] as? Int == 30)
        #expect(whole["cached"] as? Int == 2)
        #expect(whole["id"] as? String == "chatcmpl-" + (whole["request"] as? String ?? "?"))
    }

    @Test func streamsWithPreferencesAndTheBillInTheLastChunk() async throws {
        let stream = try await Package.seen("stream")
        #expect(stream["text"] as? String == "I can add, subtract. ✓")
        #expect(stream["reasons"] as? [String] == ["stop"])
        #expect(stream["cost"] as? Double == 4.6e-05)
        #expect(stream["created"] as? Int == 1)
        #expect(stream["ids"] as? Int == 1)
        #expect(Package.node.requests.contains { $0.preferences.maxOutputPrice == 2_500_000 })
        #expect((stream["request"] as? String)?.count == 26)
    }

    @Test func aTryAfterATimeoutWithTheSameKeyJoinsTheTask() async throws {
        let again = try await Package.seen("again")
        #expect(again["ids"] as? Int == 1)
        let replayed = try #require(again["replayed"] as? [Any])
        #expect(replayed.map { $0 as? String } == [nil, "true"])
        let slow = try await Package.seen("slow")
        #expect(slow["text"] as? String == "at last" && (slow["tries"] as? Int ?? 0) > 1)
        let tasks = Package.node.requests.filter { $0.model == "slow" }
        #expect(tasks.count == 1 && tasks.allSatisfy { $0.deadline > .seconds(1) })
        #expect(try await Package.seen()["own_key"] is NSNull, "the package sends none by itself")
    }

    @Test func readsEmbeddingsCompletionsAndHeaders() async throws {
        let seen = try await Package.seen()
        #expect(seen["embedding"] as? [Double] == [0.25, -1])
        #expect(seen["completion"] as? String == "I can add, subtract. ✓")
        let headers = try #require(seen["raw_headers"] as? [String: String])
        #expect(headers["starling-price"] == "input=0.20, cached_input=0.02, output=2.00")
    }

    @Test func raisesTheClassOfEachErrorWithCodeParamAndTask() async throws {
        let unknown = try await Package.error("unknown")
        #expect(unknown["class"] as? String == "NotFoundError")
        #expect(unknown["code"] as? String == "model_not_found")
        #expect(unknown["param"] as? String == "model")
        let price = try await Package.error("price")
        #expect(price["class"] as? String == "InternalServerError")
        #expect(price["status"] as? Int == 503)
        #expect(price["code"] as? String == "over_max_price")
        #expect((price["metadata"] as? [String: Any])?["task"] as? String == price["request"] as? String)
        #expect(try await Package.error("deadline")["status"] as? Int == 504)
        #expect(try await Package.error("lost")["status"] as? Int == 502)
        #expect(try await Package.error("context")["class"] as? String == "BadRequestError")
        let malformed = try await Package.error("malformed")
        #expect(malformed["class"] as? String == "BadRequestError")
        #expect(malformed["param"] as? String == "messages")
        let preference = try await Package.error("preference")
        #expect((preference["message"] as? String)?.contains("max_price") == true)
        #expect(try await Package.error("stream_refused")["status"] as? Int == 503)
    }

    @Test func raisesAnErrorInMidStream() async throws {
        let error = try await Package.error("mid_stream")
        #expect(error["class"] as? String == "APIError")
        #expect(error["code"] as? String == "worker_lost")
        #expect(error["message"] as? String == "ada fell silent.")
    }

    @Test func sendsOneRequestForEachRefusalNotThree() async throws {
        _ = try await Package.outcome.value
        for code in ["over_max_price", "deadline_exceeded", "no_bid", "model_not_found"] {
            #expect(Package.node.requests.filter { $0.model == "fail-\(code)" }.count == 1)
        }
        // Nothing had been delivered or paid.
        #expect(Package.node.requests.filter { $0.model == "fail-worker_lost" }.count == 3)
    }
}
