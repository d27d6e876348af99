import Primitives

/// An auction's messages; the case order is the field order.
public enum MarketMessage: Hashable, Sendable {
    /// Boxed: rare, and twice the size of the next-largest case.
    indirect case callForBids(CallForBids)
    case bid(SignedRecord)
    case decline(Decline)
    case release(Release)
    case award(Award)
    case awardReply(AwardReply)
}

public struct Weights: Hashable, Sendable {
    /// The client's value of time, micro-credits per second.
    public var timePerSecond: UInt32
    public var trustPower: UInt32
    public init(timePerSecond: UInt32 = 40, trustPower: UInt32 = 1) {
        self.timePerSecond = timePerSecond
        self.trustPower = trustPower
    }
}

public struct CallForBids: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    public var model: String
    public var digest: Bytes32?
    public var quantizations: [String]
    public var features: Features
    public var mustContinue: Bool
    public var tokensIn: UInt32
    public var tokensOut: UInt32
    public var tokensOutMax: UInt32
    public var maxPrice: Price?
    public var closeMilliseconds: UInt32
    public var deadlineMilliseconds: UInt32
    public var weights: Weights
    public var cacheHandle: [UInt8]
    public var buyerUnreachable: Bool
    /// The bid holds nothing and is not awarded.
    public var isQuote: Bool

    public init(
        task: TaskID, attempt: UInt32, model: String, digest: Bytes32? = nil, quantizations: [String] = [],
        features: Features = [], mustContinue: Bool = false, tokensIn: UInt32 = 0, tokensOut: UInt32 = 0,
        tokensOutMax: UInt32 = 0, maxPrice: Price? = nil, closeMilliseconds: UInt32 = 0,
        deadlineMilliseconds: UInt32 = 0,
        weights: Weights = Weights(), cacheHandle: [UInt8] = [], buyerUnreachable: Bool = false,
        isQuote: Bool = false
    ) {
        self.task = task
        self.attempt = attempt
        self.model = model
        self.digest = digest
        self.quantizations = quantizations
        self.features = features
        self.mustContinue = mustContinue
        self.tokensIn = tokensIn
        self.tokensOut = tokensOut
        self.tokensOutMax = tokensOutMax
        self.maxPrice = maxPrice
        self.closeMilliseconds = closeMilliseconds
        self.deadlineMilliseconds = deadlineMilliseconds
        self.weights = weights
        self.cacheHandle = cacheHandle
        self.buyerUnreachable = buyerUnreachable
        self.isQuote = isQuote
    }
}

public enum DeclineReason: UInt32, Sendable {
    case unspecified = 0, busy, paused, backendDown, overMaxPrice, tooSlow, lacksParameter, notServed,
        contextTooSmall
    case leaving, untrusted, holdLimit, tooLate
}

public struct Decline: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    public var reason: DeclineReason
    public var retryAfterMilliseconds: UInt32
    public init(task: TaskID, attempt: UInt32, reason: DeclineReason, retryAfterMilliseconds: UInt32 = 0) {
        self.task = task
        self.attempt = attempt
        self.reason = reason
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }
}

public struct Release: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    /// 0: no bid won.
    public var winningScore: UInt64
    public init(task: TaskID, attempt: UInt32, winningScore: UInt64) {
        self.task = task
        self.attempt = attempt
        self.winningScore = winningScore
    }
}

public struct Award: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    public var workerDials: Bool
    public init(task: TaskID, attempt: UInt32, workerDials: Bool) {
        self.task = task
        self.attempt = attempt
        self.workerDials = workerDials
    }
}

public enum AwardStatus: UInt32, Sendable { case unspecified = 0, accepted, busy, unknown }

public struct AwardReply: Hashable, Sendable {
    public var task: TaskID
    public var attempt: UInt32
    public var status: AwardStatus
    public init(task: TaskID, attempt: UInt32, status: AwardStatus) {
        self.task = task
        self.attempt = attempt
        self.status = status
    }
}
