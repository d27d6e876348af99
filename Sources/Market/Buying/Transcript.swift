import Primitives
import Wire

/// Where a task stands; the last four are final.
public enum TaskState: String, Sendable {
    case bidding, awarded, streaming, delivered, refused, cancelled, failed
}

/// Everything the auctioneer knows about one task, for `starling why`. Never the prompt or the answer.
public struct TaskTranscript: Sendable {
    public var task: TaskID
    public var state: TaskState
    public var failure: TaskFailure?
    public var model: String
    public var createdAt: WallTime
    public var preferences: Preferences
    public var deadline: Interval
    public var tokensIn: UInt32
    public var tokensOutEstimate: UInt32
    public var tokensOutMax: UInt32?
    public var resume: ResumeKind
    public var known: Int
    public var skipped: [(reason: Reason, nodes: Int)]
    /// Bids of the latest attempt, best score first, then sellers that did not bid.
    public var bids: [BidTranscript]
    public var phases: TaskPhases
    public var assignments: [AssignmentTranscript]
    public var promptTokens: UInt32
    public var cachedTokens: UInt32
    public var completionTokens: UInt32
    public var cost: Money

    public init(task: TaskID, request: TaskRequest, createdAt: WallTime) {
        self.task = task
        state = .bidding
        model = request.model
        self.createdAt = createdAt
        preferences = request.preferences
        deadline = request.deadline
        tokensIn = request.tokensIn
        tokensOutEstimate = request.tokensOutEstimate
        tokensOutMax = request.tokensOutMax
        resume = request.resumable ? .stream : .start
        known = 0
        skipped = []
        bids = []
        phases = TaskPhases()
        assignments = []
        promptTokens = 0
        cachedTokens = 0
        completionTokens = 0
        cost = .zero
    }

    /// Changes the latest assignment's part in place.
    mutating func changeLast(_ body: (inout AssignmentTranscript) -> Void) {
        if !assignments.isEmpty { body(&assignments[assignments.count - 1]) }
    }

    mutating func note(_ bill: TaskBill) {
        promptTokens = bill.promptTokens
        cachedTokens = bill.cachedTokens
        completionTokens = bill.completionTokens
        cost = bill.cost
    }
}

/// Duration of each phase; nil: not reached.
public struct TaskPhases: Sendable {
    public var choose: Interval?
    public var collect: Interval?
    public var award: Interval?
    public var firstToken: Interval?
    public var stream: Interval?
    /// From the submission to the end, with what lies between the phases.
    public var total: Interval?
    public init() {}
}

/// One candidate's part in an auction.
public struct BidTranscript: Sendable {
    public enum Outcome: String, Sendable {
        /// `bid` only in a quote: it is neither won nor lost.
        case asked, bid, won, lost, declined, silent, late, refused, busy
        /// This node's own bounds kept the call from it.
        case notAsked = "not_asked"
        /// It scored better than the winner, and answers as many of our tasks as it has shown that it can: see `Standing`.
        case passedOver = "passed_over"
    }
    public var worker: PublicKey
    public var name: String
    public var outcome: Outcome
    public var declined: Reason?
    public var price: Price?
    public var queueMilliseconds: UInt32 = 0
    public var firstTokenMilliseconds: UInt32 = 0
    public var millitokensPerSecond: UInt32 = 0
    /// What this node goes by: measured, or the bid's words blended with what the market delivers.
    public var expectedFirstTokenMilliseconds: UInt32 = 0
    public var expectedMillitokensPerSecond: UInt32 = 0
    /// For the estimated tokens.
    public var estimate = Money.zero
    public var completion: Interval = .zero
    public var millitrust: UInt32 = 1000
    /// The lowest score wins.
    public var score: UInt64 = 0
    public var signature: Signature?
    public init(worker: PublicKey, name: String, outcome: Outcome) {
        self.worker = worker
        self.name = name
        self.outcome = outcome
    }
}

/// One award, (attempt, worker), and its outcome.
public struct AssignmentTranscript: Sendable {
    public var attempt: UInt32
    public var worker: PublicKey
    public var name: String
    public var fromToken: UInt32
    public var tokens: UInt32
    public var ended: AssignmentEnding
    /// Why it didn't finish; empty: it did, or runs.
    public var why = ""
    public var cost: Money
    /// From the last delivered byte of the previous assignment to the first of this one.
    public var gap: Interval?
    public var receipt: Signature?
    public var droppedFields: [String]
    public init(attempt: UInt32, worker: PublicKey, name: String, fromToken: UInt32) {
        self.attempt = attempt
        self.worker = worker
        self.name = name
        self.fromToken = fromToken
        tokens = 0
        ended = .running
        cost = .zero
        droppedFields = []
    }
}

/// The state or end of an assignment.
public enum AssignmentEnding: String, Sendable {
    case running, finished, lost, stalled, failed, refused, cancelled, left

    /// Follows the worker's name.
    var phrase: String {
        switch self {
        case .running, .lost: "was lost"
        case .finished: "finished"
        case .stalled: "fell silent"
        case .failed: "failed"
        case .refused: "refused the task"
        case .cancelled: "was cancelled"
        case .left: "left"
        }
    }
}
