import Primitives

/// One message inside a datagram session. `messages.proto`; the case order is its field order.
public enum Message: Hashable, Sendable {
    /// `known`: the sequence of the answerer's contact that the sender holds; 0: none.
    case ping(contact: SignedRecord?, known: UInt64 = 0)
    case pong(contact: SignedRecord?, observed: Endpoint?)
    case find(target: Bytes32)
    case found(contacts: [SignedRecord])
    case unsupported(kind: UInt32)

    case offerMail([SignedRecord])
    case offerReceived
    case offerDigest(OfferDigest)
    case offerDifference(OfferDifference)

    /// Apart: it is twice as large as the next, and seldom there.
    indirect case callForBids(CallForBids)
    case bid(SignedRecord)
    case decline(Decline)
    case release(Release)
    case award(Award)
    case awardReply(AwardReply)

    case register(Register)
    case registered(Registered)
    case get(topic: TopicID, start: UInt32)
    case providers(Providers)

    case callbackRequest(CallbackRequest)
    case callbackOrder(CallbackOrder)
    case callbackAnswer(nonce: UInt64, called: Endpoint?)
    case callback(nonce: UInt64)
}

/// A message with the numbers that pair requests and replies; 0: neither.
public struct Envelope: Hashable, Sendable {
    public var request: UInt32
    public var reply: UInt32
    public var message: Message
    public init(request: UInt32 = 0, reply: UInt32 = 0, message: Message) {
        self.request = request
        self.reply = reply
        self.message = message
    }
}

/// Asks to be remembered as a provider of a topic.
public struct Register: Hashable, Sendable {
    public var registration: SignedRecord
    public var withdrawn: Bool
    public var start: UInt32
    public init(registration: SignedRecord, withdrawn: Bool = false, start: UInt32 = 0) {
        self.registration = registration
        self.withdrawn = withdrawn
        self.start = start
    }
}

/// For how long a registrar remembers; 0: it doesn't.
public struct Registered: Hashable, Sendable {
    public var heldMilliseconds: UInt32
    public var contacts: [SignedRecord]
    public init(heldMilliseconds: UInt32, contacts: [SignedRecord] = []) {
        self.heldMilliseconds = heldMilliseconds
        self.contacts = contacts
    }
}

/// Some providers of a topic, and some nodes nearer to it.
public struct Providers: Hashable, Sendable {
    public var registrations: [SignedRecord]
    public var contacts: [SignedRecord]
    public init(registrations: [SignedRecord] = [], contacts: [SignedRecord] = []) {
        self.registrations = registrations
        self.contacts = contacts
    }
}

/// A record as its author signed it, not yet verified. `records.proto`.
public struct SignedRecord: Hashable, Sendable {
    public var body: [UInt8]
    public var signature: Signature
    public init(body: [UInt8], signature: Signature) {
        self.body = body
        self.signature = signature
    }
}

public struct OfferVersion: Hashable, Sendable {
    public var id: UInt64
    public var sequence: UInt64
    public init(id: UInt64, sequence: UInt64) {
        self.id = id
        self.sequence = sequence
    }
}

/// What the sender holds in the range of short ids `first...last`, ascending.
public struct OfferDigest: Hashable, Sendable {
    public var first: UInt64
    public var last: UInt64
    public var offers: [OfferVersion]
    public init(first: UInt64, last: UInt64, offers: [OfferVersion]) {
        self.first = first
        self.last = last
        self.offers = offers
    }
}

/// What the digest's sender lacks (as many as fit) and what the answerer lacks.
public struct OfferDifference: Hashable, Sendable {
    public var offers: [SignedRecord]
    public var wanted: [UInt64]
    public var more: UInt32
    public init(offers: [SignedRecord] = [], wanted: [UInt64] = [], more: UInt32 = 0) {
        self.offers = offers
        self.wanted = wanted
        self.more = more
    }
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

    public init(
        task: TaskID, attempt: UInt32, model: String, digest: Bytes32? = nil, quantizations: [String] = [],
        features: Features = [], mustContinue: Bool = false, tokensIn: UInt32 = 0, tokensOut: UInt32 = 0,
        tokensOutMax: UInt32 = 0, maxPrice: Price? = nil, closeMilliseconds: UInt32 = 0,
        deadlineMilliseconds: UInt32 = 0,
        weights: Weights = Weights(), cacheHandle: [UInt8] = [], buyerUnreachable: Bool = false
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
    }
}

public enum DeclineReason: UInt32, Sendable {
    case unspecified = 0, busy, paused, backendDown, overMaxPrice, tooSlow, lacksParameter, notServed,
        contextTooSmall
    case leaving, untrusted, holdLimit
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
    /// 0: nobody won.
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
