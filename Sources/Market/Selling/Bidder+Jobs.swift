import Primitives
import Wire

/// From the task's first frame to the last receipt.
extension Bidder {
    // MARK: - Channels

    /// The answer to `openChannel`: our Hello says which award this channel is for.
    public mutating func channelOpened(
        _ task: TaskID, attempt: UInt32, channel: UInt64, peer: PublicKey, now: Now, out: inout [BidderAction]
    ) {
        let key = HoldKey(buyer: peer, task: task, attempt: attempt)
        guard let hold = holds[key], hold.state == .leased, hold.dialled == nil, channels[channel] == nil
        else {
            out.append(.releaseChannel(channel))
            return
        }
        holds.change(key) { $0.dialled = channel }
        channels[channel] = key
        out.append(.sendFrame(channel: channel, Frame(task: task, attempt: attempt, body: .hello)))
    }

    public mutating func channelFailed(
        _ task: TaskID, attempt: UInt32, peer: PublicKey, now: Now, out: inout [BidderAction]
    ) {
        let key = HoldKey(buyer: peer, task: task, attempt: attempt)
        if let hold = holds[key], hold.state == .leased { dropHold(key, revivable: false, &out) }
    }

    /// The channel ended: so does what it carried.
    public mutating func channelClosed(_ channel: UInt64, now: Now, out: inout [BidderAction]) {
        guard let key = channels.removeValue(forKey: channel), let hold = holds[key] else { return }
        holds.change(key) { $0.dialled = nil }
        if case .running(let id) = hold.state {
            cancelJob(id, &out)
        } else {
            dropHold(key, revivable: false, &out)
        }
    }

    /// A frame from a buyer: open, body part, cancel, credit or receipt. What belongs to nothing is ignored, but a
    /// task that can't be taken is told so.
    public mutating func received(
        _ frame: Frame, from buyer: PublicKey, channel: UInt64, now: Now, out: inout [BidderAction]
    ) {
        let key = HoldKey(buyer: buyer, task: frame.task, attempt: frame.attempt)
        if case .open(let open) = frame.body { return opened(open, key, channel, now.monotonic, &out) }
        if case .receipt(let signed) = frame.body { return received(signed, key, now, &out) }
        guard case .running(let id) = holds[key]?.state, jobs[id]?.channel == channel else { return }
        switch frame.body {
        case .bodyPart(let bytes): add(bytes, to: id, now.monotonic, &out)
        case .cancel: cancelJob(id, &out)
        case .credit(let consumed):
            jobs[id]?.credit(consumed)
            steer(id, &out)
        case .open, .receipt, .delta, .progress, .finish, .fail, .hello: break
        }
    }

    private mutating func opened(
        _ open: TaskOpen, _ key: HoldKey, _ channel: UInt64, _ now: MonotonicTime, _ out: inout [BidderAction]
    ) {
        if case .running = holds[key]?.state { return }
        let refuse = { (reason: Reason, message: String, another: Bool) in
            let fail = Fail(reason, message, anotherMaySucceed: another)
            return BidderAction.sendFrame(
                channel: channel, Frame(task: key.task, attempt: key.attempt, body: .fail(fail)))
        }
        guard Int(open.bodyBytes) <= parameters.bodyBytesMax,
            Int(open.deliveredBytes) <= parameters.bodyBytesMax,
            open.kind != .unspecified
        else {
            out.append(refuse(.invalidRequest, "The request is too large or of no kind.", false))
            return dropHold(key, revivable: false, &out)
        }
        // The frame comes authenticated from the buyer, so it says as much as the award that it may have overtaken.
        let other = channels[channel].map { $0 != key } ?? false
        guard !other, holds[key] != nil || holds.past(key) != nil, lease(key, now), let hold = holds[key]
        else {
            out.append(refuse(.busy, "No slot is free.", true))
            return
        }
        let id = nextJob
        nextJob += 1
        let job = RunningJob(
            id: id, key: key, channel: channel, model: hold.model, open: open, parameters: parameters,
            now: now)
        holds.change(key) { $0.state = .running(job: id) }
        channels[channel] = key
        timers.cancel(.hold(key))
        timers.set(.body(id), at: now + parameters.bodyWait)
        timers.set(.deadline(id), at: job.deadlineAt)
        timers.set(.progress(id), at: now + parameters.progressInterval)
        jobs[id] = job
        startIfComplete(id, now, &out)
    }

    private mutating func add(
        _ bytes: [UInt8], to id: UInt64, _ now: MonotonicTime, _ out: inout [BidderAction]
    ) {
        guard jobs[id]?.add(bytes) ?? false else {
            let message = "The request is longer than announced."
            return failJob(
                id, Fail(.invalidRequest, message, anotherMaySucceed: false), &out)
        }
        startIfComplete(id, now, &out)
    }

    private mutating func startIfComplete(_ id: UInt64, _ now: MonotonicTime, _ out: inout [BidderAction]) {
        guard jobs[id]?.isComplete == true, jobs[id]?.started == false, let job = jobs[id]?.start(now) else {
            return
        }
        timers.cancel(.body(id))
        out.append(.startJob(job))
    }

