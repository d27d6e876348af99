import Wire

// Reasons on the wire. `messages.proto` has the numbers, `channel.proto` the codes.

extension Reason {
    public init(_ decline: DeclineReason) {
        switch decline {
        case .unspecified: self = .unspecified
        case .busy: self = .busy
        case .paused: self = .paused
        case .backendDown: self = .backendDown
        case .overMaxPrice: self = .overMaxPrice
        case .tooSlow: self = .tooSlow
        case .lacksParameter: self = .lacksParameter
        case .notServed: self = .notServed
        case .contextTooSmall: self = .contextTooSmall
        case .leaving: self = .leaving
        case .untrusted: self = .notAllowed
        case .holdLimit: self = .holdLimit
        case .tooLate: self = .tooLate
        }
    }

    /// The decline of a seller that refuses a call for this reason.
    public var decline: DeclineReason {
        switch self {
        case .busy: .busy
        case .paused: .paused
        case .backendDown: .backendDown
        case .overMaxPrice: .overMaxPrice
        case .tooSlow: .tooSlow
        case .lacksParameter: .lacksParameter
        case .notServed: .notServed
        case .contextTooSmall: .contextTooSmall
        case .leaving: .leaving
        case .holdLimit: .holdLimit
        case .tooLate: .tooLate
        case .notAllowed: .untrusted
        // A share of another kind, and a price of another kind.
        case .overRate: .holdLimit
        case .belowReserve: .overMaxPrice
        case .unspecified, .excluded, .untrusted, .unreachable, .notAsked, .notSampled, .asked, .unknownBid,
            .workerLost,
            .stalled,
            .protocolViolation, .backendError, .invalidRequest, .contentFilter, .modelNotFound, .noBid,
            .deadlineExceeded, .tooManyTasks, .overBudget, .cancelled:
            .unspecified
        }
    }

    /// Why a seller refuses an award; nil when it accepts. A refusal without a reason counts as busy.
    public init?(_ status: AwardStatus) {
        switch status {
        case .accepted: return nil
        case .busy, .unspecified: self = .busy
        case .unknown: self = .unknownBid
        }
    }

    /// The status of a seller that refuses an award for this reason.
    public var awardStatus: AwardStatus {
        switch self {
        case .unknownBid: .unknown
        case .busy, .notServed, .excluded, .lacksParameter, .contextTooSmall, .overMaxPrice, .tooSlow,
            .untrusted,
            .unreachable, .notAsked, .notSampled, .asked, .paused, .backendDown, .leaving, .holdLimit,
            .tooLate, .overRate, .belowReserve, .notAllowed, .unspecified,
            .workerLost,
            .stalled, .protocolViolation, .backendError, .invalidRequest, .contentFilter, .modelNotFound,
            .noBid, .deadlineExceeded, .tooManyTasks, .overBudget, .cancelled:
            .busy
        }
    }

    /// What a worker's `Fail` means to its buyer. A code on which no machine acts counts as its backend's
    /// failure.
    public init(_ fail: Fail) {
        let acted: [Reason] = [
            .busy, .leaving, .invalidRequest, .contentFilter, .contextTooSmall, .deadlineExceeded,
            .backendError,
        ]
        switch fail.code {
        // These name the server's state and not the task.
        case Fail.busyServer: self = .busy
        case "backend_down", "backend_unreachable", "backend_unauthorized", "backend_model_missing":
            self = .backendDown
        default: self = acted.first { $0.code == fail.code } ?? .backendError
        }
    }
}

extension Fail {
    /// A worker's model server has too much to do; the worker itself says `busy`.
    static let busyServer = "backend_busy"

    public init(_ reason: Reason, _ message: String, anotherMaySucceed: Bool) {
        self.init(code: reason.code, message: message, anotherMaySucceed: anotherMaySucceed)
    }
}
