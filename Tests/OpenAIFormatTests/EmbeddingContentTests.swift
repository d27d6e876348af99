import Primitives
import Testing

@testable import OpenAIFormat

@Suite struct EmbeddingContentTests {
    private func vectors(_ json: String, _ inputs: Int = 1) -> [String]? {
        let bytes = Array(json.utf8)
        return EmbeddingContent(scanning: bytes, inputs: inputs)?.vectors.map {
            String(decoding: bytes[$0.range], as: UTF8.self)
        }
    }

    /// An answer whose one vector is `json`.
    private func one(_ json: String) -> [String]? { vectors(#"{"data":[{"index":0,"embedding":\#(json)}]}"#) }

    @Test func aVectorForEachInputIsFoundInAnyOrderWithWhateverIsBeside() {
        let json = """
             {"object":"list", "data" : [ {"object":"embedding","embedding":[1, 2],"index":1,"x":{"y":[{}]}},
             {"index":0,"embedding":"AACAPwAAAL8="} ],"usage":{"prompt_tokens":7},"model":"m\\u0022" }
            """
        #expect(vectors(json, 2) == ["AACAPwAAAL8=", "[1, 2]"])
        #expect(EmbeddingContent(scanning: Array(json.utf8), inputs: 2)?.usage?.promptTokens == 7)
    }

    @Test(arguments: ["0", "-0", "1", "-12.50", "1e-3", "1E+2", "0.1e-999", "9e37", "12345678901234567890"])
    func numbersOfJSONThatAFloatHoldsAreAVector(_ number: String) {
        #expect(one("[\(number)]") == ["[\(number)]"])
        #expect(one("[ \(number) ,\(number)\n]") != nil)
    }

    @Test(arguments: [
        "", "-", "+1", ".5", "1.", "01", "1e", "1e+", "0x1", "NaN", "Infinity", "1e39",
        "1e999999999999999999999",
        "100000000000000000000000000000000000000000", "1 2", "1,", ",1", "\"1\"", "null", "true", "[1]", "{}",
        "1]",
    ])
    func whatIsNoFiniteNumberIsNoVector(_ numbers: String) {
        #expect(one("[\(numbers)]") == nil)
    }

    @Test(arguments: [
        "\"\"", "\"AAA=\"", "\"AACAfw==\"", "\"AADA/w==\"", "\"AACA*w==\"", "\"AACAPw\"", "\"AACAPw==",
        "null", "{}", "1",
    ])
    func whatIsNoBase64OfFiniteFloatsIsNoVector(_ text: String) {
        #expect(one(text) == nil)
        #expect(one("\"AACAPw==\"") != nil)
    }

    @Test(arguments: [
        "", "{}", "[]", "null", "{", #"{"data":[]}"#, #"{"data":{}}"#, #"{"data":[{}]}"#, #"{"data":[1]}"#,
        #"[{"index":0,"embedding":[1]}]"#, #"{"data":[{"embedding":[1]}]}"#, #"{"data":[{"index":0}]}"#,
        #"{"data":[{"index":"0","embedding":[1]}]}"#, #"{"data":[{"index":-1,"embedding":[1]}]}"#,
        #"{"data":[{"index":1,"embedding":[1]}]}"#, #"{"data":[{"index":0,"embedding":[1]}]} x"#,
        #"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#,
        #"{"data":[{"index":0,"index":0,"embedding":[1]}]}"#,
        #"{"data":[{"index":0,"embedding":[1],"embedding":[1]}]}"#,
        #"{"data":[{"index":0,"embedding":[1]}],"data":[{"index":0,"embedding":[1]}]}"#,
        #"{"data":[{"index":18446744073709551615,"embedding":[1]}]}"#,
    ])
    func anythingElseIsNoAnswer(_ json: String) {
        #expect(vectors(json) == nil)
    }

    @Test func vectorsAreAsManyAsInputsAndOfOneLength() {
        func json(_ lengths: [Int]) -> String {
            let items = lengths.enumerated().map { index, length in
                let list = [String](repeating: "0.5", count: length).joined(separator: ",")
                return "{\"index\":\(index),\"embedding\":[\(list)]}"
            }
            return "{\"data\":[\(items.joined(separator: ","))]}"
        }
        #expect(vectors(json([3, 3, 3]), 3)?.count == 3)
        #expect(vectors(json([3, 3]), 3) == nil && vectors(json([3, 3, 3]), 2) == nil)
        #expect(vectors(json([3, 2]), 2) == nil)
        #expect(vectors(json([3]), 0) == nil && vectors(json([3]), .max) == nil)
    }

    @Test func nestingAndMembersHaveABound() {
        let deep = String(repeating: "[", count: 9_000) + String(repeating: "]", count: 9_000)
        #expect(vectors(#"{"x":\#(deep),"data":[{"index":0,"embedding":[1]}]}"#) == nil)
        #expect(one(deep) == nil)
        let many = (0..<100).map { "\"k\($0)\":0," }.joined()
        #expect(vectors(#"{\#(many)"data":[{"index":0,"embedding":[1]}]}"#) == nil)
    }

    @Test func everyTruncationIsRefusedAndAnyByteMayBeWrong() throws {
        let json =
            #"{"data":[{"index":0,"embedding":[0.5,-2e-3]},{"index":1,"embedding":"AACAPwAAAL8="}],"x":{}}"#
        let bytes = Array(json.utf8)
        for count in bytes.indices {
            #expect(EmbeddingContent(scanning: Array(bytes.prefix(count)), inputs: 2) == nil)
        }
        var random = SeededRandom(seed: 1)
        for _ in 0..<20_000 {
            var changed = bytes
            for _ in 0...random.below(3) { changed[random.below(bytes.count)] = UInt8(random.below(256)) }
            guard let content = EmbeddingContent(scanning: changed, inputs: 2) else { continue }
            #expect(content.vectors.allSatisfy { changed.indices.contains($0.range.lowerBound) })
            let body = try #require(
                EmbeddingAnswer.body(
                    changed, inputs: 2, model: "m", base64: true,
                    usage: Usage(
                        promptTokens: 0, cachedTokens: 0, completionTokens: 0, cost: .zero, task: "t",
                        workers: [], failovers: 0)))
            #expect(try JSONTree(parsing: body)["data"]?.elements?.count == 2)
        }
    }

    @Test func textAndTokenIDsAreOneInputAndListsOfThemMany() throws {
        for (json, count) in [
            (#""a""#, 1), ("[1,2,3]", 1), (#"["a","b"]"#, 2), ("[[1],[2,3],[4]]", 3),
        ] {
            let input = try JSONTree(parsing: Array(json.utf8))
            #expect(EmbeddingContent.inputs(of: input) == count)
            let request = try ClientRequest(
                kind: .embedding, body: Array(#"{"model":"m","input":\#(json)}"#.utf8))
            #expect(Int(request.choices) == count)
        }
    }
}
