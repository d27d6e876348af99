import Primitives
import Testing

@testable import OpenAIFormat

@Suite struct ChoicesContentTests {
    @Test(arguments: [
        #"[{"index":0,"delta":{"content":"a"}}]"#, #"[{"delta":{"reasoning_content":"hm"}}]"#,
        #"[{"index":1,"text":" "}]"#, #"[{"index":0,"delta":{}},{"index":1,"message":{"refusal":"no"}}]"#,
        #"[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]"#,
    ])
    func textInAnyChoiceSaysSomething(_ json: String) {
        #expect(ChoicesContent(of: Array(json.utf8)) == .some)
    }

    @Test(arguments: [
        "[]", "[{}]", #"[{"index":0,"delta":{"role":"assistant","content":""}}]"#,
        #"[{"index":0,"delta":{},"finish_reason":"stop","logprobs":{"content":[{"token":"a"}]}}]"#,
        #"[{"delta":{"junk":"a","tool_calls":[]}}]"#, #"[{"delta":"content"}]"#, "[{\"text\":null}]   \n",
    ])
    func rolesEndsProbabilitiesAndUnknownMembersSayNothing(_ json: String) {
        #expect(ChoicesContent(of: Array(json.utf8)) == .none)
    }

    @Test(arguments: [
        "", "{}", "null", "[{", "[1]", #"[{"index":128}]"#, "[{}] x",
        String(repeating: "[", count: 9_000) + String(repeating: "]", count: 9_000),
    ])
    func whatIsNoListOfChoicesIsMalformed(_ json: String) {
        #expect(ChoicesContent(of: Array(json.utf8)) == .malformed)
    }

    /// The scanner is only a faster way to the same finding.
    @Test func theScannerFindsWhatTheTreeFinds() {
        let seeds = [
            #"[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-0.25e-1,"bytes":[97]}]}}]"#,
            #"[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":\u00e9}"}}]},"finish_reason":null}]"#,
            #" [ {"index" : 1 ,"text":""}, {"message":{"refusal":"nö","x":true}},{"index":127,"delta":{}}]"#,
            #"[{"ind\u0065x":200,"delta":{"r\u00f6le":"a"}},{"a":1,"a":2},{"index":-1},{"index":1e2},{"index":1.5}]"#,
            "[{\(String((0..<40).map { "\"k\($0)\":{}" }.joined(separator: ",")))}]",
            String(repeating: "[", count: 63) + "{}" + String(repeating: "]", count: 63),
            #"[{"text":"a"},"# + String(repeating: "[", count: 63) + String(repeating: "]", count: 63) + "]",
            #"[{"text":"\ud800"},{"text":"\q"}]"#, #"[{"index":00},{"index":"7"},{"index":128}]"#,
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
                guard let found = bytes.withUnsafeBufferPointer({ ChoicesScanner.scan($0) }) else { continue }
                scanned += 1
                #expect(found == ChoicesContent(parsing: bytes), "\(String(decoding: bytes, as: UTF8.self))")
            }
        }
        #expect(scanned > 20_000, "what is usual needs no tree")
    }
}
