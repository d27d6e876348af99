import Primitives
import Wire

/// From opening the award's channel to the last receipt.
extension Bidder {
    // MARK: - Channels

    /// The answer to `openChannel`: this node's Hello says which award the channel is for.
    public mutating func channelOpened(
        _ task: TaskID, attempt: UInt32, channel: ChannelID, peer: PublicKey, turn: inout Turn,
        out: inout [BidderAction]
    ) {
        let key = SlotKey(buyer: peer, task: task, attempt: attempt)
        guard channels[channel] == nil, gate.dialled(channel, for: key) else {
            out.append(.releaseChannel(channel))
            return
        }
        channels[channel] = key
        out.append(.sendFrame(channel: channel, Frame(task: task, attempt: attempt, body: .hello)))
    }

    public mutating func channelFailed(
        _ task: TaskID, attempt: UInt32, peer: PublicKey, turn: inout Turn, out: inout [BidderAction]
    ) {
        let key = SlotKey(buyer: peer, task: task, attempt: attempt)
        defer { fillSlots(turn.monotonic, &out) }
        switch gate.standing(of: key) {
        case .leased: end(key, .spent, &out)
        case .held, .running, .ended, nil: break
        }
    }

    /// The channel closed; the task that it carried ends with it.
    public mutating func channelClosed(_ channel: ChannelID, turn: inout Turn, out: inout [BidderAction]) {
        guard let key = channels.removeValue(forKey: channel) else { return }
        defer { fillSlots(turn.monotonic, &out) }
        gate.closed(channel, for: key)
        switch gate.standing(of: key) {
        case .running: cancelTask(key, lineBroke: true, turn.now, &out)
        case .held, .leased: end(key, .spent, &out)
        case .ended, nil: break
        }
    }

    /// Whether an award or a task of this node is on that channel.
    public func owns(_ channel: ChannelID) -> Bool { channels[channel] != nil }

    // MARK: - Frames

    /// A frame from a buyer: open, body part, cancel, window or receipt. A frame that fits no task of this
    /// buyer is ignored, but an OPEN that can't be accepted is answered with a failure.
    public mutating func received(
        _ frame: Frame, from buyer: PublicKey, channel: ChannelID, turn: inout Turn, out: inout [BidderAction]
    ) {
        let key = SlotKey(buyer: buyer, task: frame.task, attempt: frame.attempt)
        defer { fillSlots(turn.monotonic, &out) }
        switch frame.body {
        case .open(let open):
            if nextDeadline() <= turn.monotonic { tick(turn: &turn, out: &out) }
            opened(open, key, channel, turn.monotonic, &out)
        case .bodyPart(let bytes):
            if gate.runs(key, on: channel) { add(bytes, to: key, turn.now, &out) }
        case .window(let consumed):
            if gate.runs(key, on: channel) {
                _ = gate.change(key) { $0.acknowledge(consumed, turn.monotonic, &out) }
            }
        case .cancel: if gate.runs(key, on: channel) { cancelTask(key, turn.now, &out) }
        case .receipt(let signed): received(signed, key, turn.now, &out)
        case .delta, .progress, .finish, .fail, .hello: break
        }
    }

    private mutating func opened(
        _ open: TaskOpen, _ key: SlotKey, _ channel: ChannelID, _ now: MonotonicTime,
        _ out: inout [BidderAction]
    ) {
        if case .running = gate.standing(of: key) { return }
        let refuse = { (reason: Reason, message: String, another: Bool) in
            let fail = Fail(reason, message, anotherMaySucceed: another)
            return BidderAction.sendFrame(
                channel: channel, Frame(task: key.task, attempt: key.attempt, body: .fail(fail)))
        }
        // The sender of the frame is authenticated, so an OPEN that overtook the award has the award's
        // effect.
        let isOthers = channels[channel].map { $0 != key } ?? false
        guard !isOthers, lease(key, now), let claim = gate.claim(of: key) else {
            out.append(refuse(.busy, "No slot is free.", true))
            return
        }
        if let problem = claim.call.problem(with: open, parameters) {
            out.append(refuse(.invalidRequest, problem, false))
            return end(key, .spent, &out)
        }
        let most = gate.isStranger(key) ? parameters.awaitedBytesMax / 2 : parameters.awaitedBytesMax
        guard gate.awaitedBytes + Int(open.bodyBytes) + Int(open.deliveredBytes) <= most else {
            out.append(refuse(.busy, "Too many requests are still arriving.", true))
            return end(key, .spent, &out)
        }
        lastJob += 1
        let task = WorkerTask(
            id: JobID(rawValue: lastJob), key: key, channel: channel, model: claim.model, open: open,
            call: claim.call, parameters: parameters, now: now)
        gate.run(task)
        channels[channel] = key
        timers.cancel(.slot(key))
        timers.set(.body(task.id), at: now + parameters.bodyWait)
        timers.set(.deadline(task.id), at: task.deadlineAt)
        timers.set(.progress(task.id), at: now + parameters.progressInterval)
        startIfComplete(key, now, &out)
    }

