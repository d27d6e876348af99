import Foundation
import Testing

/// Malformed and hostile input.
extension ProcessTests.OnMarket {
    @Suite(.serialized) struct BadInput {
        /// Sends a request as raw bytes; returns the status line and body of the answer.
        private func raw(_ request: [UInt8], at node: TestMesh.Node) async throws -> String {
            try await blocking {
                let socket = try Socket.connected(to: node.httpPort)
                defer { socket.close() }
                _ = socket.write(request)
                return socket.read()
            }
        }

        @Test(arguments: [
            ("", "empty"), ("   ", "empty"), ("{", "JSON"), ("[]", "object"), ("null", "object"),
            ("{}", "model"),
            (#"{"model": 7, "messages": []}"#, "model"),
            (#"{"model": "wren-m"}"#, "messages"),
            (#"{"model": "wren-m", "messages": {}}"#, "messages"),
            (#"{"model": "wren-m", "messages": [7]}"#, "messages"),
            (
                #"{"model": "wren-m", "messages": [{"role": "user", "content": "x"}], "max_tokens": "many"}"#,
                "max_tokens"
            ),
            (
                #"{"model": "wren-m", "messages": [{"role": "user", "content": "x"}], "stream": "yes"}"#,
                "stream"
            ),
            (
                #"{"model": "wren-m", "messages": [{"role": "user", "content": "x"}], "provider": {"max_price": 3}}"#,
                "max_price"
            ),
            (#"{"model": "wren-m", "model": "wren-s", "messages": []}"#, "twice"),
        ])
        func aWrongBodyIsToldWhatIsWrongWithIt(body: String, word: String) async throws {
            let mesh = try market()
            let answer = try await mesh.post("/v1/chat/completions", body, at: mesh.node("hal"))
            #expect(answer.status == 400, "\(answer.body)")
            let error = answer.json["error"]
            #expect(error["type"].text == "invalid_request_error")
            #expect(error["message"].text?.contains(word) == true, "\(error)")
            #expect(answer.headers["x-should-retry"] == "false")
        }

        @Test func aBodyThatIsNotUTF8OrNestedWithoutEndIsRefused() async throws {
            let mesh = try market()
            let hal = try await mesh.node("hal")
            let invalid =
                Array(#"{"model": "wren-m", "messages": [{"role": "user", "content": ""#.utf8) + [0xff, 0xfe]
                + Array(#""}]}"#.utf8)
            for body in [invalid, [UInt8](repeating: UInt8(ascii: "["), count: 1 << 20)] {
                let head =
                    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: \(body.count)\r\n\r\n"
                let answer = try await raw(Array(head.utf8) + body, at: hal)
                #expect(answer.hasPrefix("HTTP/1.1 400"), "\(answer.prefix(300))")
            }
            #expect(try await mesh.node("hal").state == "up")
        }

        @Test func aBodyOf100MegabytesIsRefusedAnnouncedOrNotAndTheNodeStaysSmall() async throws {
            let mesh = try market()
            let hal = try await mesh.node("hal")
            let megabyte = [UInt8](repeating: UInt8(ascii: " "), count: 1 << 20)
            let before = memory(hal.pid, "VmHWM")
            for (isChunked, closes) in [(false, false), (true, false), (false, true), (true, true)] {
                let length = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(100 << 20)"
                let close = closes ? "Connection: close\r\n" : ""
                let answer = try await blocking {
                    let socket = try Socket.connected(to: hal.httpPort)
                    defer { socket.close() }
                    _ = socket.write(
                        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n\(close)\(length)\r\n\r\n")
                    let piece =
                        isChunked ? Array("100000\r\n".utf8) + megabyte + Array("\r\n".utf8) : megabyte
                    for _ in 0..<100 { guard socket.write(piece) else { break } }
                    if isChunked { _ = socket.write("0\r\n\r\n") }
                    return socket.read(until: closes ? "\u{0}" : "body_too_large")
                }
                #expect(
                    answer.hasPrefix("HTTP/1.1 413"),
                    "chunked \(isChunked), closes \(closes): \(answer.prefix(300))")
            }
            let grown = (memory(hal.pid, "VmHWM") - before) / 1024
            print("    measured: most memory that four bodies of 100 MB took: \(grown) MB")
            #expect(grown < 80)
            #expect(try await mesh.chat("What is 3 + 4?", model: "wren-m", at: hal).status == 200)
        }

        @Test func nonsenseOnTheHTTPPortEndsThatConnectionAlone() async throws {
            let mesh = try market()
            let hal = try await mesh.node("hal")
            var random = SystemRandomNumberGenerator()
            for size in [1, 63, 4096, 65_536] {
                let noise =
                    (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) } + Array("\r\n\r\n".utf8)
                _ = try await raw(noise, at: hal)
            }
            let long = "GET /\(String(repeating: "a", count: 1 << 20)) HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            _ = try await raw(Array(long.utf8), at: hal)
            #expect(try await mesh.get("/health", at: hal).status == 200)
        }

        @Test func datagramsOfAnySizeAndContentAreCountedByReasonAndNothingGrows() async throws {
            let mesh = try market()
            let hal = try await mesh.node("hal")
            let (before, memoryBefore) = (try await dropped(mesh, hal), memory(hal.pid))
            let sizes = [0, 1, 63, 64, 200, 1201, 65_507]
            try await blocking {
                let socket = try Socket.datagrams()
                defer { socket.close() }
                var random = SystemRandomNumberGenerator()
                for round in 0..<1_400 {
                    var bytes = [UInt8](repeating: 0, count: sizes[round % sizes.count])
                    for index in bytes.indices.prefix(1_300) {
                        bytes[index] = UInt8.random(in: 0...255, using: &random)
                    }
                    // Half of them begin like one of our packets.
                    if round % 2 == 0, !bytes.isEmpty { bytes[0] = UInt8(round / 2 % 5) }
                    socket.send(bytes, to: hal.udpPort)
                }
            }
            try await until("most are counted", within: 10) {
                try await dropped(mesh, hal).values.reduce(0, +) - before.values.reduce(0, +) > 500
            }
            let grew = try await dropped(mesh, hal).filter { $0.value > before[$0.key] ?? 0 }
            print("    counted: \(grew.mapValues { $0 - 0 })")
            #expect(grew.keys.contains("truncated"))
            #expect(grew.keys.contains("oversized"))
            #expect(grew.count >= 3)
            let peers = try await mesh.starling("peers", "--via", "hal", "--json")
            #expect(peers.status == 0 && !peers.json["dropped"].keys.isEmpty)
            #expect(memory(hal.pid) - memoryBefore < 8_192, "\(memory(hal.pid) - memoryBefore) kB more")
            #expect(try await mesh.chat("What is 3 + 4?", model: "wren-m", at: hal).status == 200)
        }

        private func dropped(_ mesh: TestMesh, _ node: TestMesh.Node) async throws -> [String: Int] {
            let counts = try await mesh.get("/mesh/peers", at: node).json["dropped"]
            return Dictionary(uniqueKeysWithValues: counts.keys.map { ($0, counts[$0].int ?? 0) })
        }

        @Test func nonsenseOnTheMeshsTCPPortEndsThatConnectionAlone() async throws {
            let mesh = try market()
            let ada = try await mesh.node("ada")
            for size in [1, 47, 48, 4096, 65_536] {
                try await blocking {
                    let socket = try Socket.connected(to: ada.udpPort)
                    defer { socket.close() }
                    _ = socket.write((0..<size).map { _ in UInt8.random(in: 0...255) })
                }
            }
            let fay = try await mesh.node("fay")
            let answer = try await mesh.chat(
                "What is 3 + 4?", model: "wren-m", at: fay, more: #", "provider": {"only": ["ada"]}"#)
            #expect(answer.status == 200, "\(answer.body)")
        }
    }
}

extension ProcessTests {
    /// Configuration, key and ports of `starling node`.
    @Suite(.serialized) struct NodeStart {
        /// A folder with a configuration made of `text`, in which DIR stands for the folder.
        private func with<T>(_ text: String, _ body: (String, _ config: String) async throws -> T)
            async throws -> T
        {
            let folder = try Project.folder("start")
            defer { Project.remove(folder) }
            let config = "\(folder)/node.yaml"
            try text.replacing("DIR", with: folder).write(toFile: config, atomically: true, encoding: .utf8)
            return try await body(folder, config)
        }

        private static let sound = """
            name: solo
            mesh: {name: solo, address: 127.0.0.1, port: 0}
            http: {listen: "127.0.0.1:0"}
            data: DIR/data

            """

        private func node(_ config: String, _ folder: String, _ more: String..., within seconds: Double = 20)
            async throws -> Spawned.Finished
        {
            try await Spawned(
                Project.program, ["node", "--config", config] + more, environment: ["HOME": folder],
                folder: folder
            )
            .finished(within: seconds)
        }

        @Test(arguments: [
            ("nmae: solo\n", "nmae", "name"),
            ("mesh: {prot: 7}\n", "prot", "port"),
            ("mesh: {port: many}\n", "port", ""),
            ("mesh: {port: 70000}\n", "port", ""),
            ("serve: [{backend: olama, model: x}]\n", "olama", "ollama"),
            ("http: {listen: \"0.0.0.0:7828\"}\n", "api_keys", ""),
            ("mesh: {seed: easy}\n", "seed", "testnet-"),
            ("name: [\n", "node.yaml", ""),
            ("name: \u{1}\n", "node.yaml", ""),
            ("", "is empty", "starling init --force"),
            ("\u{feff}nmae: solo\n", "nmae", "name"),
            ("http: {listen: \"localhost:7828\"}\n", "localhost", "127.0.0.1:7828"),
        ])
        func aWrongConfigurationIsRefusedWithThePlaceAndTheFix(
            text: String, problem: String, fix: String
        ) async throws {
            try await with(text) { folder, config in
                let finished = try await node(config, folder)
                #expect(finished.status == 78, "\(finished.err)")
                #expect(finished.err.contains(config), "\(finished.err)")
                #expect(finished.err.contains(problem), "\(finished.err)")
                #expect(
                    finished.err.contains("fix:") && (fix.isEmpty || finished.err.contains(fix)),
                    "\(finished.err)")
            }
        }

        @Test func aConfigurationThatIsntThereOrCantBeReadIsToldApart() async throws {
            try await with(Self.sound) { folder, _ in
                let missing = try await node("\(folder)/none.yaml", folder)
                #expect(
                    missing.status == 78 && missing.err.contains("there is no")
                        && missing.err.contains("starling init"), "\(missing.err)")
                let unreadable = try await node(folder, folder)
                #expect(
                    unreadable.status == 78 && unreadable.err.contains("can't be read")
                        && unreadable.err.contains("fix:"), "\(unreadable.err)")
                try Data([0xff, 0xfe, 0x80]).write(to: URL(fileURLWithPath: "\(folder)/bytes.yaml"))
                let bytes = try await node("\(folder)/bytes.yaml", folder)
                #expect(bytes.status == 78 && bytes.err.contains("fix:"), "\(bytes.err)")
            }
        }

        @Test func aKeyThatOthersCanReadIsRefusedWithTheFix() async throws {
            try await with(Self.sound) { folder, config in
                let made = try Spawned(
                    Project.program,
                    ["init", "--no-detect", "--config", "\(folder)/other.yaml", "--data", "\(folder)/data"],
                    folder: folder)
                #expect(try await made.finished().status == 0)
                let key = "\(folder)/data/key"
                chmod(key, 0o644)
                let finished = try await node(config, folder)
                #expect(finished.status == 77)
                #expect(
                    finished.err.contains(key) && finished.err.contains("fix: chmod 600 \(key)"),
                    "\(finished.err)")
                chmod(key, 0o600)
                try "not a key".write(toFile: key, atomically: false, encoding: .utf8)
                let garbled = try await node(config, folder)
                #expect(
                    garbled.status == 77 && garbled.err.contains("fix:")
                        && !garbled.err.contains("not a key"), "\(garbled.err)")
            }
        }

        @Test func aPortThatIsTakenIsNamedWithTheFix() async throws {
            try await with(Self.sound) { folder, config in
                let (holder, port) = try Socket.holding()
                defer { holder.close() }
                let mesh = try await node(config, folder, "--set", "mesh.port=\(port)")
                #expect(mesh.status == 69, "\(mesh.err)")
                #expect(
                    mesh.err.contains("\(port)") && mesh.err.contains("fix:")
                        && mesh.err.contains("mesh.port"), "\(mesh.err)")
                let http = try await node(config, folder, "--set", "http.listen=127.0.0.1:\(port)")
                #expect(http.status == 69, "\(http.err)")
                #expect(
                    http.err.contains("\(port)") && http.err.contains("fix:")
                        && http.err.contains("http.listen"), "\(http.err)")
            }
        }

