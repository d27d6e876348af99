import Foundation
import Testing

/// A node and the machine it runs on: its files, its limits, its terminal.
extension ProcessTests {
    @Suite(.serialized) struct OwnMachine {
        /// Runs a node that only asks, by a shell line in which `$NODE` is its command.
        private func withNode(
            _ line: String, _ body: (_ node: Spawned, _ port: UInt16, _ home: String) async throws -> Void
        ) async throws {
            let home = try Project.folder("home")
            defer { Project.remove(home) }
            let (holder, port) = try Socket.holding()
            holder.close()
            let config = "\(home)/node.yaml"
            try """
            mesh: {name: testnet-own, address: 127.0.0.1, port: 0}
            http: {listen: "127.0.0.1:\(port)"}
            data: \(home)/data
            """.write(toFile: config, atomically: true, encoding: .utf8)
            let node = try Spawned(
                "/bin/sh", ["-c", line],
                environment: ["NODE": "\(Project.program) node --config \(config)"], folder: home)
            defer { node.stop() }
            try await until("it is up") { (try? healthOf(port)) == true }
            try await body(node, port, home)
        }

        private func healthOf(_ port: UInt16) throws -> Bool {
            try get("/health", port).hasPrefix("HTTP/1.1 200")
        }

        private func get(_ path: String, _ port: UInt16) throws -> String {
            let client = try Socket.connected(to: port)
            defer { client.close() }
            #expect(client.write("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"))
            return client.read()
        }

        @Test func idleClientsLeaveDescriptorsForTheRestOfTheNode() async throws {
            try await withNode("ulimit -n 128; exec $NODE") { node, port, _ in
                let idle = try (0..<200).map { _ in try Socket.connected(to: port) }
                defer { idle.forEach { $0.close() } }
                let metrics = try get("/metrics", port)
                #expect(metrics.contains("starling_http_connections 16\n"), "\(metrics.suffix(400))")
                let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(node.pid)/fd").count
                #expect(open < 100)
                #expect(node.err.components(separatedBy: "HTTP connections reach their bound").count == 2)
                #expect(try healthOf(port))
            }
        }

        /// Runs the node in a terminal of its own, which closes at the first SIGUSR1, and passes other signals on.
        private static let terminal = """
            import os, pty, signal, sys
            pid, fd = pty.fork()
            if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
            def hang_up(*_):
                os.close(fd)
                for _ in range(int(os.environ.get("AGAIN", "0"))): os.kill(pid, signal.SIGHUP)
            signal.signal(signal.SIGUSR1, hang_up)
            for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, lambda n, _: os.kill(pid, n))
            try:
                while True: os.write(2, os.read(fd, 4096))
            except OSError: pass
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            """

        private func withTerminal(
            _ setting: String, _ body: (_ node: Spawned, _ port: UInt16, _ home: String) async throws -> Void
        ) async throws {
            let script = "\(NSTemporaryDirectory())/terminal-\(UInt32.random(in: 0...UInt32.max)).py"
            try Self.terminal.write(toFile: script, atomically: true, encoding: .utf8)
            defer { Project.remove(script) }
            try await withNode("\(setting); exec \(Project.python) \(script) $NODE", body)
        }

        @Test func aTerminalThatClosesLetsTheNodeLeaveAlsoWhenItSaysSoTwice() async throws {
            try await withTerminal("export AGAIN=1") { node, _, _ in
                node.send(SIGUSR1)
                let ended = try await node.finished()
                #expect(ended.status == 0, "\(ended.err)")
            }
        }

        @Test func underNohupANodeOutlivesItsTerminal() async throws {
            try await withTerminal("trap '' HUP; export AGAIN=1") { node, port, _ in
                node.send(SIGUSR1)
                let isHealthy = try healthOf(port)
                #expect(isHealthy)
                node.send(SIGTERM)
                let status = try await node.finished().status
                #expect(status == 0)
            }
        }

        @Test func aHangUpReadsTheFileAgainAndSaysWhatNeedsARestart() async throws {
            try await withNode("exec $NODE") { node, port, home in
                let config = "\(home)/node.yaml"
                let before = try String(contentsOfFile: config, encoding: .utf8)
                func reload(_ text: String) throws {
                    try text.write(toFile: config, atomically: true, encoding: .utf8)
                    node.send(SIGHUP)
                }
                try reload(before + "\nname: ann\n")
                try await until("it has read it") { node.err.contains("take effect when") }
                #expect(node.err.contains("keys=name"), "\(node.err)")
                try reload(before + "\nnam: ann\n")
                try await until("it complains") { node.err.contains("stays as it was") }
                #expect(node.err.contains("unknown key `nam`") && node.err.contains("`name`"), "\(node.err)")
                let isHealthy = try healthOf(port)
                #expect(isHealthy)
            }
        }

        @Test func aDeletedDataFolderIsToldOnceInTheLogAndInTheStatus() async throws {
            try await TestMesh.with(Lifecycle.two) { mesh in
                let (ada, fay) = (try await mesh.node("ada"), try await mesh.node("fay"))
                #expect(try await mesh.chat("What is 3 + 4?", model: "wren-m", at: fay).status == 200)
                let folder = "\(mesh.folder)/.run/net/ada"
                try FileManager.default.moveItem(atPath: folder, toPath: folder + "-away")
                #expect(try await mesh.chat("What is 3 + 5?", model: "wren-m", at: fay).status == 200)
                try await until("it notices") {
                    let next = try await mesh.get("/mesh/status", at: ada).json["next"].text
                    return next?.contains("starling.sqlite is gone") == true
                }
                #expect(try await mesh.chat("What is 3 + 6?", model: "wren-m", at: fay).status == 200)
                let log = try String(contentsOfFile: ada.log, encoding: .utf8)
                #expect(log.components(separatedBy: " is gone: ").count == 2, "\(log)")
                try FileManager.default.moveItem(atPath: folder + "-away", toPath: folder)
                try await until("it goes on", within: 30) {
                    try await mesh.get("/mesh/status", at: ada).json["next"].text?.contains("gone") != true
                }
            }
        }
    }
}
