import Market
import NodeConfiguration
import Primitives
import Store
import Testing
import Wire

@testable import NodeRuntime

private let noon = WallTime(milliseconds: 20_000 * 86_400_000 + 43_200_000)
private let tomorrow = WallTime(milliseconds: 20_001 * 86_400_000)

@Suite struct BudgetsTests {
    private func budgets(_ ask: String, kept: Usage = Usage()) throws -> Budgets {
        let yaml = "http: {api_keys: [owner]}\nask: {\(ask)}\nmesh: {}"
        let settings = try NodeSettings(parsing: yaml, source: .init(file: "node.yaml"), home: "/home/ann")
        return Budgets(settings.ask, kept: kept, at: noon)
    }

    private let keys =
        "keys: [{name: ci, key: a-key-of-sixteen-bytes, credits_per_day: 0.001}, {name: free, key: b-key-of-sixteen-bytes}]"

    private func money(_ amount: Int64) -> Money { Money(microCredits: amount) }
    private func task(_ number: UInt64) -> TaskID { TaskID(high: 1, low: number) }

    private func transcript(_ number: UInt64, cost: Int64, _ state: TaskState = .delivered) -> TaskTranscript
    {
        var transcript = TaskTranscript(
            task: task(number), request: TaskRequest(kind: .chat, model: "wren-m", body: []), createdAt: noon)
        (transcript.state, transcript.cost, transcript.completionTokens) = (state, money(cost), 10)
        return transcript
    }

    @Test func whereNothingIsBoundedNothingIsRefused() throws {
        let budgets = try budgets("max_cost: 1")
        #expect(budgets.refusal(of: WireLimits.costMax, client: "", at: noon) == nil)
        #expect(budgets.left(nil, at: noon) == nil && !budgets.bounds(""))
    }

    @Test func runningTasksReserveTheMostThatTheyCanCost() throws {
        var budgets = try budgets(keys)
        #expect(budgets.refusal(of: money(600), client: "ci", at: noon) == nil)
        budgets.started(task(1), client: "ci", model: "wren-m", most: money(600))
        let refusal = try #require(budgets.refusal(of: money(600), client: "ci", at: noon))
        #expect(refusal == .init(client: "ci", bound: money(1_000), left: money(400), needed: money(600)))
        #expect(budgets.refusal(of: money(600), client: "free", at: noon) == nil)
        budgets.ended(task(1), transcript(1, cost: 100), at: noon)
        #expect(budgets.left("ci", at: noon) == money(900) && budgets.reserved("ci") == .zero)
        #expect(budgets.refusal(of: money(900), client: "ci", at: noon) == nil)
    }

    @Test func theNodesBoundHoldsForAllOfItsClientsTogether() throws {
        var budgets = try budgets("credits_per_day: 0.002, \(keys)")
        budgets.started(task(1), client: "free", model: "wren-m", most: money(1_500))
        #expect(budgets.refusal(of: money(600), client: "", at: noon)?.left == money(500))
        #expect(budgets.refusal(of: money(600), client: "ci", at: noon)?.client == "")
        budgets.ended(task(1), transcript(1, cost: 0, .refused), at: noon)
        #expect(budgets.refusal(of: money(600), client: "ci", at: noon) == nil)
    }

    @Test func aNewDayBeginsAnewAndWhatWasUsedBeforeARestartCounts() throws {
        var kept = Usage()
        kept.sums[Usage.Key(day: 20_000, client: "ci", model: "a")] = UsageSums(tasks: 1, cost: money(700))
        kept.sums[Usage.Key(day: 19_999, client: "ci", model: "a")] = UsageSums(tasks: 1, cost: money(900))
        let budgets = try budgets(keys, kept: kept)
        #expect(budgets.left("ci", at: noon) == money(300))
        #expect(budgets.left("ci", at: tomorrow) == money(1_000))
    }

    @Test func whatWasUsedIsKeptByDayClientAndModelOnce() throws {
        var budgets = try budgets(keys)
        budgets.started(task(1), client: "ci", model: "wren-m", most: money(10))
        budgets.ended(task(1), transcript(1, cost: 7), at: noon)
        budgets.ended(task(1), transcript(1, cost: 7), at: noon)
        let usage = budgets.take()
        let key = Usage.Key(day: 20_000, client: "ci", model: "wren-m")
        #expect(usage.sums == [key: UsageSums(tasks: 1, completionTokens: 10, cost: money(7))])
        #expect(budgets.take().isEmpty)
        budgets.giveBack(usage)
        #expect(budgets.pending == usage)
    }

    @Test func aTaskCostsAtMostItsTokensAtTheHighestPricesAndItsLimit() {
        var request = TaskRequest(
            kind: .chat, model: "a", body: [UInt8](repeating: 0, count: 1_000), tokensIn: 200,
            tokensOutMax: 100)
        request.preferences.maxCost = money(1_000_000)
        #expect(request.mostCost == money(1_000_000), "without limits of price")
        (request.preferences.maxInputPrice, request.preferences.maxOutputPrice) = (10_000_000, 30_000_000)
        #expect(request.mostCost == money(13_000))
        request.choices = 2
        #expect(request.mostCost == money(16_000))
        request.preferences.maxCost = money(5_000)
        #expect(request.mostCost == money(5_000))
        request.tokensOutMax = nil
        request.preferences.maxCost = money(20_000)
        #expect(request.mostCost == money(20_000), "an answer of any length")
        request.kind = .embedding
        #expect(request.mostCost == money(10_000))
    }
}
