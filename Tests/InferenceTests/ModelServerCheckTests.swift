import OpenAIFormat
import Primitives
import Testing

@testable import Inference

/// Servers as they described themselves when they were tried, with one answer to every question.
@Suite struct ModelServerCheckTests {
    private static func stream(_ text: String, _ reason: String = "stop") -> String {
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\(text)\"},\"finish_reason\":\"\(reason)\"}]}\n\n"
            + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n"
    }

    private static let chat = InferenceKind.chat.path

    private func outcome(_ check: ModelServerCheck, _ name: String) -> TestOutcome? {
        check.results.first { $0.name == name }?.outcome
    }

    @Test func ollamaIsTriedAndDescribedByItself() throws {
        let url = Servers.serve([
            "/api/version": #"{"version":"0.14.2"}"#,
            "/api/tags":
                #"{"models":[{"name":"qwen3:8b","details":{"quantization_level":"Q4_K_M"}},{"name":"a:1b"}]}"#,
            "/api/ps": #"{"models":[]}"#,
            "/api/show":
                #"{"parameters":"num_ctx 8192","model_info":{"qwen3.context_length":40960},"capabilities":["completion","tools"]}"#,
            Self.chat: Self.stream("I can add."),
        ])
        let check = try #require(ModelServerCheck.run(url, timeout: .seconds(5)))
        #expect(check.server.dialect == .ollama && check.server.models.count == 2)
        #expect(check.model?.name == "qwen3:8b" && check.model?.context == 8_192)
        #expect(outcome(check, "streaming") == .yes && outcome(check, "usage") == .yes)
        #expect(outcome(check, "n") == .no("gives 1 of 2 answers"))
        #expect(outcome(check, "logprobs") == .no("ignored"))
        #expect(outcome(check, "last assistant message") == .differs("answered anew"))
        #expect(check.abilities == [.chat, .completion, .jsonSchema, .tools])
        guard case .accepted = outcome(check, "images") else {
            Issue.record("an answer that tells nothing of a picture proves nothing")
            return
        }
    }

    @Test func lmStudioSaysMoreAboutItsModelsElsewhere() throws {
        let url = Servers.serve([
            "/v1/models":
                #"{"object":"list","data":[{"id":"qwen2-vl-7b","object":"model","owned_by":"organization_owner"},{"id":"nomic","owned_by":"organization_owner"}]}"#,
            "/api/v0/models":
                #"{"object":"list","data":[{"id":"qwen2-vl-7b","type":"vlm","quantization":"4bit","state":"not-loaded","max_context_length":32768,"capabilities":["tool_use"]},{"id":"nomic","type":"embeddings","state":"loaded","max_context_length":2048,"loaded_context_length":512}]}"#,
            Self.chat: Self.stream("I can add.", "length"),
        ])
        let found = try #require(detectModelServers(at: [url], timeout: .seconds(5)).first)
        #expect(found.dialect == .openAI)
        #expect(found.models.map(\.context) == [32_768, 512])
        #expect(found.models.map(\.isContextAssumed) == [true, false])
        #expect(found.models.map(\.reports) == [[.tools, .images], .embedding])
        #expect(found.models.first?.quantization == "4bit")
        let check = try #require(ModelServerCheck.run(url, model: "qwen2-vl-7b", timeout: .seconds(5)))
        #expect(outcome(check, "completions") == .no("status 404"))
        #expect(check.abilities == [.chat, .tools, .images])
    }

    @Test func aModelThatTheServerDoesNotHaveIsNotTried() throws {
        let url = Servers.serve([
            "/v1/models": #"{"data":[{"id":"meta-llama/X","owned_by":"vllm","max_model_len":32768}]}"#
        ])
        let check = try #require(ModelServerCheck.run(url, model: "other", timeout: .seconds(5)))
        #expect(check.server.dialect == .vllm && check.model == nil && check.results.isEmpty)
        #expect(ModelServerCheck.run("http://127.0.0.1:1", timeout: .seconds(5)) == nil)
    }

    /// Each names one model once, in whatever form the server lists it.
    @Test(arguments: [
        #"{"object":"list","data":[{"id":"a"},{"id":"a","owned_by":"x"}]}"#, #"[{"id":"a","type":"chat"}]"#,
        #"{"models":[{"name":"a","model":"a"}]}"#, #"{"data":["a",{"id":""},{"object":"model"},5,null]}"#,
        #"{"models":[{"name":"x"}],"data":[{"id":"a"}]}"#,
    ])
    func anOddListOfModelsIsRead(_ list: String) throws {
        let check = try #require(
            ModelServerCheck.run(Servers.serve(["/v1/models": list]), model: "a", timeout: .seconds(5)))
        #expect(check.server.models.map(\.name) == ["a"] && check.server.problem == nil)
    }

    @Test(
        arguments: [
            (nil, "has no /v1/models"), ("<html>hello</html>", "is no JSON"), ("", "is no JSON"),
            (#"{"object":"list"}"#, "has no `data`"), (#"{"data":null}"#, "has no `data`"),
            ("5", "has no `data`"),
        ] as [(String?, String)])
    func whatListsNoModelsIsExplainedWhenItIsChecked(_ list: String?, _ words: String) throws {
        let url = Servers.serve(list.map { ["/v1/models": $0] } ?? [:])
        let check = try #require(ModelServerCheck.run(url, timeout: .seconds(5)))
        #expect(check.server.problem?.message.contains(words) == true && check.results.isEmpty)
        #expect(
            detectModelServers(at: [url], timeout: .seconds(5)).isEmpty, "looked for, it is no model server")
    }

    @Test func aServerWithoutAModelHasNoProblem() throws {
        for list in [#"{"data":[]}"#, "[]"] {
            let check = try #require(
                ModelServerCheck.run(Servers.serve(["/v1/models": list]), timeout: .seconds(5)))
            #expect(check.server.models.isEmpty && check.model == nil && check.server.problem == nil)
        }
    }

    @Test func slotsThatPropsDoesNotStateAreCounted() throws {
        let url = Servers.serve([
            "/v1/models": #"{"data":[{"id":"m","owned_by":"llamacpp"}]}"#, "/props": "{}",
            "/slots": #"[{"id":0},{"id":1},{"id":2}]"#,
        ])
        #expect(detectModelServers(at: [url], timeout: .seconds(5)).first?.models.map(\.slots) == [3])
    }

    @Test func errorsAreToldApart() {
        func answer(_ status: Int, _ body: String) -> ServerTests.Answer {
            ServerTests.Answer(.answer(status: status, body: Array(body.utf8)))
        }
        #expect(answer(200, "").problem == "no answer")
        #expect(answer(200, #"{"error":{"message":"out of memory"}}"#).problem == "no answer: out of memory")
        #expect(
            answer(400, #"{"error":{"message":"too long","type":"exceed_context_size_error"}}"#).meaning
                == .contextExceeded)
        #expect(answer(200, Self.stream("a")).text == "a" && answer(200, Self.stream("a")).isStream)
        let whole = answer(
            200, #"{"choices":[{"index":0,"message":{"content":"b"},"finish_reason":"stop"}]}"#)
        #expect(whole.text == "b" && !whole.isStream && whole.problem == nil)
        #expect(answer(200, #"{"data":[{"embedding":[1,2,3]}]}"#).vectors == [3])
    }
}
