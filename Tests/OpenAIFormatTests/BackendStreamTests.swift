import Primitives
import Testing

@testable import OpenAIFormat

private func parse(_ pieces: [[UInt8]]) throws -> [ServerSentEvent] {
    var parser = ServerSentEvents()
    var events: [ServerSentEvent] = []
    for piece in pieces { try parser.feed(piece, into: &events) }
    return events
}

private func scan(_ text: String) throws -> BackendChunk { try BackendChunk(scanning: Array(text.utf8)) }

private func delta(_ content: String) -> String {
    #"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":\#(content)}}],"id":"x","model":"wren-m"}"#
}

@Suite struct ServerSentEventsTests {
    static let stream = Array(
        "\u{FEFF}: ping\r\ndata: {\"a\":1}\r\n\r\nevent: x\rdata:one\rdata: two\r\rid: 7\nretry: 3\ndata\n\ndata: ü\n\n"
            .utf8)

    @Test func aStreamMeansTheSameHoweverItIsCut() throws {
        let whole = try parse([Self.stream])
        #expect(
            whole == [
                .init(data: Array("{\"a\":1}".utf8)), .init(name: "x", data: Array("one\ntwo".utf8)),
                .init(data: []),
                .init(data: Array("ü".utf8)),
            ])
        for cut in 0...Self.stream.count {
            #expect(try parse([Array(Self.stream[..<cut]), Array(Self.stream[cut...])]) == whole)
        }
        #expect(try parse(Self.stream.map { [$0] }) == whole)
    }

    @Test func aLineOrAnEventOverTheLimitIsAnError() {
        var parser = ServerSentEvents(lengthMax: 16)
        var events: [ServerSentEvent] = []
        #expect(throws: ServerSentEventsError.tooLong) {
            try parser.feed([UInt8](repeating: 0x61, count: 17), into: &events)
        }
        var lines = ServerSentEvents(lengthMax: 16)
        #expect(throws: ServerSentEventsError.tooLong) {
            try lines.feed(Array("data: 1234567\ndata: 123456789\n\n".utf8), into: &events)
        }
    }

    @Test func bytesThatAreNoEventStreamAreCounted() throws {
        var parser = ServerSentEvents()
        var events: [ServerSentEvent] = []
        try parser.feed(Array("<html>\n<body>\n\n: fine\n".utf8), into: &events)
        #expect(events.isEmpty)
        #expect(parser.ignoredBytes == 12)
    }
}

