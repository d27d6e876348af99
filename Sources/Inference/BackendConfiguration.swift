import OpenAIFormat
import Primitives

/// Times after which a model server is taken for hung.
public struct BackendLimits: Sendable {
    /// From the request to the first token. Loading a large model from a slow disk takes minutes; a bid that
    /// promised less is the market's business.
    public var firstToken = Interval.seconds(120)
    /// From one token to the next. The market's stall timer is far shorter; this one frees the slot.
    public var betweenTokens = Interval.seconds(30)
    /// Silence that makes a server suspect: 4 × what is usual, and at least this.
    public var suspicion = Interval.seconds(1)
    /// The answer to a short question that a server which was measured before is asked in doubt: 4 × what is usual,
    /// and at least this.
    public var trial = Interval.seconds(4)
    /// Of one probe.
    public var probe = Interval.seconds(5)
    /// How long a finished answer's connection may take to end before it is closed.
    public var drain = Interval.seconds(1)
    /// The first and the longest wait before a backend that is down is probed again; it doubles between.
    public var backoffMin = Interval.milliseconds(500)
    public var backoffMax = Interval.seconds(30)
    public init() {}

    func silence(usualSeconds: Double) -> Interval { longer(suspicion, usualSeconds) }

    func trial(usualSeconds: Double) -> Interval { min(firstToken, longer(trial, usualSeconds)) }

    private func longer(_ least: Interval, _ seconds: Double) -> Interval {
        max(least, .milliseconds(Int64((min(max(seconds, 0), 3_600) * 4_000).rounded(.up))))
    }
}

/// One model at one model server.
public struct BackendConfiguration: Sendable {
    public enum Place: Sendable {
        /// A server that runs already.
        case url(String)
        /// A llama.cpp server that we start and watch.
        case managed(ManagedServerOptions)
    }

    /// Names the backend in the delegate's calls.
    public var id: Int
    public var dialect: BackendDialect
    public var place: Place
    /// The model's name at the server; nil: its first.
    public var model: String?
    public var apiKey: String?
    /// Answers at a time.
    public var slots: Int
    /// Overrides what the server says.
    public var context: UInt32?
    /// Paces every answer to so many tokens per second; 0: as fast as it comes.
    public var speed: Double
    /// Request fields beyond the driver's list that strangers may set.
    public var extraFields: [String]
    /// Whether to measure speed and test continuation at the first start, if neither is known.
    public var measures: Bool
    public var limits: BackendLimits

    public init(
        id: Int, dialect: BackendDialect, place: Place, model: String? = nil, apiKey: String? = nil,
        slots: Int = 1,
        context: UInt32? = nil, speed: Double = 0, extraFields: [String] = [], measures: Bool = true,
        limits: BackendLimits = .init()
    ) {
        self.id = id
        self.dialect = dialect
        self.place = place
        self.model = model
        self.apiKey = apiKey
        self.slots = slots
        self.context = context
        self.speed = speed
        self.extraFields = extraFields
        self.measures = measures
        self.limits = limits
    }
}

/// What the node may say of a backend. While it isn't `up`, the node doesn't bid for it.
public struct BackendStatus: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        /// Started, not yet checked.
        case starting
        case up
        /// Why, in words for the operator. It is probed and comes back by itself.
        case down(BackendFailure)
    }
    public var state: State
    /// From the server, the file and the configuration; nil until it was up once.
    public var description: ModelDescription?
    /// What was measured, before pacing. Keep it between starts.
    public var meter: SpeedMeter
    /// What may be announced: the measured figures, paced.
    public var announced: SpeedMeter
    /// Whether the server was seen to continue a broken-off answer exactly.
    public var continues: Bool
    public var isUp: Bool { state == .up }
}

/// Hears what backends do; called on the loop's thread. An actor on the loop can conform with `nonisolated`
/// methods that enter by `assumeIsolated`.
public protocol BackendDelegate: AnyObject {
    func backend(_ id: Int, job: JobID, did event: BackendEvent)
    func backend(_ id: Int, became status: BackendStatus)
}
