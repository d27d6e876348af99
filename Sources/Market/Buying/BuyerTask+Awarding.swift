import Primitives
import Wire

/// From the award until the worker stands by its bid and has a channel.
extension BuyerTask {
    mutating func award(_ winner: Auction.Winner, _ desk: inout AuctionDesk, _ now: MonotonicTime) {
        let worker = winner.address
        let workerDials = winner.bid.workerDials
        enter(.awarding)
        delivery.repeatAll()
        let tokens = request.kind == .embedding ? nil : tokensLeft(within: winner.bid.context, desk)
        let limits = Assignment.Limits(tokens: tokens, cost: costLeft)
        assignment = Assignment(
            attempt: attempt, winner: winner, kind: request.kind, tokensIn: calledTokensIn,
            start: delivery.start, limits: limits,
            belief: belief(in: worker.key, desk),
            slowness: slowness,
            desk.parameters, now: now)
        assignments += 1
        transcript.assignments.append(
            AssignmentTranscript(
                attempt: attempt, worker: worker.key, name: winner.name, fromToken: delivery.start.tokens))
        desk.awarded(worker.key, now)
        let award = Award(task: id, attempt: attempt, workerDials: workerDials)
        desk.request(.award, .award(award), task: id, attempt: attempt, to: worker, now)
        // A worker that dials is only waited for: its Hello arrives as a frame.
        if !workerDials { desk.emit(.openChannel(id, attempt: attempt, to: worker)) }
        desk.set(id, .award, at: now + awardWait(worker.key, desk))
        desk.set(id, .channel, at: now + desk.parameters.channelWait)
        if let losers = auction?.losersToRelease() {
            release(losers, attempt: attempt, score: auction?.winningScore ?? 0, &desk)
        }
    }

    /// What the client's limit leaves, and what the worker's context can hold: no honest answer is longer.
    private func tokensLeft(within context: UInt32, _ desk: AuctionDesk) -> UInt32 {
        let most = desk.parameters.answerTokensMax
        let each = context == 0 ? most : min(context, most)
        let all = UInt32(clamping: UInt64(each) * UInt64(max(1, request.choices)))
        let left = all - min(delivery.start.tokens, all)
        return max(1, min(left, delivery.tokensLeft ?? left))
    }

    func belief(in worker: PublicKey, _ desk: AuctionDesk) -> StallClock.Belief {
        if desk.isMet(worker) { return .met(desk.sellers.window(worker) - 1) }
        // A client that names a seller wants it, however slow it is.
        let isNamed = request.preferences.order.contains(worker)
        return couldAskMet && !isNamed ? .replaceable : .stranger
    }

    private func awardWait(_ key: PublicKey, _ desk: AuctionDesk) -> Interval {
        let parameters = desk.parameters
        guard let reply = desk.sellers.replyTime(key) else { return parameters.awardWaitMax }
        return max(parameters.awardWaitMin, min(parameters.awardWaitMax, reply * 4 + .milliseconds(100)))
    }

    // MARK: - The award's answer

    /// Whether this worker's answer to its award is awaited.
    private func awaitsAward(_ attempt: UInt32, _ key: PublicKey) -> Bool {
        assignment?.isOf(attempt, key) == true && assignment?.isAccepted == false
    }

    mutating func awardAnswered(
        _ message: MarketMessage?, from key: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk,
        _ turn: inout Turn
    ) {
        guard awaitsAward(attempt, key) else { return }
        var refusal: Reason? = .busy
        if case .awardReply(let reply) = message, reply.task == id, reply.attempt == attempt {
            refusal = Reason(reply.status)
        }
        if let refusal {
            failAssignment(refusal, .declined, &desk, &turn)
        } else {
            accept(&desk, turn.monotonic)
        }
    }

    mutating func awardUnanswered(
        _ key: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        if awaitsAward(attempt, key) { failAssignment(.workerLost, .broken, &desk, &turn) }
    }

    /// Our own bounds kept the award from the winner: the next bid is awarded, and nobody is blamed.
    mutating func awardNotSent(
        _ key: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        if awaitsAward(attempt, key) { failAssignment(.notAsked, .stopped(trust: 1_000), &desk, &turn) }
    }

    mutating func awardTimedOut(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        if assignment?.isAccepted == false { failAssignment(.workerLost, .broken, &desk, &turn) }
    }

