import Cryptography
import OrderedCollections
import Primitives
import Wire

/// What the bidder wants done, in order.
public enum BidderAction: Sendable {
    case startJob(Job)
    /// Stop the backend's work at once; later events of the job are ignored.
    case cancelJob(UInt64)
    /// The buyer doesn't read: produce nothing until `resumeJob`.
    case pauseJob(UInt64)
    case resumeJob(UInt64)
    case sendFrame(channel: UInt64, Frame)
    /// We dial. Ends with `channelOpened` or `channelFailed` under the same task, attempt and key.
    case openChannel(TaskID, attempt: UInt32, to: PeerAddress)
    /// One that we dialled is idle: back to the pool.
    case releaseChannel(UInt64)
    case closeChannel(UInt64)
    /// For the store; later receipts of one (task, attempt, buyer) replace earlier ones.
    case receiptAccepted(Verified<Receipt>)
}

/// The seller's side of the market: answers calls with bids that hold a slot, turns awards into leases and tasks into
/// jobs, and streams their answers within the buyer's credit. A sub-machine: events in, actions out.
///
/// Here are the dispatch and the calls; jobs are in the extension, slots in `HoldTable`, one job in `RunningJob`.
public struct Bidder: Sendable {
    enum Timer: Hashable, Sendable { case hold(HoldKey), progress(UInt64), body(UInt64), deadline(UInt64) }

    let identity: Identity
    let parameters: MarketParameters
    private(set) var served: [ServedModel] = []
    private(set) var isPaused = false
    private(set) var isLeaving = false
    /// Whether other nodes can open a channel to this one; if not, bids say that the worker dials.
    public var acceptsChannels = true
    var holds: HoldTable
    var jobs: OrderedDictionary<UInt64, RunningJob> = [:]
    /// What a channel carries, or was dialled for.
    var channels: [UInt64: HoldKey] = [:]
    var timers = DeadlineQueue<Timer>()
    var nextJob: UInt64 = 1
    public internal(set) var record = BidderRecord()

    /// Models served by one node.
    static let servedMax = 64

    public init(identity: Identity, parameters: MarketParameters = MarketParameters()) {
        self.identity = identity
        self.parameters = parameters
        holds = HoldTable(parameters)
    }

    // MARK: - The operator

    /// Replaces what is served; running jobs go on.
    public mutating func setServed(_ models: [ServedModel]) { served = Array(models.prefix(Self.servedMax)) }

    /// No new work; running answers finish, or move with `handOver`.
    public mutating func pause() { isPaused = true }
    public mutating func resume() { isPaused = false }

    /// No new work, for good.
    public mutating func leave() { isLeaving = true }

    /// Gives every task back to its buyer, who goes on elsewhere.
    public mutating func handOver(now: Now, out: inout [BidderAction]) {
        for id in Array(jobs.keys) {
            let fail = Fail(.leaving, "The node stops serving.", anotherMaySucceed: true)
            failJob(id, fail, &out)
        }
        for key in Array(holds.active.keys) { dropHold(key, revivable: false, &out) }
    }

    // MARK: - Messages

    /// Answers a call, release or award; nil: no reply. What rode in a first handshake message changes nothing.
    public mutating func handle(
        _ message: MarketMessage, from peer: PeerAddress, proven: Bool, now: Now, out: inout [BidderAction]
    ) -> MarketMessage? {
        guard proven else { return nil }
        expireHolds(now.monotonic, &out)
        switch message {
        case .callForBids(let call): return answer(call, from: peer, now.monotonic)
        case .release(let release):
            released(release, by: peer.key, &out)
            return nil
        case .award(let award):
            let status = awarded(award, by: peer, now.monotonic, &out)
            return .awardReply(AwardReply(task: award.task, attempt: award.attempt, status: status))
        case .bid, .decline, .awardReply:
            return nil
        }
    }

