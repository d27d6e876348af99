import Foundation
import Testing

/// A client that hangs up stops the backend's work, in any phase. The time is printed against its goal of 200
/// ms but not asserted, because the machine may be busy.
extension ProcessTests {
    @Suite(.serialized) struct HangUp {
        private static let body = chatBody("Talk", model: "parrot", more: #", "stream": true"#)

        /// Sends the request, waits for `phase` and hangs up; returns the time of the hang-up.
        private func hangUp(_ fay: TestMesh.Node, body: String = body, _ phase: (Socket) async throws -> Void)
            async throws -> Double
        {
            let socket = try Socket.connected(to: fay.httpPort)
            #expect(socket.write(httpRequest("POST", "/v1/chat/completions", body)))
            do {
                try await phase(socket)
            } catch {
                socket.close()
                throw error
            }
            socket.close()
            return wallClock()
        }

        private func expectAbort(_ backend: ScriptedBackend, _ mesh: TestMesh, since: Double, _ phase: String)
            async throws
        {
            let ended = try await eventually("the backend is left alone", within: 2) {
                let last = try await backend.requests().last
                return last?.how == "aborted" ? last?.ended : nil
            }
            measured("hang-up \(phase) until the backend sees it", (ended - since) * 1000)
            let ada = try await mesh.node("ada")
            try await until("the slot is free", within: 2) { try await mesh.slotsBusy(at: ada) == 0 }
        }

        @Test func whileWaitingForTheFirstTokenAndInMidStreamStreamedOrNot() async throws {
            try await ScriptedBackend.with { backend in
                try await TestMesh.with(backend.seller("ada") + "\nfay: {}") { mesh in
                    let fay = try await mesh.node("fay")
                    for (index, streams) in [true, false].enumerated() {
                        let body = streams ? Self.body : chatBody("Talk", model: "parrot")
                        try await backend.play(#"{"first": 30, "tokens": 1000}"#)
                        let waiting = try await hangUp(fay, body: body) { _ in
                            try await until("the backend works") {
                                try await backend.requests().count == 2 * index + 1
                            }
                        }
                        try await expectAbort(backend, mesh, since: waiting, "before the first token")

                        try await backend.play(#"{"first": 0, "every": 0.02}"#)
                        let streaming = try await hangUp(fay, body: body) { socket in
                            if streams {
                                _ = try await blocking { socket.read(until: "w5 ") }
                            } else {
                                try await until("tokens come") {
                                    let running = try await mesh.get("/mesh/status", at: fay).json["tasks"][
                                        "running"
                                    ].int
                                    let begun = try await backend.requests().count
                                    return running == 1 && begun == 2 * index + 2
                                }
                            }
                        }
                        try await expectAbort(backend, mesh, since: streaming, "in mid-stream")
                    }
                    let tasks = try await mesh.get("/mesh/status", at: fay).json["tasks"]
                    #expect(tasks["cancelled"].int == 4 && tasks["running"].int == 0, "\(tasks)")
                }
            }
        }

        @Test func inTheAuctionNoWorkIsLeftAnywhere() async throws {
            try await ScriptedBackend.with(#"{"tokens": 2000, "every": 0.02}"#) { backend in
                try await ScriptedBackend.with { other in
                    try await TestMesh.with(backend.seller("ada") + "\n" + other.seller("bob") + "\nfay: {}")
                    { mesh in
                        let (fay, ada) = (try await mesh.node("fay"), try await mesh.node("ada"))
                        // A seller that doesn't answer keeps the auction open; hang up at several moments of
                        // it.
                        try await mesh.testnet("freeze", "bob")
                        for milliseconds in [0, 2, 5, 10, 20, 40] {
                            _ = try await hangUp(fay) { _ in
                                try await Task.sleep(for: .milliseconds(milliseconds))
                            }
                        }
                        try await until("no task runs") {
                            try await mesh.get("/mesh/status", at: fay).json["tasks"]["running"].int == 0
                        }
                        try await until("no slot is taken", within: 3) {
                            try await mesh.slotsBusy(at: ada) == 0
                        }
                        try await until("the backend is left alone", within: 2) {
                            try await backend.requests().allSatisfy { $0.how == "aborted" }
                        }
                    }
                }
            }
        }
    }
}
