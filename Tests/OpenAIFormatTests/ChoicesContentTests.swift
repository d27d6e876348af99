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
}
