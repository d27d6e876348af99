import Primitives
import Wire

/// From the award to the leg's last frame, and on to the next leg if it breaks.
extension BuyerTask {
    // MARK: - Award and channel

    mutating func awardAnswered(
        _ message: MarketMessage?, from key: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk,
        _ turn: inout Turn
    ) {
        guard let leg, leg.worker.key == key, leg.attempt == attempt, !leg.accepted else { return }
        if case .awardReply(let reply) = message, reply.task == id, reply.attempt == attempt,
            reply.status == .accepted
        {
            accept(&desk, &turn)
        } else {
            failLeg(.refused, .busy, .refused, &desk, &turn)
        }
    }

    mutating func awardUnanswered(
        _ key: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard let leg, leg.worker.key == key, leg.attempt == attempt, !leg.accepted else { return }
        failLeg(.lost, .unreachable, .broken, &desk, &turn)
    }

    mutating func awardTimedOut(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let leg, !leg.accepted else { return }
        failLeg(.lost, .unreachable, .broken, &desk, &turn)
    }

    mutating func channelTimedOut(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let leg, leg.channel == nil else { return }
        failLeg(.lost, .unreachable, .broken, &desk, &turn)
    }

    private mutating func accept(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let leg else { return }
        self.leg?.accepted = true
        stage = .streaming
        transcript.state = .awarded
        desk.cancel(id, .award)
        let now = turn.monotonic
        if transcript.phases.award == nil { transcript.phases.award = now - leg.awardedAt }
        let phases = transcript.phases
        desk.emit(
            .client(
                id,
                .awarded(
                    AwardSummary(
                        attempt: leg.attempt, worker: leg.worker.key, workerName: leg.name,
                        quantization: leg.bid.quantization, digest: leg.bid.digest, price: leg.bid.price,
                        known: survey.known, asked: asked.count, bids: bids, choose: phases.choose ?? .zero,
                        collect: phases.collect ?? .zero, award: phases.award ?? .zero, resume: resume))))
    }

    /// Sends the task; false when this channel isn't awaited any more.
    mutating func channelOpened(
        _ channel: ChannelID, peer: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) -> Bool {
        guard let leg, leg.worker.key == peer, leg.attempt == attempt, leg.channel == nil else {
            return false
        }
        let now = turn.monotonic
        self.leg?.opened(channel: channel, now)
        desk.channels[channel] = id
        desk.cancel(id, .channel)
        let continued = deliveredBytes > 0 ? delivered : []
        let left = UInt32(clamping: max(.milliseconds(1), deadlineAt - now).milliseconds)
        let open = TaskOpen(
            kind: request.kind, bodyBytes: UInt32(clamping: request.body.count), maxTokens: tokensLeft ?? 0,
            deliveredBytes: UInt32(clamping: continued.count),
            windowBytes: UInt32(clamping: desk.parameters.windowBytes),
            deadlineMilliseconds: left)
        send(.open(open), on: channel, attempt, &desk)
        let size = max(1, desk.parameters.bodyPartBytes)
        for part in [continued, request.body] {
            for start in stride(from: 0, to: part.count, by: size) {
                send(
                    .bodyPart(Array(part[start..<min(start + size, part.count)])), on: channel, attempt, &desk
                )
            }
        }
        armStall(&desk)
        desk.set(id, .receipt, at: now + desk.parameters.receiptInterval)
        return true
    }

    mutating func channelFailed(
        peer: PublicKey, attempt: UInt32, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard let leg, leg.worker.key == peer, leg.attempt == attempt, leg.channel == nil else { return }
        failLeg(.lost, .unreachable, .broken, &desk, &turn)
    }

    mutating func channelClosed(_ channel: ChannelID, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let leg, leg.channel == channel else { return }
        failLeg(.lost, .unreachable, .gone, &desk, &turn)
    }

    func send(_ body: FrameBody, on channel: ChannelID, _ attempt: UInt32, _ desk: inout AuctionDesk) {
        desk.emit(.sendFrame(channel: channel, Frame(task: id, attempt: attempt, body: body)))
    }

