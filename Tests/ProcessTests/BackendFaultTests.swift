import Foundation
import Testing

/// What a client gets when the model server behind its answer fails: a few rows of `scripts/bench backend-faults`, which
/// has them all.
extension ProcessTests {
    @Suite(.serialized) struct BackendFaults {
        static let whole = (0..<10).map { "w\($0) " }.joined()

        /// A buyer, ada, whose model server will be faulty, and bob, which is dearer and well.
        func with(
            backend: String = "openai",
            _ body: (ScriptedBackend, TestMesh, TestMesh.Node) async throws -> Void
        ) async throws {
            let script = #"{"tokens": 10}"#
            try await ScriptedBackend.with(script) { faulty in
                try await ScriptedBackend.with(script) { well in
                    let sellers = [
                        faulty.seller("ada", slots: 2, output: 1, backend: backend),
                        well.seller("bob", slots: 2, output: 5, backend: backend), "fay: {}",
                    ]
                    try await TestMesh.with(sellers.joined(separator: "\n")) { mesh in
                        try await body(faulty, mesh, try await mesh.node("fay"))
                    }
                }
            }
        }

        @Test(arguments: [
            #"{"mode": "quiet"}"#, #"{"mode": "cut", "after": 5}"#, #"{"mode": "done", "after": 5}"#,
            #"{"mode": "close", "after": 5}"#, #"{"mode": "json_error"}"#,
        ])
        func anotherSellerAnswersWhereAModelServerFails(_ fault: String) async throws {
            for backend in ["vllm", "openai"] {
                try await with(backend: backend) { faulty, mesh, fay in
                    try await faulty.play(fault)
                    let answer = try await mesh.chat("Hello", model: "parrot", at: fay)
                    let choice = answer.json["choices"][0]
                    #expect(answer.status == 200 && choice["message"]["content"].text == Self.whole)
                    #expect(choice["finish_reason"].text == "stop", "\(answer.body)")
                    let id = answer.headers["x-request-id"] ?? ""
                    let transcript = try await mesh.transcript(id, at: fay)
                    #expect(transcript["assignments"].list.compactMap { $0["name"].text } == ["ada", "bob"])
                    #expect(transcript["assignments"][0]["why"].text?.isEmpty == false)
                    #expect(try await faulty.requests().count == 1, "one request for one assignment")
                }
            }
        }

        @Test func whatAClientHasGotOfAStreamIsGoneOnWithOrEndsInAnError() async throws {
            let body = chatBody("Hello", model: "parrot", more: #", "stream": true"#)
            for (more, isWhole) in [("", true), (#", "temperature": 1"#, false)] {
                try await with { faulty, mesh, fay in
                    try await faulty.play(#"{"mode": "cut", "after": 5}"#)
                    let asked = isWhole ? body : body.replacing(#", "temperature": 0"#, with: more)
                    let answer = try await mesh.post("/v1/chat/completions", asked, at: fay)
                    #expect(answer.body.contains("[DONE]") == isWhole, "\(answer.body)")
                    #expect(answer.body.contains(#""error""#) != isWhole)
                    #expect(answer.body.contains("w9 ") == isWhole)
                }
            }
        }

        @Test func theSecondOfAClientsModelsAnswersForTheFirstAndIsNamed() async throws {
            try await ScriptedBackend.with(#"{"tokens": 10}"#) { well in
                try await TestMesh.with(well.seller("bob") + "\nfay: {}") { mesh in
                    let fay = try await mesh.node("fay")
                    let answer = try await mesh.chat(
                        "Hello", model: "macaw", at: fay, more: #", "models": ["macaw", "parrot"]"#)
                    #expect(answer.status == 200 && answer.json["model"].text == "parrot", "\(answer.body)")
                    #expect(answer.headers["starling-model"]?.hasPrefix("parrot") == true)
                }
            }
        }

        @Test func aBusyModelServerIsWaitedForAndToldAsWhatPasses() async throws {
            try await ScriptedBackend.with(#"{"tokens": 10}"#) { only in
                try await TestMesh.with(only.seller("ada") + "\nfay: {}") { mesh in
                    let fay = try await mesh.node("fay")
                    try await only.play(#"{"mode": "status", "status": 429, "times": 1}"#)
                    let waited = try await mesh.chat("Hello", model: "parrot", at: fay)
                    #expect(waited.status == 200, "\(waited.body)")
                    try await only.play(#"{"times": -1}"#)
                    let refused = try await mesh.chat("Hello", model: "parrot", at: fay)
                    #expect(refused.status == 503 && refused.json["error"]["code"].text == "busy")
                    #expect(refused.headers["x-should-retry"] == "true", "\(refused.body)")
                    #expect(refused.headers["retry-after"] != nil)
                }
            }
        }

        @Test func moreRequestsThanSlotsWaitInTheQueue() async throws {
            try await with { _, mesh, fay in
                let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                    for _ in 0..<24 {
                        group.addTask { try await mesh.chat("Hello", model: "parrot", at: fay).status }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(statuses.allSatisfy { $0 == 200 }, "\(statuses)")
            }
        }
    }
}
