import Primitives
import Testing

@testable import OpenAIFormat

@Suite struct Money {
    @Test func creditsAreWrittenExactly() {
        #expect(Credits.text(46) == "0.000046")
        #expect(Credits.text(0) == "0")
        #expect(Credits.text(-1_500_000) == "-1.5")
        #expect(Credits.text(.min) == "-9223372036854.775808")
        #expect(Credits.rate(200_000) == "0.20")
        #expect(Credits.rate(2_000_000) == "2.00")
        #expect(Credits.rate(1) == "0.000001")
        #expect(Credits.microcredits(1.6) == 1_600_000)
        #expect(Credits.microcredits(.nan) == nil)
        #expect(Credits.microcredits(-0.1) == nil)
    }
}

@Suite struct Assembly {
    private let identity = AnswerIdentity(kind: .chat, task: "t", created: 1, model: "m\"")
    private let usage = Usage(
        promptTokens: 1, cachedTokens: 0, completionTokens: 2, cost: Primitives.Money(microCredits: 3),
        task: "t",
        workers: [], failovers: 0)

    @Test func everyByteSurvivesEscapingAndBadUTF8IsRepaired() throws {
        var out: [UInt8] = [0x22]
        let text = String(String.UnicodeScalarView((1...0x2FF).compactMap(Unicode.Scalar.init))) + "\u{2028}𝄞"
        JSONText.appendEscaped(Array(text.utf8), to: &out)
        out.append(0x22)
        #expect(try JSONTree(parsing: out).text == text)
        #expect(!out.contains(0x0A) && !out.contains(0x0D))
        var repaired: [UInt8] = []
        JSONText.appendEscaped([0x61, 0xC3, 0x28], to: &repaired)
        #expect(String(decoding: repaired, as: UTF8.self) == "a\u{FFFD}(")
    }

