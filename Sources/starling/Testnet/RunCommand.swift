// Plays a scenario with real processes: what `starling sim` does in virtual time, as far as processes can.

import ArgumentParser
import FoundationEssentials
import Glibc
import MeshClient
import NodeConfiguration
import OpenAIFormat
import Primitives
import Simulation
import Synchronization
import Testnet

extension TestnetCommand {
    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Play a scenario with processes: its load, its events, its thresholds.",
            discussion: """
                Times count from when every node knows every offer. What processes can't \
                play is refused by name: links, NATs, clocks, lookups, searches, churn, \
                byzantine behaviours, partitions, power cuts, `busy`. `starling sim` plays everything.

                Exit codes: 0 all thresholds hold, 1 one is missed.
                """)
        @Argument(help: "The scenario, such as testnet/scenarios/kill-workers.yaml.") var file: String
        @Option(parsing: .unconditional, help: "Give up when the start takes this many seconds.")
        var timeout = 60.0
        @Flag(help: "Leave the testnet running.") var keep = false
        @Flag(help: "Print one JSON document.") var json = false

        func validate() throws { try TestnetCommand.check(timeout: timeout) }

        func run() async throws {
            try await reporting {
                let text = try contents(
                    of: file, kind: "a scenario", example: "testnet/scenarios/kill-workers.yaml")
                let scenario = try ScenarioFile(parsing: text, path: file, folder: TestnetCommand.root)
                try scenario.checkPlayable()
                try scenario.check(ProcessRun.measureNames)
                let testnet = try LocalTestnet(root: TestnetCommand.root, name: scenario.testnet.name)
                if testnet.isRunning {
                    throw fail(
                        "testnet \(testnet.name) runs already, and a scenario begins with fresh nodes",
                        fix: "starling testnet down --name \(testnet.name)", .unavailable)
                }
                let start = ContinuousClock.now
                try testnet.up(scenario.testnet, program: TestnetCommand.program, timeout: timeout) {
                    remark("  ✓ \($0)")
                }
                let run = ProcessRun(
                    scenario: scenario, testnet: testnet,
                    convergence: (ContinuousClock.now - start) / .seconds(1))
                defer { if !keep { _ = try? testnet.down(purge: false) } }
                let measures = try run.play()
                let verdicts = scenario.expect.map { Verdict($0, measures) }
                emit(json ? run.json(measures, verdicts) : run.text(measures, verdicts))
                if !verdicts.allSatisfy(\.holds) {
                    remark("repeat it:  starling testnet run \(file)")
                    throw ExitCode(ExitStatus.failed.rawValue)
                }
            }
        }
    }
}

extension ScenarioFile {
    /// Throws an error that names the first thing that processes can't play.
    func checkPlayable() throws(ConfigurationError) {
        func refuse(_ what: String, _ line: Int?) -> ConfigurationError {
            ConfigurationError(
                file: testnet.path, line: line, problem: "processes can't play \(what)",
                fix: "starling sim \(testnet.path)")
        }
        if let links, !links.nat.isEmpty { throw refuse("`links.nat`", nil) }
        if links != nil { throw refuse("`links`", nil) }
        if clocks != nil { throw refuse("`clocks`", nil) }
        for node in testnet.nodes {
            if let nat = node.nat, nat != .none {
                throw refuse("`nat: \(nat.rawValue)` (\(node.group))", nil)
            }
            if node.clockSkew != nil { throw refuse("`clock_skew` (\(node.group))", nil) }
            if node.learnsAddress { throw refuse("`address: learnt` (\(node.group))", nil) }
        }
        for load in load {
            if let what = load.shape.simulatedOnly { throw refuse(what, nil) }
        }
        if !lookups.isEmpty { throw refuse("`lookups`", nil) }
        if !searches.isEmpty { throw refuse("`searches`", nil) }
        if churn != nil { throw refuse("`churn`", nil) }
        if let first = byzantine.first {
            throw refuse("`byzantine: {behaviour: \(first.behaviour.rawValue)}`", nil)
        }
        for event in events {
            switch event.action {
            case .partition, .heal, .powerOff: throw refuse("`\(event.action.rawValue)`", event.line)
            case .kill, .freeze, .thaw, .restart, .stop:
                if event.nodes == ["busy"] { throw refuse("`\(event.action.rawValue): busy`", event.line) }
            }
        }
    }
}

