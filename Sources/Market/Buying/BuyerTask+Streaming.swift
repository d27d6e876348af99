import OpenAIFormat
import Primitives
import Wire

/// The frames of a worker, and what it gets while it works: acknowledged bytes and receipts.
extension BuyerTask {
    /// Takes a frame of the running assignment. Returns false when the frame belongs to nothing that runs.
    mutating func received(
        _ frame: Frame, from key: PublicKey, channel: ChannelID, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) -> Bool {
        guard let running = assignment?.isOf(frame.attempt, key), running else { return false }
        if case .hello = frame.body {
            return assignment?.bid.workerDials == true
                && channelOpened(channel, peer: key, attempt: frame.attempt, &desk, turn.monotonic)
        }
        guard assignment?.channel == channel else { return false }
        switch frame.body {
        case .delta(let delta):
            acceptIfNew(&desk, turn.monotonic)
            take(delta, &desk, &turn)
        case .progress(let progress):
            acceptIfNew(&desk, turn.monotonic)
            assignment?.receive(progress, desk.parameters, turn.monotonic)
            armStall(&desk)
            desk.emit(.client(id, .progress(progress)))
        case .finish(let finish):
            acceptIfNew(&desk, turn.monotonic)
            take(finish, &desk, &turn)
        case .fail(let fail): take(fail, &desk, &turn)
        case .open, .bodyPart, .cancel, .window, .receipt, .hello: return false
        }
        return true
    }

    /// A first frame says as much as the award's answer, which it may have overtaken.
    private mutating func acceptIfNew(_ desk: inout AuctionDesk, _ now: MonotonicTime) {
        if assignment?.isAccepted == false { accept(&desk, now) }
    }

    // MARK: - Deltas

    private mutating func take(_ delta: Delta, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        var said = 0
        // What isn't whole characters would break the one that continues it.
        guard request.kind == .embedding || Self.isText(delta.text) else { return breach(&desk, &turn) }
        if !delta.extra.isEmpty, request.kind != .embedding {
            // The client gets one of the two.
            guard delta.text.isEmpty else { return breach(&desk, &turn) }
            let content = ChoicesContent(
                of: delta.extra, isChat: request.kind == .chat, choices: request.choices)
            guard content != .malformed else { return breach(&desk, &turn) }
            said = content.bytes
        }
        let says = !delta.text.isEmpty || said > 0
        let isFirst = assignment?.hasContent == false
        switch assignment?.receive(delta, said: said, desk.parameters, turn.monotonic) {
        case .violation, nil: return breach(&desk, &turn)
        case .empty: return
        case .part(let part) where isFirst && !says: holdBack(part, &desk, &turn)
        case .part(let part): deliver(part, isFirst: isFirst, &desk, &turn)
        case .last(let part):
            deliver(part, isFirst: isFirst, &desk, &turn)
            endAtLimit(&desk, &turn)
        }
    }

    private static func isText(_ bytes: [UInt8]) -> Bool {
        bytes.allSatisfy { $0 < 0x80 } || String(validating: bytes, as: UTF8.self) != nil
    }

    /// Keeps what says nothing (roles, reasons to end) until something is said: the client must not get it of a
    /// worker that then says nothing at all.
    private mutating func holdBack(_ delta: Delta, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        prelude.append(delta)
        if prelude.bytes > desk.parameters.preludeBytesMax { breach(&desk, &turn) }
    }

    /// The answer has all that the client's limits allow: it ends here, whatever its worker still sends.
    private mutating func endAtLimit(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        // An answer that was too large to collect has ended the assignment.
        guard assignment != nil else { return }
        if delivery.isRepeating { return sayOtherwise(&desk, &turn) }
        endAssignment(.limited, &desk, &turn)
        finish(reason: "length", extra: delivery.takeWhole(), &desk, turn.monotonic)
    }

    private mutating func deliver(
        _ delta: Delta, isFirst: Bool, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        let now = turn.monotonic
        if isFirst {
            firstDelta(now)
            armStall(&desk)
            let held = prelude.deltas
            prelude = Prelude()
            // A client that has a part of the answer has got what it begins with, too.
            for delta in held where !delivery.isRepeating { deliver(delta, isFirst: false, &desk, &turn) }
        }
        guard request.kind != .embedding else { return collect(delta, &desk, &turn) }
        var delta = delta
        guard delivery.takeRepeated(&delta) else { return sayOtherwise(&desk, &turn) }
        guard !delta.text.isEmpty || !delta.extra.isEmpty else {
            // The client has got it already.
            return acknowledge(total: delivery.consumed, &desk, now)
        }
        if delivery.isEmpty, let bid = assignment?.bid {
            delivery.start(with: ModelVersion(digest: bid.digest, quantization: bid.quantization))
        }
        let wasResumable = delivery.isResumable
        let before = delivery.position.tokens
        delivery.append(
            delta, tokens: assignment?.deliveredTokens ?? 0, textMax: desk.parameters.deliveredBytesMax, now)
        if wasResumable { transcript.resume = resume }
        if !delta.text.isEmpty || !delta.extra.isEmpty {
            let tokens = delivery.position.tokens - min(before, delivery.position.tokens)
            desk.emit(.client(id, .delta(text: delta.text, tokens: tokens, extra: delta.extra)))
        }
    }

