import Cryptography
import FoundationEssentials
import Glibc
import MeshClient
import MeshDocuments
import NodeConfiguration
import Primitives

/// A local network of real node processes: the implementation of `starling testnet …`.
public struct LocalTestnet: Sendable {
    public let layout: Layout
    public let name: String

    /// `root` is the folder `testnet/`. Without a name, selects the only testnet running there; throws when
    /// there is none or more than one, and for a name that is none, because it is also a folder's.
    public init(root: String, name: String?) throws(TestnetError) {
        if let name {
            guard TestnetFile.isName(name) else {
                throw TestnetError(
                    "a testnet can't be named `\(name)`",
                    fix: "use 1 to \(TestnetFile.nameSizeMax) letters, digits, - and _", exitCode: 64)
            }
            self.name = name
        } else {
            let found = Self.running(root: root)
            guard found.count == 1, let only = found.first else {
                throw TestnetError(
                    found.isEmpty
                        ? "no testnet runs here"
                        : "\(found.count) testnets run here: \(found.joined(separator: ", "))",
                    fix: found.isEmpty
                        ? "starling testnet up testnet/market.yaml" : "say which: --name \(found[0])",
                    exitCode: 69)
            }
            self.name = only
        }
        layout = Layout(root: root, name: self.name)
    }

    /// Names of the testnets that run under `root`, sorted.
    public static func running(root: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/.run")) ?? []
        return names.sorted().filter {
            TestnetFile.isName($0)
                && FileManager.default.fileExists(atPath: Layout(root: root, name: $0).state)
        }
    }

    // MARK: Up

    /// Starts the missing nodes and returns when every node knows every offer. Each step is reported to
    /// `progress` once.
    public func up(_ file: TestnetFile, program: String, timeout: TimeInterval, progress: (String) -> Void)
        throws
    {
        for node in file.nodes {
            if let sale = node.sale, sale.url == nil, !FileManager.default.fileExists(atPath: sale.file) {
                throw TestnetError(
                    "\(node.name) serves \(sale.model), but there is no \(sale.file)",
                    fix:
                        "put the GGUF file there, name it with `file:`, or set STARLING_TESTNET to the folder"
                        + " that holds models/ (by default testnet/ in the working folder)",
                    exitCode: 78)
            }
        }
        try FileManager.default.createDirectory(atPath: layout.folder, withIntermediateDirectories: true)
        let plan = Blake2b.hash(Array("\(file.mesh)/\(file.seed)/\(file.ports ?? 0)/\(file.nodes)".utf8))
        let before = TestnetState.load(layout)
        if let before, before.plan == plan.bytes.hex, isAlive(before) {
            let missing = before.nodes.filter { $0.exit == nil && self.state(of: $0) == "failed" }
            for node in missing { try command("start \(node.name)") }
            try waitUntilReady(timeout: timeout, progress: progress)
            return
        }
        if before != nil {
            progress("the file changed: stopping what ran")
            try down(purge: false)
            try FileManager.default.createDirectory(atPath: layout.folder, withIntermediateDirectories: true)
        }
        let laid = file.lay(out: layout, port: try portChooser(file))
        for (record, yaml) in laid {
            try yaml.write(toFile: record.config, atomically: true, encoding: .utf8)
            try? FileManager.default.removeItem(atPath: record.log)
        }
        let fresh = TestnetState(
            file: file.path, plan: plan.bytes.hex, program: program, supervisor: 0, supervisorTicks: 0,
            nodes: laid.map(\.record))
        try fresh.save(layout)
        try startSupervisor(program)
        do {
            try waitUntilReady(timeout: timeout, progress: progress)
        } catch {
            _ = try? down(purge: false)
            throw error
        }
    }

