import ArgumentParser
import FoundationEssentials
import Primitives
import Simulation

/// A market of `MarketStudy` as arguments.
struct MarketOptions: ParsableArguments {
    @Option var sellers = 40
    @Option var askers = 20
    @Option(help: "Tokens a second of the sellers, in turn.") var speeds: [Int] = [15, 30, 60, 120, 240]
    @Option(help: "Slots of a seller.") var slots = 4
    @Option(help: "Percent of all slots that the tasks keep busy.") var load = 80
    @Option(help: "Tokens of an answer, from and to.") var tokens: [Int] = [20, 200]
    @Option(help: "uniform, exponential or pareto: answers within --tokens.") var lengths = "uniform"
    @Option(help: "Of an exponential: tokens above the least, on average.") var mean = 200
    @Option(help: "Of a Pareto distribution: its shape × 1000.") var tail = 1_100
    @Option(help: "Sellers asked in one auction.") var calls: Int?
    @Option(help: "Offers that each asker knows; all by default.") var known: Int?
    @Flag(help: "Each asker has paid each seller for tasks before.") var acquainted = false
    @Option(help: "Seconds until a client gives up.") var deadline: Int64 = 600
    @Option(help: "Milliseconds between two deltas; above 500, progress and receipts are as rare.")
    var deltaEvery = 100
    @Option var seed: UInt64 = 1

    func plan(tasks: Int) throws -> MarketStudy.Plan {
        guard sellers > 0, askers > 0, (1...1_000).contains(load), tokens.count == 2, tokens[0] > 0,
            tokens[0] <= tokens[1], speeds.allSatisfy({ $0 > 0 }), slots > 0, deadline > 0
        else { throw ValidationError("a market needs sellers, askers, a load and --tokens FROM --tokens TO") }
        let shape: Lengths
        switch lengths {
        case "uniform": shape = .uniform
        case "exponential": shape = .exponential(mean: mean)
        case "pareto": shape = .pareto(milliShape: tail)
        default: throw ValidationError("--lengths \(lengths): uniform, exponential or pareto")
        }
        var plan = MarketStudy.Plan.skewed(
            sellers: sellers, askers: askers, percent: load, tasks: tasks, seed: seed, speeds: speeds,
            slots: slots, tokens: tokens[0]...tokens[1], lengths: shape)
        plan.load.deadline = .seconds(deadline)
        if let calls { plan.parameters.candidatesMax = calls }
        plan.offersKnown = known
        plan.isAcquainted = acquainted
        plan.deltaEvery = .milliseconds(Int64(deltaEvery))
        if deltaEvery > 500 { plan.coarsen(deltaEvery: plan.deltaEvery) }
        return plan
    }
}

/// The market of `MarketStudy` and its baselines on the same tasks.
struct MarketStudyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "market-study",
        abstract: "Auctions, and schedulers on the same tasks; prints one JSON object.",
        discussion: """
            Times are from submission, in milliseconds, of delivered tasks; `refused` is the share of tasks without an answer in \
            time. Only tasks count that are submitted between --warm-up and --seconds later.
            """)
    @OptionGroup var market: MarketOptions
    @Option(help: "Tasks in all, where --seconds doesn't say.") var tasks = 10_000
    @Option(help: "Seconds of tasks that don't count: the market fills.") var warmUp: Int64 = 0
    @Option(help: "Seconds of tasks that count; tasks for five more follow.") var seconds: Int64?
    @Flag(help: "All tasks come at once, to the askers in turn.") var burst = false
    @Option(help: "Policies besides the auction, or \"none\".") var policies: [String] = Baseline.allCases
        .map(\.rawValue)

    func run() throws {
        let plan = try plan()
        var rows: [String] = []
        rows.append(row(MarketStudy.auction, plan))
        for name in policies where name != "none" {
            guard let policy = Baseline(rawValue: name) else {
                let known = Baseline.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("--policies \(name): \(known), none")
            }
            rows.append(row({ MarketStudy.run(policy, $0) }, plan))
        }
        print("{\(rows.joined(separator: ", "))}")
    }

    private func plan() throws -> MarketStudy.Plan {
        var plan = try market.plan(tasks: tasks)
        plan.warmUp = .seconds(warmUp)
        if let seconds {
            plan.countedFor = .seconds(seconds)
            plan.load.tasks = Int(Double(warmUp + seconds + 5) / plan.load.every.seconds)
        }
        if burst {
            plan.load.arrivals = .even
            plan.load.every = .zero
        }
        return plan
    }

    private static let quantiles = [5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99]

    private func row(_ serve: (MarketStudy.Plan) -> MarketStudy.Run, _ plan: MarketStudy.Plan) -> String {
        let watch = ContinuousClock.now
        let run = serve(plan)
        let seconds = (ContinuousClock.now - watch) / .seconds(1)
        let decimal = Simulation.Report.decimal
        func milliseconds(_ name: String, _ times: Distribution) -> String {
            let quantiles = [50, 95, 99].map { "\"p\($0)\": \(decimal(Double(times.percentile($0)) / 1e6))" }
            return "\"\(name)\": {\"mean\": \(decimal(Double(times.mean) / 1e6)), "
                + quantiles.joined(separator: ", ") + "}"
        }
        let times = run.completions
        let list = burst ? times.sorted.map { decimal(Double($0) / 1e6) } : []
        let curve = Self.quantiles.map { decimal(Double(times.percentile($0)) / 1e6) }
        let fields = [
            milliseconds("completion", times), milliseconds("award", run.awards),
            milliseconds("first_byte", run.firstBytes),
            "\"quantiles\": {\"percent\": \(Self.quantiles), \"ms\": [\(curve.joined(separator: ", "))]}",
            "\"times\": [\(list.joined(separator: ", "))]", "\"counted\": \(run.countedTasks.count)",
            "\"tasks\": \(run.tasks.count)",
            "\"messages_per_task\": \(decimal(Double(run.messages) / Double(max(1, run.tasks.count))))",
            "\"share_max\": \(decimal(run.shareMax(of: plan.sellers.count)))",
            "\"refused\": \(run.refusedShare)", "\"events\": \(run.events)",
            "\"events_per_s\": \(Int(Double(run.events) / max(1e-9, seconds)))",
            "\"seconds\": \(decimal(seconds))", "\"virtual_seconds\": \(decimal(run.virtualTime.seconds))",
            "\"leaks\": \(run.leaks.count)", "\"digest\": \"\(run.digest.text)\"",
        ]
        return "\"\(run.policy)\": {\(fields.joined(separator: ", "))}"
    }
}