/// One run with processes. Each task and each event has its own thread, because their calls block.
final class ProcessRun: Sendable {
    static let measureNames = ["answered", "convergence", "first_byte_p50", "first_byte_p99"]
    /// Concurrent tasks; further ones wait.
    private static let tasksAtOnceMax = 256

    private struct Ledger {
        var outcomes: [(name: String, count: Int)] = []
        var firstBytes: [Int64] = []
        /// Nodes that were taken down, so that asking them fails as expected.
        var down: Set<String> = []
        var running = 0
        var problems: [String] = []

        mutating func count(_ name: String) {
            if let index = outcomes.firstIndex(where: { $0.name == name }) {
                outcomes[index].count += 1
            } else {
                outcomes.append((name, 1))
            }
        }
    }

    private struct Step {
        var at: Interval
        var work: @Sendable (ProcessRun) -> Void
    }

    private let scenario: ScenarioFile
    private let testnet: LocalTestnet
    private let convergence: Double
    private let ledger = Mutex(Ledger())

    init(scenario: ScenarioFile, testnet: LocalTestnet, convergence: Double) {
        self.scenario = scenario
        self.testnet = testnet
        self.convergence = convergence
    }

    /// Plays everything and returns when the last task has ended.
    func play() throws -> [Measure] {
        let state = try testnet.load()
        let steps = (events() + tasks(state)).sorted { $0.at < $1.at }
        let start = ContinuousClock.now
        for step in steps {
            let due = start.advanced(by: .nanoseconds(step.at.nanoseconds))
            while ContinuousClock.now < due { usleep(2_000) }
            while ledger.withLock({ $0.running }) >= Self.tasksAtOnceMax { usleep(2_000) }
            ledger.withLock { $0.running += 1 }
            let isStarted = BlockingThread.start {
                step.work(self)
                self.ledger.withLock { $0.running -= 1 }
            }
            if !isStarted { ledger.withLock { $0.running -= 1 } }
        }
        while ledger.withLock({ $0.running }) > 0 { usleep(5_000) }
        return ledger.withLock { measures($0) }
    }

    // MARK: Steps

    private func events() -> [Step] {
        var steps: [Step] = []
        func add(_ at: Interval, _ action: LocalTestnet.Action, _ name: String) {
            steps.append(
                Step(at: at) { run in
                    remark("  \(Report.decimal(at.seconds)) s: \(action.rawValue) \(name)")
                    run.ledger.withLock {
                        if action == .kill || action == .stop || action == .freeze { $0.down.insert(name) }
                    }
                    do {
                        try run.testnet.perform(action, on: name)
                    } catch {
                        run.ledger.withLock { $0.problems.append("\(action.rawValue) \(name): \(error)") }
                    }
                    run.ledger.withLock { if action == .thaw || action == .restart { $0.down.remove(name) } }
                })
        }
        for event in scenario.events {
            let action: LocalTestnet.Action? =
                switch event.action {
                case .kill: .kill
                case .freeze: .freeze
                case .thaw: .thaw
                case .stop: .stop
                case .restart: .restart
                case .partition, .heal, .powerOff: nil
                }
            guard let action else { continue }
            for place in scenario.places(event.nodes) {
                let name = scenario.testnet.nodes[place].name
                add(event.at, action, name)
                if let lasts = event.lasts { add(event.at + lasts, .thaw, name) }
            }
        }
        return steps
    }

    private func tasks(_ state: TestnetState) -> [Step] {
        var steps: [Step] = []
        var random = SeededRandom(seed: UInt64(scenario.testnet.seed))
        for load in scenario.load {
            let askers = scenario.askers(load)
            for index in 0..<load.count {
                let asker = scenario.testnet.nodes[askers[index % askers.count]].name
                guard let http = state.nodes.first(where: { $0.name == asker })?.http else { continue }
                let tokens = load.tokens.lowerBound + random.below(load.tokens.count)
                let at = load.from + Interval(nanoseconds: Int64(Double(index) * 1e9 / load.rate))
                steps.append(Step(at: at) { $0.ask(load, asker, http, tokens) })
            }
        }
        return steps
    }