    private func portChooser(_ file: TestnetFile) throws -> (Int) -> Int {
        if let first = file.ports {
            for index in file.nodes.indices {
                for (port, what) in [(first + 2 * index, "mesh"), (first + 2 * index + 1, "HTTP")]
                where !Ports.isFree(UInt16(port)) {
                    throw TestnetError(
                        "port \(port) (\(what) of \(file.nodes[index].name)) is taken",
                        fix: "stop what uses it, or set `ports: auto` in \(file.path)")
                }
            }
            return { first + 2 * $0 }
        }
        let pairs = Ports.freePairs(file.nodes.count)
        guard pairs.count == file.nodes.count else {
            throw TestnetError("no \(2 * file.nodes.count) free ports", fix: "stop other testnets")
        }
        return { pairs[$0] }
    }

    func startSupervisor(_ program: String) throws {
        let pid = try Spawn.detached(
            program: program, arguments: ["testnet", "supervise", layout.folder], log: layout.supervisorLog)
        let end = Date().addingTimeInterval(10)
        while Date() < end {
            if let state = TestnetState.load(layout), state.supervisor == pid,
                access(layout.control, F_OK) == 0
            {
                return
            }
            if ProcessTable.startTicks(pid) == nil { break }
            usleep(10_000)
        }
        throw TestnetError("the supervisor did not start", fix: "read \(layout.supervisorLog)")
    }

    /// What a node logs when the model server's program doesn't exist; waiting won't help then.
    private static let noServer = "server can't be started"

    /// Polls each node until it lists every seller's offers. Fails early, with its log, when a node has died.
    private func waitUntilReady(timeout: TimeInterval, progress: (String) -> Void) throws {
        let start = Date()
        var told = 0
        while true {
            guard let state = TestnetState.load(layout) else {
                throw TestnetError("the testnet is gone", fix: "start it again")
            }
            let alive = state.nodes.filter { self.state(of: $0) == "up" || self.state(of: $0) == "starting" }
            if let dead = state.nodes.first(where: {
                $0.exit != nil && ($0.exit?.signal == nil) && self.state(of: $0) == "failed"
            }) {
                throw TestnetError(
                    "\(dead.name) ended at once:\n\(lastLines(dead.log))", fix: "read \(dead.log)")
            }
            if let helpless = alive.first(where: { lastLines($0.log).contains(Self.noServer) }) {
                throw TestnetError(
                    "\(helpless.name) finds no model server to start:\n\(lastLines(helpless.log))",
                    fix: "run scripts/setup once: it installs llama.cpp's server in .cache/venv")
            }
            let expected = Set(alive.flatMap { node in node.models.map { "\(node.nodeID)/\($0)" } })
            var answering = 0
            var complete = 0
            for node in alive {
                guard let known = knownOffers(node) else { continue }
                answering += 1
                if known.isSuperset(of: expected) { complete += 1 }
            }
            if told == 0, answering == alive.count {
                told = 1
                progress("\(counted(alive.count, "node")) up, \(seconds(since: start))")
            }
            if complete == alive.count, state.nodes.allSatisfy({ $0.pid != 0 }) {
                progress("every node knows \(counted(expected.count, "offer")), \(seconds(since: start))")
                return
            }
            if Date().timeIntervalSince(start) > timeout {
                let late =
                    alive.first { (knownOffers($0)?.isSuperset(of: expected)) != true } ?? state.nodes[0]
                throw TestnetError(
                    "after \(Int(timeout)) s \(late.name) knows \(knownOffers(late)?.count ?? 0) of \(counted(expected.count, "offer")):\n\(lastLines(late.log))",
                    fix: "give it more time with --timeout, or read \(late.log)")
            }
            usleep(50_000)
        }
    }

    private func knownOffers(_ node: NodeRecord) -> Set<String>? {
        guard let response = try? MeshClient(base: node.http).get("/mesh/offers", timeout: 2),
            response.status == 200,
            let document = try? JSONDecoder().decode(OffersDocument.self, from: Data(response.body))
        else { return nil }
        return Set(document.offers.map { "\($0.nodeID)/\($0.model)" })
    }

    func lastLines(_ log: String) -> String {
        let text =
            (FileManager.default.contents(atPath: log)).map {
                String(decoding: $0.suffix(4096), as: UTF8.self)
            } ?? ""
        return text.split(separator: "\n").suffix(8).map { "    \($0)" }.joined(separator: "\n")
    }