    @Test func theEndComesOnceForEveryChoiceThatTheBackendLeftOpen() {
        var chunks = StreamChunks(identity, includeUsage: false)
        var out: [UInt8] = []
        #expect(
            chunks.choices(
                Array(
                    #"[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{},"finish_reason":"stop"}]"#
                        .utf8), to: &out))
        out = []
        chunks.finish(reason: "length", usage: usage, to: &out)
        let text = String(decoding: out, as: UTF8.self)
        #expect(text.contains(#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]"#))
        #expect(!text.contains(#""index":1"#))
    }

    @Test(
        arguments: [
            (.chat, "{}", #"{"index":0,"delta":{},"finish_reason":null}"#),
            (.chat, #"{"delta":null,"x":1}"#, #"{"x":1,"index":0,"delta":{},"finish_reason":null}"#),
            (
                .completion, #"{"index":1,"text":null,"finish_reason":"stop"}"#,
                #"{"index":1,"finish_reason":"stop","text":""}"#
            ),
        ] as [(ClientRequest.Kind, String, String)])
    func membersThatClientsReadAreInEveryChoice(_ kind: ClientRequest.Kind, _ sent: String, _ written: String)
    {
        let identity = AnswerIdentity(kind: kind, task: "t", created: 0, model: "m")
        var chunks = StreamChunks(identity, includeUsage: false)
        var out: [UInt8] = []
        let isWritten = chunks.choices(Array("[\(sent)]".utf8), to: &out)
        #expect(isWritten && String(decoding: out, as: UTF8.self).hasSuffix("[\(written)]}\n\n"))
    }

    @Test func everyChoiceThatWasAskedForIsThereAndEndsOnce() throws {
        let two = AnswerIdentity(kind: .completion, task: "t", created: 1, model: "m", choices: 2)
        var answer = WholeAnswer()
        let isTaken = answer.append(
            choices: Array(#"[{"index":1,"text":"b","finish_reason":"length"}]"#.utf8))
        #expect(isTaken)
        let tree = try JSONTree(parsing: answer.body(two, reason: "stop", usage: usage))
        let choices = try #require(tree["choices"]?.elements)
        #expect(choices.map { $0["text"]?.text } == ["", "b"])
        #expect(choices.map { $0["finish_reason"]?.text } == ["stop", "length"])

        var chunks = StreamChunks(two, includeUsage: false)
        var out: [UInt8] = []
        chunks.text(Array("a".utf8), to: &out)
        #expect(chunks.choices(Array(#"[{"index":1,"text":"b","finish_reason":"length"}]"#.utf8), to: &out))
        chunks.finish(reason: "stop", usage: usage, to: &out)
        let text = String(decoding: out, as: UTF8.self)
        #expect(text.components(separatedBy: #""finish_reason":"stop""#).count == 2)
        #expect(text.components(separatedBy: #""finish_reason":"length""#).count == 2)
        #expect(text.contains(#"{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}"#))
    }

    @Test func theRoleIsToldOnceForEachChoice() {
        let two = AnswerIdentity(kind: .chat, task: "t", created: 1, model: "m", choices: 2)
        var chunks = StreamChunks(two, includeUsage: false)
        var out: [UInt8] = []
        for index in [1, 0, 0, 1] {
            let json = #"[{"index":\#(index),"delta":{"role":"assistant","content":"a"}}]"#
            let isWritten = chunks.choices(Array(json.utf8), to: &out)
            #expect(isWritten)
        }
        chunks.finish(reason: "stop", usage: usage, to: &out)
        #expect(String(decoding: out, as: UTF8.self).components(separatedBy: "assistant").count == 3)
    }

    @Test func twoCallsOfOneIndexStayTwo() throws {
        let pieces = [
            #"[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"a\":"}}]}}]"#,
            #"[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]"#,
            #"[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"b","type":"function","function":{"name":"g","arguments":"{\"b\":2}"}}]}}]"#,
            #"[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c","type":"function","function":{"name":"h","arguments":"{}"}}]}}]"#,
        ]
        var answer = WholeAnswer()
        var chunks = StreamChunks(identity, includeUsage: false)
        var out: [UInt8] = []
        for piece in pieces {
            let isTaken =
                answer.append(choices: Array(piece.utf8)) && chunks.choices(Array(piece.utf8), to: &out)
            #expect(isTaken)
        }
        let tree = try JSONTree(parsing: answer.body(identity, reason: "tool_calls", usage: usage))
        let calls = try #require(tree["choices"]?.elements?.first?["message"]?["tool_calls"]?.elements)
        #expect(calls.map { $0["id"]?.text } == ["a", "b", "c"])
        #expect(calls.map { $0["function"]?["arguments"]?.text } == [#"{"a":1}"#, #"{"b":2}"#, "{}"])
        let text = String(decoding: out, as: UTF8.self)
        #expect(text.contains(#"{"index":1,"id":"b""#) && text.contains(#"{"index":2,"id":"c""#))
    }

    @Test func callsWithoutAnIDAreToldApartByTheirNames() throws {
        var answer = WholeAnswer()
        for piece in [
            #"{"index":0,"id":"","function":{"name":"f","arguments":""}}"#,
            #"{"index":0,"id":"","function":{"name":"f","arguments":"{\"x\":"}}"#,
            #"{"index":0,"function":{"arguments":"1}"}}"#,
            #"{"index":0,"id":"","function":{"name":"g","arguments":"{\"y\":2}"}}"#,
        ] {
            let isTaken = answer.append(
                choices: Array(#"[{"index":0,"delta":{"tool_calls":[\#(piece)]}}]"#.utf8))
            #expect(isTaken)
        }
        let tree = try JSONTree(parsing: answer.body(identity, reason: "tool_calls", usage: usage))
        let calls = try #require(tree["choices"]?.elements?.first?["message"]?["tool_calls"]?.elements)
        #expect(calls.map { $0["function"]?["arguments"]?.text } == [#"{"x":1}"#, #"{"y":2}"#])
    }

    @Test func callsThatServersNumberRightlyKeepTheirNumbers() {
        var calls = ToolCallIndices()
        let choices = try? JSONTree(
            parsing: Array(
                #"[{"delta":{"tool_calls":[{"index":0,"id":"a"},{"index":1,"id":"b"},{"index":0,"id":"a"},{"index":1}]}}]"#
                    .utf8)
        ).elements
        let same = calls.renumber(choices ?? [])
        #expect(same == choices)
    }

    @Test func aPieceOfTextThatIsAListOfPartsIsStreamedAsText() {
        var chunks = StreamChunks(identity, includeUsage: false)
        var out: [UInt8] = []
        let piece =
            #"[{"index":0,"delta":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}]"#
        let isTaken = chunks.choices(Array(piece.utf8), to: &out)
        #expect(isTaken && String(decoding: out, as: UTF8.self).contains(#""content":"ab""#))
    }

    @Test func choicesThatAreNoListOfObjectsAreNotWritten() {
        var chunks = StreamChunks(identity, includeUsage: false)
        var out: [UInt8] = []
        for bad in ["", "{}", "[1]", "[{}] x", "[{}]\n\ndata: x"] {
            #expect(!chunks.choices(Array(bad.utf8), to: &out))
        }
        #expect(out.isEmpty)
    }

    @Test func severalChoicesAreSortedAndKeepTheirReasons() throws {
        var answer = WholeAnswer()
        let taken = [
            #"[{"index":1,"delta":{"content":"b"}}]"#,
            #"[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]"#,
            #"[{"index":1,"delta":{"content":"c"},"logprobs":{"content":[{"token":"c"}]}}]"#,
        ].map { answer.append(choices: Array($0.utf8)) }
        #expect(taken == [true, true, true])
        let tree = try JSONTree(parsing: answer.body(identity, reason: "length", usage: usage))
        let choices = try #require(tree["choices"]?.elements)
        #expect(choices.map { $0["message"]?["content"]?.text } == ["a", "bc"])
        #expect(choices.map { $0["finish_reason"]?.text } == ["stop", "length"])
        #expect(choices[1]["logprobs"]?["content"]?.elements?.count == 1)
    }

    @Test func deltasOfToolCallsAndReasoningAreMergedAsSDKsDo() throws {
        var answer = WholeAnswer()
        let pieces = [
            #"[{"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}}]"#,
            #"[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{\"x\":"}}]}}]"#,
            #"[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}}]"#,
            #"[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}],"reasoning":"be"}}]"#,
            #"[{"delta":{"reasoning":"cause","extra":[1]}}]"#,
            #"[{"delta":{"reasoning":null,"extra":[2,null]},"finish_reason":"tool_calls"}]"#,
        ]
        let taken = pieces.map { answer.append(choices: Array($0.utf8)) }
        #expect(!taken.contains(false))
        let tree = try JSONTree(parsing: answer.body(identity, reason: "", usage: usage))
        let message = try #require(tree["choices"]?.elements?.first?["message"])
        let calls =
            #"[{"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}},"#
            + #"{"id":"b","function":{"name":"g","arguments":"{}"}}]"#
        #expect(message["tool_calls"] == (try JSONTree(parsing: Array(calls.utf8))))
        #expect(message["reasoning"]?.text == "because")
        #expect(message["extra"]?.bytes == Array("[1,2,null]".utf8))
        #expect(message["content"] == .null)
    }

    /// A worker once hung a gateway by 390 kB of tool calls: each was searched among all before it.
    @Test(arguments: ["keys", "indices", "text", "elements"])
    func theWorkOfMergingGrowsWithTheDeltasAlone(_ kind: String) {
        func steps(_ count: Int) -> Int {
            var answer = WholeAnswer()
            for number in 0..<count {
                let delta =
                    switch kind {
                    case "keys": #"{"x":{"k\#(number)":1}}"#
                    case "indices": #"{"tool_calls":[{"index":\#(number),"function":{"arguments":"a"}}]}"#
                    case "text": #"{"reasoning":"a"}"#
                    default: #"{"x":[{}]}"#
                    }
                let piece = #"[{"delta":\#(delta),"logprobs":\#(delta)}]"#
                guard answer.append(choices: Array(piece.utf8)) else { return .max }
            }
            return answer.steps
        }
        #expect(steps(8_000) <= 8 * steps(1_000) + 100)
    }

    @Test func anAnswerWithoutEndIsBrokenOff() {
        var answer = WholeAnswer()
        let piece = [UInt8](repeating: 0x61, count: 1 << 20)
        var taken = 0
        while taken < 100, answer.append(text: piece) { taken += 1 }
        #expect(taken == WholeAnswer.bytesMax >> 20)
    }

    @Test func base64EmbeddingsBecomeFloatsAndBack() throws {
        func body(_ json: [UInt8], base64: Bool) throws -> [UInt8] {
            try #require(
                EmbeddingAnswer.body(json, inputs: 2, model: "m\"", base64: base64, usage: usage))
        }
        let floats = Array(
            #"{"data":[{"embedding":[7, 8e0,9],"index":1},{"index":0,"embedding":[ 0.5,-2,1e-3 ]}]}"#.utf8)
        let decoded = try body(try body(floats, base64: true), base64: false)
        for answer in [decoded, try body(floats, base64: false)] {
            let tree = try JSONTree(parsing: answer)
            let items = try #require(tree["data"]?.elements)
            #expect(items.map { $0["index"]?.whole } == [0, 1], "in the order of the inputs")
            let numbers = items.map { $0["embedding"]?.elements?.map { $0.real.map(Float.init) } }
            #expect(numbers == [[0.5, -2, 0.001], [7, 8, 9]])
            #expect(tree["model"]?.text == "m\"" && tree["usage"] == usage.json)
        }
        #expect(EmbeddingAnswer.body(floats, inputs: 1, model: "m", base64: false, usage: usage) == nil)
    }
}
