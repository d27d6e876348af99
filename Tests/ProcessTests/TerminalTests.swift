import Foundation
import Testing

private let question = ["ask", "--model", "wren-m", "--temperature", "0", "What is 3 + 4?"]

/// What strangers say, as a terminal gets it. `lying_node.py` adds escape sequences and line breaks to all that a
/// real node says.
extension ProcessTests.OnMarket {
    @Suite(.serialized) struct Terminals {
        private func lying(_ body: (TestMesh, _ url: String) async throws -> Void) async throws {
            let mesh = try market()
            let http = try await mesh.node("fay").http
            let process = try Spawned(
                Project.python, [Project.script("lying_node.py"), http], folder: mesh.folder)
            defer { process.stop() }
            let url = try await eventually("the lying node listens") { process.lines.first?["url"].text }
            try await body(mesh, url)
        }

        /// Runs a command with a terminal of its own as stdout and stderr.
        private func onTerminal(_ mesh: TestMesh, _ arguments: [String]) async throws -> String {
            let pty = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
            let spawned = try Spawned(
                Project.python, ["-c", pty, Project.program] + arguments, environment: mesh.environment,
                folder: mesh.folder)
            return try await spawned.finished().out
        }

        private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
            scalar != "\n" && scalar != "\t" && scalar.properties.generalCategory == .control
                || scalar == "\u{202e}"
        }

        @Test(arguments: [
            question, question + ["--auction"], question + ["--json"], question + ["--max-price", "0.01"],
            ["ask", "--model", "wren-x", "Hello"], ["ask", "Hello"], ["why", "aaaaaaaa"],
            ["peers"], ["offers"], ["status"], ["peers", "--json"], ["offers", "--json"],
            ["status", "--json"],
        ])
        func aTerminalGetsNoControlCharacterOfAStranger(command: [String]) async throws {
            try await lying { mesh, url in
                let out = try await onTerminal(mesh, command + ["--via", url])
                #expect(out.contains("31m"), "what it says is shown: \(out)")
                // The terminal itself writes a carriage return before each line feed.
                let text = out.replacing("\r\n", with: "\n").unicodeScalars
                let isAnswer = command.starts(with: question) && !command.contains("--json")
                let bad = text.filter { Self.isControl($0) && !(isAnswer && $0 == "\u{202e}") }
                #expect(bad.isEmpty, "\(out.debugDescription)")
            }
        }

        @Test func aLineBreakInALabelMakesNoLineOfOurs() async throws {
            try await lying { mesh, url in
                for command in [["peers"], ["offers"], ["status"], ["ask", "--model", "wren-x", "Hello"]] {
                    let ran = try await mesh.start(command + ["--via", url]).finished()
                    let lines = (ran.out + ran.err).split(separator: "\n")
                    #expect(!lines.contains { $0.hasPrefix("fake") }, "\(ran.out)\(ran.err)")
                }
                let asked = try await mesh.start(question + ["--via", url]).finished()
                let task = try #require(asked.err.firstMatch(of: /starling why ([a-z0-9]+)/)?.1)
                let why = try await mesh.starling("why", String(task), "--via", url)
                #expect(why.status == 0 && why.out.contains("fake"), "\(why.err)")
                #expect(!(why.out + asked.err).split(separator: "\n").contains { $0.hasPrefix("fake") })
            }
        }

        @Test func aPipeGetsTheAnswersBytes() async throws {
            try await lying { mesh, url in
                let asked = try await mesh.start(question + ["--via", url]).finished()
                #expect(asked.out.contains("\u{1b}[31m\nfake\r\u{9b}K"), "\(asked.out.debugDescription)")
            }
        }
    }
}
