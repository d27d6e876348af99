import OpenAIFormat
import Testing
import Wire

@testable import Market

/// The mappings of `Reason` on each surface. The values belong to the protocol and the documents, and never
/// change.
@Suite struct ReasonTests {
    /// A seller's reasons by the number in `messages.proto`.
    static let declines: [Reason] = [
        .unspecified, .busy, .paused, .backendDown, .overMaxPrice, .tooSlow, .lacksParameter, .notServed,
        .contextTooSmall, .leaving, .notAllowed, .holdLimit, .tooLate,
    ]
    /// Those that a buyer is told under the number of another.
    static let coarser: [Reason] = [.overRate, .belowReserve]

    @Test func declinesRoundTripUnderTheirNumbers() throws {
        for (number, reason) in Self.declines.enumerated() {
            let wire = try #require(DeclineReason(rawValue: UInt32(number)))
            #expect(Reason(wire) == reason)
            #expect(reason.decline == wire)
        }
        #expect(DeclineReason(rawValue: UInt32(Self.declines.count)) == nil)
        for reason in Self.coarser { #expect(reason.decline == Reason(reason.decline).decline) }
        for reason in Reason.allCases where !(Self.declines + Self.coarser).contains(reason) {
            #expect(reason.decline == .unspecified, "\(reason) is no reason to decline")
        }
    }

    @Test func refusalsOfAnAwardRoundTrip() {
        #expect(Reason(AwardStatus.accepted) == nil)
        #expect(Reason(AwardStatus.unspecified) == .busy)
        for status in [AwardStatus.busy, .unknown] { #expect(Reason(status)?.awardStatus == status) }
        #expect(Reason.allCases.allSatisfy { $0.awardStatus != .accepted && $0.awardStatus != .unspecified })
    }

    @Test(
        arguments: [
            ("busy", .busy), ("leaving", .leaving), ("invalid_request", .invalidRequest),
            ("context_length_exceeded", .contextTooSmall), ("deadline_exceeded", .deadlineExceeded),
            ("backend_error", .backendError),
        ] as [(String, Reason)])
    func codesOfAFailRoundTrip(_ code: String, _ reason: Reason) {
        #expect(Fail(reason, "no", anotherMaySucceed: true).code == code)
        #expect(Reason(Fail(code: code, message: "no", anotherMaySucceed: true)) == reason)
    }

    @Test(arguments: ["", "backend_hung", "cancelled", "worker_lost", "no_bid"])
    func aFailWithAnotherCodeIsItsBackendsTrouble(_ code: String) {
        #expect(Reason(Fail(code: code, message: "no", anotherMaySucceed: false)) == .backendError)
    }

    @Test func theFiltersHaveTheirKeysInTheOrderInWhichTheyApply() {
        #expect(
            Reason.filters.map(\.key) == [
                "other_model", "excluded", "lacks_parameter", "context_too_small", "over_max_price",
                "too_slow", "untrusted", "busy", "unreachable", "not_asked", "not_sampled", "asked",
            ])
        for (position, filter) in Reason.filters.enumerated() {
            #expect(filter.filter == filter && filter.position == position)
        }
    }

    @Test func everyReasonCountsUnderAFilterAndHasItsKey() {
        for reason in Reason.allCases {
            #expect(Reason.filters.contains(reason.filter), "\(reason)")
            #expect(reason.key == reason.filter.key, "\(reason)")
        }
    }

    @Test func everyReasonHasACodeThatClientsKnow() {
        #expect(
            Set(Reason.allCases.map(\.code)) == [
                "model_not_found", "no_bid", "over_max_price", "too_slow", "untrusted", "lacks_parameter",
                "excluded", "busy", "unreachable", "context_length_exceeded", "deadline_exceeded",
                "worker_lost", "invalid_request", "backend_error", "cancelled", "rate_limited", "leaving",
                "content_filter", "insufficient_quota",
            ])
    }

    @Test func aDeclineIsNamedInDocumentsAsItWas() {
        #expect(
            Self.declines.map(\.rawValue) == [
                "unspecified", "busy", "paused", "backendDown", "overMaxPrice", "tooSlow", "lacksParameter",
                "notServed", "contextTooSmall", "leaving", "notAllowed", "holdLimit", "tooLate",
            ])
    }

    @Test func everyReasonEndsAnAssignment() {
        for reason in Reason.allCases {
            #expect(reason.ending != .running && reason.ending != .finished, "\(reason)")
        }
        #expect(
            [Reason.workerLost, .stalled, .backendError, .busy, .cancelled, .leaving].map(\.ending.rawValue)
                == ["lost", "stalled", "failed", "refused", "cancelled", "left"])
    }
}
