import Foundation
import Testing

/// Workers that die or freeze in the middle of an answer. Three sell wren-m; each can finish what another
/// began.
extension ProcessTests {
    @Suite(.serialized) struct Failover {
        static let sellers = """
            ada: {serves: wren-m, price: {input: 0.2, output: 2}, speed: 60, slots: 2}
            bob: {serves: wren-m, price: {input: 0.2, output: 2.2}, speed: 60, slots: 2}
            cyd: {serves: wren-m, price: {input: 0.2, output: 2.4}, speed: 60, slots: 2}
            fay: {}
            """
        static let question = chatBody(
            "Count from 5 to 60.", model: "wren-m",
            more: #", "max_tokens": 150, "stream_options": {"include_usage": true}"#)

        private func name(_ id: String, _ mesh: TestMesh) async throws -> String {
            try #require(try await mesh.nodes().first { $0.id == id }?.name)
        }

        /// An uninterrupted answer to the same question.
        private func uninterrupted(_ mesh: TestMesh, _ fay: TestMesh.Node) async throws -> JSON {
            let plain = Self.question.replacing(#", "stream_options": {"include_usage": true}"#, with: "")
            let answer = try await mesh.post("/v1/chat/completions", plain, at: fay).json
            try #require(answer["usage"]["completion_tokens"].int == 150)
            return answer
        }

        /// Checks that hold for every answer that changed workers.
        private func check(_ outcome: JSON, against whole: JSON) {
            #expect(
                outcome["text"].text == whole["choices"][0]["message"]["content"].text,
                "no gap, no repeat: \(outcome)")
            #expect(outcome["usages"].list.count == 1)
            #expect(outcome["usages"][0]["completion_tokens"].int == 150)
            #expect(outcome["usages"][0]["prompt_tokens"] == whole["usage"]["prompt_tokens"])
            #expect(outcome["finish_reasons"].list.compactMap(\.text) == ["length"])
            #expect((outcome["usages"][0]["cost"].number ?? 0) > 0)
        }

        private func gap(_ stream: OpenAIPackage) -> Double {
            let times = stream.chunks.compactMap { $0["at"].number }
            return zip(times, times.dropFirst()).map { ($1 - $0) * 1000 }.max() ?? 0
        }

        @Test func aWorkerKilledInMidStreamIsFollowedByAnotherAndTheTextIsWhole()
            async throws
        {
            try await TestMesh.with(Self.sellers) { mesh in
                let fay = try await mesh.node("fay")
                let whole = try await uninterrupted(mesh, fay)
                let stream = try OpenAIPackage.stream(Self.question, at: fay, in: mesh.folder)
                let first = try await name(stream.worker(), mesh)
                try await stream.waitForChunks(20)
                try await mesh.testnet("kill", first)
                let outcome = try await stream.outcome()
                check(outcome, against: whole)
                let transcript = try await mesh.transcript(outcome["request_id"].text ?? "", at: fay)
                #expect(transcript["failovers"].int == 1)
                #expect(transcript["assignments"].list.count == 2)
                #expect(transcript["assignments"][0]["ended"].text == "lost", "\(transcript["assignments"])")
                #expect(transcript["assignments"][1]["ended"].text == "finished")
                measured("longest pause with a worker killed in mid-stream", gap(stream))
            }
        }

        @Test func twoWorkersKilledInOneStreamLeaveNoTraceInItsText() async throws {
            try await TestMesh.with(Self.sellers) { mesh in
                let fay = try await mesh.node("fay")
                let whole = try await uninterrupted(mesh, fay)
                let stream = try OpenAIPackage.stream(Self.question, at: fay, in: mesh.folder)
                let first = try await name(stream.worker(), mesh)
                try await stream.waitForChunks(20)
                try await mesh.testnet("kill", first)
                let task = try #require(stream.process.lines.first?["headers"]["x-request-id"].text)
                let second = try await eventually("another goes on") {
                    let last = try await mesh.transcript(task, at: fay)["assignments"].list.last
                    return last?["name"].text == first ? nil : last?["name"].text
                }
                try await stream.waitForChunks(stream.chunks.count + 20)
                try await mesh.testnet("kill", second)
                let outcome = try await stream.outcome()
                check(outcome, against: whole)
                let transcript = try await mesh.transcript(task, at: fay)
                #expect(transcript["failovers"].int == 2)
                #expect(
                    Set(transcript["assignments"].list.compactMap { $0["name"].text }) == [
                        "ada", "bob", "cyd",
                    ])
            }
        }

