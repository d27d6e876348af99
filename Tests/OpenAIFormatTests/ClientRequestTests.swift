import OpenAIFormat
import Primitives
import Testing

private func read(_ json: String, _ kind: ClientRequest.Kind = .chat) throws -> ClientRequest {
    try ClientRequest(kind: kind, body: Array(json.utf8))
}

private func refusal(_ json: String, _ kind: ClientRequest.Kind = .chat) -> ErrorBody? {
    do throws(ErrorBody) {
        _ = try ClientRequest(kind: kind, body: Array(json.utf8))
        return nil
    } catch {
        return error
    }
}

private let hello = #""model":"m","messages":[{"role":"user","content":"Hello"}]"#

@Suite struct ClientRequests {
    @Test func tokenIDsAreThoseOfAVocabulary() {
        for prompt in ["[1099511627776]", "[-1]", "[[2147483648]]"] {
            #expect(throws: ErrorBody.self) {
                try ClientRequest(kind: .completion, body: Array(#"{"model":"m","prompt":\#(prompt)}"#.utf8))
            }
        }
    }

    @Test func theBodyKeepsEverythingButTheRoutingPreferences() throws {
        let request = try read(
            #"{"provider":{"sort":"price"},"model":"m","seed":12345678901234567890,"top_p":0.10,"messages":[{"x":{"a":[null]},"role":"user","content":"é\u0000"}]}"#
        )
        #expect(
            String(decoding: request.body, as: UTF8.self)
                == #"{"model":"m","seed":12345678901234567890,"top_p":0.10,"messages":[{"x":{"a":[null]},"role":"user","content":"é\u0000"}]}"#
        )
        #expect(request.provider.sort == .price)
    }