        @Test func anAddressOfAnotherMachineIsSaidToBeNoneOfThisOnes() async throws {
            try await with(Self.sound) { folder, config in
                for (key, value) in [("mesh.address", "203.0.113.9"), ("http.listen", "203.0.113.9:7828")] {
                    let keys = ["--set", "http.api_keys=a-long-random-text"]
                    let other = try await node(config, folder, "--set", "\(key)=\(value)", keys[0], keys[1])
                    #expect(other.status == 69, "\(other.err)")
                    #expect(
                        other.err.contains("this machine has no address 203.0.113.9")
                            && other.err.contains("fix: set \(key) to an address of this machine, which has")
                            && other.err.contains("127.0.0.1"), "\(other.err)")
                }
            }
        }

        @Test func aManagedServerThatCannotBeStartedIsNamedWithTheFix() async throws {
            let managed = Self.sound + "serve: [{backend: managed, file: DIR/m.gguf, server: DIR/none}]\n"
            try await with(managed) { folder, config in
                let missing = try await node(config, folder)
                #expect(
                    missing.status == 78 && missing.err.contains("\(folder)/none, which is no program")
                        && missing.err.contains("fix: correct `server:`"), "\(missing.err)")
            }
        }

        @Test func aFolderThatCannotBeUsedIsNamedWithTheCauseAndTheFix() async throws {
            try await with(Self.sound) { folder, config in
                for (data, cause) in [("/proc/nope", "No such file"), ("\(config)/data", "Not a directory")] {
                    let refused = try await node(config, folder, "--set", "data=\(data)")
                    #expect(
                        refused.status == 69
                            && refused.err.contains("the data folder \(data) can't be made: ")
                            && refused.err.contains(cause) && refused.err.contains("fix:"), "\(refused.err)")
                }
            }
        }

        @Test func aCommandFindsNoNodeWhereNoneIs() async throws {
            try await with("") { folder, _ in
                let (holder, port) = try Socket.holding()
                holder.close()
                for command in [
                    ["status"], ["peers"], ["offers"], ["pause"], ["resume"], ["why", "abcdefgh"],
                    ["price", "wren-m"], ["usage"], ["ledger"], ["settle", "ada"],
                    ["ask", "Hello"],
                ] {
                    let finished = try await Spawned(
                        Project.program, command + ["--via", "http://127.0.0.1:\(port)"],
                        environment: ["HOME": folder], folder: folder
                    ).finished()
                    #expect(finished.status == 69, "\(command): \(finished.err)")
                    #expect(
                        finished.err.contains("no node at http://127.0.0.1:\(port)")
                            && finished.err.contains("fix:"), "\(finished.err)")
                }
            }
        }
    }
}
