import Foundation
import Testing

/// `starling testnet`.
extension ProcessTests {
    @Suite(.serialized) struct Lifecycle {
        static let two = """
            ada: {serves: wren-m, price: {input: 0.2, output: 2}, speed: 60, slots: 2}
            fay: {}
            """

        /// llama.cpp servers of a testnet have its models folder in their command line.
        private func servers(_ mesh: TestMesh) -> [Int32] { processes(with: "\(mesh.folder)/models") }

        @Test func upReturnsWhenEveryNodeAnswersAndKnowsEveryOffer() async throws {
            try await TestMesh.with(Self.two) { mesh in
                let fay = try await mesh.node("fay")
                #expect(try await mesh.get("/mesh/offers", at: fay).json["offers"].list.count == 1)
                #expect(try await mesh.chat("What is 3 + 4?", model: "wren-m", at: fay).status == 200)
            }
        }

        @Test func upOnATestnetThatRunsChangesNothing() async throws {
            try await TestMesh.with(Self.two) { mesh in
                let before = try await mesh.nodes().map(\.pid)
                try await mesh.up()
                #expect(try await mesh.nodes().map(\.pid) == before)
            }
        }

        @Test func upOnAChangedFileStartsAnewWithTheSameIds() async throws {
            try await TestMesh.with(Self.two) { mesh in
                let before = try await mesh.nodes()
                let yaml = try String(contentsOfFile: mesh.file, encoding: .utf8)
                try (yaml + "  gus: {}\n").write(toFile: mesh.file, atomically: true, encoding: .utf8)
                try await mesh.up()
                let after = try await mesh.nodes()
                #expect(after.map(\.name) == ["ada", "fay", "gus"])
                #expect(after.prefix(2).map(\.id) == before.map(\.id))
                for node in before { #expect(!lives(node.pid)) }
            }
        }

        @Test func aKilledNodeStaysDeadAndStatusSaysWhenHowAndByWhom() async throws {
            try await TestMesh.with(Self.two) { mesh in
                let ada = try await mesh.node("ada")
                #expect(!servers(mesh).isEmpty)
                try await mesh.testnet("kill", "ada")
                #expect(!lives(ada.pid))
                let killed = try await mesh.node("ada")
                #expect(killed.state == "killed")
                #expect(killed.all["exit"]["signal"].int == 9)
                let told = try await mesh.testnet("status").out
                #expect(
                    told.contains(/ended \d+ s ago by signal 9 \(SIGKILL\) from `testnet kill`/), "\(told)")
                try await until("its model server ends too") { servers(mesh).isEmpty }
                try await mesh.up()
                #expect(try await mesh.node("ada").state == "killed")
            }
        }

        @Test func aNodeThatSomebodyElseKilledIsToldApart() async throws {
            try await TestMesh.with(Self.two) { mesh in
                kill(try await mesh.node("ada").pid, SIGKILL)
                try await until("status notices") { try await mesh.node("ada").state == "killed" }
                let told = try await mesh.testnet("status").out
                #expect(
                    told.contains(/ended \d+ s ago by signal 9 \(SIGKILL\)/)
                        && !told.contains("testnet kill"), "\(told)")
            }
        }

        @Test func restartBringsANodeBackUnderTheSameIdDeadOrAlive() async throws {
            try await TestMesh.with(Self.two) { mesh in
                let first = try await mesh.node("ada")
                try await mesh.testnet("kill", "ada")
                try await mesh.testnet("restart", "ada")
                let second = try await mesh.node("ada")
                #expect(second.state == "up" && second.id == first.id && second.pid != first.pid)
                try await mesh.testnet("restart", "ada")
                let third = try await mesh.node("ada")
                #expect(third.state == "up" && third.id == first.id && third.pid != second.pid)
                let fay = try await mesh.node("fay")
                try await until("it sells again") {
                    try await mesh.chat("What is 3 + 4?", model: "wren-m", at: fay).status == 200
                }
            }
        }

