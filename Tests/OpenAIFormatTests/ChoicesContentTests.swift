import Primitives
import Testing

@testable import OpenAIFormat

@Suite struct ChoicesContentTests {
    private func content(_ json: String, isChat: Bool = true, choices: UInt32 = 2) -> ChoicesContent {
        ChoicesContent(of: Array(json.utf8), isChat: isChat, choices: choices)
    }

    @Test(
        arguments: [
            (#"[{"index":0,"delta":{"content":"a"}}]"#, 1), (#"[{"delta":{"reasoning_content":"hm"}}]"#, 2),
            (#"[{"index":0,"delta":{}},{"index":1,"delta":{"refusal":"no"}}]"#, 2),
            (#"[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]"#, 1),
            (
                #"[{"delta":{"tool_calls":[{"index":1,"id":"call_1","type":"function","function":{"name":"add"}}]}}]"#,
                3
            ),
            (#"[{"delta":{"function_call":{"name":"f","arguments":"{}","x":"y"}}}]"#, 3),
            (#"[{"delta":{"content":[{"type":"text","text":"ab"}],"audio":{"data":"AA=="}}}]"#, 10),
            (#"[{"delta":{"content":"\n\u00e9\u4e2d\ud83d\ude00é"}}]"#, 12),
            (#"[{"delta":{"content":"\ud83d"}}]"#, 9),
            (#"[{"text":"no chat's","delta":{"content":"a"}}]"#, 1),
        ] as [(String, Int)])
    func textInAnyChoiceSaysSomething(_ json: String, _ bytes: Int) {
        #expect(content(json) == .some(bytes: bytes))
    }

    @Test func aCompletionSaysItsText() {
        #expect(content(#"[{"index":1,"text":" "}]"#, isChat: false) == .some(bytes: 1))
        #expect(content(#"[{"index":1,"text":"","delta":{"content":"a"}}]"#, isChat: false) == .none)
    }

    @Test(arguments: [
        "[]", "[{}]", #"[{"index":0,"delta":{"role":"assistant","content":""}}]"#,
        #"[{"index":0,"delta":{},"finish_reason":"stop","logprobs":{"content":[{"token":"a","logprob":-1}]}}]"#,
        #"[{"delta":{"junk":"a","tool_calls":[]}}]"#, #"[{"message":{"content":"a"}}]"#,
        "[{\"text\":null}]   \n", #"[{"delta":{"tool_calls":[{"id":"call_1","junk":"a"}]}}]"#,
    ])
    func rolesEndsProbabilitiesAndUnknownMembersSayNothing(_ json: String) {
        #expect(content(json) == .none)
    }

    /// Of llama.cpp, vLLM and Ollama.
    @Test(arguments: [
        #"[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]"#,
        #"[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":"{"}}]}}]"#,
        #"[{"finish_reason":null,"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"id":264,"token":"a","bytes":[97],"logprob":-1.5,"top_logprobs":[]}]}}]"#,
        #"[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":null},"logprobs":null,"finish_reason":null,"token_ids":null}]"#,
        #"[{"index":1,"delta":{"content":"a","reasoning":null,"tool_calls":[],"function_call":null,"refusal":null},"logprobs":null,"finish_reason":"length","stop_reason":12}]"#,
        #"[{"index":0,"delta":{"tool_calls":[{"index":0,"id":null,"type":null,"function":{"name":null,"arguments":" 1"}}]}}]"#,
        #"[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[{"id":"call_1","index":0,"type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]"#,
        #"[{"index":0,"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[-1],"top_logprobs":[null],"text_offset":[0]},"finish_reason":null,"stop_reason":null,"prompt_token_ids":null}]"#,
        #"[{"index":0,"text":"a","logprobs":{"tokens":["a","b"],"token_logprobs":[null,-0.5],"top_logprobs":[{"a":-1,"":-2e0},null],"text_offset":[0,12]}}]"#,
        #"[{"index":0,"text":"a","logprobs":{"content":[{"id":1,"token":"a","bytes":[97],"logprob":-1}]}}]"#,
        #"[{"delta":{"content":"é"},"logprobs":{"content":[{"token":"\u00e9","logprob":0,"bytes":[195,169],"top_logprobs":[{"token":"e","logprob":-9999.0,"bytes":null}]}],"refusal":null}}]"#,
    ])
    func whatServersSendIsWellFormed(_ json: String) {
        #expect(content(json) != .malformed)
        #expect(ChoicesContent(parsing: Array(json.utf8), isChat: true, choices: 2) == content(json))
    }

    @Test(arguments: [
        "", "{}", "null", "[{", "[1]", "[{}] x", "[{},{},{}]",
        String(repeating: "[", count: 9_000) + String(repeating: "]", count: 9_000),
    ])
    func whatIsNoListOfChoicesIsMalformed(_ json: String) {
        #expect(content(json) == .malformed)
    }

    @Test(arguments: [
        "2", "127", "128", "-1", "-0", "0.5", "0.0", "1e0", "\"0\"", "null", "4611686018427387904",
    ])
    func anIndexIsBelowTheNumberOfChoicesAskedFor(_ index: String) {
        #expect(content("[{\"index\":\(index)}]") == .malformed)
        #expect(content(#"[{"index":1}]"#) == .none && content(#"[{"index":1}]"#, choices: 1) == .malformed)
        #expect(content(#"[{"index":127}]"#, choices: .max) == .none)
        #expect(content(#"[{"index":128}]"#, choices: .max) == .malformed)
    }

    /// A client of OpenAI's would raise an exception, or believe what its server never says.
    @Test(
        arguments: [
            #""text":5"#, #""delta":"content""#, #""logprobs":[]"#,
            #""finish_reason":1"#,
            #""finish_reason":"Stop""#, #""finish_reason":"a\r\nb""#, #""finish_reason":"\u0007""#,
            "\"finish_reason\":\"\(String(repeating: "a", count: 33))\"",
        ]
            + [
                #""content":5"#, #""content":{}"#, #""content":["a"]"#, #""refusal":[]"#, #""reasoning":{}"#,
                #""reasoning_content":true"#, #""thinking":1"#, #""role":"system""#, #""role":"""#,
                #""role":1"#,
                #""audio":"a""#, #""function_call":"f""#, #""function_call":{"name":1}"#, #""tool_calls":{}"#,
                #""tool_calls":[1]"#, #""tool_calls":[{"index":4611686018427387904}]"#,
                #""tool_calls":[{"index":128}]"#,
                #""tool_calls":[{"index":null}]"#, #""tool_calls":[{"id":1}]"#,
                #""tool_calls":[{"type":{}}]"#,
                #""tool_calls":[{"function":"f"}]"#, #""tool_calls":[{"function":{"name":5}}]"#,
                #""tool_calls":[{"function":{"arguments":{}}}]"#,
            ].map { "\"delta\":{\($0)}" })
    func aMemberOfAnotherTypeIsMalformed(_ member: String) {
        #expect(content("[{\(member)}]") == .malformed)
        #expect(
            ChoicesContent(parsing: Array("[{\(member)}]".utf8), isChat: true, choices: 2) == .malformed)
    }

    /// SDKs hand these on as lists of typed values.
    @Test(
        arguments: [
            #""content":{}"#, #""content":["a"]"#, #""content":[{}]"#, #""content":[{"token":"a"}]"#,
            #""content":[{"token":"a","logprob":null}]"#, #""content":[{"token":"a","logprob":"-1"}]"#,
            #""content":[{"token":5,"logprob":-1}]"#, #""content":[{"token":null,"logprob":-1}]"#,
            #""refusal":[{"logprob":-1}]"#, #""tokens":"a""#, #""tokens":[5]"#, #""tokens":[null]"#,
            #""token_logprobs":-1"#, #""token_logprobs":["-1"]"#, #""text_offset":[-1]"#,
            #""text_offset":[0.5]"#, #""text_offset":[null]"#, #""text_offset":[10000000000]"#,
            #""top_logprobs":{"a":-1}"#, #""top_logprobs":[[]]"#, #""top_logprobs":[{"a":null}]"#,
            #""top_logprobs":[{"a":"-1"}]"#,
            "\"top_logprobs\":[{\((0..<33).map { "\"\($0)\":0" }.joined(separator: ","))}]",
        ]
            + [
                #""bytes":"a""#, #""bytes":[256]"#, #""bytes":[-1]"#, #""bytes":[1.5]"#, #""bytes":[null]"#,
                #""top_logprobs":{}"#, #""top_logprobs":["b"]"#, #""top_logprobs":[{"token":"b"}]"#,
                #""top_logprobs":[{"token":"b","logprob":-1,"bytes":[1000]}]"#,
                "\"top_logprobs\":[\(Array(repeating: #"{"token":"b","logprob":-1}"#, count: 33).joined(separator: ","))]",
            ].map { #""content":[{"token":"a","logprob":-1,\#($0)}]"# })
    func logprobsOfAnotherShapeAreMalformed(_ member: String) {
        let json = "[{\"index\":0,\"text\":\"a\",\"logprobs\":{\(member)}}]"
        for isChat in [true, false] {
            #expect(content(json, isChat: isChat) == .malformed)
            #expect(
                ChoicesContent(parsing: Array(json.utf8), isChat: isChat, choices: 2) == .malformed)
        }
        #expect(throws: JSONError.self, "nor does a worker pass them on") {
            try BackendChunk(scanning: Array(#"{"choices":\#(json)}"#.utf8))
        }
    }

    @Test func aWordThatIsEscapedIsTheSameWord() {
        #expect(
            content(#"[{"delta":{"r\u006fle":"assist\u0061nt"},"finish_reason":"st\u006fp"}]"#) == .none)
    }

    /// The scanner is only a faster way to the same finding.
    @Test func theScannerFindsWhatTheTreeFinds() {
        let seeds = [
            #"[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-0.25e-1,"bytes":[97]}]}}]"#,
            #"[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":\u00e9}"}}]},"finish_reason":null}]"#,
            #" [ {"index" : 1 ,"text":""}, {"delta":{"refusal":"nö","x":true}},{"index":2,"delta":{}}]"#,
            #"[{"ind\u0065x":200,"delta":{"r\u00f6le":"a"}},{"a":1,"a":2},{"index":-1},{"index":1e2},{"index":1.5}]"#,
            "[{\(String((0..<40).map { "\"k\($0)\":{}" }.joined(separator: ",")))}]",
            String(repeating: "[", count: 63) + "{}" + String(repeating: "]", count: 63),
            #"[{"text":"a"},"# + String(repeating: "[", count: 63) + String(repeating: "]", count: 63) + "]",
            #"[{"text":"\ud800"},{"text":"\q"}]"#, #"[{"index":00},{"index":"7"},{"index":128}]"#,
            #"[{"delta":{"role":"assistant","content":"\u00e9\ud83d\ude00","refusal":null},"finish_reason":"stop"}]"#,
            #"[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]}}]"#,
            #"[{"logprobs":{"content":[{"token":"a","logprob":-1,"bytes":[9,200],"top_logprobs":[{"token":"b","logprob":-2,"x":[{}]}]}],"refusal":null}}]"#,
            #"[{"logprobs":{"tokens":["a","b"],"token_logprobs":[null,-1],"top_logprobs":[null,{"b":-1}],"text_offset":[0,7]}}]"#,
            #"[{"text":"a","logprobs":null},{"delta":{"content":[{"text":"b"}],"audio":{"id":"c"},"function_call":{"name":"d"}}}]"#,
        ]
        let palette = Array(#"[]{}:,"\ue0189.-+tfn "#.utf8) + [0x00, 0x1F, 0x7F, 0xC3, 0xA9, 0xFF]
        var random = SeededRandom(seed: 7)
        var scanned = 0
        for seed in seeds {
            for round in 0..<4_000 {
                var bytes = Array(seed.utf8)
                for _ in 0..<min(round, 1 + random.below(3)) {
                    let at = random.below(bytes.count)
                    switch random.below(3) {
                    case 0: bytes[at] = palette[random.below(palette.count)]
                    case 1: bytes.remove(at: at)
                    default: bytes.insert(palette[random.below(palette.count)], at: at)
                    }
                }
                let isChat = round % 3 > 0
                let scan = bytes.withUnsafeBufferPointer {
                    ChoicesScanner.scan($0, isChat: isChat, choices: 3)
                }
                guard let scan else { continue }
                scanned += 1
                #expect(
                    scan == ChoicesContent(parsing: bytes, isChat: isChat, choices: 3),
                    "\(String(decoding: bytes, as: UTF8.self))")
            }
        }
        #expect(scanned > 20_000, "what is usual needs no tree")
    }
}