        @Test func aFrozenWorkerIsFollowedByAnotherAndSaysNothingMoreWhenItWakes()
            async throws
        {
            try await TestMesh.with(Self.sellers) { mesh in
                let fay = try await mesh.node("fay")
                let whole = try await uninterrupted(mesh, fay)
                let stream = try OpenAIPackage.stream(Self.question, at: fay, in: mesh.folder)
                let id = try await stream.worker()
                let first = try await name(id, mesh)
                try await stream.waitForChunks(20)
                try await mesh.testnet("freeze", first)
                let had = stream.chunks.count
                try await stream.waitForChunks(had + 30)
                // It wakes while the other is still writing, so the rest of its answer comes too late.
                try await mesh.testnet("thaw", first)
                let outcome = try await stream.outcome()
                check(outcome, against: whole)
                let transcript = try await mesh.transcript(outcome["request_id"].text ?? "", at: fay)
                #expect(transcript["failovers"].int == 1)
                #expect(
                    transcript["assignments"][0]["ended"].text == "stalled", "\(transcript["assignments"])")
                measured("longest pause with a worker frozen in mid-stream", gap(stream))
                let woken = try await mesh.node(first)
                try await until("the woken worker's slot is free") {
                    try await mesh.slotsBusy(at: woken) == 0
                }
                try await until("the woken worker sells again", within: 30) {
                    try await mesh.chat(
                        "What is 3 + 4?", model: "wren-m", at: fay,
                        more: #", "provider": {"only": ["\#(first)"]}"#
                    ).status == 200
                }
            }
        }

        @Test func aWorkerKilledBeforeItsFirstTokenIsFollowedByAnother() async throws {
            try await ScriptedBackend.with(#"{"first": 30, "tokens": 5}"#) { slow in
                try await ScriptedBackend.with(#"{"tokens": 5}"#) { quick in
                    // Trials are answered at once, so that both backends come up; afterwards the first one is
                    // slow.
                    try await slow.play(#"{"first": 0}"#)
                    try await TestMesh.with(
                        slow.seller("ada", output: 1) + "\n" + quick.seller("bob", output: 5) + "\nfay: {}"
                    ) { mesh in
                        try await slow.play(#"{"first": 30}"#)
                        let fay = try await mesh.node("fay")
                        let asked = Task {
                            try await mesh.chat(
                                "Hello", model: "parrot", at: fay, more: #", "provider": {"sort": "price"}"#)
                        }
                        try await until("the first worker has the task") {
                            try await slow.requests().count == 1
                        }
                        try await mesh.testnet("kill", "ada")
                        let answer = try await asked.value
                        #expect(answer.status == 200)
                        #expect(
                            answer.json["choices"][0]["message"]["content"].text == "w0 w1 w2 w3 w4 ",
                            "\(answer.body)")
                        let transcript = try await mesh.transcript(
                            answer.headers["x-request-id"] ?? "", at: fay)
                        #expect(
                            transcript["assignments"].list.compactMap { $0["name"].text } == ["ada", "bob"])
                        try await until("the killed worker's backend is left alone") {
                            try await slow.requests()[0].how == "aborted"
                        }
                    }
                }
            }
        }

        @Test func anAnswerThatNobodyCanGoOnWithEndsWithTheReasonInTheStream() async throws {
            try await TestMesh.with(
                "ada: {serves: wren-m, price: {input: 0.2, output: 2}, speed: 40}\nfay: {}"
            ) { mesh in
                let fay = try await mesh.node("fay")
                let stream = try OpenAIPackage.stream(Self.question, at: fay, in: mesh.folder)
                try await stream.waitForChunks(10)
                try await mesh.testnet("kill", "ada")
                let outcome = try await stream.outcome(within: 30)
                #expect(outcome["error"]["class"].text == "APIError", "\(outcome)")
                #expect(outcome["error"]["code"].text == "worker_lost")
                #expect(outcome["error"]["message"].text?.contains("ada") == true)
                let asked = try await mesh.starling("ask", "--via", "fay", "--model", "wren-m", "Hello")
                #expect(asked.status == 69 || asked.status == 75, "\(asked.err)")
            }
        }
    }
}
