// Reasons as they appear in documents, to clients and to people. A raw value is what a task document has, in snake case,
// under `declined`.

extension Reason {
    /// The code of a failure, in HTTP errors, in task documents and in a worker's `Fail`.
    public var code: String {
        switch self {
        case .notServed, .notSampled, .asked, .noBid: "no_bid"
        case .excluded: "excluded"
        case .lacksParameter: "lacks_parameter"
        case .contextTooSmall: "context_length_exceeded"
        case .overMaxPrice, .belowReserve: "over_max_price"
        case .tooSlow: "too_slow"
        case .untrusted, .notAllowed: "untrusted"
        case .busy, .notAsked, .paused, .holdLimit, .tooLate, .overRate, .unknownBid: "busy"
        case .unreachable, .backendDown, .unspecified: "unreachable"
        case .leaving: "leaving"
        case .workerLost, .stalled, .protocolViolation: "worker_lost"
        case .backendError: "backend_error"
        case .invalidRequest: "invalid_request"
        case .contentFilter: "content_filter"
        case .modelNotFound: "model_not_found"
        case .deadlineExceeded: "deadline_exceeded"
        case .tooManyTasks: "rate_limited"
        case .overBudget: "insufficient_quota"
        case .cancelled: "cancelled"
        }
    }

    /// The key under which a failure or a task document counts nodes.
    public var key: String {
        switch self {
        case .notServed, .modelNotFound: "other_model"
        case .excluded: "excluded"
        case .lacksParameter: "lacks_parameter"
        case .contextTooSmall: "context_too_small"
        case .overMaxPrice, .belowReserve: "over_max_price"
        case .tooSlow: "too_slow"
        case .untrusted, .notAllowed, .protocolViolation: "untrusted"
        case .busy, .paused, .holdLimit, .tooLate, .overRate, .unknownBid: "busy"
        case .unreachable, .backendDown, .leaving, .unspecified, .workerLost, .stalled, .backendError,
            .invalidRequest, .contentFilter, .noBid, .deadlineExceeded, .tooManyTasks, .overBudget,
            .cancelled:
            "unreachable"
        case .notAsked: "not_asked"
        case .notSampled: "not_sampled"
        case .asked: "asked"
        }
    }

    /// How an assignment that broke for this reason ended, for a task document and for a sentence.
    public var ending: AssignmentEnding {
        switch self {
        case .workerLost, .unreachable: .lost
        case .stalled: .stalled
        case .busy, .paused, .holdLimit, .tooLate, .unknownBid, .unspecified, .notServed, .excluded,
            .overMaxPrice, .overRate, .belowReserve, .notAllowed,
            .tooSlow,
            .lacksParameter, .notSampled, .asked, .backendDown:
            .refused
        case .leaving: .left
        case .cancelled, .deadlineExceeded, .notAsked: .cancelled
        case .backendError, .invalidRequest, .contentFilter, .contextTooSmall, .protocolViolation, .untrusted,
            .modelNotFound,
            .noBid, .tooManyTasks, .overBudget:
            .failed
        }
    }
}