/// A market that gets three times what it can do for a minute.
struct OverloadStudyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "overload-study",
        abstract: "A market under 3 × its capacity, and after; prints one JSON object with times in seconds.")
    @OptionGroup var market: MarketOptions
    @Option(help: "The overload as a multiple of the capacity.") var times = 3
    @Option(help: "Seconds that it lasts.") var seconds: Int64 = 60

    func run() throws {
        var plan = MarketStudy.OverloadPlan(try market.plan(tasks: 1))
        plan.times = times
        plan.overload = .seconds(seconds)
        let result = MarketStudy.overload(plan)
        let decimal = Simulation.Report.decimal
        func list(_ times: [Int64]) -> String {
            "[" + times.map { decimal(Double($0) / 1e9) }.joined(separator: ", ") + "]"
        }
        let retries = result.retries.map { retry in
            "["
                + [retry.told, retry.taken, retry.takenOfAny].map { $0.map(decimal) ?? "null" }
                .joined(separator: ", ") + "]"
        }
        let after = result.completionsAfter.map { list($0) }
        let fields = [
            "\"goodput\": \(decimal(result.goodput))", "\"refused\": \(decimal(result.refusedShare))",
            "\"missed\": \(decimal(result.missedShare))",
            "\"recovery\": \(decimal(Double(result.recovery) / 1e9))",
            "\"backlog\": \(decimal(result.backlog))",
            "\"refusal_p50\": \(decimal(Double(result.refusals.percentile(50)) / 1e9))",
            "\"refusal_p99\": \(decimal(Double(result.refusals.percentile(99)) / 1e9))",
            "\"retries\": [\(retries.joined(separator: ", "))]",
            "\"after\": [\(after.joined(separator: ", "))]", "\"normal\": \(list(result.normal))",
            "\"leaks\": \(result.leaks)", "\"events\": \(result.events)",
        ]
        print("{\(fields.joined(separator: ", "))}")
    }
}

/// Draws curves that another program measured.
struct ChartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chart", abstract: "Draw the curves of a JSON document on standard input as SVG.",
        discussion: """
            {"title", "unit", "xs": [number], "panels": [{"title", "lines": [{"name", "values": [number]}]}]}; y is logarithmic.
            """)

    private struct Document: Decodable {
        struct Panel: Decodable {
            struct Line: Decodable {
                var name: String
                var values: [Double]
            }
            var title: String
            var lines: [Line]
        }
        var title: String
        var unit: String
        var xs: [Double]
        var panels: [Panel]
    }

    func run() throws {
        var text = ""
        while let line = readLine(strippingNewline: false) { text += line }
        let document = try JSONDecoder().decode(Document.self, from: Data(text.utf8))
        let panels = document.panels.map { panel in
            Chart.Panel(panel.title, panel.lines.map { Chart.Line($0.name, $0.values) })
        }
        var chart = Chart(document.title, xs: document.xs, unit: document.unit, panels: panels)
        chart.isLogarithmic = true
        print(chart.svg, terminator: "")
    }
}
