import Foundation
import Testing

/// `starling sim FILE` and `starling testnet run FILE`, on the files of testnet/scenarios and on invalid
/// ones: issue 3.
extension ProcessTests {
    @Suite(.serialized) struct ScenarioFiles {
        private func run(_ arguments: String...) async throws -> Spawned.Finished {
            let folder = try Project.folder("scenarios")
            defer { Project.remove(folder) }
            return try await Spawned(Project.program, arguments, folder: folder).finished(within: 120)
        }

        private func withFile<T>(_ yaml: String, _ body: (String) async throws -> T) async throws -> T {
            let folder = try Project.folder("scenario")
            defer { Project.remove(folder) }
            let file = "\(folder)/s.yaml"
            try yaml.write(toFile: file, atomically: true, encoding: .utf8)
            return try await body(file)
        }

        @Test(arguments: ["nats", "clocks", "liars", "ground-ids", "flood", "replay"])
        func aScenarioHoldsWhatItExpects(name: String) async throws {
            let ran = try await run(
                "sim", "\(Project.root)/testnet/scenarios/\(name).yaml", "--seed", "1", "--carrier", "plain")
            #expect(ran.status == 0, "\(ran.out)\(ran.err)")
            #expect(ran.out.contains("  holds   answered >= "), "\(ran.out)")
        }

        @Test func theAnnotatedFileHoldsWhatItExpects() async throws {
            let text = try String(contentsOfFile: "\(Project.root)/testnet/README.md", encoding: .utf8)
            let start = try #require(text.range(of: "```yaml\n"))
            let end = try #require(text.range(of: "\n```", range: start.upperBound..<text.endIndex))
            try await withFile(String(text[start.upperBound..<end.lowerBound]) + "\n") { file in
                let ran = try await run("sim", file, "--carrier", "plain")
                #expect(ran.status == 0, "\(ran.out)\(ran.err)")
            }
        }

        private let rigged = """
            mesh: testnet-rigged
            nodes: {hub: {count: 2}, ada: {serves: wren-m, speed: 20}, fay: {}, gus: {count: 6}}
            load: {count: 8, rate: 4, from: 6s, via: fay, tokens: 60}
            lookups: {count: 20, rate: 10, from: 6s}
            byzantine: {behaviour: lie, count: 1, nodes: [ada], from: 7s}
            expect: [answered >= 100 %]
            """

        @Test func whatIsMissedEndsWith1ItsNameAndTheLineThatRepeatsIt() async throws {
            try await withFile(rigged) { file in
                let ran = try await run("sim", file, "--seed", "5")
                #expect(ran.status == 1)
                #expect(ran.out.contains("MISSED  answered >= 100 %"), "\(ran.out)")
                #expect(ran.err.contains("repeat it:  starling sim \(file) --seed 5"), "\(ran.err)")
                let again = try await run("sim", file, "--seed", "5", "--digest")
                let once = try await run("sim", file, "--seed", "5", "--digest")
                #expect(again.out == once.out && again.status == 1)
            }
        }

        /// Three sellers; while they answer, the cheapest dies and the next freezes.
        private func deaths(_ backend: ScriptedBackend, _ kind: String, _ expect: String) -> String {
            """
            mesh: testnet-deaths
            ports: auto
            nodes:
              \(backend.seller("ada", slots: 4, output: 1, backend: kind))
              \(backend.seller("bob", slots: 4, output: 2, backend: kind))
              \(backend.seller("cyd", slots: 8, output: 3, backend: kind))
              fay: {}
            load: {count: 8, rate: 4, from: 200 ms, via: fay, tokens: 40}
            events: [{at: 1s, kill: ada}, {at: 2s, freeze: bob, for: 3s}]
            expect: [\(expect)]
            """
        }

        private func play(
            _ kind: String, varies: Bool = false, expecting: String
        ) async throws -> Spawned.Finished {
            try await ScriptedBackend.with(#"{"tokens": 60, "every": 0.03, "varies": \#(varies)}"#) {
                backend in
                try await withFile(deaths(backend, kind, expecting)) { file in
                    let folder = URL(fileURLWithPath: file).deletingLastPathComponent().path
                    return try await Spawned(
                        Project.program, ["testnet", "run", file, "--timeout", "30"],
                        environment: ["STARLING_TESTNET": folder], folder: folder
                    ).finished(within: 60)
                }
            }
        }

