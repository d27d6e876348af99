/// Why a node was not asked, a call or an award was refused, an assignment broke or a task failed: one
/// vocabulary for the whole market. Wire values and documents are mappings of it in the two `Reason+` files,
/// HTTP responses in `Gateway/ExplainedFailure`.
public enum Reason: String, CaseIterable, Sendable {
    // MARK: Filters

    /// It serves another model.
    case notServed
    /// The request's preferences exclude it.
    case excluded
    /// It lacks a feature, the quantization or the digest that the request needs, or it can't continue text.
    case lacksParameter
    case contextTooSmall
    case overMaxPrice
    case tooSlow
    /// Not trusted enough, or its bid was not acceptable.
    case untrusted
    case busy
    /// It didn't answer, or no connection to it is possible.
    case unreachable
    /// This node's own bounds, socket or loop kept the question from it: it is not to blame.
    case notAsked
    /// Acceptable, but not drawn.
    case notSampled
    /// It was called in the auction that was the task's last.
    case asked

    // MARK: Stated by a seller

    case paused
    case backendDown
    case leaving
    /// The share of its slots that this buyer may use is in use.
    case holdLimit
    /// Its queue is longer than the task's deadline allows.
    case tooLate
    /// The seller's operator serves other buyers only.
    case notAllowed
    /// The buyer, or its network, has had its tasks of this minute.
    case overRate
    /// The task would bring less than the seller asks of any.
    case belowReserve
    /// The award names a bid that the seller doesn't know.
    case unknownBid
    case unspecified

    // MARK: How an assignment breaks

    /// Its channel or its node is gone.
    case workerLost
    /// The worker stopped sending.
    case stalled
    /// The worker violated the protocol. Never on the wire: it is our own finding.
    case protocolViolation
    case backendError
    /// The request itself is at fault.
    case invalidRequest
    /// The model server's rules about content refuse it.
    case contentFilter

    // MARK: How a task ends

    case modelNotFound
    case noBid
    case deadlineExceeded
    case tooManyTasks
    /// What this node's client, or the node, may spend in a day leaves too little for it.
    case overBudget
    case cancelled
}

extension Reason {
    /// Filters in the order in which they apply. Every known node that doesn't get the task is counted once,
    /// under the first filter that it fails.
    public static let filters: [Reason] = [
        .notServed, .excluded, .lacksParameter, .contextTooSmall, .overMaxPrice, .tooSlow, .untrusted, .busy,
        .unreachable, .notAsked, .notSampled, .asked,
    ]

    /// The filter under which a node excluded for this reason is counted.
    var filter: Reason {
        switch self {
        case .notServed, .excluded, .lacksParameter, .contextTooSmall, .overMaxPrice, .tooSlow, .untrusted,
            .busy, .unreachable, .notAsked, .notSampled, .asked:
            self
        case .paused, .holdLimit, .tooLate, .unknownBid, .overRate: .busy
        case .belowReserve: .overMaxPrice
        case .protocolViolation, .notAllowed: .untrusted
        case .modelNotFound: .notServed
        case .backendDown, .leaving, .unspecified, .workerLost, .stalled, .backendError, .invalidRequest,
            .contentFilter, .noBid, .deadlineExceeded, .tooManyTasks, .overBudget, .cancelled:
            .unreachable
        }
    }

    /// The index of its filter among the filters.
    var position: Int { Self.filters.firstIndex(of: filter) ?? 0 }
}
