import Foundation
import Testing

/// The commands that talk to a node.
extension ProcessTests.OnMarket {
    @Suite(.serialized) struct Commands {
        @Test func askPrintsTheAnswerAloneOnStdoutAndTheBillOnStderr() async throws {
            let mesh = try market()
            let asked = try await mesh.starling(
                "ask", "--via", "fay", "--model", "wren-m", "What is 345 + 27?", "--temperature", "0")
            #expect(asked.status == 0)
            #expect(asked.out == "372\n")
            #expect(asked.err.contains("µcr") && asked.err.contains("why: starling why "), "\(asked.err)")
            let task = try #require(asked.err.firstMatch(of: /starling why ([a-z0-9]+)/)?.1)
            let why = try await mesh.starling("why", "--via", "fay", String(task))
            #expect(
                why.status == 0 && why.out.contains("fay asks for wren-m") && why.out.contains("won"),
                "\(why.out)")
            let document = try await mesh.starling("why", "--via", "fay", "--json", String(task.prefix(6)))
                .json
            #expect(document["state"].text == "delivered" && document["task"].text?.hasPrefix(task) == true)
        }

        @Test func testnetAskAsksTheFilesQuestionAndPrintsTheAuction() async throws {
            let mesh = try market()
            let asked = try await mesh.starling("testnet", "ask")
            #expect(asked.status == 0)
            #expect(asked.out.hasPrefix("I can add"), "\(asked.out)")
            for word in [
                "fay asks for wren-m", "ada", "bob", "cyd", "won", "the lowest wins", "Not asked: 2",
            ] {
                #expect(asked.err.contains(word), "\(word): \(asked.err)")
            }
            let dear = try await mesh.starling("testnet", "ask", "--max-price", "1.00")
            #expect(dear.status == 69 && dear.out.isEmpty, "\(dear.err)")
            #expect(dear.err.contains("Raise --max-price to 1.60"), "\(dear.err)")
            #expect(dear.err.contains("fix: --max-price 1.60"), "\(dear.err)")
            #expect(dear.err.contains("Not asked: 2 (other model), 3 (over max price)."), "\(dear.err)")
            let input = try await mesh.starling("testnet", "ask", "--max-price", "0.01/2.00")
            #expect(input.err.contains("fix: --max-price 0.15/2.00"), "\(input.err)")
            let bogus = try await mesh.starling("testnet", "ask", "--bogus", "x")
            #expect(
                bogus.status == 64 && bogus.err.contains("--bogus")
                    && bogus.err.contains("testnet ask --help"),
                "\(bogus.err)")
            #expect(
                try await mesh.starling("testnet", "ask", "--temperature", "0", "What is 3 + 4?").out == "7\n"
            )
        }

        @Test func askReadsTheQuestionFromStdin() async throws {
            let mesh = try market()
            let asked = try await mesh.starling(
                "ask", "--via", "fay", "--model", "wren-m", "--temperature", "0", "-", input: "What is 3 + 4?"
            )
            #expect(asked.out == "7\n")
        }

        @Test func askEndsWithACodeThatSaysWhyThereIsNoAnswer() async throws {
            let mesh = try market()
            func code(_ arguments: String...) async throws -> Int32 {
                try await mesh.start(["ask", "--via", "fay"] + arguments).finished().status
            }
            #expect(try await code("--model", "wren-m", "--max-price", "0.01", "Hello") == 69)
            #expect(try await code("--model", "wren-x", "Hello") == 69)
            #expect(try await code("--model", "wren-m", "--deadline", "100ms", "Count from 5 to 60.") == 75)
            #expect(try await code("--model", "wren-m", "--max-price", "much", "Hello") == 64)
            #expect(try await code("--model", "wren-m", "--deadline", "soon", "Hello") == 64)
            #expect(try await code("--model", "wren-m") == 64)
            for wrong in [
                ["--temperature", "nan"], ["--temperature", "-1"], ["--max-price", "-1"],
                ["--max-price", "inf"],
                ["--max-cost", "nan"], ["--deadline", "100h"], ["--max-tokens", "-1"],
            ] {
                let asked = try await mesh.start(
                    ["ask", "--via", "fay", "--model", "wren-m", "Hello"] + wrong
                ).finished()
                #expect(
                    asked.status == 64 && asked.err.contains("\(wrong[0]) is \(wrong[1])"), "\(asked.err)")
            }
            #expect(try await code("--model", "wren-m", " ") == 64)
            #expect(try await mesh.starling("ask", "--model", "wren-m", "-", input: "\n").status == 64)
            #expect(try await code("--model", "wren-m", "--only", "nobody", "Hello") == 64)
            #expect(try await code("Hello") == 64, "three models are on offer")
            #expect(try await mesh.starling("ask", "--via", "nobody", "Hello").status == 69)
        }

        @Test func whatRunsAlreadyIsNeitherPlayedNorThawedNorStartedTwice() async throws {
            let mesh = try market()
            let played = try await mesh.starling("testnet", "run", mesh.file)
            #expect(played.status == 69 && played.err.contains("runs already"), "\(played.err)")
            let thawed = try await mesh.starling("testnet", "thaw", "ada")
            #expect(thawed.status == 1 && thawed.err.contains("ada is not frozen"), "\(thawed.err)")
            let config = try #require(try await mesh.node("ada").all["config"].text)
            let second = try await mesh.starling("node", "--config", config)
            #expect(second.status == 69 && second.err.contains("is in use by another node"), "\(second.err)")
            #expect(try await mesh.node("ada").state == "up")
            let outside = try await mesh.starling("testnet", "down", "--name", "../x", "--purge")
            #expect(outside.status == 64 && outside.err.contains("can't be named"), "\(outside.err)")
        }

        @Test func everyJsonIsOneDocument() async throws {
            let mesh = try market()
            let commands: [(arguments: [String], status: Int32, member: String)] = [
                (["status", "--via", "ada"], 0, "models"), (["peers", "--via", "ada"], 0, "dropped"),
                (["offers", "--via", "ada"], 0, "offers"),
                (["offers", "--via", "ada", "--model", "wren-m"], 0, "offers"),
                (["ask", "--via", "fay", "--model", "wren-m", "Hello"], 0, "usage"),
                (["ask", "--via", "fay", "--model", "wren-m", "--max-price", "1", "Hello"], 69, "error"),
                (["why", "--via", "fay", "zzzzzzzz"], 1, "error"),
                (["quote", "wren-m", "--via", "fay", "--tokens-in", "20"], 0, "bids"),
                (["quote", "wren-x", "--via", "fay"], 69, "error"),
            ]
            for command in commands {
                let finished = try await mesh.start(command.arguments + ["--json"]).finished()
                #expect(finished.status == command.status, "\(command.arguments): \(finished.err)")
                #expect(finished.json.keys.contains(command.member), "\(command.arguments): \(finished.out)")
            }
        }

        @Test func whatPeopleReadIsThereToo() async throws {
            let mesh = try market()
            for (command, words) in [
                (["status"], ["ada", "wren-m", "slots", "backend ok", "join with"]),
                (["peers"], ["fay", "live"]),
                (["offers"], ["wren-m", "0.20 / 2.00", "bob"]), (["--help"], ["Exit codes", "testnet"]),
            ] {
                let via = command == ["--help"] ? [] : ["--via", "ada"]
                let finished = try await mesh.start(command + via).finished()
                #expect(finished.status == 0)
                for word in words { #expect(finished.out.contains(word), "\(command): \(finished.out)") }
            }
        }

        @Test func aPausedNodeTakesNoNewWorkUntilItIsResumed() async throws {
            let mesh = try market()
            let gus = try await mesh.node("gus")
            let only = #", "provider": {"only": ["dot"]}"#
            #expect(try await mesh.chat("Hello", model: "wren-s", at: gus, more: only).status == 200)
            #expect(try await mesh.starling("pause", "--via", "dot").status == 0)
            #expect(try await mesh.starling("status", "--via", "dot").out.contains("starling resume"))
            let refused = try await mesh.chat("Hello", model: "wren-s", at: gus, more: only)
            #expect(refused.status == 503 && refused.body.contains("it is paused"), "\(refused.body)")
            #expect(refused.headers["x-should-retry"] == "true")
            #expect(try await mesh.starling("resume", "--via", "dot").status == 0)
            #expect(try await mesh.chat("Hello", model: "wren-s", at: gus, more: only).status == 200)
        }

        @Test func newTermsAreOnOfferAtOnceAndTheFilesComeBackAtAHangUp() async throws {
            let mesh = try market()
            let dot = try await mesh.node("dot")
            func offered(_ price: String) async throws {
                try await eventually("gus has the offer of \(price)") {
                    let offers = try await mesh.starling("offers", "--model", "wren-s", "--via", "gus").out
                    return offers.contains(price) ? true : nil
                }
            }
            let shown = try await mesh.starling("price", "wren-s", "--via", "dot")
            #expect(shown.out.contains("in 0.05, cached input 0.005, out 0.50 "), "\(shown.out)")
            let changed = try await mesh.starling(
                "price", "wren-s", "0.06/0.60", "--surge", "1.5", "--rate", "100", "--via", "dot")
            #expect(changed.status == 0 && changed.out.contains("surge"), "\(changed.err)")
            try await offered("0.09 / 0.90")
            for (arguments, words) in [
                (["--quiet", "late"], "22:00-08:00"), (["--deny", "bob!"], "did you mean bob?"),
                (["x"], "give credits"),
            ] {
                let bad = try await mesh.start(["price", "wren-s"] + arguments + ["--via", "dot"]).finished()
                #expect(bad.status == 64 && bad.err.contains("stay as they are"), "\(bad.err)")
                #expect(bad.err.contains(words), "\(bad.err)")
            }
            kill(dot.pid, SIGHUP)
            try await until("the file's terms hold again") {
                try await mesh.starling("price", "wren-s", "--via", "dot").out.contains("out 0.50 ")
            }
        }
    }
}

