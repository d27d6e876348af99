import Testing

@testable import OpenAIFormat

private func build(
    _ json: String, _ kind: InferenceKind = .chat, dialect: BackendDialect = .llamaCpp,
    delivered: String = "",
    maxTokens: UInt32? = nil, extra: [String] = []
) throws -> (tree: JSONTree, dropped: [String]) {
    let options = WorkerRequest.Options(dialect: dialect, model: "theirs", tokensMax: 512, extraFields: extra)
    let request = try WorkerRequest(
        kind, body: Array(json.utf8), delivered: Array(delivered.utf8), maxTokens: maxTokens, options: options
    )
    return (try JSONTree(parsing: request.body), request.droppedFields)
}

private let hello = #""messages":[{"role":"user","content":"Hi"}]"#

@Suite struct WorkerRequestTests {
    @Test func aCompletionHasOnePrompt() throws {
        for one in [#""a""#, #"["a"]"#, "[1,2,3]", "[[1,2]]"] {
            #expect(throws: Never.self) { try build("{\"prompt\":\(one)}", .completion) }
        }
        for several in [#"["a","b"]"#, "[[1],[2]]"] {
            #expect(
                throws: WorkerRequestError.malformed("`prompt` holds 2 prompts; send a request for each.")
            ) {
                try build("{\"prompt\":\(several)}", .completion)
            }
        }
    }

    @Test(arguments: BackendDialect.allCases)
    func nothingThatReachesBeyondTheAnswerIsPassedOn(_ dialect: BackendDialect) throws {
        let (tree, dropped) = try build(
            #"""
            {"model":"wren-m","messages":[{"role":"user","id":"m","content":[{"type":"text","text":"Look"},
              {"type":"image_url","image_url":{"url":"http://10.0.0.1/x.png"}},
              {"type":"image_url","image_url":{"url":"file:///etc/passwd"}},
              {"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low","x":1}},
              {"type":"file","file":{"file_id":"f"}}]}],
             "chat_template":"{{ 1 }}","chat_template_kwargs":{},"keep_alive":-1,"grammar":"root ::= \"a\"","id_slot":1,
             "options":{"num_ctx":1},"ignore_eos":true,"lora":[],"temperature":0.10,"seed":12345678901234567890,"user":"me"}
            """#, dialect: dialect)
        let text = String(decoding: tree.bytes, as: UTF8.self)
        for word in [
            "template", "keep_alive", "grammar", "slot", "num_ctx", "eos", "lora", "10.0.0.1", "passwd",
            "file", "user\":",
        ] {
            #expect(!text.contains(word), "\(word)")
        }
        #expect(
            text.contains(
                #"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}"#))
        #expect(text.contains("\"temperature\":0.10") && text.contains("12345678901234567890"))
        #expect(tree["model"]?.text == "theirs")
        #expect(
            dropped == [
                "messages[].id", "messages[].content[].image_url", "messages[].content[].file",
                "chat_template",
                "chat_template_kwargs", "keep_alive", "grammar", "id_slot", "options", "ignore_eos", "lora",
            ])
    }

    @Test func theAnswerIsAlwaysStreamedCountedAndLimited() throws {
        let (tree, dropped) = try build(
            "{\(hello),\"stream\":false,\"max_tokens\":null,\"stream_options\":{\"a\":1}}")
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

    @Test func vLLMGetsALimitOnlyWhereItFitsBesideThePrompt() throws {
        #expect(try build("{\(hello)}", dialect: .vllm).tree["max_tokens"] == nil)
        #expect(try build("{\(hello),\"max_tokens\":100000}", dialect: .vllm).tree["max_tokens"] == nil)
        #expect(try build("{\(hello),\"max_tokens\":30}", dialect: .vllm).tree["max_tokens"]?.whole == 30)
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
        #expect(
            try build("{\(hello),\"tools\":[\(tool.replacing("%", with: "http://x"))]}").dropped == ["tools"])
    }

    @Test func anOperatorsExtraFieldsPass() throws {
        #expect(try build("{\(hello),\"mirostat\":1}", extra: ["mirostat"]).tree["mirostat"]?.whole == 1)
        #expect(try build("{\(hello),\"top_k\":1}").tree["top_k"]?.whole == 1)
        #expect(try build("{\(hello),\"top_k\":1}", dialect: .openAI).dropped == ["top_k"])
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
        "{\(hello),\"tools\":[]}",
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
            #"{"input":["a","b"],"encoding_format":"base64","dimensions":8,"truncate":true}"#, .embedding)
        #expect(
            String(decoding: tree.bytes, as: UTF8.self)
                == #"{"model":"theirs","input":["a","b"],"dimensions":8,"encoding_format":"float"}"#)
        #expect(dropped == ["truncate"])
    }
}
