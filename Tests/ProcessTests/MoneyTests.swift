import Foundation
import MeshClient
import Testing

/// What clients may spend, who owes what, and how it is paid and kept: at a node of an operator, who buys from a testnet.
extension ProcessTests {
    @Suite(.serialized) struct Money {
        /// The operator's node and its files.
        final class Own: Sendable {
            let folder: String
            let port: UInt16
            private let yaml: String
            var config: String { "\(folder)/node.yaml" }
            var url: String { "http://127.0.0.1:\(port)" }

            init(folder: String, joins seller: TestMesh.Node, mesh: String, _ more: String) throws {
                self.folder = folder
                let (holder, port) = try Socket.holding()
                holder.close()
                self.port = port
                yaml = """
                    mesh: {name: \(mesh), address: 127.0.0.1, port: 0, join: ["starling://\(seller.key)@127.0.0.1:\(seller.udpPort)"]}
                    names: {ada: \(seller.key)}
                    data: \(folder)/data
                    \(more.replacing("LISTEN", with: "listen: \"127.0.0.1:\(port)\""))

                    """
                try yaml.write(toFile: config, atomically: true, encoding: .utf8)
            }

            /// Runs it as long as `body` takes.
            func running(_ body: (Spawned) async throws -> Void) async throws {
                let node = try Spawned(Project.program, ["node", "--config", config], folder: folder)
                defer { node.stop() }
                let client = MeshClient(base: url, apiKey: "the-owners-key")
                try await until("it knows an offer") {
                    (try? client.get("/v1/models").body).map {
                        String(decoding: $0, as: UTF8.self).contains("wren-m")
                    }
                        ?? false
                }
                try await body(node)
                node.send(SIGTERM)
                _ = try await node.finished()
            }

            func starling(_ arguments: String...) async throws -> Spawned.Finished {
                let door = ["--via", url, "--api-key", "the-owners-key"]
                return try await Spawned(Project.program, arguments + door, folder: folder).finished()
            }

            func command(_ arguments: String...) async throws -> Spawned.Finished {
                try await Spawned(Project.program, arguments + ["--config", config], folder: folder)
                    .finished()
            }

            func ask(_ key: String, _ question: String = "What is 3 + 4?", more: String = "") throws -> (
                Int, String
            ) {
                let body =
                    #"{"model": "wren-m", "max_tokens": 16, "messages": [{"role": "user", "content": "\#(question)"}], "provider": {"max_cost": 0.001}\#(more)}"#
                let answer = try MeshClient(base: url, apiKey: key).post(
                    "/v1/chat/completions", json: Array(body.utf8), timeout: 20)
                return (answer.status, String(decoding: answer.body, as: UTF8.self))
            }
        }

        private func with(_ more: String, _ body: (Own) async throws -> Void) async throws {
            let home = try Project.folder("home")
            defer { Project.remove(home) }
            try await TestMesh.with("ada: {serves: wren-m, price: {input: 0.2, output: 2}}") { mesh in
                let own = try Own(
                    folder: home, joins: try await mesh.node("ada"), mesh: "testnet-\(mesh.name)", more)
                try await body(own)
            }
        }

        @Test func aClientsBudgetIsHeldAlsoAcrossARestartAndItsUsageIsShown() async throws {
            let (ci, free) = ("the-key-of-the-builder", "the-key-of-somebody")
            try await with(
                """
                http: {LISTEN, api_keys: [the-owners-key]}
                ask: {keys: [{name: ci, key: \(ci), credits_per_day: 0.001}, {name: free, key: \(free)}]}
                """
            ) { own in
                try await own.running { _ in
                    #expect(try own.ask(ci).0 == 200)
                    let (status, body) = try own.ask(ci)
                    #expect(status == 402 && body.contains("insufficient_quota"), "\(body)")
                    #expect(body.contains("0.001") && body.contains("ci"), "\(body)")
                    #expect(try own.ask(free).0 == 200)
                    #expect(try own.ask("the-owners-key").0 == 200)
                    #expect(try own.ask("another").0 == 401)
                    let usage = try await own.starling("usage")
                    #expect(usage.out.contains("ci") && usage.out.contains("1 task"), "\(usage.out)")
                }
                try await own.running { _ in
                    #expect(try own.ask(ci).0 == 402)
                    let usage = try await own.starling("usage", "--json").json["clients"].list
                    let used = try #require(usage.first { $0["client"].text == "ci" })
                    #expect(used["used"]["today"]["tasks"].int == 1)
                    #expect((used["used"]["all"]["cost_ucr"].int ?? 0) > 0)
                    #expect(used["budget"]["credits_per_day_ucr"].int == 1_000)
                }
            }
        }

