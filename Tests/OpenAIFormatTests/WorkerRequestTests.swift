import Testing

@testable import OpenAIFormat

private func build(
    _ json: String, _ kind: InferenceKind = .chat, dialect: BackendDialect = .llamaCpp,
    delivered: String = "",
    maxTokens: UInt32? = nil, extra: [String] = [], abilities: Abilities? = nil, slots: Int = 8
) throws -> (tree: JSONTree, dropped: [String]) {
    let options = WorkerRequest.Options(
        dialect: dialect, model: "theirs", tokensMax: 512, extraFields: extra, abilities: abilities,
        choicesMax: slots)
    let request = try WorkerRequest(
        kind, body: Array(json.utf8), delivered: Array(delivered.utf8), maxTokens: maxTokens, options: options
    )
    return (try JSONTree(parsing: request.body), request.droppedFields)
}

private let hello = #""messages":[{"role":"user","content":"Hi"}]"#

@Suite struct WorkerRequestTests {
    /// What fails, so that nothing reaches the server; the client is told which field it was.
    private func refusal(
        _ json: String, _ kind: InferenceKind = .chat, dialect: BackendDialect = .llamaCpp,
        abilities: Abilities? = nil, slots: Int = 8
    ) -> String? {
        do {
            _ = try build(json, kind, dialect: dialect, abilities: abilities, slots: slots)
            return nil
        } catch WorkerRequestError.malformed(let words) { return words } catch { return "\(error)" }
    }