@Suite struct BackendChunkTests {
    @Test func plainTextIsUnescaped() throws {
        let chunk = try scan(delta(#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 ü""#))
        #expect(String(decoding: chunk.text, as: UTF8.self) == "a\"\\/\u{8}\u{C}\n\r\té😀 ü")
        #expect(chunk.complex.isEmpty && chunk.ends.isEmpty)
        #expect(try scan(#"{"choices":[{"text":"y","index":0,"logprobs":null}]}"#).text == Array("y".utf8))
    }

    @Test func whatSaysNothingIsStillPlain() throws {
        let role = try scan(
            #"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[],"reasoning_content":""}}]}"#
        )
        #expect(role.text.isEmpty && role.complex.isEmpty)
        let last = try scan(
            #"{"choices":[{"finish_reason":"length","index":0,"delta":{},"stop_reason":12}]}"#)
        #expect(last.ends == [.init(index: 0, reason: "length")] && last.complex.isEmpty)
    }

    @Test func anEmptyReasonIsNoEnd() throws {
        for reason in [#""""#, #"" ""#, #""null""#, "null"] {
            #expect(
                try scan(#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":\#(reason)}]}"#)
                    .ends.isEmpty)
        }
    }

    @Test func whatSaysMoreThanTextIsHandedOnWhole() throws {
        let many = [
            #"[{"index":1,"delta":{"content":"a"}}]"#, #"[{"index":0,"delta":{"tool_calls":[{"id":"c"}]}}]"#,
            #"[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]}}]"#,
            #"[{"index":0,"delta":{"reasoning_content":"hm"}}]"#,
            #"[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]"#,
        ]
        for choices in many {
            let chunk = try scan(#"{"id":"x", "choices": \#(choices) }"#)
            #expect(String(decoding: chunk.complex, as: UTF8.self) == choices)
            #expect(chunk.text.isEmpty)
        }
    }

    @Test func ofSeveralAnswersEachIsHandedOnWhole() throws {
        let plain = Array(#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.utf8)
        #expect(try BackendChunk(scanning: plain, choices: 1).complex.isEmpty)
        #expect(try !BackendChunk(scanning: plain, choices: 2).complex.isEmpty)
        #expect(try BackendChunk(scanning: Array(#"{"choices":[]}"#.utf8), choices: 2).complex.isEmpty)
    }

    @Test func whatLlamaCppSaysOfItsReadingIsRead() throws {
        let last = try scan(
            #"{"choices":[],"timings":{"cache_n":3,"prompt_n":120,"prompt_ms":9.5,"prompt_per_second":12631.57,"x":[1]}}"#
        )
        #expect(last.promptSpeed == .init(tokens: 120, tokensPerSecond: 12_631))
        let reading = try scan(
            #"{"choices":[],"prompt_progress":{"total":2000,"cache":0,"processed":512,"time_ms":40}}"#)
        #expect(reading.promptRead == 512 && reading.promptSpeed == nil)
    }

    @Test func usageAndErrorsAreRead() throws {
        let usage = try scan(
            #"{"choices":[],"usage":{"completion_tokens":6,"prompt_tokens":8,"x":{"y":[1]},"prompt_tokens_details":{"cached_tokens":3}}}"#
        )
        #expect(usage.usage == BackendUsage(promptTokens: 8, cachedTokens: 3, completionTokens: 6))
        let huge = try scan(#"{"usage":{"completion_tokens":99999999999999999999999999,"prompt_tokens":-1}}"#)
        #expect(huge.usage?.completionTokens == .max && huge.usage?.promptTokens == 0)
        let error = try scan(
            #"{"error":{"code":400,"message":"too\u001b[31m long","type":"exceed_context_size_error"}}"#)
        #expect(error.error == BackendErrorBody(code: "exceed_context_size_error", message: "too [31m long"))
    }

    @Test(arguments: [
        "", "{", "[]", "null", "{\"choices\":[{]}", delta("\"a"), delta("\"\\x\""), delta("\"\\ud8\""),
        delta("\"a\"") + "x",
    ])
    func whatIsNoJSONIsRefused(_ text: String) {
        #expect(throws: JSONError.self) { try scan(text) }
    }

    @Test func deepNestingIsRefusedNotRecursedInto() {
        let deep = "{\"x\":" + String(repeating: "[", count: 100_000)
        #expect(throws: JSONError.tooDeep) { try scan(deep) }
        #expect(throws: JSONError.tooDeep) { try JSONTree(parsing: Array(deep.utf8)) }
    }

    @Test func aDocumentOfTooManyValuesIsRefused() throws {
        func list(of count: Int) -> [UInt8] {
            Array("[".utf8) + repeatElement(Array("0,".utf8), count: count - 1).joined() + Array("0]".utf8)
        }
        #expect(
            try JSONTree(parsing: list(of: JSONTree.valuesMax - 1)).elements?.count == JSONTree.valuesMax - 1)
        #expect(throws: JSONError.tooMany) { try JSONTree(parsing: list(of: JSONTree.valuesMax)) }
    }

    @Test func noMutationOfAChunkCrashesAndTextAgreesWithTheTree() throws {
        var random = SeededRandom(seed: 7)
        let seeds = [
            delta(#""a\n\ud83d\ude00""#),
            #"{"choices":[],"usage":{"prompt_tokens":8},"e":[1.5e3,true,null]}"#,
        ]
        var agreed = 0
        for round in 0..<20_000 {
            var bytes = Array(seeds[round % seeds.count].utf8)
            for _ in 0..<Int(random.below(3)) + 1 {
                let at = Int(random.below(bytes.count))
                switch random.below(3) {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: random.below(256))
                case 1: bytes.remove(at: at)
                default: bytes.insert(Array("{}[]\",:\\u0".utf8)[Int(random.below(10))], at: at)
                }
            }
            let chunk = try? BackendChunk(scanning: bytes)
            guard let tree = try? JSONTree(parsing: bytes), let chunk else { continue }
            agreed += 1
            #expect(try JSONTree(parsing: tree.bytes) == tree)
            if let text = tree["choices"]?.elements?.first?["delta"]?["content"]?.text, chunk.complex.isEmpty
            {
                #expect(String(decoding: chunk.text, as: UTF8.self) == text)
            }
        }
        #expect(agreed > 1_000)
    }
}

@Suite struct WholeCharactersTests {
    @Test func aTokenThatEndsInsideACharacterWaitsForItsRest() {
        let text = Array("aé漢😀z".utf8)
        for size in 1...4 {
            var characters = WholeCharacters()
            var out: [UInt8] = []
            var tokens = 0
            for start in stride(from: 0, to: text.count, by: size) {
                let piece = Array(text[start..<min(start + size, text.count)])
                guard let whole = characters.append(piece, tokens: 1) else { continue }
                #expect(String(validating: whole.text, as: UTF8.self) != nil)
                out += whole.text
                tokens += whole.tokens
            }
            #expect(out == text)
            #expect(tokens == (text.count + size - 1) / size)
        }
    }

    @Test func aSurrogatePairTornBetweenChunksIsJoined() throws {
        var characters = WholeCharacters()
        #expect(characters.append(try scan(delta(#""x\ud83d""#)).text, tokens: 1) == nil)
        let whole = characters.append(try scan(delta(#""\ude00y""#)).text, tokens: 1)
        #expect(whole?.text == Array("x😀y".utf8) && whole?.tokens == 2)
    }

    @Test func whatNeverBecomesACharacterIsReplaced() {
        var characters = WholeCharacters()
        #expect(characters.append([0x61, 0xE2, 0x82], tokens: 1) == nil)
        #expect(characters.flush()?.text == Array("a\u{FFFD}".utf8))
        #expect(characters.append([0xFF, 0x62], tokens: 1)?.text == Array("\u{FFFD}b".utf8))
        #expect(characters.flush() == nil)
    }
}
