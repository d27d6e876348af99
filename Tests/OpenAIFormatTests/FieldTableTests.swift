import Foundation
import Testing

@testable import OpenAIFormat

private let api: [(title: String, rules: [FieldRule])] = [
    ("POST /v1/chat/completions", FieldTable.chat), ("POST /v1/completions", FieldTable.completions),
    ("POST /v1/embeddings", FieldTable.embeddings),
    ("POST /v1/messages (prepared, not served)", FieldTable.messages),
    ("POST /v1/responses (prepared, not served)", FieldTable.responses),
]

private func request(_ kind: InferenceKind, _ fields: String) -> String {
    switch kind {
    case .chat: #"{"model":"m","messages":[{"role":"user","content":"Hi"}]\#(fields)}"#
    case .completion: #"{"model":"m","prompt":"Hi"\#(fields)}"#
    case .embedding: #"{"model":"m","input":"Hi"\#(fields)}"#
    }
}

private func refusal(_ kind: InferenceKind, _ json: String) -> ErrorBody? {
    do throws(ErrorBody) {
        _ = try ClientRequest(kind: kind, body: Array(json.utf8))
        return nil
    } catch { return error }
}

@Suite struct FieldTableTests {
    @Test func theDocumentAndTheCodeHaveTheSameTable() throws {
        let path = #filePath.replacing(
            "Tests/OpenAIFormatTests/FieldTableTests.swift", with: "Protocol/http.md")
        let document = try String(contentsOfFile: path, encoding: .utf8)
        for (title, rules) in api {
            let section = try #require(document.components(separatedBy: "\n### \(title)\n").dropFirst().first)
            let rows = section.components(separatedBy: "\n##")[0].split(separator: "\n").filter {
                $0.hasPrefix("| `")
            }
            #expect(
                rows == rules.map { "| `\($0.name)` | \($0.treatment.rawValue) | \($0.note) |" }, "\(title)")
            #expect(Set(rules.map(\.name)).count == rules.count)
        }
    }

    @Test func everyFieldOfTheOpenAIPackageIsInTheTable() {
        // Of openai 3.54.0's CompletionCreateParams, and of its older versions.
        let chat = """
            messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens
            max_tokens metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key
            prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store
            stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
            """
        let completions = """
            model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop
            stream stream_options suffix temperature top_p user
            """
        for (kind, names) in [
            (InferenceKind.chat, chat), (.completion, completions),
            (.embedding, "input model dimensions encoding_format user"),
        ] {
            for name in names.split(whereSeparator: \.isWhitespace) {
                #expect(FieldTable.rule(String(name), kind) != nil, "\(name)")
            }
        }
    }

    @Test(arguments: [InferenceKind.chat, .completion, .embedding])
    func aRefusedFieldIsNamedAndItsNeutralValueIsAccepted(_ kind: InferenceKind) {
        for rule in FieldTable.rules(kind) where rule.treatment == .refused {
            let error = refusal(kind, request(kind, ",\"\(rule.name)\":{\"x\":1}"))
            #expect(error?.param == rule.name && error?.code == "unsupported_parameter", "\(rule.name)")
            #expect(error?.message.contains("`\(rule.name)`") == true)
            for neutral in ["null", "false", "\"\"", "[]", "{}"] {
                #expect(refusal(kind, request(kind, ",\"\(rule.name)\":\(neutral)")) == nil, "\(rule.name)")
            }
        }
        #expect(refusal(.completion, request(.completion, #","best_of":2,"n":2"#)) == nil)
        #expect(refusal(.completion, request(.completion, #","best_of":3,"n":2"#))?.param == "best_of")
    }

    @Test func anUnknownFieldIsNamedWithTheOneThatWasMeant() {
        let error = refusal(.chat, request(.chat, #","temprature":1"#))
        #expect(error?.param == "temprature" && error?.code == "unknown_parameter")
        #expect(error?.message.contains("Did you mean `temperature`?") == true)
        for name in ["chat_template", "grammar", "keep_alive", "options", "ignore_eos", "id_slot", "lora"] {
            #expect(refusal(.chat, request(.chat, ",\"\(name)\":1"))?.param == name)
        }
    }

    @Test func theOwnersExtraFieldsPass() throws {
        let body = Array(request(.chat, #","mirostat":1"#).utf8)
        let read = try ClientRequest(kind: .chat, body: body, extraFields: ["mirostat"])
        #expect(String(decoding: read.body, as: UTF8.self).contains("mirostat"))
    }

    /// Each is one that a server once ignored, and the client believed.
    @Test(
        arguments: [
            (#","temperature":9"#, "temperature"), (#","temperature":-1"#, "temperature"),
            (#","top_p":1.5"#, "top_p"),
            (#","presence_penalty":3"#, "presence_penalty"), (#","seed":1.5"#, "seed"), (#","n":0"#, "n"),
            (#","top_logprobs":2"#, "top_logprobs"), (#","logprobs":true,"top_logprobs":30"#, "top_logprobs"),
            (
                #","tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"c"}}]"#,
                "tools[1].type"
            ),
            (
                #","tools":[{"type":"function","function":{"name":"f","parameters":{"$ref":"https://x/y"}}}]"#,
                "tools[0].function.parameters"
            ),
            (#","tool_choice":{"type":"allowed_tools"}"#, "tool_choice"),
            (#","response_format":{"type":"grammar","grammar":"x"}"#, "response_format.type"),
            (
                #","response_format":{"type":"json_schema","json_schema":{"schema":{"properties":{"a":{"$ref":"https://x"}}}}}"#,
                "response_format.json_schema.schema"
            ),
            (#","stream_options":{"include_obfuscation":true}"#, "stream_options.include_obfuscation"),
            (#","stream_options":{"x":1}"#, "stream_options.x"),
            (#","modalities":["text","audio"]"#, "modalities"),
            (#","service_tier":"flex""#, "service_tier"), (#","verbosity":"low""#, "verbosity"),
            (#","logit_bias":{"a":1}"#, "logit_bias"), (#","logit_bias":{"1":101}"#, "logit_bias"),
            (#","store":true"#, "store"),
            (#","repetition_penalty":1.1,"repeat_penalty":1.2"#, "repeat_penalty"),
            (#","reasoning_effort":"enormous""#, "reasoning_effort"),
        ] as [(String, String)])
    func whatWouldChangeTheAnswerIsRefusedByName(_ fields: String, _ param: String) {
        let error = refusal(.chat, request(.chat, fields))
        #expect(error?.param == param, "\(error?.message ?? "accepted")")
        #expect(error?.type == "invalid_request_error" && error?.message.contains(param) == true)
    }

    @Test(
        arguments: [
            (#"{"type":"image_url","image_url":{"url":"https://x/a.png"}}"#, "image_url"),
            (#"{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}"#, "image_url"),
            (#"{"type":"file","file":{"file_id":"f"}}"#, "type"),
            (#"{"type":"input_audio","input_audio":{}}"#, "type"),
            (#"{"type":"video_url","video_url":{"url":"data:video/mp4;base64,AA=="}}"#, "type"),
            (#"{"type":"text","text":3}"#, "text"), ("{}", "type"),
        ] as [(String, String)])
    func aPartThatIsNotPassedOnIsRefusedByItsPath(_ part: String, _ member: String) {
        let json =
            #"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},\#(part)]}]}"#
        #expect(refusal(.chat, json)?.param == "messages[0].content[1].\(member)")
    }

    @Test func ofAMessageOnlyWhatHasNoMeaningMayBeMore() throws {
        func message(_ members: String) -> String {
            #"{"model":"m","messages":[{"role":"assistant","content":"a",\#(members)},{"role":"user","content":"b"}]}"#
        }
        // As openai-python writes an answer back.
        #expect(
            refusal(
                .chat,
                message(
                    #""refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":null"#))
                == nil)
        #expect(refusal(.chat, message(#""audio":{"id":"x"}"#))?.param == "messages[0].audio")
        #expect(
            refusal(.chat, message(#""function_call":{"name":"f"}"#))?.param == "messages[0].function_call")
        #expect(
            refusal(.chat, message(#""tool_calls":[{"type":"custom"}]"#))?.param
                == "messages[0].tool_calls[0].type")
        #expect(
            refusal(.chat, #"{"model":"m","messages":[{"role":"root","content":"x"}]}"#)?.param
                == "messages[0].role")
    }

    @Test(
        arguments: [
            (.chat, "", .chat), (.chat, #","n":2"#, [.chat, .choices]),
            (.chat, #","logprobs":true"#, [.chat, .logprobs]),
            (.chat, #","top_k":5"#, [.chat, .sampling]),
            (.chat, #","repeat_penalty":1.1"#, [.chat, .sampling]),
            (.chat, #","logit_bias":{"5":1}"#, [.chat, .logitBias]), (.chat, #","logit_bias":{}"#, .chat),
            (.chat, #","response_format":{"type":"json_object"}"#, [.chat, .jsonSchema]),
            (.chat, #","tools":[{"type":"function","function":{"name":"f"}}]"#, [.chat, .tools]),
            (.chat, #","tools":[]"#, .chat),
            (.completion, #","logprobs":2"#, [.completion, .logprobs]),
            (.embedding, #","dimensions":8"#, [.embedding, .dimensions]),
        ] as [(InferenceKind, String, Abilities)])
    func aRequestNeedsWhatServersDifferIn(_ kind: InferenceKind, _ fields: String, _ needs: Abilities) throws
    {
        #expect(try ClientRequest(kind: kind, body: Array(request(kind, fields).utf8)).needs == needs)
    }

    @Test func aLastMessageOfTheAssistantIsToBeContinued() throws {
        func json(_ content: String, _ more: String = "") -> String {
            #"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","content":\#(content)}]\#(more)}"#
        }
        let read = try ClientRequest(kind: .chat, body: Array(json("\"I can\"").utf8))
        #expect(read.needs == [.chat, .assistantLast] && read.resumable)
        #expect(refusal(.chat, json("null"))?.param == "messages[1]")
        #expect(
            refusal(.chat, json("\"a\"", #","response_format":{"type":"json_object"}"#))?.param
                == "response_format")
    }

    @Test func whoAsksIsNotToldToSellers() throws {
        let fields =
            #","user":"ann","metadata":{"a":"b"},"safety_identifier":"s","prompt_cache_key":"k","service_tier":"auto","provider":{"sort":"price"},"usage":{"include":true},"store":false,"functions":[]"#
        let read = try ClientRequest(kind: .chat, body: Array(request(.chat, fields).utf8))
        #expect(String(decoding: read.body, as: UTF8.self) == request(.chat, ""))
    }
}

@Suite struct RequestLimitTests {
    private func schema(_ json: String) throws -> SchemaCost {
        SchemaCost(try JSONTree(parsing: Array(json.utf8)))
    }

    @Test func aSchemaCostsItsValuesAndWhatItRepeats() throws {
        #expect(try schema(#"{"enum":["a","b","c"]}"#).values == 3)
        #expect(try schema(#"{"type":"string","maxLength":50,"minLength":10}"#).values == 60)
        #expect(try schema(#"{"items":{"enum":[1,2]},"maxItems":10}"#).values == 20)
        #expect(
            try schema(#"{"items":{"items":{"enum":[1,2]},"maxItems":1000},"maxItems":1000}"#).values
                == 2_000_000)
        #expect(try schema(#"{"anyOf":[{"const":1},{"enum":[1,2]}]}"#).values == 4)
        #expect(try schema(#"{"properties":{"a":{},"b":{"enum":[1]}}}"#).values == 3)
        #expect(try schema(#"{"properties":{"a":{"properties":{"b":{}}}}}"#).depth == 5)
        #expect(
            try schema(#"{"maxItems":1e300,"items":{"maxItems":1e300,"items":{"enum":[1]}}}"#).values
                == SchemaCost.valuesMax)
        #expect(try schema(##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"http://x"}}}"##).remote == "http://x")
        #expect(try schema(##"{"$ref":"#/$defs/a"}"##).remote == nil)
    }

    @Test(arguments: [
        ("abc", 3), ("a{5}", 5), ("(ab){3}", 6), ("((a{10}){10}){10}", 1_000), ("[a-z]{2,7}", 7),
        ("\\{\\d{4}", 5), ("a{", 1),
        ("(((", 0), (")))", 3), ("[", 1), ("a{99999999999999999999}", 1 << 40), ("", 0), ("^[^\\]]+$", 4),
    ])
    func aPatternCostsWhatItRepeats(_ pattern: String, _ cost: Int) {
        #expect(SchemaCost.pattern(pattern) == cost)
    }

    private func chat(_ fields: String) -> ErrorBody? { refusal(.chat, request(.chat, fields)) }

    private func format(_ schema: String) -> String {
        #","response_format":{"type":"json_schema","json_schema":{"name":"a","schema":\#(schema)}}"#
    }

    @Test func whatCostsAServerWithoutLimitIsRefusedByName() {
        let path = "response_format.json_schema.schema"
        let values = (0..<9_000).map { "\"v\($0)\"" }.joined(separator: ",")
        #expect(chat(format("{\"enum\":[\(values)]}"))?.param == path)
        #expect(chat(format("{\"enum\":[\(values)]}"))?.code == "limit_exceeded")
        #expect(chat(format(#"{"type":"string","pattern":"(a{100}){100}"}"#))?.param == path)
        let deep = String(repeating: #"{"items":"#, count: 40) + "{}" + String(repeating: "}", count: 40)
        #expect(chat(format(deep))?.param == path)
        let text = String(repeating: "x", count: 130_000)
        #expect(chat(format("{\"description\":\"\(text)\"}"))?.param == path)
        let stops = (0..<65).map { "\"\($0)\"" }.joined(separator: ",")
        #expect(chat(",\"stop\":[\(stops)]")?.param == "stop")
        #expect(chat(",\"stop\":\"\(text)\"")?.param == "stop")
        let biases = (0..<3_000).map { "\"\($0)\":1" }.joined(separator: ",")
        #expect(chat(",\"logit_bias\":{\(biases)}")?.param == "logit_bias")
        #expect(chat(",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]") == nil)
    }

    @Test func manyToolsTogetherHaveALimitToo() {
        func tools(_ count: Int, _ values: Int) -> ErrorBody? {
            let list = (0..<values).map { "\"v\($0)\"" }.joined(separator: ",")
            let tool = #"{"type":"function","function":{"name":"f","parameters":{"enum":[\#(list)]}}}"#
            return chat(",\"tools\":[\([String](repeating: tool, count: count).joined(separator: ","))]")
        }
        #expect(tools(100, 50) == nil)
        #expect(tools(100, 100)?.param == "tools[80].function.parameters")
    }

    @Test func aSellersOwnLimitsAreNamedToo() {
        var limits = RequestLimits.usual
        limits.schemaValues = 2
        limits.images = 0
        let image =
            #"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]}"#
        for json in [request(.chat, format(#"{"enum":[1,2,3]}"#)), image] {
            #expect(throws: WorkerRequestError.self) {
                try WorkerRequest(
                    .chat, body: Array(json.utf8),
                    options: .init(dialect: .llamaCpp, model: "m", limits: limits))
            }
        }
    }

    @Test func whatIsReadBesideThePromptIsPricedAsInput() throws {
        let plain = try ClientRequest(kind: .chat, body: Array(request(.chat, "").utf8))
        let values = (0..<100).map { "\"value\($0)\"" }.joined(separator: ",")
        let json = request(.chat, format("{\"enum\":[\(values)]}"))
        let shaped = try ClientRequest(kind: .chat, body: Array(json.utf8))
        let beside = try WorkerRequest(
            .chat, body: Array(json.utf8), options: .init(dialect: .llamaCpp, model: "m")
        ).besideTokens
        #expect(beside > 200 && shaped.tokensIn - plain.tokensIn >= beside)
    }
}
