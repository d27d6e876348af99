import ArgumentParser
@preconcurrency import Dispatch
import FoundationEssentials
import Gateway
import Glibc
import Logging
import NodeConfiguration
import NodeRuntime
import Primitives
import Store
import UVLoop

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Run a node: serve what the configuration says, and answer this machine's clients.",
        discussion: """
            Reads ~/.config/starling/node.yaml, written by `starling init`, unless \
            --config names another file. Every key can also be set in the environment \
            (STARLING_MESH_PORT=7827), and by --set mesh.port=7827, which wins. \
            Commas separate the items of a list: --set deny=KEY,KEY. An entry of \
            `serve` is changed by its number: --set serve[0].slots=2, or \
            STARLING_SERVE_0_SLOTS=2.

            Ctrl-C (or SIGTERM, or a terminal that closes) lets running answers finish \
            for up to --grace seconds, hands over the rest, and leaves the mesh; a \
            second Ctrl-C or SIGTERM ends it at once. Under `nohup` it outlives its \
            terminal.

            SIGHUP (kill -HUP) reads the file again, applies the terms of sale in it, \
            and says in the log which other keys have changed and need a restart. A \
            file with an error changes nothing.
            """)

    @Option(
        help: ArgumentHelp("The configuration file. Default: ~/.config/starling/node.yaml", valueName: "FILE")
    ) var config: String?
    @Option(help: ArgumentHelp("Override one key of the file (may be repeated).", valueName: "KEY=VALUE"))
    var set: [String] = []
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Seconds that running answers may take to finish when leaving.", valueName: "S"))
    var grace = 10.0
    @Flag(help: "Print no summary at the start, only the log.") var quiet = false

    /// The least time that the HTTP server gets to close.
    private static let closingTime = 0.5

    static var defaultConfigPath: String {
        let environment = ProcessInfo.processInfo.environment
        let base = environment["XDG_CONFIG_HOME"] ?? homeFolder + "/.config"
        return base + "/starling/node.yaml"
    }

    func validate() throws {
        guard (0...86_400).contains(grace) else {
            throw ValidationError("--grace is \(grace): give 0 to 86400 seconds")
        }
    }

    func run() async throws {
        // A node outlives whoever reads its output.
        signal(SIGPIPE, SIG_IGN)
        ProcessMemory.returnLargeBlocks()
        try await reporting {
            let settings = try load()
            let log = NodeLog.logger(settings.log)
            for serve in settings.serve {
                if let (problem, fix) = serve.launcherProblem {
                    throw fail(problem, fix: fix, .configuration)
                }
            }
            let folder = try DataFolder(settings.data)
            defer { withExtendedLifetime(folder) {} }
            let identity = try settings.identity()
            let database = settings.databasePath
            let (ledger, memory): (Ledger, Node.Memory)
            do {
                (ledger, memory) = try await Ledger.open(
                    path: database, for: settings, owner: identity.publicKey, log: log)
            } catch { throw LedgerError(path: database, error) }
            let node = try Node(
                settings: settings, identity: identity, ledger: ledger, memory: memory,
                version: starlingVersion, log: log)
            let outlivesTerminal = Signals.isIgnored(SIGHUP)
            var terminal = ControllingTerminal()
            let signals = Signals([SIGTERM, SIGINT, SIGHUP])
            // Before anybody hears of this node.
            do throws(SocketError) {
                try ThisMachine.checkListening(at: settings.http.listen)
            } catch {
                throw fail(
                    "the API for your clients: \(error)",
                    fix: fix(error, port: "http.listen", address: "http.listen"), .unavailable)
            }
            try await node.start()
            let gateway = try Gateway(node: node, configuration: settings.gateway, logger: log)
            let isQuiet = quiet
            let serving = Task {
                do {
                    try await gateway.run { port in
                        if !isQuiet { await Self.summary(settings, node, httpPort: port, log) }
                    }
                } catch is CancellationError {
                } catch {
                    remark("starling: \(error)")
                    if let error = error as? GatewayError { remark("  fix: \(error.fix)") }
                    Glibc.exit(ExitStatus.unavailable.rawValue)
                }
            }
            let trimming = Task {
                try await Task.sleep(for: .seconds(5))
                StartPages.release()
            }
            while let number = await signals.next() {
                guard number == SIGHUP else { break }
                guard terminal.hasClosed() else {
                    await reload(node, gateway, log)
                    continue
                }
                if !outlivesTerminal { break }
            }
            trimming.cancel()
            if !quiet {
                let words = "leaving: finishing running answers"
                if settings.log.format == .json {
                    log.atLeast(.notice).notice("\(words)")
                } else {
                    remark("\(words) (Ctrl-C again ends at once)")
                }
            }
            let second = Task {
                // A terminal that closes may send SIGHUP twice: by its shell, and by the system.
                while let number = await signals.next() {
                    if number != SIGHUP { Glibc.exit(ExitStatus.interrupted.rawValue) }
                }
                // Here shutdown was complete before a second signal arrived.
            }
            // Answers to clients have the same time to end as answers that this node gives; the server needs
            // a moment to close idle connections.
            let closing = Task {
                try await Task.sleep(for: .seconds(max(grace, Self.closingTime)))
                serving.cancel()
            }
            // Meanwhile `starling status` says that the node is leaving.
            await node.leave(grace: .milliseconds(Int64(grace * 1000)))
            await gateway.shutDown()
            await serving.value
            closing.cancel()
            await node.stop()
            second.cancel()
        }
    }

    private func load() throws -> NodeSettings { try Self.settings(config, set) }

    /// What a node's file says, with the environment and `--set`.
    static func settings(_ config: String?, _ set: [String] = []) throws -> NodeSettings {
        let path = config ?? Self.defaultConfigPath
        guard let data = FileManager.default.contents(atPath: path) else {
            throw FileManager.default.fileExists(atPath: path)
                ? fail(
                    "the configuration \(path) can't be read",
                    fix: "make it a file that this user can read", .configuration)
                : fail(
                    "there is no configuration at \(path)",
                    fix: "run `starling init`, or name one with --config", .configuration)
        }
        var flags: [String: String] = [:]
        for pair in set {
            guard let equals = pair.firstIndex(of: "=") else {
                throw fail("--set \(pair) has no =", fix: "write --set mesh.port=7827", .usage)
            }
            flags[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
        }
        return try NodeSettings(
            parsing: YAMLReader.text(of: data, file: path),
            source: .init(file: path, flags: flags, environment: ProcessInfo.processInfo.environment),
            home: homeFolder)
    }

    /// Reads the file again, and applies what can change.
    private func reload(_ node: Node, _ gateway: Gateway, _ log: Logger) async {
        let settings: NodeSettings
        do {
            settings = try load()
        } catch {
            let known = error as? ConfigurationError
            return log.error(
                "the configuration stays as it was: \(known.map { "\($0)" } ?? "its file can't be read")",
                metadata: known.map { ["fix": "\($0.fix)"] } ?? [:])
        }
        let reloaded = await node.reload(settings)
        gateway.reload(settings.gateway)
        let applied =
            reloaded.applied.isEmpty ? "nothing has changed in it" : reloaded.applied.joined(separator: ", ")
        log.atLeast(.notice).notice("the configuration was read again", metadata: ["applied": "\(applied)"])
        if !reloaded.needRestart.isEmpty {
            log.warning(
                "these keys of the configuration take effect when the node is started again",
                metadata: ["keys": "\(reloaded.needRestart.joined(separator: ", "))"])
        }
    }

    private static func summary(
        _ settings: NodeSettings, _ node: Node, httpPort: Int, _ log: Logger
    ) async {
        let endpoint = await node.meshEndpoint
        // Unless its operator states it, a node learns its address from others.
        let known = await node.peers().own.reach.endpoint
        let join = "starling://\(node.identity.publicKey)@\(known ?? "ADDRESS:\(endpoint.port)")"
        var http = settings.http.listen
        http.port = UInt16(clamping: httpPort)
        if settings.log.format == .json {
            return log.atLeast(.notice).notice(
                "started",
                metadata: [
                    "node": "\(node.identity.nodeID.short)", "name": "\(settings.name)",
                    "mesh": "\(settings.mesh.name)", "at": "\(endpoint)", "join": "\(join)",
                    "api": "http://\(http)/v1", "serving": .array(settings.serve.map { "\($0.soldAs)" }),
                ])
        }
        remark(
            "  node     \(node.identity.nodeID.short)  \"\(settings.name)\"   mesh \"\(settings.mesh.name)\"")
        remark("  mesh     \(endpoint) (UDP and TCP); others join with \(join)")
        if known == nil, let here = ThisMachine.addresses().first {
            remark(
                here.isPrivate
                    ? "           ADDRESS is where others reach this machine; `starling status` shows it once known. For a"
                        + " mesh of your local network set mesh.address: \(here.host) in its nodes' files (each its own),"
                        + " for one on this machine 127.0.0.1"
                    : "           ADDRESS is where others reach this machine, such as \(here.host): state it as"
                        + " mesh.public, or wait until other nodes have told it. For a mesh on this machine set"
                        + " mesh.address: 127.0.0.1 in the files of all its nodes")
        }
        remark("  api      http://\(http)/v1    page http://\(http)/")
        remark(
            settings.serve.isEmpty
                ? "  serving nothing: this node only asks. Ctrl-C leaves."
                : "  serving \(settings.serve.map(\.soldAs).joined(separator: ", ")) while \(settings.serve.count == 1 ? "its model server is" : "their model servers are") up. Ctrl-C finishes running answers, then leaves; again, at once."
        )
    }
}