    @Test func severalPromptsAreAnsweredAsChoices() throws {
        for one in [#""a""#, #"["a"]"#, "[1,2,3]", "[[1,2]]", #"["a","b"]"#, "[[1],[2]]"] {
            #expect(refusal("{\"prompt\":\(one)}", .completion) == nil)
        }
        let options = WorkerRequest.Options(dialect: .llamaCpp, model: "m")
        let body = Array(#"{"prompt":["a","b"],"n":3}"#.utf8)
        let request = try WorkerRequest(.completion, body: body, options: options)
        #expect(request.choices == 6 && request.choicesPerPrompt == 3)
    }

    @Test(arguments: BackendDialect.allCases)
    func nothingThatReachesBeyondTheAnswerIsPassedOn(_ dialect: BackendDialect) throws {
        for field in [
            #""chat_template":"{{ 1 }}""#, #""chat_template_kwargs":{}"#, #""keep_alive":-1"#,
            #""grammar":"root ::= \"a\"""#, #""id_slot":1"#, #""options":{"num_ctx":1}"#,
            #""ignore_eos":true"#,
            #""lora":[]"#, #""return_progress":true"#, #""continue_final_message":true"#, #""echo":true"#,
        ] {
            let name = String(field.split(separator: "\"")[0])
            #expect(refusal("{\(hello),\(field)}", dialect: dialect)?.contains("`\(name)`") == true)
        }
        for url in ["http://10.0.0.1/x.png", "file:///etc/passwd"] {
            let json =
                #"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"\#(url)"}}]}]}"#
            #expect(refusal(json, dialect: dialect)?.contains("messages[0].content[0].image_url") == true)
        }
        let (tree, dropped) = try build(
            #"""
            {"model":"wren-m","messages":[{"role":"user","id":"m","content":[{"type":"text","text":"Look"},
              {"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low","x":1}}]}],
             "temperature":0.10,"seed":12345678901234567890,"user":"me"}
            """#, dialect: dialect)
        let text = String(decoding: tree.bytes, as: UTF8.self)
        #expect(!text.contains("user\":"))
        #expect(
            text.contains(
                #"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}"#))
        #expect(text.contains("\"temperature\":0.10") && text.contains("12345678901234567890"))
        #expect(tree["model"]?.text == "theirs")
        #expect(dropped == ["messages[].id"])
    }

    @Test func whatTheSellerDoesNotOfferIsRefusedByName() {
        let few: Abilities = [.chat, .completion]
        for (fields, name) in [
            (#""n":2"#, "choices"), (#""logprobs":true"#, "logprobs"), (#""top_k":3"#, "sampling"),
            (#""logit_bias":{"1":1}"#, "logit_bias"),
            (#""response_format":{"type":"json_object"}"#, "json_schema"),
        ] {
            #expect(refusal("{\(hello),\(fields)}", abilities: few)?.contains(name) == true, "\(name)")
            #expect(refusal("{\(hello),\(fields)}") == nil)
        }
        #expect(refusal(#"{"prompt":["a","b"]}"#, .completion, abilities: few)?.contains("prompts") == true)
        #expect(refusal("{\(hello),\"n\":3}", slots: 2) == "`n` is 3; this seller has 2 slots.")
    }

    @Test func aFieldHasTheServersNameForIt() throws {
        let json = "{\(hello),\"repetition_penalty\":1.1}"
        #expect(try build(json, dialect: .llamaCpp).tree["repeat_penalty"]?.real == 1.1)
        #expect(try build(json, dialect: .vllm).tree["repetition_penalty"]?.real == 1.1)
        let other = "{\(hello),\"repeat_penalty\":1.1}"
        #expect(try build(other, dialect: .vllm).tree["repetition_penalty"]?.real == 1.1)
    }

    @Test func whatOneServerRefusesIsSaidSoThatItUnderstands() throws {
        let object = "{\(hello),\"response_format\":{\"type\":\"json_object\"}}"
        let schema = try build(object, dialect: .openAI).tree["response_format"]
        #expect(schema?["type"]?.text == "json_schema")
        #expect(schema?["json_schema"]?["schema"]?["type"]?.text == "object")
        #expect(try build(object).tree["response_format"]?["type"]?.text == "json_object")
        let greedy = "{\(hello),\"top_p\":0}"
        #expect(try build(greedy, dialect: .vllm).tree["top_p"]?.real == 1e-6)
        #expect(try build(greedy, dialect: .llamaCpp).tree["top_p"]?.real == 0)
        // Its running counts are of each answer by itself.
        let two = try build("{\(hello),\"n\":2}", dialect: .vllm).tree["stream_options"]
        #expect(two?["continuous_usage_stats"] == nil && two?["include_usage"] == .bool(true))
        let same = try build("{\(hello),\"n\":2,\"temperature\":0,\"top_k\":9}", dialect: .vllm).tree
        #expect(same["temperature"]?.real == 0.01 && same["top_k"]?.whole == 1)
        #expect(try build("{\(hello),\"temperature\":0}", dialect: .vllm).tree["temperature"]?.real == 0)
    }

    @Test func aClientsOwnLastMessageIsContinuedEverywhere() throws {
        let json = #"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"I "}]}"#
        for dialect in BackendDialect.allCases {
            let tree = try build(json, dialect: dialect).tree
            #expect((tree["continue_final_message"] == .bool(true)) == (dialect == .vllm))
            #expect((tree["add_generation_prompt"] == .bool(false)) == (dialect == .vllm))
        }
        #expect(refusal(json, abilities: [.chat])?.contains("assistant_last") == true)
    }

    @Test func theAnswerIsAlwaysStreamedCountedAndLimited() throws {
        let (tree, dropped) = try build(
            "{\(hello),\"stream\":false,\"max_tokens\":null,\"stream_options\":{\"include_usage\":false}}")
        #expect(tree["stream"] == .bool(true))
        #expect(tree["stream_options"]?["include_usage"] == .bool(true))
        #expect(tree["max_tokens"]?.whole == 512)
        #expect(dropped.isEmpty)
        #expect(
            try build("{\(hello),\"max_completion_tokens\":9,\"max_tokens\":7}").tree["max_tokens"]?.whole
                == 7)
        #expect(try build("{\(hello),\"max_tokens\":9}", maxTokens: 4).tree["max_tokens"]?.whole == 4)
        #expect(try build("{\(hello),\"max_tokens\":0}").tree["max_tokens"]?.whole == 1)
        #expect(try build("{\(hello),\"max_tokens\":1e99}").tree["max_tokens"]?.whole == 512)
        #expect(try build("{\(hello),\"max_tokens\":-5}").tree["max_tokens"]?.whole == 1)
        #expect(
            try build("{\(hello),\"max_completion_tokens\":9}", dialect: .openAI).tree[
                "max_completion_tokens"]?.whole == 9)
        #expect(
            try build("{\(hello)}", dialect: .vllm).tree["stream_options"]?["continuous_usage_stats"]
                == .bool(true))
    }

    @Test(arguments: [BackendDialect.vllm, .openAI])
    func aServerThatChecksLimitsGetsOneOnlyWhereSomebodyWantsLess(_ dialect: BackendDialect) throws {
        #expect(try build("{\(hello)}", dialect: dialect).tree["max_tokens"] == nil)
        #expect(try build("{\(hello),\"max_tokens\":100000}", dialect: dialect).tree["max_tokens"] == nil)
        #expect(try build("{\(hello),\"max_tokens\":30}", dialect: dialect).tree["max_tokens"]?.whole == 30)
    }

    @Test func aCompletionWithoutALimitIsNotCutByAServersDefault() throws {
        let tree = try build(#"{"prompt":"a"}"#, .completion, dialect: .vllm).tree
        #expect(tree["max_tokens"] == .null)
    }

    @Test(
        arguments: [
            "", "[]", "{}", "{\"messages\":[]}", "{\"messages\":3}", "{\"messages\":[3]}",
            "{\(hello),\"n\":9}",
            "{\"messages\":[{\"role\":\"root\",\"content\":\"x\"}]}",
            "{\"messages\":[{\"role\":\"user\",\"content\":3}]}",
            "{\(hello),\"max_tokens\":\"many\"}", "{\(hello),\(hello)}",
        ])
    func aRequestThatMeansNothingIsTheClientsFault(_ json: String) {
        #expect(throws: WorkerRequestError.self) { try build(json) }
    }

    @Test func toolsAndSchemasPassOnlyWithLocalReferences() throws {
        let tool = #"{"type":"function","function":{"name":"f","parameters":{"$ref":"%"},"url":"u"}}"#
        let local = try build("{\(hello),\"tools\":[\(tool.replacing("%", with: "#/a"))]}")
        #expect(local.tree["tools"]?.elements?.count == 1)
        #expect(local.dropped == ["tools[].function.url"])
        let words = refusal("{\(hello),\"tools\":[\(tool.replacing("%", with: "http://x"))]}")
        #expect(
            words?.contains("tools[0].function.parameters") == true && words?.contains("http://x") == true)
    }

    @Test func anOperatorsExtraFieldsPass() throws {
        #expect(try build("{\(hello),\"mirostat\":1}", extra: ["mirostat"]).tree["mirostat"]?.whole == 1)
        #expect(try build("{\(hello),\"top_k\":1}").tree["top_k"]?.whole == 1)
        #expect(refusal("{\(hello),\"mirostat\":1}")?.contains("`mirostat`") == true)
    }

    @Test func deliveredTextBecomesWhatEachServerContinues() throws {
        for dialect in [BackendDialect.llamaCpp, .vllm, .ollama] {
            let tree = try build("{\(hello)}", dialect: dialect, delivered: "I \"can").tree
            #expect(tree["messages"]?.elements?.last?["role"]?.text == "assistant")
            #expect(tree["messages"]?.elements?.last?["content"]?.text == "I \"can")
            #expect((tree["continue_final_message"] == .bool(true)) == (dialect == .vllm))
            #expect((tree["add_generation_prompt"] == .bool(false)) == (dialect == .vllm))
        }
        let prefilled = #"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"A"}]}"#
        let messages = try build(prefilled, delivered: "B").tree["messages"]?.elements
        #expect(messages?.count == 2 && messages?.last?["content"]?.text == "AB")
        #expect(try build(#"{"prompt":"ab"}"#, .completion, delivered: "c").tree["prompt"]?.text == "abc")
        #expect(try build(#"{"prompt":["ab"]}"#, .completion, delivered: "c").tree["prompt"]?.text == "abc")
    }

    @Test(arguments: [
        "{\(hello),\"n\":2}", "{\(hello),\"logprobs\":true}",
        "{\(hello),\"response_format\":{\"type\":\"json_object\"}}",
        "{\(hello),\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}",
    ])
    func whatCantBeContinuedExactlySaysSo(_ json: String) {
        do {
            _ = try build(json, delivered: "x")
            Issue.record("continued \(json)")
        } catch WorkerRequestError.cannotContinue {
        } catch { Issue.record("\(error)") }
        #expect(throws: WorkerRequestError.self) { try build("{\(hello)}", dialect: .openAI, delivered: "x") }
        #expect(throws: WorkerRequestError.self) {
            try build(#"{"prompt":[1,2]}"#, .completion, delivered: "x")
        }
    }

    @Test func embeddingsAreAskedForAsFloats() throws {
        let (tree, dropped) = try build(
            #"{"input":["a","b"],"encoding_format":"base64","dimensions":8}"#, .embedding)
        #expect(
            String(decoding: tree.bytes, as: UTF8.self)
                == #"{"model":"theirs","input":["a","b"],"dimensions":8,"encoding_format":"float"}"#)
        #expect(dropped.isEmpty)
        #expect(refusal(#"{"input":"a","truncate":true}"#, .embedding)?.contains("`truncate`") == true)
    }
}
