import Foundation
import Primitives
import Testing

@testable import Simulation

@Suite struct LoadTests {
    private func plan(tasks: Int, every: Interval) -> LoadPlan {
        LoadPlan(tasks: tasks, from: .zero, every: every, models: ["wren-m"])
    }

    @Test func theSteadyMathAgreesWithTheSystems() {
        for x in [1e-300, 1e-9, 0.1, 0.5, 0.999, 1, 1.001, 2, 3.7, 1e6, 1e300] {
            #expect(abs(SteadyMath.ln(x) - log(x)) <= 1e-14 * max(1, abs(log(x))), "ln(\(x))")
        }
        for x in stride(from: -30.0, through: 30, by: 0.37) {
            #expect(abs(SteadyMath.exp(x) / exp(x) - 1) < 1e-13, "exp(\(x))")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func poissonCountsHaveTheVarianceOfTheirMean(seed: UInt64) {
        var load = plan(tasks: 20_000, every: .milliseconds(10))
        load.arrivals = .poisson
        var random = SeededRandom(seed: seed)
        let moments = load.draw([0, 1, 2], &random).compactMap(\.at)
        #expect(moments == moments.sorted())
        // Counts in the whole seconds: 100 expected in each.
        let seconds = Int(moments[moments.count - 1] / 1_000_000_000)
        var counts = Array(repeating: 0.0, count: seconds)
        for at in moments where at / 1_000_000_000 < seconds { counts[Int(at / 1_000_000_000)] += 1 }
        let mean = counts.reduce(0, +) / Double(seconds)
        let variance = counts.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(seconds - 1)
        #expect((96...104).contains(mean), "mean \(mean)")
        #expect((70...135).contains(variance), "variance \(variance)")
    }

    @Test func aCurveMovesTasksAndKeepsTheirRate() {
        var load = plan(tasks: 10_000, every: .milliseconds(10))
        load.arrivals = .poisson
        load.curve = RateCurve(period: .seconds(10), shares: [0, 1_000_000, 3_000_000, 0])
        var random = SeededRandom(seed: 4)
        let moments = load.draw([0], &random).compactMap(\.at)
        var parts = [0, 0, 0, 0]
        for at in moments { parts[Int(at % 10_000_000_000 / 2_500_000_000)] += 1 }
        #expect(parts[0] == 0 && parts[3] == 0)
        #expect((0.7...0.8).contains(Double(parts[2]) / 10_000), "\(parts)")
        // The shares average 1, so the load takes as long as without the curve.
        #expect((95...105).contains(Double(moments[moments.count - 1]) / 1e9))
        #expect(RateCurve(period: .seconds(1), shares: [1_000_000]).advance(123, by: 456) == 579)
    }

    @Test func lengthsFollowTheirDistributions() {
        var random = SeededRandom(seed: 5)
        func drawn(_ lengths: Lengths, _ least: Int, _ most: Int) -> [Int] {
            (0..<20_000).map { _ in lengths.draw(least, most, &random) }
        }
        func share(_ values: [Int], above bound: Int) -> Double {
            Double(values.count { $0 > bound }) / Double(values.count)
        }
        let exponential = drawn(.exponential(mean: 100), 10, 100_000)
        let mean = exponential.reduce(0, +) / exponential.count
        #expect((107...113).contains(mean), "\(mean)")
        #expect((0.34...0.40).contains(share(exponential, above: 110)))
        #expect((0.04...0.06).contains(share(exponential, above: 310)))
        // For a Pareto tail with shape 1, a tenth exceeds ten times the minimum, and a hundredth a hundred
        // times.
        let pareto = drawn(.pareto(milliShape: 1_000), 10, 1_000_000)
        #expect((0.09...0.11).contains(share(pareto, above: 100)))
        #expect((0.008...0.012).contains(share(pareto, above: 1_000)))
        for values in [exponential, pareto, drawn(.uniform, 20, 30)] {
            #expect(values.allSatisfy { $0 >= 10 })
        }
        let cut = drawn(.exponential(mean: 1_000), 10, 50) + drawn(.pareto(milliShape: 100), 10, 50)
        #expect(cut.allSatisfy { (10...50).contains($0) } && cut.contains(50))
        #expect(Set(drawn(.pareto(milliShape: 1_000), 7, 7)) == [7])
    }

    @Test func aConversationsPromptsGrowByWhatWasSaid() {
        var load = plan(tasks: 50, every: .seconds(1))
        load.promptTokens = 40
        load.conversation = ConversationPlan(turns: 1...4, think: .seconds(5))
        var random = SeededRandom(seed: 6)
        let drawn = load.draw([3, 4], &random)
        #expect(drawn.count { $0.at != nil } == 50 && drawn.count > 75)
        for task in drawn {
            guard let next = task.next else { continue }
            #expect(drawn[next].at == nil && drawn[next].asker == task.asker)
            #expect(drawn[next].promptTokens == task.promptTokens + task.tokens + 40)
        }
    }
}

@Suite struct ConversationScenarioTests {
    @Test func conversationsUnderADaysLoadAreServedAndBalancesSumToZero() throws {
        var scenario = try #require(Scenarios.named("market", seed: 3, size: .init(nodes: 12, tasks: 20)))
        scenario.load[0].arrivals = .poisson
        scenario.load[0].every = .milliseconds(300)
        scenario.load[0].lengths = .exponential(mean: 10)
        scenario.load[0].promptTokens = 30
        scenario.load[0].curve = RateCurve(period: .seconds(4), shares: [500_000, 1_500_000])
        scenario.load[0].conversation = ConversationPlan(turns: 2...3, think: .milliseconds(500))
        let report = World(scenario).run()
        #expect(report.holds, "\(report.text(replay: "LoadTests"))")
        #expect(report.tasks > 40 && report.delivered == report.tasks)
        let market = report.market
        #expect(market.completions.count == report.tasks && market.refused == 0)
        #expect(market.balances.reduce(.zero, +) == .zero && market.balances.contains { $0 > .zero })
        // Sellers earned what clients paid, except for tasks that a node sold to itself.
        let owed = market.balances.filter { $0 > .zero }.reduce(.zero, +)
        #expect(owed > .zero && owed <= market.cost)
        #expect(market.classes.reduce(0) { $0 + $1.tasks } == report.tasks)
        #expect(Set(report.measures.map(\.name)).isSubset(of: Set(Report.measureNames)))
    }
}

@Suite struct MeasureNameTests {
    @Test func everyMeasureIsDescribed() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appendingPathComponent("testnet/README.md"), encoding: .utf8)
        for name in Report.measureNames { #expect(text.contains("`\(name)`"), "\(name)") }
        #expect(Set(Report.measureNames).count == Report.measureNames.count)
    }
}
