import Primitives
import Wire

/// The end of an assignment: what its worker gets, and what follows.
extension BuyerTask {
    enum AssignmentEnd {
        case finished(Finish)
        /// We stopped it, because the answer has all that the client's limits allow.
        case limited
        case failed(Reason, Parting)
    }

    /// How we part with a worker that doesn't finish.
    enum Parting {
        /// We stop it. Reading the prompt is paid if it had begun to answer. `trust` as below.
        case stopped(trust: UInt32)
        /// It declined the award.
        case declined
        /// It gave the task back before it began, because its model server has too much to do.
        case turnedAway
        /// It gave up by itself; the channel is intact. `trust` is what remains of our trust in it, × 1000.
        case gaveUp(trust: UInt32)
        /// Silent, or in violation of the protocol: we close the channel.
        case broken
        /// The channel is closed already.
        case gone
    }

    /// Ends the running assignment: last receipt, cancel, channel, trust, transcript.
    mutating func endAssignment(_ end: AssignmentEnd, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard var assignment else { return }
        self.assignment = nil
        prelude = Prelude()
        for kind in [TaskTimer.Kind.award, .channel, .stall, .receipt] { desk.cancel(id, kind) }
        let bill = finalBill(of: assignment, end, desk)
        settle(bill, assignment, end)
        let receipt = assignment.receipt(bill, task: id, isFinal: true, signer: desk.identity, turn.now)
        if let receipt {
            desk.emit(.receiptIssued(receipt))
            transcript.changeLast { $0.receipt = receipt.signed.signature }
        }
        note(end, of: assignment, turn.monotonic)
        dismiss(assignment, end, receipt, &desk)
        let worker = assignment.worker.key
        desk.sellers.ended(worker, wasMet: assignment.wasMet)
        if case .failed(let reason, _) = end, reason != .notAsked {
            losses += 1
            if !desk.isMet(worker) { strangersLost += 1 }
        }
        if isLoss(assignment, end, desk, turn.monotonic) {
            desk.sellers.lost(worker, wasMet: assignment.wasMet, turn.monotonic)
        } else if case .failed(let reason, .gaveUp) = end, reason != .deadlineExceeded {
            desk.sellers.found(worker, turn.monotonic)
        } else if Self.isNoLoss(end, assignment) {
            refusals += 1
            desk.sellers.found(worker, turn.monotonic)
        }
        if let factor = trustLeft(in: assignment, end, desk) {
            desk.blame(worker, factor: factor, turn.now)
        } else {
            desk.praise(worker, wasMet: assignment.wasMet, turn.now)
        }
        noteSpeed(of: assignment, &desk, turn.monotonic)
    }

    /// A worker that sent nothing yet shows how slow it is only once it is late.
    private func noteSpeed(of assignment: Assignment, _ desk: inout AuctionDesk, _ now: MonotonicTime) {
        guard let sample = assignment.speed(now) else { return }
        guard sample.isComplete || assignment.isLate(desk.parameters, now) else { return }
        let worker = assignment.worker.key
        let hasVote = desk.record(of: worker) >= desk.parameters.provenTasks
        desk.speeds.note(sample, of: worker, request.model, hasVote: hasVote)
    }

    private func finalBill(of assignment: Assignment, _ end: AssignmentEnd, _ desk: AuctionDesk) -> Bill {
        let weights = PromptCounts.weights(assignment.bid, model: request.model)
        let bytes = request.body.count + delivery.text.count
        let undisputed = RequestSize.undisputedPrompt(
            tokensIn: assignment.tokensIn, bytes: bytes, features: request.features)
        let promptMax = min(
            RequestSize.promptMax(bytes: bytes),
            max(undisputed, desk.prompts.most(estimate: assignment.tokensIn, weights)))
        switch end {
        case .finished(let finish): return assignment.bill(finish, promptMax: promptMax)
        case .limited: return assignment.bill(promptMax: promptMax)
        case .failed(_, .stopped) where assignment.hasContent: return assignment.bill(promptMax: promptMax)
        case .failed(_, .stopped), .failed(_, .declined), .failed(_, .turnedAway), .failed(_, .gaveUp),
            .failed(_, .broken), .failed(_, .gone):
            return assignment.bill()
        }
    }

    private mutating func settle(_ bill: Bill, _ assignment: Assignment, _ end: AssignmentEnd) {
        let ending: AssignmentEnding
        switch end {
        case .finished, .limited: ending = .finished
        case .failed(let reason, _): ending = reason.ending
        }
        self.bill.add(
            bill, of: assignment.worker.key, continued: assignment.continuedTokens,
            finished: ending == .finished)
        transcript.note(self.bill)
        transcript.changeLast {
            $0.tokens = UInt32(clamping: bill.completion)
            $0.cost = bill.cost
            $0.ended = ending
        }
    }

