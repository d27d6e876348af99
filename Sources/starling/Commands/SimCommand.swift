import ArgumentParser
import Foundation
import Primitives
import Simulation

struct SimCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sim",
        abstract: "Run many nodes in virtual time, break them by seed, and check what must hold.",
        discussion: """
            The peers are the ones that ship; network, clocks, backends and clients \
            are scripted. The same seed takes the same course: a failure is repeated \
            by the line printed with it.

            Scenarios:
            \(Scenarios.names.map { "  \($0.name.padding(toLength: 18, withPad: " ", startingAt: 0))\($0.summary)" }.joined(separator: "\n"))

            Exit codes: 0 everything held, 1 an invariant broke.
            """)

    @Argument(help: ArgumentHelp("What to run.", valueName: "scenario"))
    var scenario = "market"

    @Option(help: "Nodes in the mesh.")
    var nodes: Int?

    @Option(help: "Tasks that clients submit.")
    var tasks: Int?

    @Option(help: ArgumentHelp("Datagrams lost, as 0.02 or 2%.", valueName: "ratio"))
    var loss: String?

    @Option(help: ArgumentHelp("Kill so many workers while they answer.", valueName: "count"))
    var kill: Int?

    @Option(help: "What everything random follows from.")
    var seed: UInt64 = 1

    @Flag(help: "Print the trace digest alone.")
    var digest = false

    @Flag(help: "Print one JSON document.")
    var json = false

    @Flag(help: "Say on stderr what happens, as it happens.")
    var trace = false

    func run() async throws {
        try await reporting {
            let world = World(try plan())
            if trace {
                world.observer = { at, line in remark("\(at.nanoseconds / 1_000_000) ms  \(line)") }
            }
            let start = ContinuousClock.now
            let report = world.run()
            let real = Interval(nanoseconds: max(1, Int64((ContinuousClock.now - start) / .nanoseconds(1))))
            print(report, real)
            if !report.holds {
                if digest { remark(report.text(replay: replay)) }
                throw ExitCode(ExitStatus.failed.rawValue)
            }
        }
    }

    private func print(_ report: Report, _ real: Interval) {
        let eventsPerSecond = Int(Double(report.events) / real.seconds)
        let speed = report.virtualTime.seconds / real.seconds
        if digest {
            emit(report.digest + "\n")
        } else if json {
            let more = [
                ("real_ms", "\(real.milliseconds)"), ("events_per_s", "\(eventsPerSecond)"),
                ("times_real_time", String(format: "%.2f", speed)),
            ]
            emit(report.json(replay: replay, more: more))
        } else {
            emit(report.text(replay: replay))
            let nodeSeconds = Int(Double(report.nodes) * speed)
            remark(
                String(
                    format: "%.1f s: %d events/s, %.1f × real time, ", real.seconds, eventsPerSecond, speed)
                    + "\(nodeSeconds) node-seconds a second")
        }
    }

    private func plan() throws -> Scenario {
        if let nodes, nodes < 2 || nodes > 65_535 {
            throw fail("--nodes \(nodes) is out of range", mend: "2 to 65535", .usage)
        }
        if let tasks, tasks < 0 || tasks > 1_000_000 {
            throw fail("--tasks \(tasks) is out of range", mend: "0 to 1000000", .usage)
        }
        if let kill, kill < 0 || kill > 10_000 {
            throw fail("--kill \(kill) is out of range", mend: "0 to 10000", .usage)
        }
        let size = Scenarios.Size(nodes: nodes, tasks: tasks, loss: try lossChance(), kills: kill)
        guard let plan = Scenarios.named(scenario, seed: seed, size: size) else {
            let names = Scenarios.names.map(\.name).joined(separator: ", ")
            throw fail("no scenario is called \(scenario)", mend: "one of \(names)", .usage)
        }
        return plan
    }

    private func lossChance() throws -> Chance? {
        guard let loss else { return nil }
        let isPercent = loss.hasSuffix("%")
        guard let number = Double(isPercent ? String(loss.dropLast()) : loss), number >= 0,
            number <= (isPercent ? 100 : 1)
        else { throw fail("--loss \(loss) is no ratio", mend: "0.02 or 2%", .usage) }
        return Chance(perMillion: Int((number * (isPercent ? 10_000 : 1_000_000)).rounded()))
    }

    /// The line that repeats this run.
    private var replay: String {
        var line = "starling sim \(scenario) --seed \(seed)"
        if let nodes { line += " --nodes \(nodes)" }
        if let tasks { line += " --tasks \(tasks)" }
        if let loss { line += " --loss \(loss)" }
        if let kill { line += " --kill \(kill)" }
        return line
    }
}
