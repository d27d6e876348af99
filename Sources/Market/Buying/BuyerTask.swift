import Primitives
import Wire

/// One client's task at the auctioneer, from its submission to its one end. The stage says what it waits for; its
/// extensions, one a stage, say what each event means then:
///
///     choosing ─offersFound→ calling ─bids→ awarding ─accepted→ streaming ─finish→ ended
///      ↑  ↕ all are busy        │ no bid       │ busy: next bid       │ lost, stalled, failed
///      │ waiting                │              │                      │
///      └────────────────────────┴──────────────┴──────────────────────┘
///
/// What is large or outlives a stage lies beside it: the delivered text, the transcript, the survey.
struct BuyerTask: Sendable {
    let id: TaskID
    /// Its model is the one of the client's models that is asked for now.
    private(set) var request: TaskRequest
    let startedAt: MonotonicTime
    let deadlineAt: MonotonicTime
    private(set) var stage = Stage.choosing
    var transcript: TaskTranscript

    // Finding a worker. An attempt is one call for bids; they are numbered from 1.
    var attempt: UInt32 = 0
    /// Of the latest attempt.
    var auction: Auction?
    /// The prompt's tokens by our estimate, with the text to continue.
    var calledTokensIn: UInt32 = 0
    /// What the latest choice saw, for explanations.
    var survey = Survey()
    var exclusions = Exclusions()
    var patience: Patience
    /// Sellers called so far, and the bids that came.
    var asked: [PublicKey] = []
    var bids = 0

    // Getting the answer.
    /// The running one.
    var assignment: Assignment?
    var delivery: Delivery
    /// What the running worker sent before it said anything.
    var prelude = Prelude()
    var bill = TaskBill()
    /// Awards so far, and how many of their workers were lost.
    var assignments = 0
    var failovers = 0
    /// Assignments that came to nothing, and those of them by sellers that never finished a task of ours.
    var losses = 0
    var strangersLost = 0
    /// Of the losses, those of workers that only had too much to do.
    var refusals = 0
    /// The most tasks of ours that a seller finished which the latest choice could ask.
    var bestRecord = 0
    /// Whether a seller that is met could do the task: also one that was only slow, which is asked again.
    var couldAskMet: Bool { bestRecord > 0 || leftMet }
    /// A worker that is met was too slow.
    var leftMet = false
    /// What the last worker that gave up said.
    var lastFail: Fail?
    /// Why the last worker didn't end the answer; and the same for the client, until another has the task.
    var lastReason: Reason?
    var lastLost: Failover?
    /// A worker that began again said something else than the client had got.
    var saidOtherwise = false
    /// Workers whose model server was too busy for the task: their sellers can't know when that ends.
    var turnedAway: [PublicKey] = []
    /// The models that nobody answered with, and why.
    private(set) var earlier: [(model: String, why: String)] = []
    /// What workers found of the task itself.
    var verdicts: [Verdict] = []
    /// Workers that lived and were too slow.
    var slowness = 0

    init(id: TaskID, request: TaskRequest, _ parameters: MarketParameters, _ now: Now) {
        self.id = id
        self.request = request
        startedAt = now.monotonic
        deadlineAt = startedAt + max(.zero, min(request.deadline, parameters.deadlineMax))
        patience = Patience(parameters, startedAt)
        delivery = Delivery(request)
        transcript = TaskTranscript(task: id, request: request, createdAt: now.wall)
        transcript.resume = resume
    }

    mutating func start(_ desk: inout AuctionDesk) {
        desk.set(id, .deadline, at: deadlineAt)
        askForOffers(&desk)
    }

    var resume: ResumeKind {
        if !request.preferences.allowFallbacks { return .none }
        return delivery.isResumable ? .stream : delivery.isEmpty || !request.streams ? .start : .none
    }

    // MARK: - Other models

    /// Whether another of the client's models may still answer: it has nothing of an answer yet.
    var hasNextModel: Bool {
        !request.fallbackModels.isEmpty && (delivery.isEmpty || !request.streams)
            && request.preferences.allowFallbacks
    }

