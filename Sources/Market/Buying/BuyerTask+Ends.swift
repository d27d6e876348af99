import Primitives
import Wire

/// The ends of a task, from every stage.
extension BuyerTask {
    mutating func cancel(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        if isEnded { return }
        abandon(blaming: desk.parameters.trustAfterRefusal, &desk, &turn)
        var failure = TaskFailure(.cancelled, message: "The client left.")
        failure.delivered = summary(reason: "cancelled")
        end(.cancelled, failure, &desk)
    }

    mutating func deadlinePassed(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        let doing: String
        var retryAfter: Interval?
        switch stage {
        case .waiting:
            // Whoever waits longer may still get an answer.
            doing = "while it waited for a node: \(explanation().message.asClause)"
            retryAfter = exclusions.soonestAdvice
        case .choosing, .calling: doing = "while it looked for a node that sells \(request.model)"
        case .awarding: doing = "while it waited for a node to start"
        case .streaming:
            if let left = assignment?.queueLeft {
                doing = "while it waited for its turn at a node that is busy"
                retryAfter = max(.seconds(1), left)
            } else {
                doing = "before the answer was complete"
            }
        case .ended: return
        }
        abandon(blaming: desk.parameters.trustAfterLoss, &desk, &turn)
        let milliseconds = request.deadline.milliseconds
        let message = "The task's deadline of \(milliseconds) ms passed \(doing)."
        fail(.deadlineExceeded, message, retryAfter: retryAfter, &desk)
    }

    /// Stops everything that runs, and tells bidders and worker. A worker that has shown no evidence of progress for
    /// longer than it promised is a reason why the client left, or has no answer: it keeps `trust` ÷ 1000.
    private mutating func abandon(blaming trust: UInt32, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        if let assignment {
            // A client that leaves less time than its worker had promised can't blame it.
            let isOverdue =
                assignment.isOverdue(desk.parameters, turn.monotonic)
                && !assignment.couldNotBegin(before: deadlineAt)
                && !desk.isDoubtful(since: assignment.quietSince)
            let end = AssignmentEnd.failed(.cancelled, .stopped(trust: isOverdue ? trust : 1_000))
            endAssignment(end, &desk, &turn)
        }
        if stage == .calling, !request.isQuote, let auction {
            release(auction.losers, attempt: auction.attempt, score: 0, &desk)
        }
    }

    /// Ends the task with a given error; the counts are those of the latest choice.
    mutating func fail(
        _ reason: Reason, _ message: String, retryAfter: Interval? = nil, _ desk: inout AuctionDesk
    ) {
        var failure = TaskFailure(reason, message: withEarlierModels(message))
        count(&failure)
        if let retryAfter { failure.retryAfter = retryAfter }
        let costsNothing = delivery.isEmpty && bill.cost == .zero
        if !costsNothing {
            // A beginning again came to nothing: the client keeps what it had got.
            var delivered = summary(reason: "error")
            delivered.completionTokens = delivered.completionTokens &+ delivered.discarded.tokens
            failure.delivered = delivered
        }
        end(.failed, failure, &desk)
    }

    /// Whether it is the state of a model server that ended the last assignment: the same request may succeed later.
    var isTheServers: Bool { delivery.isEmpty && (lastReason == .busy || lastReason == .backendDown) }

    /// Ends the task with the explanation why no node takes it.
    mutating func refuse(_ desk: inout AuctionDesk, _ now: Now) {
        if hasVerdict { return conclude(&desk, now) }
        if assignments > 0, failovers > 0 || !delivery.isEmpty, !isTheServers {
            return failWorkersLost(&desk, now.monotonic)
        }
        var failure = explanation()
        if tryNextModel(failure.message, &desk, now.monotonic) { return }
        failure.message = withEarlierModels(failure.message)
        count(&failure)
        end(.refused, failure, &desk)
    }

    /// Why no seller takes the task; that those which were asked left, where there is none any more.
    private func explanation() -> TaskFailure {
        var failure = survey.explanation()
        guard survey.sellers == 0, earlier.isEmpty, !asked.isEmpty else { return failure }
        let they = asked.count == 1 ? "The node that was asked has" : "The nodes that were asked have"
        let said = lastFail.map { ": \($0.message.asClause)" } ?? ""
        failure.message = "\(they) left or stopped offering \(request.model)\(said). \(failure.message)"
        return failure
    }

    private mutating func count(_ failure: inout TaskFailure) {
        survey.close(asked: auction?.transcripts().count ?? 0)
        survey.fill(&failure, retryAfter: exclusions.soonestAdvice)
        failure.asked = asked.count
        failure.bids = bids
    }

    /// Ends the task: its worker is lost, and no other can continue.
    mutating func failWorkersLost(_ desk: inout AuctionDesk, _ now: MonotonicTime) {
        let last = transcript.assignments.last
        let worker = last.map { $0.worker.inWords(label: $0.name) } ?? "The node that answered"
        let ending = last?.ended ?? .lost
        let why =
            if !delivery.isEmpty && !delivery.isResumable {
                "an answer of this kind can't be continued by another node"
            } else if !request.preferences.allowFallbacks {
                "the request allows no fallback"
            } else if saidOtherwise {
                "no other node could continue, and one that began again said something else"
            } else {
                "no other node could continue"
            }
        let said = lastFail.map { ": \($0.message.asClause)" } ?? ""
        let reason: Reason = lastFail != nil && ending == .failed ? .backendError : .workerLost
        let tokens = delivery.position.tokens
        let message = "\(worker) \(ending.phrase) after \(counted(tokens, "token"))\(said); \(why)."
        if tryNextModel(message, &desk, now) { return }
        fail(reason, message, &desk)
    }

    mutating func finish(reason: String, extra: [UInt8], _ desk: inout AuctionDesk, _ now: MonotonicTime) {
        if let startedAt = delivery.startedAt { transcript.phases.stream = now - startedAt }
        var summary = self.summary(reason: reason)
        summary.extra = extra
        end(.delivered, nil, &desk)
        desk.emit(.client(id, .finished(summary)))
    }

    mutating func finish(_ quote: Quote, _ desk: inout AuctionDesk) {
        end(.delivered, nil, &desk)
        desk.emit(.client(id, .quoted(.success(quote))))
    }

    /// The bill so far.
    private func summary(reason: String) -> TaskSummary {
        TaskSummary(
            reason: reason, promptTokens: bill.promptTokens, cachedTokens: bill.cachedTokens,
            completionTokens: bill.completionTokens, cost: bill.cost, workers: bill.workers,
            failovers: failovers, firstToken: transcript.phases.firstToken ?? .zero, extra: [],
            discarded: bill.discarded)
    }

    /// The one place where a task ends.
    private mutating func end(_ state: TaskState, _ failure: TaskFailure?, _ desk: inout AuctionDesk) {
        precondition(assignment == nil, "task \(id) ends with a running assignment")
        enter(.ended(state))
        if let auction {
            transcript.bids = auction.transcripts()
        } else if transcript.bids.isEmpty {
            survey.close(asked: 0)
            transcript.known = survey.known
            transcript.skipped = survey.skipped
        }
        auction = nil
        for kind in TaskTimer.Kind.allCases { desk.cancel(id, kind) }
        transcript.failure = failure
        if let failure {
            desk.emit(.client(id, request.isQuote ? .quoted(.failure(failure)) : .failed(failure)))
        }
    }
}

extension String {
    /// A sentence within another: without its full stop.
    fileprivate var asClause: String { hasSuffix(".") ? String(dropLast()) : self }
}
