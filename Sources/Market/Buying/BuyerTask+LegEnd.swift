import Primitives
import Wire

/// How a leg ends, what its worker gets, and what follows.
extension BuyerTask {
    /// What becomes of the worker, its channel and its pay.
    enum LegFate {
        case finished(Finish)
        /// By us: the worker is told to stop. Its reading of the prompt is paid if it had begun to answer.
        case cancelled(chargeInput: Bool)
        /// It said so itself; the channel is in order. `trust`: what is left of it × 1000; nil: as after a loss.
        case failed(trust: UInt32?)
        /// It declined the award.
        case refused
        /// Silent or wrong: the channel is closed.
        case broken
        /// The channel is closed already.
        case gone
    }

    /// Ends the running leg: last receipt, cancel, channel, trust, transcript.
    mutating func endLeg(
        _ end: LegTranscript.End, _ fate: LegFate, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard var leg else { return }
        self.leg = nil
        desk.cancel(id, .award, .channel, .stall, .receipt)
        var finish: Finish?
        var input: UInt32?
        if case .finished(let last) = fate { finish = last }
        if case .cancelled(chargeInput: true) = fate, leg.firstDeltaAt != nil { input = request.tokensIn }
        let promptMax = UInt64(request.body.count + delivered.count) + 1_024
        let bill = leg.bill(finish: finish, input: input, promptMax: promptMax)
        settle(end, bill, leg)
        let receipt = leg.receipt(bill, task: id, final: true, signer: desk.identity, turn.now)
        if let receipt {
            desk.emit(.receiptIssued(receipt))
            if !transcript.legs.isEmpty {
                transcript.legs[transcript.legs.count - 1].receipt = receipt.signed.signature
            }
        }
        dismiss(leg, fate, receipt, &desk)
        let factor: UInt32? =
            switch fate {
            case .finished: nil
            case .cancelled: 1_000
            case .failed(let trust): trust ?? desk.parameters.trustAfterLoss
            case .refused: desk.parameters.trustAfterRefusal
            case .broken, .gone:
                leg.accepted ? desk.parameters.trustAfterLoss : desk.parameters.trustAfterRefusal
            }
        desk.sellers.ended(leg.worker.key, factor: factor, turn.monotonic)
    }

    private mutating func settle(_ end: LegTranscript.End, _ bill: Leg.Bill, _ leg: Leg) {
        cost = cost.addingReportingOverflow(bill.cost).overflow ? .max : cost + bill.cost
        transcript.cost = cost
        transcript.completionTokens = transcript.completionTokens &+ UInt32(clamping: bill.completion)
        if bill.prompt > 0 {
            // The text that was continued was prompt to this worker, but not to the client.
            let repeated = UInt64(leg.tokensBefore)
            transcript.promptTokens = UInt32(
                clamping: bill.prompt > repeated ? bill.prompt - repeated : bill.prompt)
            transcript.cachedTokens = min(transcript.promptTokens, UInt32(clamping: bill.cached))
        }
        if bill.completion > 0 || bill.cost > 0 || end == .finished { workers.append(leg.worker.key) }
        guard !transcript.legs.isEmpty else { return }
        let last = transcript.legs.count - 1
        transcript.legs[last].tokens = UInt32(clamping: bill.completion)
        transcript.legs[last].cost = bill.cost
        transcript.legs[last].ended = end
    }

    private func dismiss(
        _ leg: Leg, _ fate: LegFate, _ receipt: Verified<Receipt>?, _ desk: inout AuctionDesk
    ) {
        guard let channel = leg.channel else {
            if case .refused = fate { return }
            let release = Release(task: id, attempt: leg.attempt, winningScore: 0)
            desk.emit(.send(.release(release), to: leg.worker))
            return
        }
        desk.channels[channel] = nil
        if case .gone = fate { return }
        switch fate {
        case .finished, .failed: break
        case .cancelled, .refused, .broken, .gone: send(.cancel, on: channel, leg.attempt, &desk)
        }
        if let receipt { send(.receipt(receipt.signed), on: channel, leg.attempt, &desk) }
        if case .broken = fate {
            desk.emit(.closeChannel(channel))
        } else {
            desk.emit(.releaseChannel(channel))
        }
    }

    /// Ends the leg and goes on: with the next bid if this worker never began, else with a new auction.
    mutating func failLeg(
        _ end: LegTranscript.End, _ reason: ExclusionReason, _ fate: LegFate, _ desk: inout AuctionDesk,
        _ turn: inout Turn
    ) {
        guard let leg else { return }
        endLeg(end, fate, &desk, &turn)
        excluded.removeAll { $0.key == leg.worker.key }
        excluded.append(
            Excluded(
                key: leg.worker.key, reason: reason,
                retryAfter: reason == .busy ? desk.parameters.retryMin : nil))
        answer = []
        guard leg.accepted else {
            guard legs < desk.parameters.legsMax else { return failWorkersLost(&desk, &turn) }
            auction?.markBusy(leg.worker.key)
            return awardBest(&desk, &turn)
        }
        failovers += 1
        waits = 0
        patienceEnds = turn.monotonic + desk.parameters.patienceAfterLoss
        excluded.removeAll { $0.retryAfter != nil }
        if tokensLeft == 0 { return finish(reason: "length", extra: [], &desk, &turn) }
        let canGoOn = request.preferences.allowFallbacks && (deliveredBytes == 0 || isResumable)
        guard canGoOn, legs < desk.parameters.legsMax else { return failWorkersLost(&desk, &turn) }
        choose(&desk, &turn)
    }

    /// Ends the task: its worker is lost and nobody can go on.
    mutating func failWorkersLost(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        let last = transcript.legs.last
        let who =
            last.map { $0.name.isEmpty ? "The node that answered" : $0.name } ?? "The node that answered"
        let tokens = deliveredTokens
        let how = last.map { $0.ended.phrase } ?? "was lost"
        let why: String
        if deliveredBytes > 0 && !isResumable {
            why = "an answer of this kind can't be continued by another node"
        } else if !request.preferences.allowFallbacks {
            why = "the request allows no fallback"
        } else {
            why = "no other node could go on"
        }
        let backend = lastFail.flatMap { $0.code == FailCode.protocolViolation ? nil : $0 }
        let said = backend.map { ": \($0.message)" } ?? ""
        let code: TaskFailure.Code = backend != nil && last?.ended == .failed ? .backendError : .workerLost
        fail(code, "\(who) \(how) after \(tokens) tokens\(said); \(why).", &desk, &turn)
    }
}

extension LegTranscript.End {
    fileprivate var phrase: String {
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