    private mutating func answer(_ call: CallForBids, from peer: PeerAddress, _ now: MonotonicTime)
        -> MarketMessage
    {
        let key = HoldKey(buyer: peer.key, task: call.task, attempt: call.attempt)
        // A repeated call: the bid stands as it was.
        if let hold = holds[key] { return .bid(hold.bid.signed) }
        record.calls &+= 1
        if let reason = obstacle(call, from: peer.key) { return decline(call, reason) }
        guard let model = served.first(where: { $0.model == call.model }) else {
            return decline(call, .notServed)
        }
        if holds.past(key)?.revivable == false { return decline(call, .unspecified) }
        guard holds.taken(model.model) < model.slots else {
            return decline(call, .busy, retryAfter: nextFree(model, now))
        }
        if let until = holds.unused(by: peer.key), !holds.isKnown(peer.key) {
            return decline(call, .holdLimit, retryAfter: min(parameters.holdMax, until - now))
        }
        let bid = Verified(signing: self.bid(call, model, buyer: peer.key), with: identity)
        let hold = min(Interval.milliseconds(Int64(call.closeMilliseconds)), parameters.holdMax)
        holds.add(
            key,
            Hold(state: .held, until: now + hold, model: model.model, bid: bid, tokensOut: call.tokensOut))
        timers.set(.hold(key), at: now + hold)
        record.bids &+= 1
        return .bid(bid.signed)
    }

    /// What stands against this call, beside the slots.
    private func obstacle(_ call: CallForBids, from buyer: PublicKey) -> DeclineReason? {
        if isLeaving { return .leaving }
        guard let model = served.first(where: { $0.model == call.model }) else { return .notServed }
        switch model.available {
        case .leaving: return .leaving
        case .paused: return .paused
        case .down: return .backendDown
        case .up: if isPaused { return .paused }
        }
        let fits =
            (call.digest == nil || call.digest == model.digest)
            && (call.quantizations.isEmpty || call.quantizations.contains(model.quantization))
            && model.features.isSuperset(of: call.features) && (!call.mustContinue || model.continues)
        if !fits { return .lacksParameter }
        let output = min(call.tokensOutMax == 0 ? 1 : call.tokensOutMax, max(1, call.tokensOut))
        if model.context != 0 && call.tokensIn &+ output > model.context { return .contextTooSmall }
        if let most = call.maxPrice, model.price.input > most.input || model.price.output > most.output {
            return .overMaxPrice
        }
        return call.buyerUnreachable && !canBeDialled(by: buyer) ? .unspecified : nil
    }

    /// To itself a node needs no connection.
    private func canBeDialled(by buyer: PublicKey) -> Bool { acceptsChannels || buyer == identity.publicKey }

    private func bid(_ call: CallForBids, _ model: ServedModel, buyer: PublicKey) -> Bid {
        Bid(
            task: call.task, attempt: call.attempt, bidder: identity.publicKey, buyer: buyer,
            price: model.price,
            queueMilliseconds: 0, firstTokenMilliseconds: model.speed.firstTokenMilliseconds,
            millitokensPerSecond: model.speed.millitokensPerSecond, workerDials: !canBeDialled(by: buyer),
            digest: model.digest, quantization: model.quantization, continues: model.continues,
            context: model.context)
    }

    private mutating func decline(
        _ call: CallForBids, _ reason: DeclineReason, retryAfter: Interval = .zero
    ) -> MarketMessage {
        record.declines &+= 1
        let retry = UInt32(clamping: max(.zero, min(retryAfter, parameters.busyRetryMax)).milliseconds)
        return .decline(
            Decline(task: call.task, attempt: call.attempt, reason: reason, retryAfterMilliseconds: retry))
    }

    /// When the first of a model's slots is likely to be free.
    private func nextFree(_ model: ServedModel, _ now: MonotonicTime) -> Interval {
        var soonest = parameters.busyRetryMax
        for hold in holds.active.values where hold.model == model.model {
            switch hold.state {
            case .held: soonest = min(soonest, hold.until - now)
            case .leased: soonest = min(soonest, parameters.busyRetry)
            case .running(let id):
                let done = jobs[id]?.tokens ?? 0
                let speed = Int64(model.speed.millitokensPerSecond)
                guard speed > 0, hold.tokensOut > done else {
                    soonest = min(soonest, parameters.busyRetry)
                    continue
                }
                soonest = min(soonest, .milliseconds(Int64(hold.tokensOut - done) * 1_000_000 / speed))
            }
        }
        return max(.milliseconds(1), soonest)
    }

