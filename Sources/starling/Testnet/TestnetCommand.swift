import ArgumentParser
import FoundationEssentials
import Glibc
import MeshDocuments
import NodeConfiguration
import OpenAIFormat
import Primitives
import Testnet

struct TestnetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "testnet",
        abstract: "Run a local mesh of real processes, break it on purpose, see what happens.",
        discussion: """
              starling testnet up testnet/market.yaml  start, and wait for all offers
              starling testnet ask "What can you do?"  at the node that the file names
              starling testnet kill ada                SIGKILL; `restart` undoes it
              starling testnet freeze bob              SIGSTOP; `thaw` undoes it
              starling testnet run FILE                play a scenario: load, events, expect
              starling testnet status                  which nodes are up, how others ended
              starling testnet down                    stop everything

            Other commands reach its nodes by name: starling offers --via fay

            Logs and configurations are in testnet/.run/NAME/ of the working folder, \
            or of the folder that STARLING_TESTNET names.
            """,
        subcommands: [
            Up.self, Run.self, Status.self, Ask.self, Kill.self, Freeze.self, Thaw.self, Stop.self,
            Restart.self,
            Down.self, Supervise.self,
        ])

    /// The folder `testnet/`: STARLING_TESTNET, or `testnet` in the working folder.
    static var root: String {
        let folder = ProcessInfo.processInfo.environment["STARLING_TESTNET"] ?? "testnet"
        return folder.hasPrefix("/") ? folder : FileManager.default.currentDirectoryPath + "/" + folder
    }

    /// The path of this program.
    static var program: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            ?? CommandLine.arguments[0]
    }

    static func check(timeout: Double) throws {
        guard (1...86_400).contains(timeout) else {
            throw ValidationError("--timeout is \(timeout): give 1 to 86400 seconds")
        }
    }

    struct NameOption: ParsableArguments {
        @Option(help: "Which testnet, when several run here.") var name: String?
    }

    struct Up: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Start a testnet and return when it is ready.",
            discussion: """
                Returns when every node knows every offer. A running testnet \
                is left as it is, including killed nodes; one whose file has changed is \
                restarted.
                """
        )
        @Argument(help: "The testnet's file, such as testnet/market.yaml.") var file: String
        @Option(
            parsing: .unconditional, help: ArgumentHelp("Give up after this many seconds.", valueName: "S"))
        var timeout = 60.0
        @Option(help: "Run it under this name instead of the mesh's.") var name: String?
        @Flag(help: "Print the nodes as JSON, like `testnet status --json`.") var json = false

        func validate() throws { try TestnetCommand.check(timeout: timeout) }

        func run() async throws {
            try await reporting {
                let text = try contents(of: file, kind: "a testnet", example: "testnet/market.yaml")
                let plan = try TestnetFile(parsing: text, path: file, folder: TestnetCommand.root)
                let testnet = try LocalTestnet(root: TestnetCommand.root, name: name ?? plan.name)
                try testnet.up(plan, program: TestnetCommand.program, timeout: timeout) {
                    remark("  ✓ \($0)")
                }
                try Status.show(testnet, json: json)
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Which nodes are up, and when, how and why the others ended.")
        @OptionGroup var which: NameOption
        @Flag(
            help:
                "Print the nodes as a JSON array: name, role, state, node_id, public_key, pid, udp, tcp, http, models, config, log, since, exit (testnet/README.md)."
        ) var json = false

        func run() async throws {
            try await reporting {
                try Self.show(try LocalTestnet(root: TestnetCommand.root, name: which.name), json: json)
            }
        }

        static func show(_ testnet: LocalTestnet, json: Bool) throws {
            let state = try testnet.load()
            if json {
                let nodes = state.nodes.map { node -> JSONTree in
                    let now = testnet.state(of: node)
                    let exit = node.exit.map { exit -> JSONTree in
                        [
                            "signal": JSONTree(exit.signal), "status": JSONTree(exit.status),
                            "at": .string(timestamp(exit.at)),
                        ]
                    }
                    return [
                        "name": .string(node.name), "role": .string(node.role), "state": .string(now),
                        "node_id": .string(node.nodeID), "public_key": .string(node.publicKey),
                        "pid": JSONTree(hasProcess(node, now) ? node.pid : nil), "udp": JSONTree(node.udp),
                        "tcp": JSONTree(node.udp), "http": .string(node.http),
                        "models": .array(node.models.map { .string($0) }), "log": .string(node.log),
                        "config": .string(node.config), "since": .string(timestamp(node.since)),
                        "exit": exit ?? .null,
                    ]
                }
                emit(JSONTree.array(nodes).pretty() + "\n")
                return
            }
            var table = Table(
                ["name", "role", "model", "state", "pid", "http", "log", ""], rightAligned: [4])
            for node in state.nodes {
                let now = testnet.state(of: node)
                table.add([
                    node.name, node.role, node.models.joined(separator: ", "), now,
                    hasProcess(node, now) ? "\(node.pid)" : "-",
                    node.http, shortened(node.log), testnet.remark(on: node, state: now),
                ])
            }
            emit(table.text())
        }

        private static func hasProcess(_ node: NodeRecord, _ state: String) -> Bool {
            node.pid != 0 && ["up", "frozen", "starting"].contains(state)
        }

        private static func timestamp(_ date: Date) -> String {
            Timestamp.text(milliseconds: Int64(date.timeIntervalSince1970 * 1000))
        }

        private static func shortened(_ path: String) -> String {
            let here = FileManager.default.currentDirectoryPath + "/"
            return path.hasPrefix(here) ? String(path.dropFirst(here.count)) : path
        }
    }

    struct Ask: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask the testnet a question, and print the auction.",
            discussion: """
                Without a question it asks the one in the file's `ask:`. All options of \
                `starling ask` may follow, such as --max-price 2.00.
                """
        )
        @OptionGroup var which: NameOption
        @Option(help: "The node to ask; default: the one in the file's `ask:`.") var via: String?
        @Option(help: "The model to ask; default: the one in the file's `ask:`.") var model: String?
        @Argument(parsing: .allUnrecognized, help: "The question, and options of `starling ask`.") var rest:
            [String] = []

        func run() async throws {
            try await reporting {
                let testnet = try LocalTestnet(root: TestnetCommand.root, name: which.name)
                let state = try testnet.load()
                let text =
                    FileManager.default.contents(atPath: state.file).map {
                        String(decoding: $0, as: UTF8.self)
                    } ?? ""
                let question = try? TestnetFile(parsing: text, path: state.file, folder: TestnetCommand.root)
                    .question
                let node = try testnet.node(named: via ?? question?.via ?? state.nodes[0].name)
                // The short name, if it is unambiguous.
                let isOnly = LocalTestnet.running(root: TestnetCommand.root).count == 1
                var arguments = ["--via", isOnly ? node.name : node.http, "--auction"]
                if let model = model ?? question?.model, !model.isEmpty { arguments += ["--model", model] }
                arguments += rest
                // Only the parser can tell whether there is a question among the options.
                let whole = try? AskCommand.parse(arguments)
                let command = try whole ?? parsed(arguments + [question?.prompt ?? "Hello"])
                try await command.run()
            }
        }

        private func parsed(_ arguments: [String]) throws -> AskCommand {
            do { return try AskCommand.parse(arguments) } catch {
                throw fail(
                    AskCommand.message(for: error),
                    fix: "see `starling testnet ask --help` and `starling ask --help`", .usage)
            }
        }
    }

    static func perform(
        _ action: LocalTestnet.Action, on names: [String], _ name: String?, _ done: (String) -> String
    ) async throws {
        try await reporting {
            let testnet = try LocalTestnet(root: root, name: name)
            for node in names {
                try testnet.perform(action, on: node)
                remark(done(node))
            }
        }
    }

    struct Kill: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Kill nodes outright (SIGKILL); they stay dead.")
        @OptionGroup var which: NameOption
        @Argument(help: "Nodes of the testnet.") var nodes: [String]
        func run() async throws {
            try await perform(.kill, on: nodes, which.name) {
                "\($0) killed; `starling testnet restart \($0)` brings it back"
            }
        }
    }

    struct Freeze: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Freeze nodes (SIGSTOP): they hold their ports and answer nothing.")
        @OptionGroup var which: NameOption
        @Argument(help: "Nodes of the testnet.") var nodes: [String]
        func run() async throws {
            try await perform(.freeze, on: nodes, which.name) {
                "\($0) frozen; `starling testnet thaw \($0)` lets it run again"
            }
        }
    }

    struct Thaw: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let frozen nodes run again (SIGCONT).")
        @OptionGroup var which: NameOption
        @Argument(help: "Nodes of the testnet.") var nodes: [String]
        func run() async throws { try await perform(.thaw, on: nodes, which.name) { "\($0) runs again" } }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask nodes to leave (SIGTERM): they finish or hand over their work first.")
        @OptionGroup var which: NameOption
        @Argument(help: "Nodes of the testnet.") var nodes: [String]
        func run() async throws { try await perform(.stop, on: nodes, which.name) { "\($0) left" } }
    }

    struct Restart: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Restart nodes, stopping them first if they run.")
        @OptionGroup var which: NameOption
        @Argument(help: "Nodes of the testnet.") var nodes: [String]
        func run() async throws { try await perform(.restart, on: nodes, which.name) { "\($0) is up" } }
    }

    struct Down: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop everything, even after a crash of the supervisor.",
            discussion: "Does nothing when no testnet runs. Logs stay, unless --purge.")
        @OptionGroup var which: NameOption
        @Flag(help: "Remove logs, databases and configurations too.") var purge = false

        func run() async throws {
            try await reporting {
                let names = which.name.map { [$0] } ?? LocalTestnet.running(root: TestnetCommand.root)
                if names.isEmpty { remark("no testnet runs here") }
                for name in names {
                    let testnet = try LocalTestnet(root: TestnetCommand.root, name: name)
                    if let count = try testnet.down(purge: purge) {
                        remark(
                            "\(name): \(counted(count, "node")) stopped, nothing left running."
                                + (purge
                                    ? "" : " Logs are in \(testnet.layout.folder) (--purge removes them)."))
                    } else {
                        remark("\(name) was not running")
                    }
                }
            }
        }
    }

    struct Supervise: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The parent of a testnet's processes; started by `up`.", shouldDisplay: false)
        @Argument var folder: String

        func run() async throws {
            try await reporting {
                let url = URL(fileURLWithPath: folder)
                let layout = Layout(
                    root: url.deletingLastPathComponent().deletingLastPathComponent().path,
                    name: url.lastPathComponent)
                guard let state = TestnetState.load(layout) else {
                    throw fail("\(layout.state) can't be read", fix: "starling testnet up FILE", .failed)
                }
                try Supervisor(layout: layout, state: state).run()
            }
        }
    }
}