    // MARK: - What the driver reports

    public mutating func jobEvent(_ id: UInt64, _ event: JobEvent, now: Now, out: inout [BidderAction]) {
        guard let job = jobs[id] else { return }
        switch event {
        case .phase(let phase): jobs[id]?.note(phase)
        case .produced(let text, let tokens, let extra): deliver(text, tokens, extra, id, now.monotonic, &out)
        case .finished(var finish):
            if finish.extra.count > parameters.deltaBytes {
                deliver(finish.extra, 0, [], id, now.monotonic, &out)
                finish.extra = []
            }
            out.append(.sendFrame(channel: job.channel, job.frame(.finish(finish))))
            record.finished &+= 1
            endJob(id, &out)
        case .failed(let fail):
            out.append(.sendFrame(channel: job.channel, job.frame(.fail(fail))))
            record.failed &+= 1
            endJob(id, &out)
        }
    }

    private mutating func deliver(
        _ text: [UInt8], _ tokens: UInt32, _ extra: [UInt8], _ id: UInt64, _ now: MonotonicTime,
        _ out: inout [BidderAction]
    ) {
        guard let job = jobs[id] else { return }
        guard let deltas = jobs[id]?.deltas(text, tokens, extra, most: parameters.deltaBytes, now) else {
            let message = "The backend's answer does not fit a frame."
            return failJob(
                id, Fail(.backendError, message, anotherMaySucceed: false), &out)
        }
        for delta in deltas { out.append(.sendFrame(channel: job.channel, job.frame(.delta(delta)))) }
        steer(id, &out)
    }

    private mutating func steer(_ id: UInt64, _ out: inout [BidderAction]) {
        switch jobs[id]?.flow() ?? .same {
        case .pause: out.append(.pauseJob(id))
        case .resume: out.append(.resumeJob(id))
        case .same: break
        }
    }

    // MARK: - Timers

    /// Half a second without a frame: says that the worker lives, and what it does.
    mutating func progressDue(_ id: UInt64, _ now: MonotonicTime, _ out: inout [BidderAction]) {
        guard let job = jobs[id] else { return }
        var next = job.lastFrameAt + parameters.progressInterval
        if next <= now {
            let progress = Progress(phase: job.phase, tokens: job.tokens)
            out.append(.sendFrame(channel: job.channel, job.frame(.progress(progress))))
            jobs[id]?.lastFrameAt = now
            next = now + parameters.progressInterval
        }
        timers.set(.progress(id), at: next)
    }

    mutating func bodyDue(_ id: UInt64, _ out: inout [BidderAction]) {
        guard jobs[id]?.started == false else { return }
        let message = "The request did not arrive in time."
        failJob(id, Fail(.invalidRequest, message, anotherMaySucceed: true), &out)
    }

    mutating func deadlineDue(_ id: UInt64, _ out: inout [BidderAction]) {
        let fail = Fail(.deadlineExceeded, "The task's deadline passed.", anotherMaySucceed: false)
        failJob(id, fail, &out)
    }

    // MARK: - Ends

    /// Stops the backend and tells the buyer why.
    mutating func failJob(_ id: UInt64, _ fail: Fail, _ out: inout [BidderAction]) {
        guard let job = jobs[id] else { return }
        if job.started { out.append(.cancelJob(id)) }
        out.append(.sendFrame(channel: job.channel, job.frame(.fail(fail))))
        record.failed &+= 1
        endJob(id, &out)
    }

    /// The buyer doesn't want it any more, or is gone.
    mutating func cancelJob(_ id: UInt64, _ out: inout [BidderAction]) {
        guard let job = jobs[id] else { return }
        if job.started { out.append(.cancelJob(id)) }
        record.cancelled &+= 1
        endJob(id, &out)
    }

    /// The one place where a job ends: slot, channel and timers are given back.
    private mutating func endJob(_ id: UInt64, _ out: inout [BidderAction]) {
        guard let job = jobs.removeValue(forKey: id) else { return }
        for timer in [Timer.body(id), .deadline(id), .progress(id)] { timers.cancel(timer) }
        channels[job.channel] = nil
        dropHold(job.key, revivable: false, &out)
    }

    // MARK: - Receipts

    private mutating func received(
        _ signed: SignedRecord, _ key: HoldKey, _ now: Now, _ out: inout [BidderAction]
    ) {
        let least = parameters.progressInterval / 4
        guard let track = holds.track(key), let claim = try? Receipt(decoding: signed.body),
            claim.task == key.task, claim.attempt == key.attempt, claim.buyer == key.buyer,
            claim.worker == identity.publicKey, track.wants(claim, least: least, now.monotonic),
            let receipt = try? Verified<Receipt>(checking: signed)
        else { return }
        holds.accepted(key, receipt.record, now.monotonic)
        if claim.final && (claim.completionTokens > 0 || claim.cost > 0) { holds.becameKnown(key.buyer) }
        out.append(.receiptAccepted(receipt))
    }
}

extension RunningJob {
    func frame(_ body: FrameBody) -> Frame { Frame(task: key.task, attempt: key.attempt, body: body) }
}