    // MARK: - Frames

    /// Takes a frame of the running leg; false: it belongs to nothing that runs.
    mutating func received(
        _ frame: Frame, from key: PublicKey, channel: ChannelID, _ desk: inout AuctionDesk, _ turn: inout Turn
    )
        -> Bool
    {
        guard let leg, leg.attempt == frame.attempt, leg.worker.key == key else { return false }
        if case .hello = frame.body {
            return leg.workerDials && channelOpened(channel, peer: key, attempt: frame.attempt, &desk, &turn)
        }
        guard leg.channel == channel else { return false }
        switch frame.body {
        case .delta(let delta):
            if !leg.accepted { accept(&desk, &turn) }
            take(delta, &desk, &turn)
        case .progress(let progress):
            if !leg.accepted { accept(&desk, &turn) }
            self.leg?.receive(progress, turn.monotonic)
            armStall(&desk)
            desk.emit(.client(id, .progress(progress.phase)))
        case .finish(let finish):
            if !leg.accepted { accept(&desk, &turn) }
            take(finish, &desk, &turn)
        case .fail(let fail): take(fail, &desk, &turn)
        case .open, .bodyPart, .cancel, .credit, .receipt, .hello: return false
        }
        return true
    }

    private mutating func take(_ delta: Delta, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        let now = turn.monotonic
        let first = leg?.firstDeltaAt == nil
        switch leg?.receive(delta, desk.parameters, now) ?? .good {
        case .good: break
        case .violation(let what): return breach(what, &desk, &turn)
        }
        if first { firstDelta(now) }
        if first { armStall(&desk) }
        guard request.kind != .embedding else { return takeAnswer(delta, &desk, &turn) }
        let bytes = UInt64(delta.text.count + delta.extra.count)
        if bytes > 0, deliveredBytes == 0, let bid = leg?.bid {
            version = ModelVersion(digest: bid.digest, quantization: bid.quantization)
        }
        deliveredBytes += bytes
        deliveredTokens = (leg?.tokensBefore ?? 0) &+ (leg?.tokens ?? 0)
        lastDeliveryAt = now
        keep(delta, desk.parameters)
        if bytes > 0 {
            desk.emit(.client(id, .delta(text: delta.text, tokens: delta.tokens, extra: delta.extra)))
        }
    }

    private mutating func firstDelta(_ now: MonotonicTime) {
        transcript.state = .streaming
        if transcript.phases.firstToken == nil, let leg {
            let awarded = leg.awardedAt + (transcript.phases.award ?? .zero)
            transcript.phases.firstToken = max(.zero, now - awarded)
            streamStart = now
        }
        if let lastDeliveryAt, !transcript.legs.isEmpty {
            transcript.legs[transcript.legs.count - 1].gap = now - lastDeliveryAt
        }
    }

    /// Keeps the text while another worker could continue it.
    private mutating func keep(_ delta: Delta, _ parameters: MarketParameters) {
        guard isResumable else { return }
        if delta.extra.isEmpty && delivered.count + delta.text.count <= parameters.deliveredBytesMax {
            delivered += delta.text
        } else {
            isResumable = false
            delivered = []
        }
        transcript.resume = resume
    }

    /// An embedding is whole or nothing: its parts are collected and count as consumed.
    private mutating func takeAnswer(_ delta: Delta, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard answer.count + delta.text.count <= desk.parameters.answerBytesMax else {
            return breach("an answer over \(desk.parameters.answerBytesMax) bytes", &desk, &turn)
        }
        answer += delta.text
        creditLeg(total: leg.map { $0.bytesBefore + $0.received } ?? 0, &desk, &turn)
    }

    private mutating func take(_ finish: Finish, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        if transcript.phases.firstToken == nil { firstDelta(turn.monotonic) }
        if !transcript.legs.isEmpty {
            transcript.legs[transcript.legs.count - 1].droppedFields = finish.droppedFields
        }
        endLeg(.finished, .finished(finish), &desk, &turn)
        let extra = answer + finish.extra
        answer = []
        self.finish(reason: finish.reason, extra: extra, &desk, &turn)
    }