    /// A worker that began again says something else than the client has got: that can't be taken back.
    private mutating func sayOtherwise(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        delivery.stopRepeating()
        saidOtherwise = true
        failAssignment(.cancelled, .stopped(trust: 1_000), &desk, &turn)
    }

    private mutating func firstDelta(_ now: MonotonicTime) {
        transcript.state = .streaming
        begin(now)
        if let last = delivery.lastAt { transcript.changeLast { $0.gap = now - last } }
    }

    /// Records once when the answer began.
    private mutating func begin(_ now: MonotonicTime) {
        guard transcript.phases.firstToken == nil, let awardedAt = assignment?.awardedAt else { return }
        let accepted = awardedAt + (transcript.phases.award ?? .zero)
        transcript.phases.firstToken = max(.zero, now - accepted)
        delivery.begin(now)
    }

    /// An embedding is delivered whole or not at all: its parts are collected and count as consumed.
    private mutating func collect(_ delta: Delta, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard delivery.collect(delta.text, bytesMax: desk.parameters.answerBytesMax) else {
            return breach(&desk, &turn)
        }
        acknowledge(total: assignment?.receivedTotal ?? 0, &desk, turn.monotonic)
    }

    /// The worker violated the protocol: it is dropped.
    private mutating func breach(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        lastFail = nil
        failAssignment(.protocolViolation, .broken, &desk, &turn)
    }

    // MARK: - Finish and fail

    private mutating func take(_ finish: Finish, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let assignment else { return }
        transcript.changeLast { $0.droppedFields = finish.droppedFields }
        // Only an embedding's answer comes with its end.
        let whole = request.kind == .embedding ? delivery.takeWhole() + finish.extra : []
        // It began again, and ended sooner than before.
        if delivery.isRepeating { return sayOtherwise(&desk, &turn) }
        if delivery.isEmpty, whole.isEmpty {
            lastFail = nil
            return judge(.empty, finish.reason, &desk, &turn)
        }
        if !whole.isEmpty, EmbeddingContent(scanning: whole, inputs: Int(request.choices)) == nil {
            return breach(&desk, &turn)
        }
        let worker = assignment.worker.key
        if transcript.phases.firstToken == nil { firstDelta(turn.monotonic) }
        desk.prompts.learn(
            finish.promptTokens, estimate: assignment.tokensIn,
            PromptCounts.weights(assignment.bid, model: request.model), by: worker)
        let record = desk.record(of: worker)
        endAssignment(.finished(finish), &desk, &turn)
        blameRefuted(by: worker, record: record, context: assignment.bid.context, &desk, turn.now)
        self.finish(reason: finish.reason, extra: whole, &desk, turn.monotonic)
    }

    private mutating func take(_ fail: Fail, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        let reason = Reason(fail)
        // The worker's timer for the task's deadline may be a little earlier than ours.
        if reason == .deadlineExceeded, turn.monotonic + desk.parameters.deadlineSlack >= deadlineAt {
            return deadlinePassed(&desk, &turn)
        }
        lastFail = fail
        switch reason {
        // Our client doesn't read, for which no worker is to blame and no other can do better.
        case .deadlineExceeded where assignment?.isHeldBack(desk.parameters) == true:
            endAssignment(.failed(reason, .gaveUp(trust: 1_000)), &desk, &turn)
            self.fail(reason, fail.message, &desk)
        case .leaving:
            if let worker = assignment?.worker.key, let offer = auction?.offer(of: worker) {
                desk.sellers.left(worker, offer.sequence, turn.monotonic)
            }
            failAssignment(.leaving, .gaveUp(trust: 1_000), &desk, &turn)
        case .busy where fail.code == Fail.busyServer && assignment?.hasContent == false:
            failAssignment(reason, .turnedAway, &desk, &turn)
        case .busy, .backendDown:
            failAssignment(reason, .gaveUp(trust: desk.parameters.trustAfterRefusal), &desk, &turn)
        case .invalidRequest where !fail.anotherMaySucceed, .contextTooSmall where !fail.anotherMaySucceed,
            .contentFilter:
            judge(.failed(reason), fail.message, &desk, &turn)
        default: judge(.failed(.backendError), fail.message, &desk, &turn)
        }
    }