    private mutating func add(
        _ bytes: [UInt8], to key: SlotKey, _ now: Now, _ out: inout [BidderAction]
    ) {
        guard gate.change(key, { $0.add(bytes) }) ?? false else {
            let message = "The request is longer than announced."
            return failTask(
                key, Fail(.invalidRequest, message, anotherMaySucceed: false), now, &out)
        }
        startIfComplete(key, now.monotonic, &out)
    }

    private mutating func startIfComplete(
        _ key: SlotKey, _ now: MonotonicTime, _ out: inout [BidderAction]
    ) {
        guard gate.change(key, { $0.isComplete }) == true else { return }
        guard gate.waits(key) else { return start(key, now, &out) }
        if let job = gate.slots[key]?.task?.id { timers.cancel(.body(job)) }
        // It may have the slot of a bid that nobody has awarded.
        gate.isReady(key)
        note(placeOf: key, now)
    }

    /// Passes a complete request to the driver.
    mutating func start(_ key: SlotKey, _ now: MonotonicTime, _ out: inout [BidderAction]) {
        guard var job = gate.change(key, { $0.start(now) }) ?? nil else { return }
        if let claim = gate.claim(of: key) { job.price = claim.bid.record.price }
        timers.cancel(.body(job.id))
        out.append(.startJob(job))
    }

    // MARK: - What the driver reports

    public mutating func jobEvent(_ id: JobID, _ event: JobEvent, turn: inout Turn, out: inout [BidderAction])
    {
        guard let key = gate.key(of: id) else { return }
        defer { fillSlots(turn.monotonic, &out) }
        switch event {
        case .phase(let phase, let amount): _ = gate.change(key) { $0.note(phase, amount) }
        case .produced(let text, let tokens, let extra):
            deliver(text, tokens, extra, key, turn.now, &out)
        case .finished(var finish):
            if finish.extra.count > parameters.deltaBytes {
                deliver(finish.extra, 0, [], key, turn.now, &out)
                finish.extra = []
            }
            _ = gate.change(key) { $0.finish(finish, &out) }
            record.finished &+= 1
            gate.noteLength(of: key)
            end(key, .ran, &out)
            noteDue(key, turn.now, &out)
        case .failed(let fail):
            _ = gate.change(key) { $0.fail(fail, &out) }
            record.failed &+= 1
            end(key, .ran, &out)
        }
    }

    private mutating func deliver(
        _ text: [UInt8], _ tokens: UInt32, _ extra: [UInt8], _ key: SlotKey, _ now: Now,
        _ out: inout [BidderAction]
    ) {
        let (parameters, time) = (parameters, now.monotonic)
        let delivered = gate.change(key) { task in
            (
                fits: task.deliver(text, tokens, extra, most: parameters.deltaBytes, time, &out),
                id: task.id,
                unreadSince: task.unreadSince, isUnpaid: task.isUnpaid(parameters, time)
            )
        }
        guard let delivered else { return }
        if !delivered.fits {
            let message = "The backend's answer does not fit a frame."
            stopTask(key, Fail(.backendError, message, anotherMaySucceed: false), &out)
        } else if delivered.isUnpaid {
            endUnpaid(key, now, &out)
        } else if let since = delivered.unreadSince {
            timers.set(.unread(delivered.id), at: since + parameters.unreadMax)
        }
    }

    private mutating func endUnpaid(_ key: SlotKey, _ now: Now, _ out: inout [BidderAction]) {
        record.unpaid &+= 1
        out += gate.defaulted(key, now).map { .buyerJudged($0) }
        let message = "No receipt acknowledges the answer."
        failTask(key, Fail(.leaving, message, anotherMaySucceed: true), now, &out)
    }

    // MARK: - Timers

    mutating func progressDue(_ id: JobID, _ now: Now, _ out: inout [BidderAction]) {
        let interval = parameters.progressInterval
        guard let key = gate.key(of: id) else { return }
        if gate.waits(key), let model = gate.claim(of: key)?.model {
            guard let served = forSale(model, now.monotonic) else { return handBack(key, &out) }
            // Slots that became free while the model was not for sale.
            if gate.taken(model) < served.slots { gate.isReady(key) }
            note(placeOf: key, now.monotonic)
        }
        guard let next = gate.change(key, { $0.reportProgress(every: interval, now.monotonic, &out) })
        else { return }
        timers.set(.progress(id), at: next)
    }

    private mutating func note(placeOf key: SlotKey, _ now: MonotonicTime) {
        guard let name = gate.claim(of: key)?.model, let model = forSale(name, now),
            let place = gate.place(of: key, model, now)
        else { return }
        let wait = UInt32(clamping: max(1, place.wait.milliseconds))
        _ = gate.change(key) { $0.note(.queued, wait, place: UInt32(clamping: place.before + 1)) }
    }

    /// The model is not for sale any more: those that wait for it find another seller. Nobody is to blame.
    private mutating func handBack(_ key: SlotKey, _ out: inout [BidderAction]) {
        let message = terms.isLeaving ? "The node is leaving." : "The model is not for sale now."
        stopTask(key, Fail(code: Fail.busyServer, message: message, anotherMaySucceed: true), &out)
    }

