import OpenAIFormat
import Primitives

/// Time limits after which a model server counts as hung.
public struct BackendLimits: Sendable {
    /// From the request to the first token. Loading a large model from a slow disk takes minutes; whether a
    /// bid's promise was kept is for the market to judge.
    public var firstToken = Interval.seconds(120)
    /// From one token to the next. The market's stall timer is far shorter; this one frees the slot.
    public var betweenTokens = Interval.seconds(30)
    /// Silence after which a server is suspect: 4 × its usual time, and at least this.
    public var suspicion = Interval.seconds(1)
    /// Time for a suspect server to answer a short question: 4 × its usual time, and at least this.
    public var trial = Interval.seconds(4)
    /// Silence before the first token after which the server is asked what it does, and between two such questions.
    public var inquiry = Interval.milliseconds(500)
    /// For one probe.
    public var probe = Interval.seconds(5)
    /// How long the connection of a finished answer may take to end before we close it.
    public var drain = Interval.seconds(1)
    /// The shortest and longest wait before a backend that is down is probed again; it doubles in between.
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
    /// Where the model server comes from.
    public enum Place: Sendable {
        /// A server that is already running.
        case url(String)
        /// A llama.cpp server that we start and watch.
        case managed(ManagedServerOptions)
    }

    /// Identifies the backend in calls of the delegate.
    public var id: Int
    public var dialect: BackendDialect
    public var place: Place
    /// The model's name at the server; nil means its first model.
    public var model: String?
    public var apiKey: String?
    /// A file of certificates that sign the server's, instead of the system's.
    public var certificates: String?
    /// What the owner says that the model can do beyond what the driver knows.
    public var stated: Abilities = []
    /// What strangers may make the server do.
    public var requestLimits = RequestLimits.usual
    /// Concurrent answers.
    public var slots: Int
    /// Overrides the context length that the server reports.
    public var context: UInt32?
    /// Paces every answer to this many tokens per second; 0 means no pacing.
    public var speed: Double
    /// Request fields beyond the driver's list that clients may set.
    public var extraFields: [String]
    /// Whether to measure speed and test continuation at the first start, when neither is known.
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

/// What the node may announce about a backend. It bids only while the state is `up`.
public struct BackendStatus: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        /// Started, not yet checked.
        case starting
        case up
        /// The reason is written for the operator. The backend is probed and comes back by itself.
        case down(BackendFailure)
    }
    public var state: State
    /// From the server, the file and the configuration; nil until it has been up once.
    public var description: ModelDescription?
    /// Measured speed, before pacing. Keep it between starts.
    public var meter: SpeedMeter
    /// Speed that may be announced: the measured figures, paced.
    public var announced: SpeedMeter
    /// Whether the server was seen to continue an interrupted answer exactly.
    public var continues: Bool
    /// What it may be offered for.
    public var abilities: Abilities = [.chat, .completion]
    /// What tests at the start showed, of what versions differ in; nil: not tested. Keep it between starts.
    public var tested: Abilities?
    public var isUp: Bool { state == .up }
}

/// Receives the events of backends, on the loop's thread. An actor on the loop can conform with `nonisolated`
/// methods that enter by `assumeIsolated`.
public protocol BackendDelegate: AnyObject {
    func backend(_ id: Int, job: JobID, did event: BackendEvent)
    func backend(_ id: Int, became status: BackendStatus)
}