    /// Keeps why a worker didn't end the answer: for `starling why`, and for the log once another has the task.
    private mutating func note(_ end: AssignmentEnd, of assignment: Assignment, _ now: MonotonicTime) {
        guard case .failed(let reason, let parting) = end else { return }
        let why = self.why(reason, parting, assignment, now)
        transcript.changeLast { $0.why = why }
        guard assignment.isAccepted, reason != .cancelled else { return }
        lastLost = Failover(
            worker: assignment.worker.key, name: assignment.name, reason: reason, why: why,
            tokens: delivery.position.tokens)
    }

    static let saysOtherwise = "it began again and said something else than the client had got"

    /// The only end of its own that is no failure.
    static let saidNothing = "it ended its answer without a word"

    private func why(
        _ reason: Reason, _ parting: Parting, _ assignment: Assignment, _ now: MonotonicTime
    ) -> String {
        let quiet = "\(max(0, (now - assignment.quietSince).milliseconds)) ms"
        switch (reason, parting) {
        case (_, .gaveUp), (_, .turnedAway):
            return lastFail.map { "\($0.code): \($0.message)" } ?? Self.saidNothing
        case (.stalled, .broken): return "nothing came for \(quiet)"
        case (.busy, .stopped): return "its queue moved more slowly than it had said"
        case (.stalled, _): return "no evidence of progress in the time that it promised"
        case (.workerLost, .gone): return "its channel closed"
        case (.workerLost, _) where !assignment.isAccepted: return "its award was not answered for \(quiet)"
        case (.workerLost, _): return "no channel to it opened"
        case (.protocolViolation, _): return "what it sent violates the protocol"
        case (_, .declined): return "it declined the award: \(reason.code)"
        case (.notAsked, _): return "this node's own bounds kept the task from it"
        case (.cancelled, _) where saidOtherwise: return Self.saysOtherwise
        case (.cancelled, _): return "the client left, or its deadline passed"
        default: return reason.code
        }
    }

    /// Tells the worker what it doesn't know yet, and returns the channel to the pool or closes it.
    private func dismiss(
        _ assignment: Assignment, _ end: AssignmentEnd, _ receipt: Verified<Receipt>?,
        _ desk: inout AuctionDesk
    ) {
        guard let channel = assignment.channel else {
            if case .failed(_, .declined) = end { return }
            return release([assignment.worker], attempt: assignment.attempt, score: 0, &desk)
        }
        desk.unassign(channel)
        let (isTold, isHealthy): (Bool, Bool)
        switch end {
        case .finished, .failed(_, .gaveUp), .failed(_, .turnedAway): (isTold, isHealthy) = (true, true)
        case .limited, .failed(_, .stopped), .failed(_, .declined): (isTold, isHealthy) = (false, true)
        case .failed(_, .broken): (isTold, isHealthy) = (false, false)
        case .failed(_, .gone): return
        }
        if !isTold { send(.cancel, on: channel, assignment.attempt, &desk) }
        if let receipt { send(.receipt(receipt.signed), on: channel, assignment.attempt, &desk) }
        desk.emit(isHealthy ? .releaseChannel(channel) : .closeChannel(channel))
    }

    /// Whether the worker took the task and didn't do it, be it without a fault. What it may get at a time depends on that,
    /// and nothing else. What a stranger found of the task itself is a claim: nobody checked it yet.
    private func isLoss(
        _ assignment: Assignment, _ end: AssignmentEnd, _ desk: AuctionDesk, _ now: MonotonicTime
    ) -> Bool {
        if Self.isNoLoss(end, assignment) { return false }
        return switch end {
        case .finished, .failed(_, .declined), .failed(_, .turnedAway), .failed(.notAsked, _): false
        // It went on to the end of its context, where only its own word was a limit.
        case .limited: request.tokensOutMax == nil && assignment.hasAllTokens
        // Clients hang up for reasons of their own; of a seller that is met only what it sends tells.
        case .failed(.cancelled, _):
            !assignment.wasMet && assignment.isLate(desk.parameters, now)
                && !assignment.couldNotBegin(before: deadlineAt)
        // A deadline that it reports is over because our client didn't read.
        case .failed(.deadlineExceeded, .gaveUp): false
        case .failed(.leaving, _), .failed(.busy, _), .failed(.backendDown, _): true
        case .failed(_, .gaveUp): !assignment.wasMet || assignment.hasContent
        case .failed(_, .stopped): true
        case .failed(let reason, .broken), .failed(let reason, .gone): !isDoubtful(reason, assignment, desk)
        }
    }

    /// Whether the task had not begun there: it or its model server had too much to do, or its queue moved too slowly.
    private static func isNoLoss(_ end: AssignmentEnd, _ assignment: Assignment) -> Bool {
        switch end {
        case .failed(_, .turnedAway), .failed(.busy, .stopped): true
        case .failed(.busy, .gaveUp): !assignment.hasContent
        case .finished, .limited, .failed: false
        }
    }