        @Test func everyAnswerIsWholeWhereModelServersGoOnWithAnothersText() async throws {
            let ran = try await play("vllm", expecting: "answered >= 100 %")
            #expect(ran.status == 0, "\(ran.out)\(ran.err)")
            #expect(ran.out.contains("8 delivered"), "\(ran.out)")
        }

        @Test func everyAnswerIsWholeWhereModelServersBeginAgainAndSayTheSame() async throws {
            let ran = try await play("openai", expecting: "answered >= 100 %")
            #expect(ran.status == 0, "\(ran.out)\(ran.err)")
        }

        @Test func whereTheyCantWhatHadBegunIsBrokenOffAndTheRunSaysSo() async throws {
            let ran = try await play("openai", varies: true, expecting: "answered >= 100 %")
            #expect(ran.status == 1, "\(ran.out)\(ran.err)")
            #expect(
                ran.out.contains("failed (broken_off)") && ran.out.contains("MISSED  answered"), "\(ran.out)")
            #expect(ran.err.contains("repeat it:  starling testnet run "), "\(ran.err)")
        }

        @Test(arguments: [
            ("byzantine: {behaviour: lie, share: 50 %}", "`byzantine: {behaviour: lie}`"),
            ("byzantine: {behaviour: ground, count: 3}", "`byzantine: {behaviour: ground}`"),
            ("byzantine: {behaviour: flood, count: 1}", "`byzantine: {behaviour: flood}`"),
            ("byzantine: {behaviour: replay, count: 1}", "`byzantine: {behaviour: replay}`"),
            ("links: {nat: {symmetric: 50 %}}", "`links.nat`"), ("links: {loss: 1 %}", "`links`"),
            ("clocks: {skew: -1h..1h}", "`clocks`"), ("lookups: {count: 3}", "`lookups`"),
            ("searches: {count: 3}", "`searches`"),
            ("load: {arrivals: poisson}", "`load.arrivals: poisson`"),
            ("load: {turns: 2..3}", "`load.turns`"),
            ("events: [{at: 5s, partition: fay}]", "`partition`"),
        ])
        func processesRefuseByNameWhatTheyCantPlay(line: String, name: String) async throws {
            try await withFile("mesh: testnet-x\nnodes: {ada: {serves: wren-m}, bob: {}, fay: {}}\n\(line)\n")
            {
                let ran = try await run("testnet", "run", $0)
                #expect(ran.status != 0 && ran.out.isEmpty)
                #expect(ran.err.contains("processes can't play \(name)"), "\(ran.err)")
                #expect(ran.err.contains("starling sim \($0)"), "\(ran.err)")
            }
        }

        @Test func `the reference describes every measure of processes`() async throws {
            try await withFile("mesh: testnet-x\nnodes: {ada: {}}\nexpect: [zzzzzzzzzz >= 1]\n") {
                let ran = try await run("testnet", "run", $0)
                let list = try #require(ran.err.components(separatedBy: "one of ").last, "\(ran.err)")
                let names = list.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init)
                #expect(names.contains("answered") && names.contains("first_byte_p99"), "\(ran.err)")
                let reference = try String(
                    contentsOfFile: "\(Project.root)/testnet/README.md", encoding: .utf8)
                for name in names { #expect(reference.contains("`\(name)`"), "\(name)") }
            }
        }

        @Test(arguments: [
            ("nat: full-cone", "`nat: full-cone` (fay)"), ("clock_skew: 30s", "`clock_skew` (fay)"),
            ("address: learnt", "`address: learnt` (fay)"),
        ])
        func processesRefuseWhatANodeCantBe(key: String, name: String) async throws {
            try await withFile("mesh: testnet-x\nnodes: {ada: {serves: wren-m}, bob: {}, fay: {\(key)}}\n") {
                let ran = try await run("testnet", "run", $0)
                #expect(ran.status != 0)
                #expect(ran.err.contains("processes can't play \(name)"), "\(ran.err)")
            }
        }
    }
}