    // MARK: - Silence, window, receipts

    mutating func armStall(_ desk: inout AuctionDesk) {
        if let at = leavesAt(desk.parameters) { desk.set(id, .stall, at: at) }
    }

    /// When the running worker loses the task if nothing comes until then.
    private func leavesAt(_ parameters: MarketParameters) -> MonotonicTime? {
        guard let assignment else { return nil }
        let other = soonestOther(parameters)
        let isStalled = assignment.stallsAt(parameters, canMove: other != nil || hasNextModel)
        let isTooLate = other.flatMap { tooLateAt(assignment, $0, parameters) }
        guard let isStalled, let isTooLate else { return isStalled ?? isTooLate }
        return min(isStalled, isTooLate)
    }

    /// How soon another seller that bid could begin, and end, the task if the running worker lost it; nil: there is none.
    private func soonestOther(_ parameters: MarketParameters) -> (first: Interval, last: Interval)? {
        guard let worker = assignment?.worker.key, request.preferences.allowFallbacks else { return nil }
        guard delivery.isEmpty || delivery.isResumable || !request.streams else { return nil }
        let isEqual = !delivery.isEmpty && request.streams
        if let soonest = auction?.soonest(beside: worker, isEqual: isEqual, parameters) { return soonest }
        // Where chance decides what is said, one that begins again is no place to go for a worker that only pauses.
        guard isEqual, request.greedy, delivery.mayRepeat else { return nil }
        return auction?.soonest(beside: worker, isEqual: true, again: true, parameters)
    }

    /// When a worker that hasn't begun must lose the task, so that another can keep the client's limits: when only the time
    /// that this one needs is left, but not before the worker's own is over. nil: there are no limits, or it can't.
    private func tooLateAt(
        _ assignment: Assignment, _ other: (first: Interval, last: Interval), _ parameters: MarketParameters
    ) -> MonotonicTime? {
        guard !assignment.hasContent, assignment.channel != nil else { return nil }
        var limits = [deadlineAt + (.zero - other.last)]
        if delivery.isEmpty, let most = request.preferences.maxFirstTokenMilliseconds {
            limits.append(startedAt + .milliseconds(Int64(most)) + (.zero - other.first))
        }
        let room = parameters.bidWaitMax + parameters.bidWaitMargin
        return limits.map { $0 + (.zero - room) }.filter { $0 >= assignment.promisedAt }.min()
    }

    /// The timer is lazy: it is set once, and frames that arrived meanwhile move it when it fires.
    mutating func checkStall(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        if assignment?.drips(desk.parameters, turn.monotonic) == true, canMove {
            slowness += 1
            return failAssignment(.stalled, .stopped(trust: 1_000), &desk, &turn)
        }
        guard let assignment, let at = leavesAt(desk.parameters) else { return }
        if at > turn.monotonic {
            desk.set(id, .stall, at: at)
        } else if assignment.isAtFault(desk.parameters, turn.monotonic) {
            failAssignment(.stalled, .broken, &desk, &turn)
        } else if assignment.isQueued {
            // Its queue moves slower than it said: the place is given up for a better one.
            failAssignment(.busy, .stopped(trust: 1_000), &desk, &turn)
        } else {
            slowness += 1
            failAssignment(.stalled, .stopped(trust: 1_000), &desk, &turn)
        }
    }

    /// Whether another seller could go on where the running worker is.
    private var canMove: Bool {
        guard let worker = assignment?.worker.key, request.preferences.allowFallbacks else { return false }
        guard delivery.isEmpty || delivery.isResumable || !request.streams else { return false }
        return auction?.hasEqual(of: worker) ?? false
    }

    mutating func consumed(_ bytes: UInt64, _ desk: inout AuctionDesk, _ now: MonotonicTime) {
        delivery.consume(bytes)
        acknowledge(total: delivery.consumed, &desk, now)
    }

    /// Opens the worker's window by what the client took, if that is worth a frame.
    private mutating func acknowledge(total: UInt64, _ desk: inout AuctionDesk, _ now: MonotonicTime) {
        guard let channel = assignment?.channel,
            let bytes = assignment?.consumed(total: total, desk.parameters, now)
        else { return }
        send(.window(consumed: bytes), on: channel, attempt, &desk)
        armStall(&desk)
    }

    mutating func receiptDue(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let channel = assignment?.channel, let bill = assignment?.bill() else { return }
        if let receipt = assignment?.receipt(bill, task: id, isFinal: false, signer: desk.identity, turn.now)
        {
            send(.receipt(receipt.signed), on: channel, attempt, &desk)
            desk.emit(.receiptIssued(receipt))
        }
        desk.set(id, .receipt, at: turn.monotonic + desk.parameters.receiptInterval)
    }
}