    mutating func bodyDue(_ id: JobID, _ now: Now, _ out: inout [BidderAction]) {
        guard let key = gate.key(of: id), gate.change(key, { $0.hasStarted || $0.isComplete }) == false else {
            return
        }
        let message = "The request did not arrive in time."
        failTask(key, Fail(.invalidRequest, message, anotherMaySucceed: true), now, &out)
    }

    mutating func deadlineDue(_ id: JobID, _ now: Now, _ out: inout [BidderAction]) {
        guard let key = gate.key(of: id) else { return }
        let fail = Fail(.deadlineExceeded, "The task's deadline passed.", anotherMaySucceed: false)
        failTask(key, fail, now, &out)
    }

    mutating func unreadDue(_ id: JobID, _ now: Now, _ out: inout [BidderAction]) {
        let (parameters, time) = (parameters, now.monotonic)
        guard let key = gate.key(of: id), let since = gate.change(key, { $0.unreadSince }) ?? nil else {
            return
        }
        // Nothing more is sent while it reads a byte now and then, so that it would never be due there.
        if gate.change(key, { $0.isUnpaid(parameters, time) }) ?? false { return endUnpaid(key, now, &out) }
        let due = since + parameters.unreadMax
        guard due <= time else { return timers.set(.unread(id), at: due) }
        record.unread &+= 1
        // Another worker would wait for the same client.
        failTask(
            key, Fail(.deadlineExceeded, "The answer was not read in time.", anotherMaySucceed: false), now,
            &out)
    }

    // MARK: - Ends

    /// Ends a task because of what its buyer does, or doesn't do.
    mutating func failTask(_ key: SlotKey, _ fail: Fail, _ now: Now, _ out: inout [BidderAction]) {
        if stopTask(key, fail, &out) { noteDue(key, now, &out) }
    }

    /// Stops the backend and sends the buyer the failure; false: no task runs under this key.
    @discardableResult
    mutating func stopTask(_ key: SlotKey, _ fail: Fail, _ out: inout [BidderAction]) -> Bool {
        let stopped: Void? = gate.change(key) {
            $0.stop(&out)
            $0.fail(fail, &out)
        }
        guard stopped != nil else { return false }
        record.failed &+= 1
        end(key, .ran, &out)
        return true
    }

    /// The buyer cancelled the task or has gone.
    mutating func cancelTask(
        _ key: SlotKey, lineBroke: Bool = false, _ now: Now, _ out: inout [BidderAction]
    ) {
        let isAcknowledged = gate.change(key) {
            $0.stop(&out)
            return !$0.isMostlyUnacknowledged
        }
        guard let isAcknowledged else { return }
        record.cancelled &+= 1
        end(key, .ran, &out)
        noteDue(key, lineBroke: lineBroke && isAcknowledged, now, &out)
    }

    /// What an answer owes is due when it has ended, unless this node broke it off.
    private mutating func noteDue(
        _ key: SlotKey, lineBroke: Bool = false, _ now: Now, _ out: inout [BidderAction]
    ) {
        out += gate.isDue(key, lineBroke: lineBroke, now).map { .buyerJudged($0) }
    }

    /// The only place where a hold, a lease or a task ends: frees the slot, the channels (also those that the
    /// buyer dialled, which are idle from here on) and the timers.
    mutating func end(_ key: SlotKey, _ end: SlotGate.End, _ out: inout [BidderAction]) {
        guard let slot = gate.end(key, end) else { return }
        switch end {
        case .lapsed, .released: uncountTask(slot.claim)
        case .spent, .ran: break
        }
        if let task = slot.task {
            for timer in [Timer.body(task.id), .deadline(task.id), .progress(task.id), .unread(task.id)] {
                timers.cancel(timer)
            }
            channels[task.channel] = nil
            out.append(.releaseChannel(task.channel))
        }
        timers.cancel(.slot(key))
        if let dialled = slot.dialled, dialled != slot.task?.channel {
            channels[dialled] = nil
            out.append(.releaseChannel(dialled))
        }
    }

    // MARK: - Receipts

    private mutating func received(
        _ signed: SignedRecord, _ key: SlotKey, _ now: Now, _ out: inout [BidderAction]
    ) {
        guard let claim = try? Receipt(decoding: signed.body),
            claim.task == key.task, claim.attempt == key.attempt, claim.buyer == key.buyer,
            claim.worker == identity.publicKey, gate.wants(claim, for: key, now.monotonic)
        else { return }
        guard let receipt = try? Verified<Receipt>(checking: signed) else {
            guard gate.wasForged(key) else { return }
            record.forged &+= 1
            let message = "The signatures of its receipts are wrong."
            return failTask(key, Fail(.invalidRequest, message, anotherMaySucceed: false), now, &out)
        }
        let changes = gate.accepted(receipt.record, for: key, now)
        out.append(.receiptAccepted(receipt))
        out += changes.map { .buyerJudged($0) }
    }
}