    /// What remains of our trust in the worker, × 1000; nil when it finished, which raises it.
    private func trustLeft(
        in assignment: Assignment, _ end: AssignmentEnd, _ desk: AuctionDesk
    ) -> UInt32? {
        let parameters = desk.parameters
        switch end {
        case .finished: return nil
        // Our count of its tokens may err on either side.
        case .limited: return 1_000
        case .failed(_, .declined): return parameters.trustAfterRefusal
        case .failed(_, .turnedAway): return 1_000
        case .failed(_, .stopped(let trust)), .failed(_, .gaveUp(let trust)): return trust
        case .failed(let reason, .broken), .failed(let reason, .gone):
            if isDoubtful(reason, assignment, desk) { return 1_000 }
            // Whoever said that it dials, and doesn't, holds the task for as long as one that falls silent.
            let hasBegun =
                assignment.isAccepted
                && (assignment.channel != nil || assignment.bid.workerDials || reason == .workerLost)
            return hasBegun ? parameters.trustAfterLoss : parameters.trustAfterRefusal
        }
    }

    /// Whether the worker seems lost only because our own loop ran late.
    private func isDoubtful(_ reason: Reason, _ assignment: Assignment, _ desk: AuctionDesk) -> Bool {
        (reason == .workerLost || reason == .stalled) && desk.isDoubtful(since: assignment.quietSince)
    }

    /// Ends the assignment and continues: with the next bid if this worker never began, else with a new
    /// auction.
    mutating func failAssignment(
        _ reason: Reason, _ parting: Parting, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard let assignment else { return }
        let (worker, hadBegun) = (assignment.worker.key, assignment.isAccepted)
        let wasMet = assignment.wasMet
        let isDoubtful = self.isDoubtful(reason, assignment, desk)
        // It left the award unanswered, and yet other things came from it: it has too much to do.
        let isBusy =
            !hadBegun && reason == .workerLost
            && desk.sellers.wasHeard(worker, since: assignment.awardedAt)
        let parameters = desk.parameters
        let sequence = auction?.offer(of: worker)?.sequence
        endAssignment(.failed(reason, parting), &desk, &turn)
        delivery.dropWhole()
        let wasDeclined: Bool = if case .declined = parting { true } else { false }
        // Nothing was assigned: a refused award is no worker lost, and the next bid is there.
        let wasTurnedAway: Bool = if case .turnedAway = parting { true } else { false }
        if reason == .notAsked || wasDeclined || reason == .busy && !assignment.hasContent && !wasTurnedAway {
            assignments -= 1
        }
        if reason != .notAsked {
            let seemsDead: Bool =
                if case .broken = parting { reason == .workerLost || reason == .stalled } else {
                    reason == .workerLost
                }
            let isSlow: Bool = if case .stopped = parting { reason == .stalled } else { false }
            // Others come first, even if they are only as good as this one.
            if hadBegun { exclusions.readmit() }
            lastReason = reason
            if isSlow, wasMet { leftMet = true }
            if case .turnedAway = parting { turnedAway.append(worker) }
            exclusions.add(
                .init(
                    key: worker, reason: isDoubtful ? .notAsked : isBusy ? .busy : reason,
                    retryAfter: reason.filter == .busy || isDoubtful || isBusy ? parameters.retryMin : nil,
                    isLastResort: isSlow, deadWith: seemsDead ? sequence : nil, deadSince: turn.monotonic))
        }
        if isDoubtful { patience.forgiveOwnBounds(parameters, turn.monotonic) }
        guard hadBegun else {
            guard assignments < parameters.assignmentsMax, losses < parameters.refusalsMax else {
                return failWorkersLost(&desk, turn.monotonic)
            }
            auction?.lostAward(worker, wasAsked: reason != .notAsked)
            return awardBest(&desk, &turn)
        }
        if reason == .notAsked {
            // It stood by its bid, and our own bounds kept the channel back.
            exclusions.add(.init(key: worker, reason: .notAsked, retryAfter: parameters.retryMin))
            patience.forgiveOwnBounds(parameters, turn.monotonic)
            return choose(&desk)
        }
        if reason == .busy, assignment.channel == nil {
            // It stood by its bid and had no room for our channel: nothing began, and we ask again in a moment.
            patience.forgive(parameters, turn.monotonic)
            guard assignments < parameters.assignmentsMax else { return refuse(&desk, turn.now) }
            return choose(&desk)
        }
        goOn(&desk, &turn)
    }

    /// A worker that had begun is gone: another continues, or begins.
    mutating func goOn(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        let parameters = desk.parameters
        failovers += 1
        // Else a model server that is busy for ever would be asked for ever.
        if !hasNextModel, lastReason != .busy || turnedAway.count == 1 {
            patience.renewAfterLoss(parameters, turn.monotonic)
        }
        if delivery.tokensLeft == 0 { return finish(reason: "length", extra: [], &desk, turn.monotonic) }
        if !delivery.isEmpty, !delivery.isResumable { _ = restart(&desk) }
        let canGoOn = request.preferences.allowFallbacks && (delivery.isEmpty || delivery.isResumable)
        guard canGoOn, assignments < parameters.assignmentsMax else {
            return isTheServers ? refuse(&desk, turn.now) : failWorkersLost(&desk, turn.monotonic)
        }
        choose(&desk)
    }
}
