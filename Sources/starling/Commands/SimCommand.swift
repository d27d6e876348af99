import ArgumentParser
import FoundationEssentials
import Glibc
import Primitives
import Simulation
import Testnet

struct SimCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sim",
        abstract: "Run many nodes in virtual time, inject faults by seed, and check invariants.",
        discussion: """
            The peers run the real protocol code; network, clocks, backends and clients \
            are simulated. The same seed gives the same run: a failure is repeated \
            by the line printed with it.

            A scenario is a file, such as testnet/scenarios/market-200.yaml: nodes, \
            links (latency, loss, regions, NATs), clocks, load, lookups, searches, \
            events, churn, byzantine nodes (\(ScenarioFile.Byzantine.Behaviour.allCases.map(\.rawValue).joined(separator: ", "))), \
            and what to `expect` of the honest ones. Measures for `expect`: \
            \(Report.measureNames.joined(separator: ", ")).

            Or a built-in one:
            \(Scenarios.names.map { "  \($0.name + String(repeating: " ", count: max(1, 18 - $0.name.count)))\($0.summary)" }.joined(separator: "\n"))

            Exit codes: 0 everything held, 1 an invariant or an `expect:` failed.
            """)

    @Argument(help: ArgumentHelp("What to run.", valueName: "scenario"))
    var scenario = "market"

    @Option(
        parsing: .unconditional, help: "Nodes in the mesh; a file's groups (`count:`) grow or shrink to it.")
    var nodes: Int?

    @Option(parsing: .unconditional, help: "Tasks that clients submit.")
    var tasks: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Datagrams lost, as 0.02 or 2%.", valueName: "ratio"))
    var loss: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Kill this many workers while they answer.", valueName: "count"))
    var kill: Int?

    @Option(
        parsing: .unconditional, help: "The seed of all random choices. Default: the file's `seed:`, or 1.")
    var seed: UInt64?

    @Option(
        help: ArgumentHelp(
            "sealed: real cryptography; plain: the same packets without it. Plain above 1000 nodes.",
            valueName: "carrier"))
    var carrier: Carrier?

    @Option(help: ArgumentHelp("Write report.json and chart.svg to this folder.", valueName: "folder"))
    var out: String?

    @Flag(help: "Print only the trace digest.")
    var digest = false

    @Flag(help: "Print one JSON document.")
    var json = false

    @Flag(help: "Print events to stderr as they happen.")
    var trace = false

    func run() async throws {
        try await reporting {
            var (plan, thresholds) = try plan()
            plan.carrier = carrier ?? (plan.nodes.count > Self.sealedNodesMax ? .plain : .sealed)
            if plan.nodes.count >= Self.sealedNodesMax { ProcessMemory.restartWithLargePages() }
            let before = ProcessMemory.resident()
            let world = World(plan)
            let pace = Pace(showsProgress: !trace && isatty(2) == 1)
            world.progress = pace.reached
            if trace {
                world.observer = { at, line in remark("\(at.nanoseconds / 1_000_000) ms  \(line)") }
            }
            let start = ContinuousClock.now
            let report = world.run()
            let real = Interval(nanoseconds: max(1, Int64((ContinuousClock.now - start) / .nanoseconds(1))))
            if pace.showsProgress { output("\r\u{1b}[K", to: STDERR_FILENO) }
            let memory = withExtendedLifetime(world) {
                (held: ProcessMemory.resident() - before, used: ProcessMemory.residentTrimmed() - before)
            }
            let verdicts = thresholds.map { Verdict($0, report.measures) }
            let replay = replay(plan.seed)
            print(report, verdicts, real, pace, memory, replay)
            if let out { try write(report, verdicts, to: out, replay) }
            if !report.holds || !verdicts.allSatisfy(\.holds) {
                if digest { remark(report.text(expectations: verdicts.map(\.line), replay: replay)) }
                if report.holds { remark("repeat it:  \(replay)") }
                throw ExitCode(ExitStatus.failed.rawValue)
            }
        }
    }

    /// With real cryptography, more nodes take minutes of real time for seconds of virtual time.
    private static let sealedNodesMax = 1_000

    private func print(
        _ report: Report, _ verdicts: [Verdict], _ real: Interval, _ pace: Pace,
        _ memory: (held: Int, used: Int), _ replay: String
    ) {
        let eventsPerSecond = Int(Double(report.events) / real.seconds)
        let speed = report.virtualTime.seconds / real.seconds
        if digest {
            emit(report.digest + "\n")
        } else if json {
            let more = [
                ("expect", Verdict.json(verdicts)), ("real_ms", "\(real.milliseconds)"),
                ("events_per_s", "\(eventsPerSecond)"), ("times_real_time", speed.text(decimals: 2)),
                ("times_real_time_at_rest", pace.speed(report.upkeep).text(decimals: 2)),
                ("resident_bytes_per_node", "\(memory.used / max(1, report.nodes))"),
                ("resident_bytes_per_node_untrimmed", "\(memory.held / max(1, report.nodes))"),
            ]
            emit(report.json(replay: replay, more: more))
        } else {
            emit(report.text(expectations: verdicts.map(\.line), replay: replay))
            let nodeSeconds = Int(Double(report.nodes) * speed)
            remark(
                "\(real.seconds.text(decimals: 1)) s of real time: \(eventsPerSecond) events/s, \(speed.text(decimals: 1)) × real time, "
                    + "\(nodeSeconds) node-seconds a second, \(memory.used / max(1, report.nodes) / 1_000) kB a node"
            )
        }
    }

    private func write(_ report: Report, _ verdicts: [Verdict], to folder: String, _ replay: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let document = report.json(replay: replay, more: [("expect", Verdict.json(verdicts))])
            try document.write(toFile: "\(folder)/report.json", atomically: true, encoding: .utf8)
            try report.chart.write(toFile: "\(folder)/chart.svg", atomically: true, encoding: .utf8)
        } catch {
            throw fail(
                "\(folder) can't be written: \(cause(error))", fix: "choose another folder with --out",
                .failed)
        }
        remark("\(folder)/report.json and \(folder)/chart.svg are written")
    }

    /// The scenario of a file with its thresholds, or a built-in one.
    private func plan() throws -> (Scenario, [ScenarioFile.Threshold]) {
        let nodesMax = ScenarioFile.simulatedNodesMax
        if let nodes, nodes < 2 || nodes > nodesMax {
            throw fail("--nodes \(nodes) is out of range", fix: "2 to \(nodesMax)", .usage)
        }
        if let tasks, tasks < 0 || tasks > 1_000_000 {
            throw fail("--tasks \(tasks) is out of range", fix: "0 to 1000000", .usage)
        }
        if let kill, kill < 0 || kill > 10_000 {
            throw fail("--kill \(kill) is out of range", fix: "0 to 10000", .usage)
        }
        if scenario.hasSuffix(".yaml") || scenario.contains("/") { return try planFromFile() }
        let size = Scenarios.Size(nodes: nodes, tasks: tasks, loss: try lossChance(), kills: kill)
        guard let plan = Scenarios.named(scenario, seed: seed ?? 1, size: size) else {
            throw fail(
                "no built-in scenario is called \(scenario)",
                fix: meant ?? "name a file (*.yaml), or one of \(Nearest.list(Scenarios.names.map(\.name)))",
                .usage)
        }
        return (plan, [])
    }

    /// The file or the built-in scenario that a wrong name may mean.
    private var meant: String? {
        let file = "testnet/scenarios/\(scenario).yaml"
        if FileManager.default.fileExists(atPath: file) { return "did you mean \(file)?" }
        return Nearest.match(scenario, in: Scenarios.names.map(\.name)).map { "did you mean \($0)?" }
    }

    private func planFromFile() throws -> (Scenario, [ScenarioFile.Threshold]) {
        if tasks != nil || loss != nil || kill != nil {
            throw fail(
                "--tasks, --loss and --kill only change built-in scenarios",
                fix: "change \(scenario): load, links, events", .usage)
        }
        let text = try contents(
            of: scenario, kind: "a scenario", example: "testnet/scenarios/kill-workers.yaml")
        let file = try ScenarioFile(
            parsing: text, path: scenario, folder: TestnetCommand.root,
            nodeCountMax: ScenarioFile.simulatedNodesMax, size: nodes)
        let name = URL(fileURLWithPath: scenario).deletingPathExtension().lastPathComponent
        let plan = try file.plan(name: name, seed: seed ?? UInt64(file.testnet.seed))
        return (plan, file.expect)
    }

    private func lossChance() throws -> Chance? {
        guard let loss else { return nil }
        let isPercent = loss.hasSuffix("%")
        guard let number = Double(isPercent ? String(loss.dropLast()) : loss), number >= 0,
            number <= (isPercent ? 100 : 1)
        else { throw fail("--loss \(loss) is not a ratio", fix: "0.02 or 2%", .usage) }
        return Chance(perMillion: Int((number * (isPercent ? 10_000 : 1_000_000)).rounded()))
    }

    /// The command line that repeats this run.
    private func replay(_ seed: UInt64) -> String {
        var line = "starling sim \(scenario) --seed \(seed)"
        if let carrier { line += " --carrier \(carrier.rawValue)" }
        if let nodes { line += " --nodes \(nodes)" }
        if let tasks { line += " --tasks \(tasks)" }
        if let loss { line += " --loss \(loss)" }
        if let kill { line += " --kill \(kill)" }
        return line
    }
}