    private func ask(_ load: ScenarioFile.Load, _ asker: String, _ http: String, _ tokens: Int) {
        let start = ContinuousClock.now
        var first: Int64?
        var tail: [UInt8] = []
        let body: JSONTree = [
            "model": .string(load.model), "max_tokens": JSONTree(tokens), "stream": true,
            "messages": [["role": "user", "content": .string(load.prompt)]],
        ]
        var outcome: String
        do {
            let response = try MeshClient(base: http).stream(
                "/v1/chat/completions", json: body.bytes, timeout: load.deadline.seconds
            ) { bytes in
                tail = Array((tail + bytes).suffix(4_096))
                if first == nil, tail.contains("\"content\":\"") || tail.contains("\"content\": \"") {
                    first = Int64((ContinuousClock.now - start) / .nanoseconds(1))
                }
                return true
            }
            outcome =
                response.status != 200
                ? "refused:\(response.status)" : tail.contains("[DONE]") ? "delivered" : "failed:broken_off"
        } catch {
            outcome = "failed:\(error.isUnreachable ? "unreachable" : "connection")"
        }
        ledger.withLock {
            if outcome != "delivered", $0.down.contains(asker) { outcome = "asker_lost" }
            $0.count(outcome)
            if let first { $0.firstBytes.append(first) }
        }
    }

    // MARK: Results

    private func measures(_ ledger: Ledger) -> [Measure] {
        func count(_ name: String) -> Int { ledger.outcomes.first { $0.name == name }?.count ?? 0 }
        let all = ledger.outcomes.reduce(0) { $0 + $1.count } - count("asker_lost")
        var list = [Measure("convergence", convergence, "s")]
        if all > 0 { list.append(Measure("answered", Double(count("delivered")) * 100 / Double(all), "%")) }
        let firstBytes = Distribution(ledger.firstBytes)
        if firstBytes.count > 0 {
            list.append(Measure("first_byte_p50", Double(firstBytes.percentile(50)) / 1e9, "s"))
            list.append(Measure("first_byte_p99", Double(firstBytes.percentile(99)) / 1e9, "s"))
        }
        return list
    }

    func text(_ measures: [Measure], _ verdicts: [Verdict]) -> String {
        let (outcomes, firstBytes, problems) = ledger.withLock { ($0.outcomes, $0.firstBytes, $0.problems) }
        var lines = [
            "\(testnet.name): \(scenario.testnet.nodes.count) process\(scenario.testnet.nodes.count == 1 ? "" : "es")"
        ]
        if !outcomes.isEmpty {
            lines.append(
                "  tasks  "
                    + outcomes.map { "\($0.count) \(Report.words($0.name))" }.joined(
                        separator: ", "))
        }
        lines += measures.map { "  \($0.name)  \(Report.decimal($0.value)) \($0.unit)" }
        lines += Report.histogram("first byte", Distribution(firstBytes), unit: 1_000_000, "ms")
        lines += problems.map { "  trouble: \($0)" } + verdicts.map(\.line)
        return lines.joined(separator: "\n") + "\n"
    }

    func json(_ measures: [Measure], _ verdicts: [Verdict]) -> String {
        let outcomes = ledger.withLock { $0.outcomes }
        return
            "{\"testnet\": \"\(testnet.name)\", \"nodes\": \(scenario.testnet.nodes.count), \"outcomes\": {"
            + outcomes.map { "\"\($0.name)\": \($0.count)" }.joined(separator: ", ") + "}, \"measures\": {"
            + measures.map { "\"\($0.name)\": \(Report.decimal($0.value))" }.joined(separator: ", ")
            + "}, \"expect\": \(Verdict.json(verdicts))}\n"
    }
}

extension [UInt8] {
    fileprivate func contains(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { firstRange(of: $0) != nil }
    }
}

/// A thread for work that blocks: a pool's threads are too few for 256 requests at a time.
private final class BlockingThread: Sendable {
    private let work: @Sendable () -> Void
    private init(_ work: @escaping @Sendable () -> Void) { self.work = work }

    /// Returns whether the system gave a thread.
    static func start(_ work: @escaping @Sendable () -> Void) -> Bool {
        let held = Unmanaged.passRetained(BlockingThread(work))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { held in
                if let held { Unmanaged<BlockingThread>.fromOpaque(held).takeRetainedValue().work() }
                return nil
            }, held.toOpaque())
        guard status == 0 else {
            held.release()
            return false
        }
        pthread_detach(thread)
        return true
    }
}