    /// The worker stands by its bid, according to the award's answer or its first frame.
    mutating func accept(_ desk: inout AuctionDesk, _ now: MonotonicTime) {
        assignment?.accept()
        guard let assignment else { return }
        enter(.streaming)
        desk.cancel(id, .award)
        if transcript.phases.award == nil { transcript.phases.award = now - assignment.awardedAt }
        let phases = transcript.phases
        let bid = assignment.bid
        let summary = AwardSummary(
            attempt: assignment.attempt, worker: assignment.worker.key, workerName: assignment.name,
            quantization: bid.quantization, digest: bid.digest, price: bid.price, known: survey.known,
            asked: asked.count, bids: bids, choose: phases.choose ?? .zero, collect: phases.collect ?? .zero,
            award: phases.award ?? .zero, resume: resume, model: request.model, after: lastLost)
        lastLost = nil
        desk.emit(.client(id, .awarded(summary)))
    }

    // MARK: - The channel

    private func awaitsChannel(_ attempt: UInt32, _ key: PublicKey) -> Bool {
        assignment?.isOf(attempt, key) == true && assignment?.channel == nil
    }

    /// Sends the task. Returns false when this channel is no longer awaited.
    mutating func channelOpened(
        _ channel: ChannelID, peer: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk,
        _ now: MonotonicTime
    ) -> Bool {
        guard awaitsChannel(attempt, peer) else { return false }
        assignment?.opened(channel, now)
        desk.assign(channel, to: id)
        desk.cancel(id, .channel)
        sendRequest(on: channel, &desk, now)
        armStall(&desk)
        desk.set(id, .receipt, at: now + desk.parameters.receiptInterval)
        return true
    }

    private func sendRequest(on channel: ChannelID, _ desk: inout AuctionDesk, _ now: MonotonicTime) {
        let continued = delivery.textToContinue
        let left = UInt32(clamping: max(.milliseconds(1), deadlineAt - now).milliseconds)
        let open = TaskOpen(
            kind: request.kind, bodyBytes: UInt32(clamping: request.body.count),
            maxTokens: delivery.tokensLeftEach ?? 0, deliveredBytes: UInt32(clamping: continued.count),
            windowBytes: UInt32(clamping: desk.parameters.windowBytes), deadlineMilliseconds: left)
        send(.open(open), on: channel, attempt, &desk)
        let size = max(1, desk.parameters.bodyPartBytes)
        for part in [continued, request.body] {
            for start in stride(from: 0, to: part.count, by: size) {
                let bytes = Array(part[start..<min(start + size, part.count)])
                send(.bodyPart(bytes), on: channel, attempt, &desk)
            }
        }
    }

    mutating func channelFailed(
        peer: PublicKey, attempt: UInt32, wasTried: Bool, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard awaitsChannel(attempt, peer), let awardedAt = assignment?.awardedAt else { return }
        if !wasTried {
            failAssignment(.notAsked, .stopped(trust: 1_000), &desk, &turn)
        } else if desk.sellers.wasHeard(peer, since: awardedAt) {
            // It lives: its bounds refused the connection.
            failAssignment(.busy, .broken, &desk, &turn)
        } else {
            failAssignment(.workerLost, .broken, &desk, &turn)
        }
    }

    mutating func channelTimedOut(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let assignment, assignment.channel == nil else { return }
        failAssignment(.workerLost, .broken, &desk, &turn)
    }

    mutating func channelClosed(
        _ channel: ChannelID, byUs: Bool, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard let assignment, assignment.channel == channel else { return }
        if byUs {
            failAssignment(.notAsked, .stopped(trust: 1_000), &desk, &turn)
        } else {
            failAssignment(.workerLost, .gone, &desk, &turn)
        }
    }

    func send(_ body: FrameBody, on channel: ChannelID, _ attempt: UInt32, _ desk: inout AuctionDesk) {
        desk.emit(.sendFrame(channel: channel, Frame(task: id, attempt: attempt, body: body)))
    }

    /// Our own loop stood still. Everything that the worker sent meanwhile has been read, so its silence
    /// counts from now.
    mutating func forgiveSilence(_ desk: inout AuctionDesk, _ now: MonotonicTime) {
        if stage == .calling {
            auction?.forgiveSilence(now)
            if let auction { desk.set(id, .bids, at: auction.closesAt) }
        }
        assignment?.forgiveSilence(now)
        guard let assignment else { return }
        if !assignment.isAccepted { desk.set(id, .award, at: now + awardWait(assignment.worker.key, desk)) }
        if assignment.channel == nil { desk.set(id, .channel, at: now + desk.parameters.channelWait) }
        armStall(&desk)
    }
}