extension ProcessTests {
    /// From nothing to a node that sells, as an operator would do it.
    @Suite(.serialized) struct Init {
        @Test func initFindsARunningLlamaCppAndWritesWhatANodeAccepts() async throws {
            let home = try Project.folder("home")
            defer { Project.remove(home) }
            let server = try Spawned(
                Project.python,
                [
                    "\(Project.root)/scripts/llama-server.py", "\(Project.root)/testnet/models/wren-m.gguf",
                    "--parallel", "2",
                ], folder: home)
            defer { server.stop() }
            let url = try await eventually("llama.cpp is ready") { server.lines.first?["url"].text }
            func starling(_ arguments: [String]) throws -> Spawned {
                try Spawned(
                    Project.program, arguments,
                    environment: [
                        "HOME": home, "XDG_CONFIG_HOME": "\(home)/.config",
                        "XDG_DATA_HOME": "\(home)/.local/share",
                    ], folder: home)
            }
            let checked = try await starling(["check", url]).finished()
            #expect(checked.status == 0, "\(checked.err)")
            #expect(checked.out.contains("llama.cpp at \(url)"), "\(checked.out)")
            #expect(
                checked.out.contains("A node offers it for: chat, completion, logprobs"), "\(checked.out)")
            let tried = try await starling(["check", url, "--json"]).finished().json
            let failed = tried["tests"].list.filter { $0["result"].text == "no" }.compactMap {
                $0["name"].text
            }
            #expect(Set(failed) == ["images", "embeddings", "dimensions"])
            let nobody = try await starling(["check", "http://127.0.0.1:1"]).finished()
            #expect(nobody.status == 69 && nobody.err.contains("no model server answers"), "\(nobody.err)")
            let made = try await starling(["init", "--at", url]).finished()
            #expect(made.status == 0)
            #expect(made.err.contains("llama.cpp at \(url)") && made.err.contains("wren-m"), "\(made.err)")
            let (config, key) = ("\(home)/.config/starling/node.yaml", "\(home)/.local/share/starling/key")
            let mode = try FileManager.default.attributesOfItem(atPath: key)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            let text = try String(contentsOfFile: config, encoding: .utf8)
            for word in ["backend: llama.cpp", "url: \(url)", "# max_cost", "port: 7827"] {
                #expect(text.contains(word), "\(text)")
            }