    private mutating func released(_ release: Release, by buyer: PublicKey, _ out: inout [BidderAction]) {
        let key = HoldKey(buyer: buyer, task: release.task, attempt: release.attempt)
        guard let hold = holds[key] else { return }
        switch hold.state {
        case .held:
            if release.winningScore > 0 { record.lost &+= 1 }
            dropHold(key, revivable: true, &out)
        // A loser's notice that the award overtook says nothing; a buyer that gives up names no winner.
        case .leased: if release.winningScore == 0 { dropHold(key, revivable: false, &out) }
        case .running(let id): if release.winningScore == 0 { cancelJob(id, &out) }
        }
    }

    private mutating func awarded(
        _ award: Award, by peer: PeerAddress, _ now: MonotonicTime, _ out: inout [BidderAction]
    ) -> AwardStatus {
        let key = HoldKey(buyer: peer.key, task: award.task, attempt: award.attempt)
        switch holds[key]?.state {
        case .leased, .running: return .accepted
        case .held, nil: break
        }
        guard holds[key] != nil || holds.past(key) != nil else { return .unknown }
        // The award's datagram was overtaken by the task and its whole answer: the channel says how that ended. Busy would
        // make the buyer throw the answer away and ask another.
        if case .running = holds.past(key)?.hold.state { return .accepted }
        guard lease(key, now) else { return .busy }
        if award.workerDials { out.append(.openChannel(award.task, attempt: award.attempt, to: peer)) }
        return .accepted
    }

    /// Turns a hold, or a bid that gave its slot back, into a lease; false when no slot is free.
    mutating func lease(_ key: HoldKey, _ now: MonotonicTime) -> Bool {
        let until = now + parameters.leaseTime
        if let hold = holds[key] {
            guard hold.state == .held else { return true }
            holds.change(key) {
                $0.state = .leased
                $0.until = until
            }
        } else {
            guard let past = holds.past(key), past.revivable, !isLeaving, !isPaused,
                let model = served.first(where: { $0.model == past.hold.model }), model.available == .up,
                holds.taken(model.model) < model.slots
            else { return false }
            holds.revive(key, until: until)
        }
        record.won &+= 1
        timers.set(.hold(key), at: until)
        return true
    }

    // MARK: - Time

    public mutating func nextDeadline() -> MonotonicTime { timers.next() }

    public mutating func tick(now: Now, out: inout [BidderAction]) {
        while let due = timers.popDue(now.monotonic) {
            switch due {
            case .hold(let key): holdDue(key, now.monotonic, &out)
            case .progress(let id): progressDue(id, now.monotonic, &out)
            case .body(let id): bodyDue(id, &out)
            case .deadline(let id): deadlineDue(id, &out)
            }
        }
    }

    private mutating func holdDue(_ key: HoldKey, _ now: MonotonicTime, _ out: inout [BidderAction]) {
        guard let hold = holds[key], hold.until <= now else { return }
        switch hold.state {
        case .held: dropHold(key, revivable: true, &out)
        case .leased: dropHold(key, revivable: true, &out)
        case .running: break
        }
    }

    /// A timer that comes late must not make a slot look taken.
    private mutating func expireHolds(_ now: MonotonicTime, _ out: inout [BidderAction]) {
        for key in holds.active.keys { holdDue(key, now, &out) }
    }

    mutating func dropHold(_ key: HoldKey, revivable: Bool, _ out: inout [BidderAction]) {
        guard let hold = holds[key] else { return }
        timers.cancel(.hold(key))
        if let dialled = hold.dialled {
            channels[dialled] = nil
            out.append(.releaseChannel(dialled))
            holds.change(key) { $0.dialled = nil }
        }
        holds.end(key, revivable: revivable)
    }

    // MARK: - Looking

    /// Slots of a model that a bid, an award or a job takes now.
    public func slotsTaken(_ model: String) -> Int { holds.taken(model) }
    public var runningJobs: [UInt64] { Array(jobs.keys) }
    /// What must be zero when nothing runs. For checkers.
    public var outstanding: (holds: Int, jobs: Int, channels: Int, timers: Int) {
        (holds.active.count, jobs.count, channels.count, timers.count)
    }
}

/// How this node does as a seller, since its start.
public struct BidderRecord: Hashable, Sendable {
    public var calls = 0
    public var bids = 0
    public var declines = 0
    public var won = 0
    public var lost = 0
    public var finished = 0
    public var failed = 0
    public var cancelled = 0
    public init() {}
}
