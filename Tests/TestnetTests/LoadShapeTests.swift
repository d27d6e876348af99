import NodeConfiguration
import Primitives
import Testing

@testable import Testnet

@Suite struct LoadShapeTests {
    private func load(_ keys: String) throws -> ScenarioFile.Load {
        let file = try ScenarioFile(
            parsing: "mesh: testnet-s\nnodes: {ada: {serves: wren-m}}\nload: {\(keys)}\n", path: "s.yaml",
            folder: "/t")
        return try #require(file.load.first)
    }

    private func problem(_ keys: String) -> String {
        do {
            _ = try load(keys)
            return "none"
        } catch {
            return "\((error as? ConfigurationError)?.problem ?? "\(error)")"
        }
    }

    @Test func aLoadIsEvenUnlessItSaysMore() throws {
        let shape = try load("count: 3").shape
        #expect(shape.arrivals == .even && shape.lengths == .uniform && shape.simulatedOnly == nil)
        #expect(shape.curve.isEmpty && shape.promptTokens == 0 && shape.turns == nil)
    }

    @Test func everyShapeIsReadAndNamedWhereProcessesCannotPlayIt() throws {
        let poisson = try load("arrivals: poisson, lengths: exponential, mean: 80, tokens: 1..900").shape
        #expect(poisson.arrivals == .poisson && poisson.lengths == .exponential && poisson.mean == 80)
        #expect(poisson.simulatedOnly == "`load.arrivals: poisson`")
        let pareto = try load("lengths: pareto, tail: 1.25").shape
        #expect(pareto.milliTail == 1_250 && pareto.simulatedOnly == "`load.lengths: pareto`")
        let day = try load("curve: [0.3, 1, 1.7], period: 10 min").shape
        #expect(day.curve == [300_000, 1_000_000, 1_700_000] && day.period == .minutes(10))
        #expect(day.simulatedOnly == "`load.curve`")
        let talk = try load("turns: 2..5, think: 3s, prompt_tokens: 40").shape
        #expect(talk.turns == 2...5 && talk.think == .seconds(3) && talk.promptTokens == 40)
        #expect(talk.simulatedOnly == "`load.prompt_tokens`")
        #expect(try load("turns: 3").shape.simulatedOnly == "`load.turns`")
    }

    @Test func whatALoadCannotMeanIsRefused() {
        #expect(problem("arrivals: bursty") == "`load.arrivals` is bursty")
        #expect(problem("mean: 80") == "`load.mean` goes with `lengths: exponential`")
        #expect(problem("lengths: exponential, tail: 2") == "`load.tail` goes with `lengths: pareto`")
        #expect(problem("period: 1 h") == "`load.period` goes with `curve`")
        #expect(problem("think: 1s") == "`load.think` goes with `turns`")
        #expect(problem("curve: [1, -2]") == "`load.curve[1]` is no share of the rate")
        #expect(problem("curve: [0, 0]").hasPrefix("`load.curve` has 2 parts"))
        #expect(problem("turns: 0..3") == "`load.turns` is 0..3")
        #expect(problem("turns: 2, burst: 3") == "unknown key `load.burst`")
    }
}