extension Logger {
    /// The same log, which also has what is at least as important as `level`.
    fileprivate func atLeast(_ level: Logger.Level) -> Logger {
        var log = self
        log.logLevel = min(logLevel, level)
        return log
    }
}

/// The terminal from which this process was started, if it was. When it closes, the kernel takes it from the process.
struct ControllingTerminal {
    private var isOpen = Self.isThere

    private static var isThere: Bool {
        let descriptor = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC)
        if descriptor >= 0 { close(descriptor) }
        return descriptor >= 0
    }

    /// Whether it has closed since the last look.
    mutating func hasClosed() -> Bool {
        guard isOpen else { return false }
        isOpen = Self.isThere
        return !isOpen
    }
}

/// Signals as a sequence of numbers. From its creation on they no longer end the program.
final class Signals: Sendable {
    private let stream: AsyncStream<Int32>
    private let sources: [any DispatchSourceSignal]

    init(_ numbers: [Int32]) {
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
        self.stream = stream
        sources = numbers.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield(number) }
            source.activate()
            return source
        }
    }

    /// Whether this process was told to ignore it, as `nohup` does with SIGHUP.
    static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(number, nil, &action) == 0 else { return false }
        let handler = action.__sigaction_handler.sa_handler
        return unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    func next() async -> Int32? {
        var iterator = stream.makeAsyncIterator()
        return await iterator.next()
    }
}

extension NodeSettings {
    /// The gateway's part of the settings.
    var gateway: GatewayConfiguration {
        var configuration = GatewayConfiguration()
        configuration.host = http.listen.host
        configuration.port = Int(http.listen.port)
        configuration.apiKeys = http.apiKeys
        configuration.origins = http.origins
        configuration.hosts = http.hosts
        configuration.connectionsMax = DescriptorShares(limit: FileDescriptors.raiseLimit()).clients
        configuration.clientKeys = ask.keys.map { key in
            let digest =
                switch key.secret {
                case .text(let text): ClientKey.digest(of: text.utf8)
                case .sha256(let bytes): Bytes32(bytes) ?? .zero
                }
            return ClientKey(name: key.name, digest: digest, models: key.models, expires: key.expires)
        }
        configuration.extraFields = ask.allowFields
        configuration.preferences.maxInputPrice = ask.maxInputPrice
        configuration.preferences.maxOutputPrice = ask.maxOutputPrice
        configuration.preferences.maxCost = ask.maxCost
        configuration.preferences.weights.timePerSecond = UInt32(clamping: ask.timePerSecond)
        configuration.preferences.minMillitrust = UInt32(clamping: Int((ask.minTrust * 1000).rounded()))
        return configuration
    }
}