            let again = try await starling(["init", "--at", url]).finished()
            #expect(
                again.status != 0 && again.err.contains("exists") && again.err.contains("--force"),
                "\(again.err)")
            let keyBefore = try String(contentsOfFile: key, encoding: .utf8)
            #expect(try await starling(["init", "--at", url, "--force"]).finished().status == 0)
            #expect(try String(contentsOfFile: key, encoding: .utf8) == keyBefore, "the key is kept")

            let (holder, port) = try Socket.holding()
            holder.close()
            let node = try starling([
                "node", "--set", "mesh.port=0", "--set", "http.listen=127.0.0.1:\(port)", "--set",
                "mesh.address=127.0.0.1",
            ])
            defer { node.stop() }
            let via = ["--via", "http://127.0.0.1:\(port)"]
            try await until("it sells") {
                let status = try await starling(["status", "--json"] + via).finished()
                return status.json["models"][0]["backend"]["state"].text == "ok"
            }
            let asked = try await starling(["ask", "--temperature", "0", "What is 3 + 4?"] + via).finished()
            #expect(asked.out == "7\n", "\(asked.err)")
            node.send(SIGTERM)
            #expect(try await node.finished().status == 0)
        }

        @Test func initSellsWhatItIsToldAtThePriceAndPortsItIsTold() async throws {
            try await ScriptedBackend.with { backend in
                let home = try Project.folder("home")
                defer { Project.remove(home) }
                func made(_ name: String, _ arguments: String...) async throws -> (Spawned.Finished, String) {
                    let config = "\(home)/\(name).yaml"
                    let finished = try await Spawned(
                        Project.program,
                        ["init", "--at", backend.url, "--config", config, "--data", "\(home)/\(name)"]
                            + arguments,
                        environment: ["HOME": home], folder: home
                    ).finished()
                    return (finished, (try? String(contentsOfFile: config, encoding: .utf8)) ?? "")
                }
                let (sold, text) = try await made(
                    "a", "--model", "parrot", "--price", "0.2/1.5", "--port", "7930")
                #expect(sold.status == 0 && sold.err.contains("sell     parrot"), "\(sold.err)")
                for word in [
                    "model: \"parrot\"", "{input: 0.2, cached_input: 0.02, output: 1.5}", "port: 7930",
                    "listen: 127.0.0.1:7931",
                ] { #expect(text.contains(word), "\(word): \(text)") }
                let (open, openText) = try await made("b", "--listen", "0.0.0.0:7940")
                let key = try #require(open.err.firstMatch(of: /api key +([a-z0-9]+)/)?.1)
                #expect(openText.contains("listen: 0.0.0.0:7940") && openText.contains("api_keys: [\(key)]"))
                let (wrong, _) = try await made("c", "--model", "parot")
                #expect(
                    wrong.status == 69 && wrong.err.contains("no model server here has parot")
                        && wrong.err.contains("did you mean parrot?"), "\(wrong.err)")
                #expect(!FileManager.default.fileExists(atPath: "\(home)/c/key"), "nothing was begun")
                for arguments in [["--price", "cheap"], ["--port", "0"], ["--listen", "here"]] {
                    let (refused, _) = try await made("d", arguments[0], arguments[1])
                    #expect(refused.status == 64 && refused.err.contains(arguments[0]), "\(refused.err)")
                }
                let join = "starling://\(String(repeating: "0", count: 52))@127.0.0.1:7827"
                #expect(try await made("e", "--join", join).1.contains("address: 127.0.0.1  "))
            }
        }

        @Test func initWithoutAModelServerWritesANodeThatOnlyAsks() async throws {
            let home = try Project.folder("home")
            defer { Project.remove(home) }
            let (holder, port) = try Socket.holding()
            holder.close()
            let config = "\(home)/node.yaml"
            let made = try await Spawned(
                Project.program,
                [
                    "init", "--at", "http://127.0.0.1:\(port)", "--config", config, "--data", "\(home)/data",
                    "--name", "quiet one",
                ],
                environment: ["HOME": home], folder: home
            ).finished()
            #expect(
                made.status == 0 && made.err.contains("no model server at http://127.0.0.1:\(port)"),
                "\(made.err)")
            let node = try Spawned(
                Project.program,
                [
                    "node", "--config", config, "--set", "mesh.port=0", "--set",
                    "http.listen=127.0.0.1:\(port)",
                ], folder: home)
            defer { node.stop() }
            try await until("it is up") {
                let status = try await Spawned(
                    Project.program, ["status", "--json", "--via", "127.0.0.1:\(port)"], folder: home
                ).finished()
                return status.json["state"].text == "asking" && status.json["name"].text == "quiet one"
            }
            node.send(SIGINT)
            #expect(try await node.finished().status == 0)
        }

        @Test func theCommandsThatInitPrintsWorkAsPrintedFromAnyFolder() async throws {
            let home = try Project.folder("home")
            defer { Project.remove(home) }
            let ((first, port), (second, http)) = (try Socket.holding(), try Socket.holding())
            first.close()
            second.close()
            func shell(_ folder: String, _ arguments: String) throws -> Spawned {
                try Spawned(
                    "/bin/sh", ["-c", "cd '\(folder)' && exec '\(Project.program)' \(arguments)"],
                    environment: ["HOME": home], folder: home)
            }
            let made = try await shell(
                home, "init --no-detect --data 'second node' --port \(port) --listen 0.0.0.0:\(http)"
            ).finished()
            #expect(made.status == 0, "\(made.err)")
            func printed(_ command: String) throws -> Spawned {
                let line = try #require(
                    made.err.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
                        .first { $0.hasPrefix("starling \(command)") })
                return try shell("/", String(line.dropFirst("starling ".count)))
            }
            let node = try printed("node --config '")
            defer { node.stop() }
            try await until("it is up") { try await printed("status --via ").finished().status == 0 }
            #expect(FileManager.default.fileExists(atPath: "\(home)/second node/key"))
            #expect(FileManager.default.fileExists(atPath: "\(home)/second node/node.yaml"))
            #expect(!FileManager.default.fileExists(atPath: "\(home)/.config"))
            node.send(SIGTERM)
            #expect(try await node.finished().status == 0)
        }

        @Test func aNodeWhoseOutputCannotBeWrittenGoesOn() async throws {
            let home = try Project.folder("home")
            defer { Project.remove(home) }
            let (holder, port) = try Socket.holding()
            holder.close()
            let config = "\(home)/node.yaml"
            try """
            name: mute
            mesh: {name: testnet-mute, address: 127.0.0.1, port: 0}
            http: {listen: "127.0.0.1:\(port)"}
            log: {level: debug}
            data: \(home)/data
            """.write(toFile: config, atomically: true, encoding: .utf8)
            // Every write to /dev/full fails as on a full disk.
            let node = try Spawned(
                "/bin/sh", ["-c", "exec '\(Project.program)' node --config '\(config)' >/dev/full 2>&1"],
                folder: home)
            defer { node.stop() }
            try await until("it is up") {
                let status = try await Spawned(
                    Project.program, ["status", "--json", "--via", "127.0.0.1:\(port)"], folder: home
                ).finished()
                return status.json["name"].text == "mute"
            }
            node.send(SIGINT)
            #expect(try await node.finished().status == 0)
        }
    }
}
