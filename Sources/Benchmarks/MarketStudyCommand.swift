import ArgumentParser
import Primitives
import Simulation

/// The market of `MarketStudy` and its baselines on the same tasks.
struct MarketStudyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "market-study",
        abstract: "Auctions, and schedulers on the same tasks; prints one JSON object.",
        discussion: """
            Sellers have four slots at 15, 30, 60, 120 and 240 tokens/s in turn. Times are from submission, in milliseconds, \
            of delivered tasks; `refused` is the share of tasks without an answer.
            """)
    @Option var sellers = 40
    @Option var askers = 20
    @Option(help: "Percent of all slots that the tasks keep busy.") var load = 80
    @Option var tasks = 10_000
    @Option(help: "Tokens of an answer, from and to.") var tokens: [Int] = [20, 200]
    @Option(help: "uniform, exponential or pareto: answers within --tokens.") var lengths = "uniform"
    @Option(help: "Of an exponential: tokens above the least, on average.") var mean = 200
    @Option(help: "Of a Pareto distribution: its shape × 1000.") var tail = 1_100
    @Option(help: "Sellers asked in one auction.") var calls: Int?
    @Option(help: "Offers that each asker knows; all by default.") var known: Int?
    @Option(help: "Milliseconds between two deltas.") var deltaEvery = 100
    @Option(help: "Policies besides the auction, or \"none\".") var policies: [String] = Baseline.allCases
        .map(\.rawValue)
    @Option var seed: UInt64 = 1
    @Option var places: Int?
    @Option var set: [String] = []

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
        guard sellers > 0, askers > 0, (1...1_000).contains(load), tokens.count == 2, tokens[0] > 0,
            tokens[0] <= tokens[1]
        else { throw ValidationError("a market needs sellers, askers, a load and --tokens FROM --tokens TO") }
        let shape: Lengths
        switch lengths {
        case "uniform": shape = .uniform
        case "exponential": shape = .exponential(mean: mean)
        case "pareto": shape = .pareto(milliShape: tail)
        default: throw ValidationError("--lengths \(lengths): uniform, exponential or pareto")
        }
        var plan = MarketStudy.Plan.skewed(
            sellers: sellers, askers: askers, percent: load, tasks: tasks, seed: seed,
            tokens: tokens[0]...tokens[1], lengths: shape)
        for index in plan.sellers.indices { plan.sellers[index].places = places }
        for item in set {
            let parts = item.split(separator: "=")
            Tuning.values[String(parts[0])] = Double(String(parts[1]))
        }
        if let calls { plan.parameters.candidatesMax = calls }
        plan.offersKnown = known
        plan.deltaEvery = .milliseconds(Int64(deltaEvery))
        return plan
    }

    private func row(_ serve: (MarketStudy.Plan) -> MarketStudy.Run, _ plan: MarketStudy.Plan) -> String {
        let watch = ContinuousClock.now
        let run = serve(plan)
        let seconds = (ContinuousClock.now - watch) / .seconds(1)
        func milliseconds(_ name: String, _ times: Distribution) -> String {
            let quantiles = [50, 95, 99].map {
                "\"p\($0)\": \(Simulation.Report.decimal(Double(times.percentile($0)) / 1e6))"
            }
            return "\"\(name)\": {\"mean\": \(Simulation.Report.decimal(Double(times.mean) / 1e6)), "
                + quantiles.joined(separator: ", ") + "}"
        }
        let fields = [
            milliseconds("completion", run.completions), milliseconds("award", run.awards),
            milliseconds("first_byte", run.firstBytes),
            "\"refused\": \(run.refusedShare)", "\"events\": \(run.events)",
            "\"events_per_s\": \(Int(Double(run.events) / max(1e-9, seconds)))",
            "\"seconds\": \(Simulation.Report.decimal(seconds))",
            "\"virtual_seconds\": \(Simulation.Report.decimal(run.virtualTime.seconds))",
            "\"leaks\": \(run.leaks.count)", "\"digest\": \"\(run.digest.text)\"",
        ]
        return "\"\(run.policy)\": {\(fields.joined(separator: ", "))}"
    }
}
