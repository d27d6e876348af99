import Primitives
import Testing

@testable import Simulation

/// The market alone, and the schedulers beside it. Small: a run has a hundred tasks.
@Suite struct MarketStudyTests {
    private func plan(_ percent: Int, tasks: Int = 100, seed: UInt64 = 1) -> MarketStudy.Plan {
        .skewed(sellers: 10, askers: 4, percent: percent, tasks: tasks, seed: seed, tokens: 5...40)
    }

    @Test(arguments: [1, 2] as [UInt64])
    func thePoliciesAreOrderedByWhatTheyKnow(seed: UInt64) {
        let plan = plan(80, tasks: 3_000, seed: seed)
        func mean(_ policy: Baseline) -> Int64 { MarketStudy.run(policy, plan).completions.mean }
        let omniscient = mean(.omniscient)
        #expect(omniscient <= mean(.twoChoices) && mean(.twoChoices) <= mean(.random))
        #expect(omniscient <= mean(.jsq) && mean(.jsq) <= mean(.random))
        #expect(omniscient <= mean(.leastLoaded))
    }

    @Test func allPoliciesMeetTheSameTasks() {
        let plan = plan(50)
        let auction = MarketStudy.auction(plan)
        for policy in Baseline.allCases {
            let run = MarketStudy.run(policy, plan)
            #expect(run.tasks.map(\.submittedAt) == auction.tasks.map(\.submittedAt), "\(policy)")
            #expect(run.refusedShare == 0, "\(policy)")
        }
    }

    @Test func anIdleMarketServesNoSlowerThanTheScheduler() {
        let plan = plan(5)
        let (auction, best) = (MarketStudy.auction(plan), MarketStudy.run(.omniscient, plan))
        #expect(auction.leaks.isEmpty, "\(auction.leaks)")
        #expect(auction.refusedShare == 0)
        // An auction also weighs the price, and pays for connections that don't exist yet.
        #expect(auction.completions.mean < 2 * best.completions.mean)
        #expect(auction.completions.sorted[0] >= best.completions.sorted[0] / 2)
    }

    @Test func theMarketAloneRepeatsItself() {
        let first = MarketStudy.auction(plan(95, seed: 7))
        let second = MarketStudy.auction(plan(95, seed: 7))
        #expect(first.digest.text == second.digest.text && first.events == second.events)
        #expect(first.digest.text != MarketStudy.auction(plan(95, seed: 8)).digest.text)
        for policy in Baseline.allCases {
            let runs = (0..<2).map { _ in MarketStudy.run(policy, plan(95, seed: 7)) }
            #expect(runs[0].digest.text == runs[1].digest.text, "\(policy)")
        }
    }

    @Test func nothingIsLeftOverAndBalancesSumToZeroUnderLoss() {
        var plan = plan(80)
        plan.network.loss = .percent(2)
        plan.network.jitter = .milliseconds(2)
        plan.offersKnown = 6
        let run = MarketStudy.auction(plan)
        #expect(run.leaks.isEmpty, "\(run.leaks)")
        let cost = run.tasks.reduce(Money.zero) { $0 + $1.cost }
        #expect(cost > .zero && run.balances[0..<10].reduce(.zero, +) == cost)
        #expect(run.balances.reduce(.zero, +) == .zero)
    }

    @Test func conversationsFollowTheirAnswers() {
        var plan = plan(20, tasks: 40)
        plan.load.promptTokens = 20
        plan.load.conversation = ConversationPlan(turns: 3...3, think: .seconds(1))
        let planned = plan.tasks
        for run in [MarketStudy.auction(plan), MarketStudy.run(.omniscient, plan)] {
            #expect(run.tasks.count == 120 && run.leaks.isEmpty)
            for (task, record) in zip(planned, run.tasks) {
                guard let next = task.next else { continue }
                #expect(run.tasks[next].submittedAt == record.endedAt + task.think)
            }
        }
    }
}

extension MarketStudyTests {
    @Test func tasksOfTheWarmUpDoNotCount() {
        var plan = plan(50, tasks: 400)
        let all = MarketStudy.run(.omniscient, plan)
        plan.warmUp = plan.load.every * 100
        plan.countedFor = plan.load.every * 200
        let run = MarketStudy.run(.omniscient, plan)
        #expect(all.countedTasks.count == 400 && all.tasks.map(\.endedAt) == run.tasks.map(\.endedAt))
        let from = plan.load.from.nanoseconds + plan.warmUp.nanoseconds
        let until = from + plan.countedFor.nanoseconds
        let within = run.tasks.filter { $0.submittedAt >= from && $0.submittedAt < until }
        #expect(run.countedTasks.count == within.count)
        #expect(run.completions.count == run.countedTasks.count && run.completions.count > 100)
    }

    @Test func rarerDeltasChangeNoOutcomeOfAMarketThatIsNotFull() {
        var plan = plan(30, tasks: 300)
        let often = MarketStudy.auction(plan)
        plan.coarsen(deltaEvery: .seconds(2))
        let rarely = MarketStudy.auction(plan)
        #expect(rarely.leaks.isEmpty && rarely.refusedShare == 0, "\(rarely.leaks)")
        #expect(rarely.events < often.events)
        let (mean, most) = (often.completions.mean, often.completions.mean / 10)
        #expect(abs(rarely.completions.mean - mean) < most)
    }

    @Test func theShareOfTheBusiestSellerIsCounted() {
        var plan = plan(50, tasks: 20)
        plan.load.arrivals = .even
        plan.load.every = .zero
        plan.isAcquainted = true
        let run = MarketStudy.auction(plan)
        #expect(run.leaks.isEmpty && Set(run.tasks.map(\.submittedAt)).count == 1, "\(run.leaks)")
        // Twenty answers at ten sellers: two each is a share of 1.
        let counts = (0..<10).map { seller in run.tasks.count { $0.seller == Int32(seller) } }
        #expect(run.shareMax(of: 10) == Double(counts.max() ?? 0) / 2)
    }

    @Test func anOverloadIsMeasuredDuringAndAfter() {
        var market = MarketStudy.Plan.skewed(
            sellers: 2, askers: 2, percent: 50, tasks: 1, seed: 1, tokens: 30...30)
        market.load.deadline = .seconds(6)
        var overload = MarketStudy.OverloadPlan(market)
        overload.overload = .seconds(12)
        overload.after = .seconds(12)
        let result = MarketStudy.overload(overload)
        #expect(result.leaks == 0 && !result.normal.isEmpty && result.completionsAfter.count == 12)
        #expect(result.goodput > 0.5 && result.goodput < 1.2, "\(result.goodput)")
        // A third of the tasks is what the market can do.
        #expect(result.refusedShare > 0.3 && result.refusedShare < 0.9, "\(result.refusedShare)")
        #expect(result.retries.count == result.refusals.count)
    }

    @Test func aChartHasAPanelForEachSetOfCurves() {
        let lines = [Chart.Line("auction", [1, 10, 100]), Chart.Line("a < b", [2, 0, 50])]
        let panels = [Chart.Panel("50 %", lines), Chart.Panel("80 %", lines)]
        var chart = Chart("time", xs: [5, 50, 99], unit: "%", panels: panels)
        for isLogarithmic in [false, true] {
            chart.isLogarithmic = isLogarithmic
            let svg = chart.svg
            #expect(svg.hasPrefix("<svg") && svg.hasSuffix("</svg>\n") && !svg.contains("null"))
            #expect(svg.split(separator: "polyline").count == 5 && svg.contains("a &lt; b"))
        }
    }
}