    @Test func furtherModelsAreReadOnceEachAndNotSentToSellers() throws {
        let messages = #""messages":[{"role":"user","content":"Hello"}]"#
        let both = try read(#"{"model":"a","models":["b","a","b","c"],\#(messages)}"#)
        #expect(both.model == "a" && both.fallbackModels == ["b", "c"])
        #expect(!String(decoding: both.body, as: UTF8.self).contains("models"))
        let alone = try read(#"{"models":["b"],\#(messages)}"#)
        #expect(alone.model == "b" && alone.fallbackModels.isEmpty)
        #expect(try read(#"{"model":"a","models":null,\#(messages)}"#).fallbackModels.isEmpty)
        for (models, param) in [(#""a""#, "models"), (#"["b",5]"#, "models[1]"), (#"[""]"#, "models[0]")] {
            #expect(refusal(#"{"model":"a","models":\#(models),\#(messages)}"#)?.param == param)
        }
        #expect(refusal(#"{"models":[],\#(messages)}"#)?.param == "model")
        let many = (0..<9).map { #""m\#($0)""# }.joined(separator: ",")
        #expect(refusal(#"{"models":[\#(many)],\#(messages)}"#)?.param == "models")
    }

    @Test func onlyPlainTextWithoutATemperatureMayBeBegunAgain() throws {
        for (fields, repeatable) in [
            ("", true), (#","temperature":0"#, true), (#","temperature":0.1"#, false), (#","n":2"#, false),
        ] {
            #expect(try read("{\(hello)\(fields)}").repeatable == repeatable)
        }
    }

    @Test func tokensAreEstimatedAtAQuarterOfTheBytesAndFourAMessage() throws {
        #expect(try read("{\(hello)}").tokensIn == 4 + 2)
        #expect(try read(#"{"model":"m","messages":[{"role":"user","content":""}]}"#).tokensIn == 4)
        let parts =
            #"[{"type":"text","text":"12345678"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]"#
        let image = try read(#"{"model":"m","messages":[{"role":"user","content":\#(parts)}]}"#)
        #expect(image.tokensIn == 4 + 2 + 256)
        #expect(image.needs == [.chat, .images])
        #expect(!image.resumable)
        #expect(try read(#"{"model":"m","prompt":""}"#, .completion).tokensIn == 1)
        #expect(try read(#"{"model":"m","input":[[1,2,3],[4]]}"#, .embedding).tokensIn == 4)
    }

    @Test func theAnswersEstimateIsTheMedianOrTheLimitForEachChoice() throws {
        #expect(try read("{\(hello)}").tokensOutEstimate == 64)
        #expect(try read(#"{\#(hello),"max_tokens":10}"#).tokensOutEstimate == 10)
        #expect(try read(#"{\#(hello),"max_tokens":1000,"n":3}"#).tokensOutEstimate == 192)
        #expect(try read(#"{\#(hello),"max_tokens":50,"max_completion_tokens":20}"#).tokensOutMax == 20)
        #expect(try read(#"{"model":"m","input":"x"}"#, .embedding).tokensOutEstimate == 0)
    }

    @Test(arguments: [
        ("", true),
        (#","n":1,"stop":"x","tools":[],"response_format":{"type":"text"},"logprobs":false"#, true),
        (#","max_tokens":null,"n":null,"stream":null,"provider":null"#, true),
        (#","n":2"#, false), (#","tools":[{"type":"function","function":{"name":"f"}}]"#, false),
        (#","logprobs":true"#, false),
        (#","response_format":{"type":"json_object"}"#, false),
    ])
    func onlyPlainTextOfOneChoiceMayBeContinued(fields: String, resumable: Bool) throws {
        #expect(try read("{\(hello)\(fields)}").resumable == resumable)
    }

    @Test func aCompletionOfTwoPromptsOrOfTokensIsNotContinued() throws {
        #expect(try read(#"{"model":"m","prompt":"a"}"#, .completion).resumable)
        #expect(try read(#"{"model":"m","prompt":["a"]}"#, .completion).resumable)
        #expect(try !read(#"{"model":"m","prompt":["a","b"]}"#, .completion).resumable)
        #expect(try !read(#"{"model":"m","prompt":[1,2]}"#, .completion).resumable)
        #expect(
            try read(#"{"model":"m","prompt":"a","logprobs":2}"#, .completion).needs == [
                .completion, .logprobs,
            ])
    }

    @Test(arguments: [
        ("max_tokens", "0"), ("max_tokens", "1.5"), ("max_tokens", "\"7\""), ("max_completion_tokens", "-3"),
        ("n", "0"),
        ("n", "129"), ("temperature", "\"hot\""), ("stop", "[1]"), ("stream_options", "true"),
        ("logprobs", "5"),
        ("tools", "{}"),
    ])
    func aFieldOfTheWrongShapeIsNamed(field: String, value: String) {
        let error = refusal(#"{\#(hello),"\#(field)":\#(value)}"#)
        #expect(error?.param == field)
        #expect(error?.type == "invalid_request_error")
    }

    @Test(arguments: ["{", "nul", "{\"a\":1,}", "\"text\"", "{} {}", #"{"model":"a","model":"b"}"#])
    func whatIsNoJSONObjectIsRefused(body: String) {
        #expect(refusal(body)?.code == "invalid_json")
    }

    /// The codes of `Protocol/http.md`, *When something fails*: programs tell errors apart by them.
    @Test(
        arguments: [
            (.chat, #""messages":[{"role":"user","content":"a"}]"#, "model", "missing_required_parameter"),
            (.chat, #""model":null,"messages":[]"#, "model", "missing_required_parameter"),
            (.chat, #""model":7"#, "model", "invalid_value"),
            (.chat, #""model":"""#, "model", "invalid_value"),
            (.chat, #""model":"m""#, "messages", "missing_required_parameter"),
            (.completion, #""model":"m","prompt":null"#, "prompt", "missing_required_parameter"),
            (.embedding, #""model":"m""#, "input", "missing_required_parameter"),
            (.completion, #""model":"m","prompt":{}"#, "prompt", "invalid_value"),
            (.completion, #""model":"m","prompt":[]"#, "prompt", "invalid_value"),
            (.embedding, #""model":"m","input":[1,"a"]"#, "input", "invalid_value"),
            // What sellers would refuse, and be held to for it.
            (.completion, #""model":"m","prompt":["a",[1]]"#, "prompt", "invalid_value"),
            (.completion, #""model":"m","prompt":[[]]"#, "prompt", "invalid_value"),
            (.embedding, #""model":"m","input":"""#, "input", "invalid_value"),
            (.embedding, #""model":"m","input":["a",""]"#, "input", "invalid_value"),
            (
                .embedding, #""model":"m","input":\#([String](repeating: "a", count: 4_097))"#, "input",
                "limit_exceeded"
            ),
            (.chat, hello + #","tool_choice":"required""#, "tool_choice", "unsupported_value"),
            (
                .chat,
                hello
                    + #","tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}"#,
                "tool_choice", "unsupported_value"
            ),
            (.embedding, #""model":"m","input":"a","dimensions":0"#, "dimensions", "invalid_value"),
            (.embedding, #""model":"m","input":"a","stream":true"#, "stream", "unknown_parameter"),
            (.chat, #""model":"m","messages":{}"#, "messages", "invalid_value"),
            (.chat, #""model":"m","messages":[5]"#, "messages[0]", "invalid_value"),
            (.chat, #""model":"m","messages":[{"role":5}]"#, "messages[0].role", "invalid_value"),
            (.chat, #""model":"m","messages":[{"role":"a"}]"#, "messages[0].role", "unsupported_value"),
            (.chat, #""model":"m","models":[5]"#, "models[0]", "invalid_value"),
            (.chat, hello + #","max_tokens":0"#, "max_tokens", "invalid_value"),
            (.chat, hello + #","max_completion_tokens":"7""#, "max_completion_tokens", "invalid_value"),
            (.chat, hello + #","temperature":3"#, "temperature", "invalid_value"),
            (.chat, hello + #","n":129"#, "n", "invalid_value"),
            (.chat, hello + #","stop":5"#, "stop", "invalid_value"),
            (.chat, hello + #","stop":\#([String](repeating: "a", count: 65))"#, "stop", "limit_exceeded"),
            (.chat, hello + #","logit_bias":{"a":1}"#, "logit_bias", "invalid_value"),
            (.chat, hello + #","top_logprobs":2"#, "top_logprobs", "invalid_value"),
            (.chat, hello + #","modalities":["audio"]"#, "modalities", "unsupported_value"),
            (.chat, hello + #","verbosity":"low""#, "verbosity", "unsupported_value"),
            (.chat, hello + #","service_tier":"flex""#, "service_tier", "unsupported_value"),
            (.chat, hello + #","verbosity":5"#, "verbosity", "invalid_value"),
            (.chat, hello + #","tool_choice":5"#, "tool_choice", "invalid_value"),
            (.chat, hello + #","tool_choice":{"type":"custom"}"#, "tool_choice", "unsupported_value"),
            (.chat, hello + #","tools":[{"type":"custom"}]"#, "tools[0].type", "unsupported_value"),
            (.chat, hello + #","tools":[5]"#, "tools[0].type", "unsupported_value"),
            (.chat, hello + #","response_format":5"#, "response_format.type", "invalid_value"),
            (.chat, hello + #","response_format":{"type":"x"}"#, "response_format.type", "unsupported_value"),
            (.chat, hello + #","stream_options":{"x":1}"#, "stream_options.x", "unknown_parameter"),
            (.chat, hello + #","stream_options":5"#, "stream_options", "invalid_value"),
            (.chat, hello + #","store":true"#, "store", "unsupported_parameter"),
            (.chat, hello + #","temprature":1"#, "temprature", "unknown_parameter"),
            (.chat, hello + #","provider":5"#, "provider", "invalid_value"),
            (.chat, hello + #","provider":{"zdr":true}"#, "provider.zdr", "unsupported_value"),
            (.chat, hello + #","provider":{"x":1}"#, "provider.x", "unknown_parameter"),
            (.chat, hello + #","provider":{"only":[]}"#, "provider.only", "invalid_value"),
            (
                .chat, hello + #","provider":{"max_price":{"x":1}}"#, "provider.max_price.x",
                "unknown_parameter"
            ),
        ] as [(ClientRequest.Kind, String, String, String)])
    func everyWrongValueIsRefusedWithItsPathAndACode(
        _ kind: ClientRequest.Kind, _ members: String, _ param: String, _ code: String
    ) {
        let error = refusal("{\(members)}", kind)
        #expect(error?.param == param && error?.code == code, "\(error?.message ?? "accepted")")
        #expect(error?.message.contains("`\(param)") == true)
    }
}

@Suite struct Preferences {
    private func refusal(_ provider: String) -> ErrorBody? {
        do throws(ErrorBody) {
            _ = try ClientRequest(kind: .chat, body: Array(#"{\#(hello),"provider":\#(provider)}"#.utf8))
            return nil
        } catch {
            return error
        }
    }

    @Test func ratesAndCostsAreCreditsAndMayBeText() throws {
        let read = try read(
            #"{\#(hello),"provider":{"max_price":{"prompt":"0.15","completion":1.6},"max_cost":0.000046,"min_trust":0.5}}"#
        ).provider
        #expect(read.maxPromptPrice == 150_000)
        #expect(read.maxCompletionPrice == 1_600_000)
        #expect(read.maxCost == Primitives.Money(microCredits: 46))
        #expect(read.minMillitrust == 500)
    }

    @Test func anUnknownKeyNamesTheNearest() {
        #expect(refusal(#"{"max_prise":{}}"#)?.message.contains("Did you mean `max_price`?") == true)
        #expect(
            refusal(#"{"max_price":{"output":1}}"#)?.message.contains("Did you mean `completion`?") == true)
        #expect(refusal(#"{"max_price":{"output":1}}"#)?.param == "provider.max_price.output")
        #expect(refusal(#"{"zzzzzzzzzzzz":1}"#)?.message.contains("Known are order, only") == true)
    }

    @Test func whatNobodyCanKeepIsRefused() {
        #expect(refusal(#"{"data_collection":"deny"}"#)?.param == "provider.data_collection")
        #expect(refusal(#"{"zdr":true}"#)?.param == "provider.zdr")
        #expect(refusal(#"{"data_collection":"allow","zdr":false}"#) == nil)
    }

    @Test(arguments: [
        #"{"order":"ada"}"#, #"{"only":[1]}"#, #"{"allow_fallbacks":1}"#, #"{"sort":"luck"}"#,
        #"{"max_price":2}"#,
        #"{"max_price":{"prompt":-1}}"#, #"{"max_cost":1e10}"#, #"{"deadline_ms":0}"#,
        #"{"deadline_ms":3600001}"#, #"{"only":[]}"#, #"{"min_trust":2}"#,
        #"[]"#,
        #"{"preferred_min_throughput":-1}"#,
    ])
    func valuesOfTheWrongShapeAreRefused(provider: String) {
        #expect(refusal(provider)?.param?.hasPrefix("provider") == true)
    }
}
