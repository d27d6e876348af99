import Primitives
import Wire

/// The end of an assignment: what its worker gets, and what follows.
extension BuyerTask {
    enum AssignmentEnd {
        case finished(Finish)
        case failed(Reason, Parting)
    }

    /// How we part with a worker that doesn't finish.
    enum Parting {
        /// We stop it. Reading the prompt is paid if it had begun to answer.
        case stopped
        /// It declined the award.
        case declined
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
        for kind in [TaskTimer.Kind.award, .channel, .stall, .receipt] { desk.cancel(id, kind) }
        let bill = finalBill(of: assignment, end)
        settle(bill, assignment, end)
        let receipt = assignment.receipt(bill, task: id, isFinal: true, signer: desk.identity, turn.now)
        if let receipt {
            desk.emit(.receiptIssued(receipt))
            transcript.changeLast { $0.receipt = receipt.signed.signature }
        }
        dismiss(assignment, end, receipt, &desk)
        let trust = trustLeft(in: assignment, end, desk.parameters)
        desk.sellers.ended(assignment.worker.key, factor: trust, turn.monotonic)
    }

    private func finalBill(of assignment: Assignment, _ end: AssignmentEnd) -> Bill {
        let promptMax = UInt64(request.body.count + delivery.text.count) + 1_024
        switch end {
        case .finished(let finish): return assignment.bill(finish, promptMax: promptMax)
        case .failed(_, .stopped) where assignment.hasDelta:
            return assignment.bill(input: request.tokensIn, promptMax: promptMax)
        case .failed(_, .stopped), .failed(_, .declined), .failed(_, .gaveUp), .failed(_, .broken),
            .failed(_, .gone):
            return assignment.bill()
        }
    }

    private mutating func settle(_ bill: Bill, _ assignment: Assignment, _ end: AssignmentEnd) {
        let ending: AssignmentEnding
        switch end {
        case .finished: ending = .finished
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
        case .finished, .failed(_, .gaveUp): (isTold, isHealthy) = (true, true)
        case .failed(_, .stopped), .failed(_, .declined): (isTold, isHealthy) = (false, true)
        case .failed(_, .broken): (isTold, isHealthy) = (false, false)
        case .failed(_, .gone): return
        }
        if !isTold { send(.cancel, on: channel, assignment.attempt, &desk) }
        if let receipt { send(.receipt(receipt.signed), on: channel, assignment.attempt, &desk) }
        desk.emit(isHealthy ? .releaseChannel(channel) : .closeChannel(channel))
    }

    /// What remains of our trust in the worker, × 1000; nil when it finished, which raises it.
    private func trustLeft(
        in assignment: Assignment, _ end: AssignmentEnd, _ parameters: MarketParameters
    ) -> UInt32? {
        switch end {
        case .finished: nil
        case .failed(_, .stopped): 1_000
        case .failed(_, .declined): parameters.trustAfterRefusal
        case .failed(_, .gaveUp(let trust)): trust
        case .failed(_, .broken), .failed(_, .gone):
            assignment.isAccepted ? parameters.trustAfterLoss : parameters.trustAfterRefusal
        }
    }

    /// Ends the assignment and continues: with the next bid if this worker never began, else with a new
    /// auction.
    mutating func failAssignment(
        _ reason: Reason, _ parting: Parting, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard let worker = assignment?.worker.key, let hadBegun = assignment?.isAccepted else { return }
        let parameters = desk.parameters
        endAssignment(.failed(reason, parting), &desk, &turn)
        exclusions.add(
            .init(
                key: worker, reason: reason, retryAfter: reason.filter == .busy ? parameters.retryMin : nil))
        delivery.dropWhole()
        guard hadBegun else {
            guard assignments < parameters.assignmentsMax else { return failWorkersLost(&desk) }
            auction?.markBusy(worker)
            return awardBest(&desk, &turn)
        }
        failovers += 1
        patience.renewAfterLoss(parameters, turn.monotonic)
        exclusions.readmit()
        if delivery.tokensLeft == 0 { return finish(reason: "length", extra: [], &desk, turn.monotonic) }
        let canGoOn = request.preferences.allowFallbacks && (delivery.isEmpty || delivery.isResumable)
        guard canGoOn, assignments < parameters.assignmentsMax else { return failWorkersLost(&desk) }
        choose(&desk)
    }
}