    /// Goes on with the client's next model, as with a new task; false: there is none.
    mutating func tryNextModel(_ why: String, _ desk: inout AuctionDesk, _ now: MonotonicTime) -> Bool {
        guard hasNextModel else { return false }
        earlier.append((request.model, why))
        request.model = request.fallbackModels.removeFirst()
        transcript.model = request.model
        _ = restart(&desk)
        exclusions = Exclusions()
        patience = Patience(desk.parameters, now)
        (verdicts, lastFail, lastReason, turnedAway) = ([], nil, nil, [])
        (losses, refusals, strangersLost, slowness, leftMet) = (0, 0, 0, 0, false)
        if stage != .choosing { enter(.choosing) }
        auction = nil
        askForOffers(&desk)
        return true
    }

    /// The same failure, with why the client's other models didn't answer.
    func withEarlierModels(_ message: String) -> String {
        earlier.reversed().reduce(message) { "\($0) Before that, \($1.model): \($1.why)" }
    }

    /// What the client's limit on the cost leaves; nil: no limit.
    var costLeft: Money? { request.preferences.maxCost.map { max(.zero, $0 - bill.cost) } }

    /// The transcript with what is still in motion.
    var currentTranscript: TaskTranscript {
        var transcript = transcript
        if let auction, stage == .calling { transcript.bids = auction.transcripts() }
        return transcript
    }

    mutating func timer(_ kind: TaskTimer.Kind, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        switch kind {
        case .deadline: deadlinePassed(&desk, &turn)
        case .bids: biddingTimedOut(&desk, &turn)
        case .award: awardTimedOut(&desk, &turn)
        case .channel: channelTimedOut(&desk, &turn)
        case .stall: checkStall(&desk, &turn)
        case .receipt: receiptDue(&desk, &turn)
        case .retry: retryDue(&desk)
        }
    }

    // MARK: - Stages

    enum Stage: Hashable, Sendable {
        /// Asks for the offers of its model.
        case choosing
        /// Waits for bids.
        case calling
        /// Waits for the winner to stand by its bid.
        case awarding
        /// The worker has accepted: waits for its channel, then for its frames.
        case streaming
        /// All sellers are busy: waits for the retry timer.
        case waiting
        case ended(TaskState)

        func leads(to next: Stage) -> Bool {
            switch (self, next) {
            case (.choosing, .calling), (.choosing, .waiting), (.choosing, .ended): true
            // No seller bid; or a bid came to nothing, and others are outstanding.
            case (.calling, .calling), (.calling, .awarding), (.calling, .choosing), (.calling, .ended): true
            // The next bid; or none is left, and others are outstanding or must be chosen.
            case (.awarding, .awarding), (.awarding, .streaming), (.awarding, .calling),
                (.awarding, .choosing),
                (.awarding, .ended):
                true
            case (.streaming, .choosing), (.streaming, .ended): true
            case (.waiting, .choosing), (.waiting, .ended): true
            case (.choosing, .choosing), (.choosing, .awarding), (.choosing, .streaming): false
            case (.calling, .streaming), (.calling, .waiting): false
            case (.awarding, .waiting): false
            case (.streaming, .calling), (.streaming, .awarding), (.streaming, .streaming),
                (.streaming, .waiting):
                false
            case (.waiting, .calling), (.waiting, .awarding), (.waiting, .streaming), (.waiting, .waiting):
                false
            case (.ended, _): false
            }
        }

        /// As documents say it. A task is `streaming` from its worker's first delta.
        fileprivate var state: TaskState {
            switch self {
            case .choosing, .calling, .awarding, .waiting: .bidding
            case .streaming: .awarded
            case .ended(let state): state
            }
        }
    }

    mutating func enter(_ next: Stage) {
        precondition(stage.leads(to: next), "task \(id) goes from \(stage) to \(next)")
        stage = next
        transcript.state = next.state
    }

    var isEnded: Bool { if case .ended = stage { true } else { false } }
}
