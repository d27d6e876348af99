import Foundation
import Testing

/// What an operator is told, from the first start to the last.
extension ProcessTests {
    @Suite(.serialized) struct Operator {
        /// A node of its own folder, without a testnet.
        private final class Solo: Sendable {
            let folder: String
            let port: UInt16
            let process: Spawned

            init(
                _ folder: String, _ name: String, mesh: String, more: String = "",
                within line: String = "exec $NODE"
            )
                throws
            {
                self.folder = folder
                let ((first, port), (second, meshPort)) = (try Socket.holding(), try Socket.holding())
                first.close()
                second.close()
                self.port = port
                let config = "\(folder)/\(name).yaml"
                try """
                name: \(name)
                mesh: {address: 127.0.0.1, port: \(meshPort), \(mesh)}
                http: {listen: "127.0.0.1:\(port)"}
                log: {level: info, format: json}
                data: \(folder)/\(name)
                \(more)
                """.write(toFile: config, atomically: true, encoding: .utf8)
                process = try Spawned(
                    "/bin/sh", ["-c", line],
                    environment: ["NODE": "\(Project.program) node --config \(config)"], folder: folder)
            }

            func starling(_ arguments: String...) async throws -> Spawned.Finished {
                try await Spawned(
                    Project.program, arguments + ["--via", "http://127.0.0.1:\(port)"], folder: folder
                ).finished()
            }

            func status() async throws -> JSON { try await starling("status", "--json").json }

            func isUp() async throws {
                try await until("\(folder) is up", within: 20) { try await starling("status").status == 0 }
            }

            /// Its log's lines.
            var log: [JSON] { process.err.split(separator: "\n").map { JSON(parsing: String($0)) } }
        }

        private func withFolder(_ body: (String) async throws -> Void) async throws {
            let folder = try Project.folder("operator")
            defer { Project.remove(folder) }
            try await body(folder)
        }

        /// A limit of 0 bytes for each file stands for the full disk.
        @Test func aFirstStartOnAFullDiskLeavesNothingThatTheNextOneWouldBelieve() async throws {
            try await withFolder { folder in
                let full = try Solo(
                    folder, "ada", mesh: "name: testnet-full", within: "trap '' XFSZ; ulimit -f 0; exec $NODE"
                )
                #expect(try await full.process.finished().status == 77)
                let left = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/ada")
                #expect(!left.contains { $0.hasPrefix("key") }, "\(left)")
                let node = try Solo(
                    folder, "ada", mesh: "name: testnet-full")
                defer { node.process.stop() }
                try await node.isUp()
                #expect(FileManager.default.fileExists(atPath: "\(folder)/ada/key"))
            }
        }

        @Test func eachNodeOfMeshJoinThatIsNotReachedHasItsOwnCauseInLogAndStatus() async throws {
            try await withFolder { folder in
                let secret = "secret: a-long-random-text"
                let first = try Solo(folder, "ada", mesh: "name: testnet-join, \(secret)")
                let named = try Solo(folder, "bob", mesh: "name: testnet-other, \(secret)")
                let open = try Solo(folder, "cyd", mesh: "name: testnet-join")
                let closed = try Solo(
                    folder, "dot", mesh: "name: testnet-join, secret: another-long-text")
                let (listener, port) = try Socket.holding()
                defer {
                    for node in [first, named, open, closed] { node.process.stop() }
                    listener.close()
                }
                var urls: [String] = []
                for node in [first, named, open, closed] {
                    try await node.isUp()
                    let status = try await node.status()
                    urls.append(
                        "starling://\(status["public_key"].text ?? "")@\(status["reach"]["endpoint"].text ?? "")"
                    )
                }
                let key = try #require(urls[1].firstMatch(of: /starling:..([a-z0-9]+)@/)?.1)
                let address = try #require(urls[0].split(separator: "@").last)
                let causes = [
                    ("starling://\(key)@127.0.0.1:1", "no program listens at 127.0.0.1:1"),
                    ("starling://\(key)@127.0.0.1:\(port)", "is no Starling node"),
                    (urls[1], "mesh.name is not this node's"), (urls[2], "has no mesh.secret"),
                    (urls[3], "its key is not the one in mesh.join, or its mesh.secret is not"),
                ]
                let join = causes.map(\.0).joined(separator: ", ")
                let fay = try Solo(
                    folder, "fay", mesh: "name: testnet-join, \(secret), join: [\(join)]")
                defer { fay.process.stop() }
                try await until("it has looked", within: 30) {
                    let problems = try await fay.status()["join"].list.compactMap { $0["problem"].text }
                    return problems.count == causes.count
                }
                let status = try await fay.status()
                let words = try await fay.starling("status").out
                for ((url, cause), entry) in zip(causes, status["join"].list) {
                    #expect(entry["url"].text == url && entry["reached"].flag == false)
                    #expect(entry["problem"].text?.contains(cause) == true, "\(entry)")
                    #expect(words.contains(cause), "\(words)")
                    #expect(
                        fay.log.contains {
                            $0["event"].text?.contains(cause) == true && $0["join"].text == url
                        })
                }
                // One that knows others of the mesh knows that only the key can be wrong.
                let gus = try Solo(
                    folder, "gus",
                    mesh:
                        "name: testnet-join, \(secret), join: [\(urls[0]), starling://\(key)@\(address)]"
                )
                defer { gus.process.stop() }
                try await until("it has looked", within: 30) {
                    (try? await gus.status())?["join"][1]["problem"].text?.contains("hasn't the key") == true
                }
                #expect(try await gus.status()["join"][0]["reached"].flag == true)
            }
        }