        @Test func whatIsOwedIsInTheLedgerIsPaidByTheCommandAndIsNotPaidTwice() async throws {
            try await with(
                """
                http: {LISTEN, api_keys: [the-owners-key]}
                """
            ) { own in
                let pay = "\(own.folder)/pay"
                try "#!/bin/sh\ncat >> \(own.folder)/paid\n".write(
                    toFile: pay, atomically: true, encoding: .utf8)
                chmod(pay, 0o755)
                let before = try String(contentsOfFile: own.config, encoding: .utf8)
                try await own.running { node in
                    #expect(try own.ask("the-owners-key").0 == 200)
                    let none = try await own.starling("settle", "ada")
                    #expect(none.status == 64 && none.err.contains("settle: {command:"), "\(none.err)")
                    try (before + "settle: {command: [\(pay)]}\n").write(
                        toFile: own.config, atomically: true, encoding: .utf8)
                    node.send(SIGHUP)
                    try await until("it has read it") { node.err.contains("settle.command[0]") }
                    let ledger = try await own.starling("ledger", "--json").json
                    let owing = ledger["peers"][0]["owing_ucr"].int ?? 0
                    #expect(owing > 0 && ledger["owing_ucr"].int == owing)
                    #expect(ledger["peers"][0]["name"].text == "ada")
                    let csv = try await own.starling("ledger", "--csv", "--since", "1d").out
                    #expect(csv.hasPrefix("node,name,owed,owing,") && csv.contains(",ada,0.00,"), "\(csv)")
                    let paid = try await own.starling("settle", "ada")
                    #expect(paid.status == 0 && paid.err.contains("paid"), "\(paid.err)")
                    let order = JSON(
                        parsing: try String(contentsOfFile: "\(own.folder)/paid", encoding: .utf8))
                    #expect(order["amount_ucr"].int == owing && order["payee"]["name"].text == "ada")
                    let again = try await own.starling("settle", "ada")
                    #expect(again.err.contains("nothing is due"), "\(again.err)")
                }
                try await own.running { _ in
                    let again = try await own.starling("settle", "ada")
                    #expect(again.err.contains("nothing is due"), "also after a restart: \(again.err)")
                    let unknown = try await own.starling("settle", "nobody")
                    #expect(unknown.status == 64 && unknown.err.contains("starling ledger"), "\(unknown.err)")
                }
            }
        }

        @Test func aDebtThatReachesTheThresholdIsPaidAndAFailureIsLoggedWithItsFix() async throws {
            try await with(
                """
                http: {LISTEN, api_keys: [the-owners-key]}
                settle: {command: [/bin/sh, -c, "echo no money >&2; exit 3"], threshold: 0.000001}
                """
            ) { own in
                try await own.running { node in
                    #expect(try own.ask("the-owners-key").0 == 200)
                    try await until("it complains") { node.err.contains("exited with 3: no money") }
                    #expect(node.err.contains("starling settle "), "\(node.err)")
                    let failed = try await own.starling("settle", "ada")
                    #expect(failed.status == 1 && failed.err.contains("no money"), "\(failed.err)")
                }
            }
        }

        @Test func aNodeIsBackedUpWhileItRunsAndRestoredWhileItDoesNot() async throws {
            try await with("http: {LISTEN, api_keys: [the-owners-key]}") { own in
                let backup = "\(own.folder)/backup"
                var key = ""
                try await own.running { _ in
                    #expect(try own.ask("the-owners-key").0 == 200)
                    key = try await own.starling("status", "--json").json["public_key"].text ?? ""
                    try await until("the receipt is stored") {
                        try await own.starling("ledger", "--json").json["peers"][0]["bought"].int == 1
                    }
                    let made = try await own.command("backup", backup)
                    #expect(made.status == 0 && made.err.contains("1 receipt"), "\(made.err)")
                    let refused = try await own.command("restore", backup)
                    #expect(refused.status == 69 && refused.err.contains("stop that node"), "\(refused.err)")
                }
                try FileManager.default.removeItem(atPath: "\(own.folder)/data")
                let restored = try await own.command("restore", backup)
                #expect(restored.status == 0 && restored.err.contains("vouchers"), "\(restored.err)")
                try await own.running { _ in
                    let status = try await own.starling("status", "--json").json
                    let ledger = try await own.starling("ledger", "--json").json
                    #expect(status["public_key"].text == key)
                    #expect(ledger["peers"][0]["bought"].int == 1)
                }
            }
        }
    }
}
