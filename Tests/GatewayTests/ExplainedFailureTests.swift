import Market
import OpenAIFormat
import Testing

@testable import Gateway

@Suite struct ExplainedFailureTests {
    @Test(arguments: Reason.allCases)
    func everyReasonIsAnErrorInHTTPAndIsRetriedOnlyWhereTimeHelps(_ reason: Reason) {
        let explained = ExplainedFailure(
            TaskFailure(reason, message: "no"), task: "t", kind: .chat, model: "wren-m", catalogue: [])
        #expect((400..<600).contains(explained.status.code))
        // A lost worker had delivered nothing.
        let helps =
            ["busy", "unreachable", "leaving", "rate_limited"].contains(reason.code)
            || reason == .workerLost || reason == .stalled
        #expect((explained.retryAfter != nil) == helps)
    }

    @Test(
        arguments: [
            (.contextTooSmall, "no", .chat, "messages"), (.contextTooSmall, "no", .completion, "prompt"),
            (.contentFilter, "no", .embedding, "input"),
            (.invalidRequest, "`stop` holds 20 texts; at most 16 are allowed.", .chat, "stop"),
            (.invalidRequest, "The model server refused the request: `x`", .chat, nil),
            (.invalidRequest, "`", .chat, nil), (.invalidRequest, "``", .chat, nil),
        ] as [(Reason, String, InferenceKind, String?)])
    func aRefusalByASellerNamesTheFieldThatItNames(
        _ reason: Reason, _ message: String, _ kind: InferenceKind, _ param: String?
    ) {
        let explained = ExplainedFailure(
            TaskFailure(reason, message: message), task: "t", kind: kind, model: "wren-m", catalogue: [])
        #expect(explained.status == .badRequest && explained.body.param == param)
    }

    @Test func aLabelOrASellersMessageStaysOnOneLineOfTheError() {
        let explained = ExplainedFailure(
            TaskFailure(.backendError, message: "The model server of eve\n\u{1b}[2J\u{202e} failed: x\r\ny"),
            task: "t", kind: .chat, model: "wren-m", catalogue: [])
        #expect(
            explained.body.json["error"]?["message"]?.text
                == "The model server of eve\\n\\u{1b}[2J\\u{202e} failed: x\\r\\ny")
    }
}
