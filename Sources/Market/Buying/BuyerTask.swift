import Primitives
import Wire

/// One client's task at the auctioneer, from its submission to its one end. Its parts by file: the auction, the
/// running leg, the end. The stage says what it waits for:
///
///     choosing ─offersFound→ calling ─bids→ awarding ─accepted→ streaming ─finish→ ended
///        ↑                      │ nobody       │ busy: next bid       │ lost, stalled, failed
///        └──────── waiting ←────┴──────────────┴──────────────────────┘
struct BuyerTask: Sendable {
    enum Stage: Sendable { case choosing, calling, awarding, streaming, waiting, ended }

    /// A seller that is out for this task, and until when it makes sense to ask again.
    struct Excluded: Sendable {
        var key: PublicKey
        var reason: ExclusionReason
        /// Busy sellers come back; nil: out for good.
        var retryAfter: Interval?
    }

    let id: TaskID
    let request: TaskRequest
    let startedAt: MonotonicTime
    let deadlineAt: MonotonicTime
    var stage = Stage.choosing
    var transcript: TaskTranscript

    // Auctions
    var attempt: UInt32 = 0
    var auction: Auction?
    var excluded: [Excluded] = []
    /// What the latest choice saw, for explanations.
    var survey = Survey()
    var asked: [PublicKey] = []
    var bids = 0
    /// When waiting for busy sellers ends; moves with every loss of a worker.
    var patienceEnds: MonotonicTime
    var waits = 0

    // Legs
    var leg: Leg?
    /// Bill, prompt tokens and completion tokens of the legs that have ended.
    var workers: [PublicKey] = []
    var legs = 0
    var failovers = 0
    var cost: Int64 = 0
    var lastFail: Fail?

    // Delivery
    /// Everything delivered, kept while another worker could continue it.
    var delivered: [UInt8] = []
    var deliveredBytes: UInt64 = 0
    var deliveredTokens: UInt32 = 0
    var consumedBytes: UInt64 = 0
    var lastDeliveryAt: MonotonicTime?
    /// Only plain text so far, and not too much of it to keep.
    var isResumable: Bool
    /// What produced the first delivered byte, and must go on.
    var version: ModelVersion?
    /// An embedding's answer, which the client gets whole.
    var answer: [UInt8] = []

    init(id: TaskID, request: TaskRequest, _ parameters: MarketParameters, _ now: Now) {
        self.id = id
        self.request = request
        startedAt = now.monotonic
        deadlineAt = startedAt + max(.zero, min(request.deadline, parameters.deadlineMax))
        patienceEnds = startedAt + parameters.patience
        isResumable = request.resumable && request.kind != .embedding
        transcript = TaskTranscript(task: id, request: request, createdAt: now.wall)
        transcript.resume = resume
    }

    var resume: ResumeKind {
        if !request.preferences.allowFallbacks { return .none }
        return isResumable ? .stream : deliveredBytes == 0 ? .start : .none
    }

    /// What is left of the client's token limit; nil: no limit.
    var tokensLeft: UInt32? {
        request.tokensOutMax.map { $0 > deliveredTokens ? $0 - deliveredTokens : 0 }
    }

    mutating func start(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        desk.set(id, .deadline, at: deadlineAt)
        choose(&desk, &turn)
    }

    /// The transcript with what is still in motion.
    var currentTranscript: TaskTranscript {
        var transcript = transcript
        if let auction, stage == .calling { transcript.bids = auction.transcripts() }
        return transcript
    }

    mutating func timer(_ kind: TaskTimer.Kind, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        switch kind {
        case .deadline: deadlinePassed(&desk, &turn)
        case .window: windowClosed(&desk, &turn)
        case .award: awardTimedOut(&desk, &turn)
        case .channel: channelTimedOut(&desk, &turn)
        case .stall: checkStall(&desk, &turn)
        case .receipt: receiptDue(&desk, &turn)
        case .retry:
            guard stage == .waiting else { return }
            excluded.removeAll { $0.retryAfter != nil }
            choose(&desk, &turn)
        }
    }

    // MARK: - Ends

    mutating func cancel(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage != .ended else { return }
        abandon(.cancelled, chargeInput: true, &desk, &turn)
        var failure = TaskFailure(code: .cancelled, message: "The client left.")
        failure.delivered = delivered(reason: "cancelled")
        end(.cancelled, failure: failure, &desk, &turn)
    }

    mutating func deadlinePassed(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage != .ended else { return }
        let stageThen = stage
        abandon(.cancelled, chargeInput: true, &desk, &turn)
        let milliseconds = request.deadline.milliseconds
        let doing =
            switch stageThen {
            case .choosing, .calling, .waiting, .ended:
                "while it looked for a node that sells \(request.model)"
            case .awarding: "while it waited for a node to start"
            case .streaming: "before the answer was complete"
            }
        fail(.deadlineExceeded, "The task's deadline of \(milliseconds) ms passed \(doing).", &desk, &turn)
    }

    /// Ends the task with an error of its own; the counts are those of the latest choice.
    mutating func fail(
        _ code: TaskFailure.Code, _ message: String, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        var failure = TaskFailure(code: code, message: message)
        survey.fill(&failure, excluded: excluded, asked: asked.count, bids: bids)
        failure.delivered = deliveredBytes > 0 ? delivered(reason: "error") : nil
        end(.failed, failure: failure, &desk, &turn)
    }

    mutating func finish(reason: String, extra: [UInt8], _ desk: inout AuctionDesk, _ turn: inout Turn) {
        if transcript.phases.firstToken != nil { transcript.phases.stream = turn.monotonic - streamStart }
        var summary = delivered(reason: reason)
        summary.extra = extra
        end(.delivered, failure: nil, &desk, &turn)
        desk.emit(.client(id, .finished(summary)))
    }

    /// When the first byte came.
    var streamStart: MonotonicTime = .zero

    /// The bill so far.
    func delivered(reason: String) -> TaskSummary {
        TaskSummary(
            reason: reason, promptTokens: transcript.promptTokens, cachedTokens: transcript.cachedTokens,
            completionTokens: transcript.completionTokens, cost: cost, workers: workers, failovers: failovers,
            firstToken: transcript.phases.firstToken ?? .zero, extra: [])
    }

    /// The one place where a task ends.
    mutating func end(
        _ state: TaskState, failure: TaskFailure?, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        precondition(stage != .ended && leg == nil, "task \(id) ends twice or with a running leg")
        stage = .ended
        if let auction, transcript.bids.isEmpty { transcript.bids = auction.transcripts() }
        auction = nil
        for kind in TaskTimer.Kind.allCases { desk.cancel(id, kind) }
        transcript.state = state
        transcript.failure = failure
        transcript.cost = cost
        if let failure { desk.emit(.client(id, .failed(failure))) }
    }

    /// Stops whatever runs, telling bidders and worker.
    private mutating func abandon(
        _ end: LegTranscript.End, chargeInput: Bool, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        if leg != nil { endLeg(end, .cancelled(chargeInput: chargeInput), &desk, &turn) }
        if stage == .calling, let auction { releaseBids(of: auction, score: 0, &desk) }
    }
}