        @Test func aNodeThatJoinsByTheNodeWhoseKeyItCopiedSaysSo() async throws {
            try await withFolder { folder in
                let ada = try Solo(folder, "ada", mesh: "name: testnet-twin")
                defer { ada.process.stop() }
                try await ada.isUp()
                let status = try await ada.status()
                let endpoint = status["reach"]["endpoint"].text ?? ""
                try FileManager.default.createDirectory(
                    atPath: "\(folder)/eve", withIntermediateDirectories: true)
                try FileManager.default.copyItem(atPath: "\(folder)/ada/key", toPath: "\(folder)/eve/key")
                let url = "starling://\(status["public_key"].text ?? "")@\(endpoint)"
                let eve = try Solo(folder, "eve", mesh: "name: testnet-twin, join: [\(url)]")
                defer { eve.process.stop() }
                let words = "another node at \(endpoint) runs with this node's key"
                try await until("it says so", within: 30) {
                    try await eve.starling("status").out.contains(words)
                }
                #expect(eve.log.count { $0["event"].text?.contains(words) == true } == 1)
            }
        }

        @Test func whatWasSoldAndRefusedIsInStatusAndLogAndOutlivesTheNodeAsDoesWhy() async throws {
            try await ScriptedBackend.with(#"{"tokens": 5}"#) { backend in
                let nodes = backend.seller("ada") + "\nfay: {}"
                try await TestMesh.with(nodes) { mesh in
                    let (ada, fay) = (try await mesh.node("ada"), try await mesh.node("fay"))
                    var (task, cost) = ("", 0)
                    for _ in 0..<3 {
                        let answer = try await mesh.chat("Hello", model: "parrot", at: fay)
                        #expect(answer.status == 200, "\(answer.body)")
                        task = answer.headers["x-request-id"] ?? ""
                        cost += answer.json["usage"]["cost_ucr"].int ?? 0
                    }
                    #expect(try await mesh.starling("pause", "--via", "ada").status == 0)
                    _ = try await mesh.chat("Hello", model: "parrot", at: fay)
                    try await until("all is paid") {
                        let all = try await mesh.get("/mesh/status", at: ada).json["sold"]["total"]["all"]
                        return all["earned_ucr"].int == cost && all["answers"].int == 3
                    }
                    try await mesh.testnet("stop", "ada")
                    try await mesh.testnet("restart", "ada")
                    let sold = try await mesh.get("/mesh/status", at: ada).json["sold"]
                    for period in ["today", "days_7", "all"] {
                        #expect(sold["total"][period]["answers"].int == 3, "\(sold)")
                        #expect(sold["total"][period]["completion_tokens"].int == 15)
                    }
                    #expect(sold["models"][0]["model"].text == "parrot")
                    #expect(sold["buyers"][0]["node_id"].text == fay.id)
                    #expect(cost > 0 && sold["total"]["all"]["earned_ucr"].int == cost, "\(sold)")
                    #expect(
                        sold["refused"].list.contains {
                            $0["reason"].text == "paused" && $0["calls"]["today"].int ?? 0 > 0
                        }, "\(sold)")
                    let words = try await mesh.starling("status", "--via", "ada").out
                    #expect(
                        words.contains("to fay") && words.contains("3 answers, 15 tokens")
                            && words.contains("paused"),
                        "\(words)")
                    try await mesh.testnet("stop", "fay")
                    try await mesh.testnet("restart", "fay")
                    let why = try await mesh.starling("why", "--via", "fay", task)
                    #expect(why.status == 0 && why.out.contains("won"), "\(why.out) \(why.err)")
                }
            }
        }

        @Test func aNodeOfMeshJoinThatLeavesIsInLogAndStatus() async throws {
            try await withFolder { folder in
                let ada = try Solo(folder, "ada", mesh: "name: testnet-left")
                defer { ada.process.stop() }
                try await ada.isUp()
                let status = try await ada.status()
                let url =
                    "starling://\(status["public_key"].text ?? "")@\(status["reach"]["endpoint"].text ?? "")"
                let eve = try Solo(folder, "eve", mesh: "name: testnet-left, join: [\(url)]")
                defer { eve.process.stop() }
                try await until("it has joined", within: 20) {
                    try await eve.status()["join"][0]["reached"].flag == true
                }
                ada.process.send(SIGTERM)
                #expect(try await ada.process.finished().status == 0)
                let words = "\(url) was reached before, and doesn't answer now"
                try await until("it says so", within: 30) {
                    eve.log.contains { $0["event"].text?.hasPrefix(words) == true && $0["join"].text == url }
                }
                #expect(try await eve.starling("status").out.contains(words))
            }
        }

        /// One node that sells to itself.
        @Test func theLogIsJSONWithNumbersAsNumbersAndABusyModelServerIsNamedInStatus() async throws {
            try await ScriptedBackend.with(#"{"tokens": 5}"#) { backend in
                try await withFolder { folder in
                    let ada = try Solo(
                        folder, "ada", mesh: "name: testnet-log",
                        more: """
                            serve:
                            - {backend: openai, url: "\(backend.url)", model: parrot, slots: 1, price: {input: 0.1, output: 1}}
                            """)
                    defer { ada.process.stop() }
                    try await ada.isUp()
                    try await until("it sells", within: 20) {
                        try await ada.status()["models"][0]["backend"]["state"].text == "ok"
                    }
                    let answer = try await ada.starling("ask", "--models", "macaw,parrot", "--json", "Hello")
                    #expect(answer.json["model"].text == "parrot", "\(answer.out) \(answer.err)")
                    try await backend.play(#"{"mode": "status", "status": 429, "retry_after": 60}"#)
                    let refused = try await ada.starling("ask", "--model", "parrot", "Hello")
                    #expect(refused.status == 75, "\(refused.err)")

                    let model = try await ada.status()["models"][0]
                    #expect(model["backend"]["state"].text == "busy", "\(model)")
                    let until = try #require(model["backend"]["busy_until"].text)
                    #expect(try await ada.starling("status").out.contains("backend busy until \(until)"))
                    let bids = model["bids"]
                    #expect(bids["won"].int == 2 && bids["made"].int == 2, "\(bids)")
                    #expect(bids["calls"].int == (bids["made"].int ?? 0) + (bids["declined"].int ?? 0))

                    let log = ada.log
                    #expect(log.allSatisfy { $0["t"].text != nil && $0["event"].text != nil })
                    #expect(log.first { $0["event"].text == "started" }?["serving"][0].text == "parrot")
                    let up = log.first { $0["event"].text == "backend up" }
                    #expect(up?["first_token_ms"].number != nil && up?["continues"].flag == false)
                    let sold = log.first { $0["event"].text == "answered" }
                    #expect(sold?["completion_tokens"].int == 5 && sold?["duration_ms"].number != nil)
                    #expect(sold?["price_ucr"].number != nil, "\(String(describing: sold))")
                    let failed = log.first { $0["event"].text == "a task failed" }
                    #expect(failed?["code"].text == "busy", "\(log)")
                    #expect(failed?["why"].text?.isEmpty == false && failed?["task"].text != nil)
                }
            }
        }

        @Test func aNodeThatLeavesSaysSoUntilItsLastAnswerHasEnded() async throws {
            try await ScriptedBackend.with(#"{"tokens": 300, "every": 0.01}"#) { backend in
                try await TestMesh.with(backend.seller("ada") + "\nfay: {}") { mesh in
                    let (ada, fay) = (try await mesh.node("ada"), try await mesh.node("fay"))
                    let long = Task { try await mesh.chat("Talk", model: "parrot", at: fay) }
                    try await until("the answer runs") { try await backend.requests().count == 1 }
                    kill(ada.pid, SIGTERM)
                    kill(fay.pid, SIGTERM)
                    for node in ["ada", "fay"] {
                        try await until("\(node) says that it leaves") {
                            try await mesh.starling("status", "--via", node, "--json").json["state"].text
                                == "leaving"
                        }
                    }
                    let refused = try await mesh.chat("Hello", model: "parrot", at: fay)
                    #expect(
                        refused.status == 503 && refused.json["error"]["code"].text == "leaving",
                        "\(refused.body)")
                    #expect(try await long.value.status == 200)
                }
            }
        }
    }
}