extension Carrier: ExpressibleByArgument {}

/// The pace of virtual time: a progress line for terminals, and the pace while the network is at rest.
final class Pace {
    let showsProgress: Bool
    private let start = ContinuousClock.now
    private var shown = ContinuousClock.now
    private var marks: [(virtual: Double, real: Double)] = []

    init(showsProgress: Bool) { self.showsProgress = showsProgress }

    func reached(_ at: MonotonicTime) {
        let now = ContinuousClock.now
        let real = (now - start) / .seconds(1)
        marks.append((Double(at.nanoseconds) / 1e9, real))
        guard showsProgress, now - shown > .milliseconds(200) else { return }
        shown = now
        let virtual = (Double(at.nanoseconds) / 1e9).text(decimals: 1)
        let line = "\r\u{1b}[K\(virtual) s of virtual time in \(real.text(decimals: 0)) s"
        output(line, to: STDERR_FILENO)
    }

    /// Virtual seconds per real second while nothing was asked or broken.
    func speed(_ upkeep: Upkeep) -> Double {
        guard let from = marks.first(where: { $0.virtual >= upkeep.from.seconds }),
            let until = marks.last(where: { $0.virtual <= upkeep.until.seconds }), until.real > from.real
        else { return 0 }
        return (until.virtual - from.virtual) / (until.real - from.real)
    }
}