    private func seconds(since start: Date) -> String {
        Date().timeIntervalSince(start).text(decimals: 1) + " s"
    }

    // MARK: State

    /// The recorded state. Throws when no such testnet runs.
    public func load() throws(TestnetError) -> TestnetState {
        guard let state = TestnetState.load(layout) else {
            let others = Self.running(root: layout.root)
            throw TestnetError(
                "no testnet `\(name)` runs here",
                fix: others.isEmpty
                    ? "starling testnet up FILE, such as testnet/market.yaml"
                    : "running here: \(others.joined(separator: ", "))",
                exitCode: 69)
        }
        return state
    }

    /// Whether any of its processes runs.
    public var isRunning: Bool {
        guard let state = TestnetState.load(layout) else { return false }
        return state.nodes.contains { ProcessTable.state($0.pid, startTicks: $0.startTicks) != .gone }
    }

    /// One of `up`, `starting`, `frozen`, `killed`, `left`, `failed`.
    public func state(of node: NodeRecord) -> String {
        switch ProcessTable.state(node.pid, startTicks: node.startTicks) {
        case .frozen: return "frozen"
        case .running:
            return (try? MeshClient(base: node.http).get("/health", timeout: 1))?.status == 200
                ? "up" : "starting"
        case .gone:
            if node.pid == 0, node.exit == nil { return "starting" }
            if let signal = node.exit?.signal { return signal == SIGKILL ? "killed" : "failed" }
            if node.exit?.status == 0 { return "left" }
            return lastEvent(node.name)?.action == "kill" ? "killed" : "failed"
        }
    }

    public struct Event: Codable, Sendable {
        public var at: Date
        public var action: String
        public var node: String
    }

    /// The last action that was requested for a node.
    public func lastEvent(_ node: String) -> Event? {
        guard let data = FileManager.default.contents(atPath: layout.events) else { return nil }
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .secondsSince1970
        return data.split(separator: 10).reversed().lazy.compactMap {
            try? decoder.decode(Event.self, from: Data($0))
        }.first { $0.node == node }
    }

    /// A sentence about a node that is not simply up.
    public func remark(on node: NodeRecord, state: String) -> String {
        let event = lastEvent(node.name)
        let ago = { (date: Date) in Self.duration(Date().timeIntervalSince(date)) }
        switch state {
        case "frozen":
            return event?.action == "freeze"
                ? "frozen \(ago(event?.at ?? Date())) ago by `testnet freeze`"
                : "frozen by somebody else's SIGSTOP"
        case "killed", "failed", "left":
            guard let exit = node.exit else { return "gone; no supervisor recorded how it ended" }
            let how =
                exit.signal.map { "by signal \($0)\($0 == SIGKILL ? " (SIGKILL)" : "")" }
                ?? "with status \(exit.status ?? -1)"
            let who =
                event.map {
                    $0.action == "kill" && abs($0.at.timeIntervalSince(exit.at)) < 5
                        ? " from `testnet kill`" : ""
                } ?? ""
            return "ended \(ago(exit.at)) ago \(how)\(who)"
        default: return ""
        }
    }

    static func duration(_ seconds: TimeInterval) -> String {
        seconds < 100
            ? "\(max(0, seconds).text(decimals: 0)) s"
            : seconds < 6000
                ? "\((seconds / 60).text(decimals: 0)) min" : "\((seconds / 3600).text(decimals: 0)) h"
    }

    /// The record of a node. The error lists the existing names.
    public func node(named name: String) throws(TestnetError) -> NodeRecord {
        let state = try load()
        guard let node = state.nodes.first(where: { $0.name == name }) else {
            throw TestnetError(
                "no node `\(name)` in testnet \(self.name)",
                fix: "its nodes are \(state.nodes.map(\.name).joined(separator: ", "))", exitCode: 64)
        }
        return node
    }
}

extension [UInt8] {
    /// Lower-case hexadecimal.
    public var hex: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
