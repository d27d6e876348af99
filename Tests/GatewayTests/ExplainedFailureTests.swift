import Market
import Testing

@testable import Gateway

@Suite struct ExplainedFailureTests {
    @Test(arguments: Reason.allCases)
    func everyReasonIsAnErrorInHTTPAndIsRetriedOnlyWhereTimeHelps(_ reason: Reason) {
        let explained = ExplainedFailure(
            TaskFailure(reason, message: "no"), task: "t", model: "wren-m", catalogue: [])
        #expect((400..<600).contains(explained.status.code))
        // A lost worker had delivered nothing.
        let helps =
            ["busy", "unreachable", "leaving", "rate_limited"].contains(reason.code)
            || reason == .workerLost || reason == .stalled
        #expect((explained.retryAfter != nil) == helps)
    }

    @Test func aLabelOrASellersMessageStaysOnOneLineOfTheError() {
        let explained = ExplainedFailure(
            TaskFailure(.backendError, message: "The model server of eve\n\u{1b}[2J\u{202e} failed: x\r\ny"),
            task: "t", model: "wren-m", catalogue: [])
        #expect(
            explained.body.json["error"]?["message"]?.text
                == "The model server of eve\\n\\u{1b}[2J\\u{202e} failed: x\\r\\ny")
    }
}
