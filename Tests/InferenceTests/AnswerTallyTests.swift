import OpenAIFormat
import Primitives
import Testing

@testable import Inference

@Suite struct AnswerTallyTests {
    private func tally(_ fields: String = "", _ dialect: BackendDialect = .llamaCpp) throws -> AnswerTally {
        let body = #"{"messages":[{"role":"user","content":"Hello"}]\#(fields)}"#
        return AnswerTally(
            of: try WorkerRequest(
                .chat, body: Array(body.utf8), options: .init(dialect: dialect, model: "m")),
            dialect: dialect)
    }

    private func chunk(_ json: String, choices: UInt32 = 1) throws -> BackendChunk {
        try BackendChunk(scanning: Array(json.utf8), choices: choices)
    }

    private func counts(_ prompt: Int, _ completion: Int) throws -> BackendChunk {
        try chunk(
            #"{"choices":[],"usage":{"prompt_tokens":\#(prompt),"completion_tokens":\#(completion)}}"#)
    }

    private let word = #"{"choices":[{"index":0,"delta":{"content":"word"}}]}"#

    @Test func aChunkIsATokenUntilTheServerCounts() throws {
        var tally = try tally()
        for _ in 0..<3 { #expect(tally.count(try chunk(word), says: true) == 1) }
        #expect(tally.usage.completionTokens == 3 && tally.usage.promptTokens == 0)
        _ = tally.count(try counts(9, 5), says: false)
        #expect(tally.usage == BackendUsage(promptTokens: 9, completionTokens: 5))
    }

    @Test func countsInEachChunkSayHowManyTokensItHas() throws {
        var tally = try tally("", .vllm)
        let many =
            #"{"choices":[{"index":0,"delta":{"content":"ab"}}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#
        #expect(tally.count(try chunk(many), says: true) == 4)
        #expect(tally.count(try chunk(many), says: true) == 0, "the same count again")
    }

    @Test func countsOfSeveralAnswersAreSummedWhereTheServerCountsEachByItself() throws {
        for (dialect, completion) in [(BackendDialect.llamaCpp, 7 as UInt32), (.openAI, 4)] {
            var tally = try tally(#","n":2"#, dialect)
            #expect(tally.choices == 2)
            _ = tally.count(try counts(9, 3), says: false)
            _ = tally.count(try counts(9, 4), says: false)
            #expect(tally.usage == BackendUsage(promptTokens: 9, completionTokens: completion))
        }
    }

    @Test func aServersCountsAreBoundedByWhatWasSentAndSeen() throws {
        var tally = try tally()
        _ = tally.count(try chunk(word), says: true)
        _ = tally.count(try counts(1 << 30, 1 << 30), says: false)
        #expect(tally.usage.completionTokens == 4 + 64)
        #expect((16_384..<17_000).contains(tally.usage.promptTokens))
    }

    @Test func whatIsReadBesideThePromptIsBilledAndNotMeasured() throws {
        var tally = try tally(#","stop":"\#(String(repeating: "a", count: 400))""#)
        _ = tally.count(try counts(9, 3), says: false)
        #expect(tally.usage.promptTokens == 9 && tally.billed.promptTokens == 109)
    }

    @Test func anAnswerIsWholeWhenEachOfItsChoicesHasEnded() throws {
        var tally = try tally(#","n":2"#)
        let (first, second) = (MonotonicTime.zero + .seconds(1), MonotonicTime.zero + .seconds(2))
        tally.end([.init(index: 0, reason: "length")], now: first)
        tally.end([.init(index: 0, reason: "stop")], now: first)
        #expect(tally.wholeAt == nil && tally.reason == "length", "the first reason is the answer's")
        tally.end([.init(index: 1, reason: "stop")], now: second)
        #expect(tally.wholeAt == second)
    }

    @Test(arguments: ["Stop", "a b", "", String(repeating: "a", count: 33)])
    func aReasonThatNoClientExpectsBecomesStop(_ reason: String) throws {
        var tally = try tally()
        tally.end([.init(index: 0, reason: reason)], now: .zero)
        #expect(tally.reason == "stop")
    }
}