    private mutating func take(_ fail: Fail, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        // The worker's timer for the task's deadline may be a little earlier than ours.
        if fail.code == FailCode.deadlineExceeded,
            turn.monotonic + desk.parameters.deadlineSlack >= deadlineAt
        {
            return deadlinePassed(&desk, &turn)
        }
        lastFail = fail
        if fail.anotherMaySucceed {
            switch fail.code {
            case FailCode.leaving: failLeg(.left, .unreachable, .failed(trust: 1_000), &desk, &turn)
            case FailCode.busy:
                failLeg(.refused, .busy, .failed(trust: desk.parameters.trustAfterRefusal), &desk, &turn)
            default:
                // It began and failed: a loss of the worker, also where its award's answer is still on the way.
                self.leg?.accepted = true
                failLeg(.failed, .unreachable, .failed(trust: nil), &desk, &turn)
            }
            return
        }
        endLeg(.failed, .failed(trust: 1_000), &desk, &turn)
        let code: TaskFailure.Code =
            switch fail.code {
            case FailCode.invalidRequest: .invalidRequest
            case FailCode.contextLengthExceeded: .contextLengthExceeded
            default: .backendError
            }
        self.fail(code, fail.message, &desk, &turn)
    }

    private mutating func breach(_ what: String, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        lastFail = Fail(code: FailCode.protocolViolation, message: what, anotherMaySucceed: true)
        failLeg(.failed, .untrusted, .broken, &desk, &turn)
    }

    // MARK: - Silence, credit, receipts

    mutating func armStall(_ desk: inout AuctionDesk) {
        guard let leg, leg.channel != nil, let at = leg.stallsAt(desk.parameters) else { return }
        desk.set(id, .stall, at: at)
    }

    /// Timers are lazy: one is set, and what came meanwhile moves it when it fires.
    mutating func checkStall(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let leg, leg.channel != nil, let at = leg.stallsAt(desk.parameters) else { return }
        if at > turn.monotonic {
            desk.set(id, .stall, at: at)
        } else {
            failLeg(.stalled, .unreachable, .broken, &desk, &turn)
        }
    }

    /// Our own loop stood still: what the worker sent meanwhile has been read, so its silence counts from now.
    mutating func forgiveSilence(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        let now = turn.monotonic
        guard let leg else { return }
        self.leg?.restartSilence(now)
        if !leg.accepted { desk.set(id, .award, at: now + awardWait(leg.worker.key, desk)) }
        if leg.channel == nil { desk.set(id, .channel, at: now + desk.parameters.channelWait) }
        armStall(&desk)
    }

    mutating func consumed(_ bytes: UInt64, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        consumedBytes += min(bytes, deliveredBytes - consumedBytes)
        creditLeg(total: consumedBytes, &desk, &turn)
    }

    private mutating func creditLeg(total: UInt64, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let channel = leg?.channel, let attempt = leg?.attempt,
            let credit = leg?.consumed(total: total, desk.parameters, turn.monotonic)
        else { return }
        send(.credit(consumed: credit), on: channel, attempt, &desk)
        armStall(&desk)
    }

    mutating func receiptDue(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let leg, let channel = leg.channel else { return }
        let bill = leg.bill(finish: nil, input: nil, promptMax: 0)
        if let receipt = self.leg?.receipt(bill, task: id, final: false, signer: desk.identity, turn.now) {
            send(.receipt(receipt.signed), on: channel, leg.attempt, &desk)
            desk.emit(.receiptIssued(receipt))
        }
        desk.set(id, .receipt, at: turn.monotonic + desk.parameters.receiptInterval)
    }
}

/// The codes of `Fail` that machines act upon; others are for people.
public enum FailCode {
    public static let busy = "busy"
    public static let leaving = "leaving"
    public static let invalidRequest = "invalid_request"
    public static let contextLengthExceeded = "context_length_exceeded"
    public static let backendError = "backend_error"
    public static let deadlineExceeded = "deadline_exceeded"
    /// Never on the wire: what we found wrong ourselves.
    static let protocolViolation = "protocol_violation"
}