        @Test func aNodeThatNoBootstrapNodeAnswersSaysSoInItsStatusAndItsLog() async throws {
            try await TestMesh.with(Self.two) { mesh in
                try await mesh.testnet("kill", "ada")
                try await mesh.testnet("restart", "fay")
                let fay = try await mesh.node("fay")
                // It says so when a try fails, from ten seconds on.
                try await until("it is alone", within: 40, every: .milliseconds(500)) {
                    try await mesh.get("/mesh/status", at: fay).json["reach"]["state"].text == "alone"
                }
                let lines = try String(contentsOfFile: fay.log, encoding: .utf8).split(separator: "\n")
                let told = lines.filter { $0.contains("none of the nodes in mesh.join answers") }
                #expect(told.count == 1)
                let ada = try await mesh.node("ada")
                #expect(told.first?.contains("\(ada.key)@127.0.0.1:\(ada.udpPort)") == true, "\(told)")
            }
        }

        @Test func freezeHoldsANodeAndThawLetsItGoOn() async throws {
            try await TestMesh.with(Self.two) { mesh in
                try await mesh.testnet("freeze", "ada")
                #expect(try await mesh.node("ada").state == "frozen")
                #expect(try await mesh.testnet("status").out.contains("by `testnet freeze`"))
                try await mesh.testnet("thaw", "ada")
                try await until("it is up") { try await mesh.node("ada").state == "up" }
            }
        }

        @Test func stopLetsANodeLeaveInOrder() async throws {
            try await TestMesh.with(Self.two) { mesh in
                try await mesh.testnet("stop", "ada")
                let ada = try await mesh.node("ada")
                #expect(ada.state == "left" && ada.all["exit"]["status"].int == 0)
                #expect(servers(mesh).isEmpty)
            }
        }

        @Test(arguments: [false, true])
        func downLeavesNoProcessAndNoPortAlsoAfterTheSupervisorWasKilled(isKilled: Bool)
            async throws
        {
            try await TestMesh.with(Self.two) { mesh in
                let nodes = try await mesh.nodes()
                let state = JSON(
                    parsing: try Data(contentsOf: URL(fileURLWithPath: "\(mesh.folder)/.run/net/state.json")))
                let supervisor = Int32(try #require(state["supervisor"].int))
                #expect(lives(supervisor))
                if isKilled {
                    kill(supervisor, SIGKILL)
                    try await until("the supervisor is gone") { !lives(supervisor) }
                    #expect(try await mesh.nodes().allSatisfy { $0.state == "up" })
                }
                let frozen = nodes[0].name
                try await mesh.testnet("freeze", frozen)
                try await mesh.testnet("down")
                for pid in nodes.map(\.pid) + [supervisor] { #expect(!lives(pid)) }
                #expect(processes(with: mesh.folder).isEmpty)
                for node in nodes {
                    for port in [node.udpPort, node.httpPort] {
                        try Socket.holding(datagramsAt: port).close()
                    }
                    #expect(throws: Socket.NobodyListens.self) {
                        try Socket.connected(to: node.httpPort).close()
                    }
                    #expect(throws: Socket.NobodyListens.self) {
                        try Socket.connected(to: node.udpPort).close()
                    }
                }
                #expect(FileManager.default.fileExists(atPath: nodes[0].log), "logs stay without --purge")
                try await mesh.testnet("down", "--purge", "--name", "net")
                #expect(!FileManager.default.fileExists(atPath: nodes[0].log))
            }
        }

        @Test func withoutATestnetDownSucceedsAndTheOthersSayHowToStartOne() async throws {
            try await TestMesh.with(file: "", name: "none", isUp: false) { mesh in
                #expect(try await mesh.starling("testnet", "down").status == 0)
                for command in ["status", "kill", "ask"] {
                    let finished = try await mesh.start(
                        ["testnet", command] + (command == "kill" ? ["ada"] : [])
                    ).finished()
                    #expect(finished.status == 69, "\(command): \(finished.err)")
                    #expect(finished.err.contains("fix: starling testnet up testnet/market.yaml"))
                }
            }
        }

        @Test func wrongNamesAndFilesAreRefusedWithTheFix() async throws {
            try await TestMesh.with("fay: {}") { mesh in
                func refused(_ arguments: [String], _ status: Int32, _ words: String...) async throws {
                    let finished = try await mesh.start(["testnet"] + arguments).finished()
                    #expect(finished.status == status, "\(arguments): \(finished.err)")
                    for word in words {
                        #expect(finished.err.contains(word), "\(arguments): \(finished.err)")
                    }
                }
                func file(_ text: String) throws -> String {
                    let path = "\(mesh.folder)/other.yaml"
                    try text.write(toFile: path, atomically: true, encoding: .utf8)
                    return path
                }
                try await refused(["kill", "fae"], 64, "no node `fae`", "fix: its nodes are fay")
                try await refused(["up", "/no/such.yaml"], 64, "there is no /no/such.yaml", "fix:")
                try await refused(["up", file("mesh: testnet-x\nnodse: {ada: {}}\n")], 78, "nodse", "nodes")
                try await refused(
                    ["up", file("mesh: testnet-x\nnodes: {ada: {spede: 3}}\n")], 78, "spede", "speed")
                try await refused(["up", file("mesh: main\nnodes: {ada: {}}\n")], 78, "testnet-")
                try await refused(
                    ["up", file("mesh: testnet-x\nnodes: {ada: {serves: wren-x}}\n")], 78, "wren-x.gguf",
                    "fix:")
                try await refused(["up", file("mesh: testnet-x\nnodes: {ada: \n")], 78, "other.yaml")
                try await refused(["freez", "fay"], 64)
                try await refused(["kill"], 64)
                #expect(try await mesh.node("fay").state == "up")
            }
        }

        @Test func upSaysWhoHoldsAPortThatItNeeds() async throws {
            let (holder, port) = try Socket.holding()
            defer { holder.close() }
            let yaml = "mesh: testnet-taken\nports: \(port)\nnodes: {fay: {}}\n"
            try await TestMesh.with(file: yaml, name: "taken", isUp: false) { mesh in
                let finished = try await mesh.starling("testnet", "up", mesh.file)
                #expect(finished.status != 0)
                #expect(
                    finished.err.contains("port \(port)") && finished.err.contains("fix:"), "\(finished.err)"
                )
            }
        }
    }
}

extension ProcessTests.OnMarket {
    @Suite struct Status {
        @Test func statusJsonHasTheFieldsThatScriptsNeed() async throws {
            let nodes = try await market().nodes()
            #expect(nodes.map(\.name) == ["ada", "bob", "cyd", "dot", "eve", "fay", "gus", "hal"])
            let needed: Set = [
                "name", "role", "state", "node_id", "public_key", "pid", "udp", "tcp", "http", "models",
                "log",
            ]
            for node in nodes {
                #expect(node.all.keys.isSuperset(of: needed))
                #expect(node.state == "up")
                #expect(lives(node.pid))
                #expect(node.all["role"].text == (node.all["models"].list.isEmpty ? "asks" : "sells"))
                #expect(FileManager.default.fileExists(atPath: node.log))
            }
        }

        @Test func everyNodeKnowsEveryOtherAndEveryOffer() async throws {
            let mesh = try market()
            for node in try await mesh.nodes() {
                let peers = try await mesh.get("/mesh/peers", at: node).json
                #expect(peers["self"]["node_id"].text == node.id)
                #expect(peers["peers"].list.count == 7, "\(node.name)")
                #expect(
                    try await mesh.get("/mesh/offers", at: node).json["offers"].list.count == 5,
                    "\(node.name)")
            }
        }
    }
}
