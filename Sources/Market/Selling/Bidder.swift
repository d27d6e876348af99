import Cryptography
import Primitives
import Wire

/// The seller's side of the market: answers calls for bids, each bid holding a slot; turns awards into leases
/// and tasks into jobs; and streams their answers within the buyer's window. A state machine: events in,
/// actions out.
///
/// This file has the dispatch, calls, releases and awards; `Bidder+Tasks` has channels, frames and jobs.
/// `SellerTerms` says what is sold, `SlotGate` has the slots, and a `WorkerTask` is one assignment.
public struct Bidder: Sendable {
    enum Timer: Hashable, Sendable {
        case slot(SlotKey), progress(JobID), body(JobID), deadline(JobID), unread(JobID)
    }

    let identity: Identity
    let parameters: MarketParameters
    private(set) var terms: SellerTerms
    var gate: SlotGate
    /// The slot that each channel carries the task of, or was dialled for.
    var channels: [ChannelID: SlotKey] = [:]
    var timers = DeadlineQueue<Timer>()
    var lastJob: UInt64 = 0
    private var quotes: QuoteLimits
    private var rates: BuyerRates
    public internal(set) var record = BidderRecord()

    public init(identity: Identity, parameters: MarketParameters = MarketParameters()) {
        self.identity = identity
        self.parameters = parameters
        terms = SellerTerms(key: identity.publicKey)
        gate = SlotGate(parameters)
        quotes = QuoteLimits(parameters)
        rates = BuyerRates(capacity: parameters.ratedBuyersMax)
    }

    // MARK: - The operator

    /// Replaces the models served; running jobs continue.
    public mutating func setServed(_ models: [ServedModel]) { terms.serve(models) }

    /// Takes no new work; running answers finish, or are moved with `handOver`.
    public mutating func pause() { terms.pause() }
    public mutating func resume() { terms.resume() }

    /// Takes no new work from now on, and can't be resumed.
    public mutating func leave() { terms.leave() }

    /// Whether other nodes can open a channel to this one. If not, its bids say that the worker dials.
    public var acceptsChannels: Bool {
        get { terms.acceptsChannels }
        set { terms.acceptsChannels = newValue }
    }

    /// Fails every task so that its buyer continues it on another node.
    public mutating func handOver(turn: inout Turn, out: inout [BidderAction]) {
        for key in gate.runningJobs.compactMap({ gate.key(of: $0) }) {
            // No buyer has the time to pay.
            stopTask(key, Fail(.leaving, "The node stops serving.", anotherMaySucceed: true), &out)
        }
        for key in gate.keys { end(key, .spent, &out) }
        _ = gate.takeFreed()
    }

    /// Takes what an earlier process knew of buyers and of what it sold, the oldest first.
    public mutating func restore(_ buyers: [BuyerRecord], sold: [SoldTask] = [], now: Now) {
        gate.shares.restore(buyers, now)
        for sold in sold {
            gate.sold.insert(SlotKey(buyer: sold.buyer, task: sold.task, attempt: sold.attempt))
        }
    }

    // MARK: - Messages

    /// Answers a call, release or award; nil: no reply. An unproven message (one in a first handshake packet,
    /// which may be a replay) changes nothing. `group` is the peer's network, by which slots are shared out.
    public mutating func handle(
        _ message: MarketMessage, from peer: PeerAddress, group: UInt64, proven: Bool, turn: inout Turn,
        out: inout [BidderAction]
    ) -> MarketMessage? {
        guard proven else { return nil }
        // A late timer must not make a free slot look taken.
        if nextDeadline() <= turn.monotonic { tick(turn: &turn, out: &out) }
        defer { fillSlots(turn.monotonic, &out) }
        switch message {
        case .callForBids(let call): return answer(call, from: peer.key, group, turn.monotonic, &out)
        case .release(let release):
            released(release, by: peer.key, turn.now, &out)
            return nil
        case .award(let award):
            let status = awarded(award, by: peer, turn.monotonic, &out)?.awardStatus ?? .accepted
            return .awardReply(AwardReply(task: award.task, attempt: award.attempt, status: status))
        case .bid, .decline, .awardReply:
            return nil
        }
    }

    private mutating func answer(
        _ call: CallForBids, from buyer: PublicKey, _ group: UInt64, _ now: MonotonicTime,
        _ out: inout [BidderAction]
    ) -> MarketMessage {
        let key = SlotKey(buyer: buyer, task: call.task, attempt: call.attempt)
        let party = SlotShares.Party(buyer: buyer, group: group, isOwn: buyer == identity.publicKey)
        if call.isQuote { return quote(call, key, party, now) }
        // A repeated call gets the same bid.
        if let claim = gate.claim(of: key) { return .bid(claim.bid.signed) }
        count(\.calls, of: call.model)
        let (model, wait): (ServedModel, Interval)
        switch judge(call, key, party, now) {
        case .bids(let found, let time): (model, wait) = (found, time)
        case .declines(let reason, let retryAfter):
            count(\.declines, of: call.model)
            out.append(.declined(buyer: buyer, model: call.model, reason))
            return decline(call, reason, retryAfter: retryAfter)
        }
        let tokens = gate.tokens(of: call)
        let bid = Verified(signing: terms.bid(for: call, model, buyer: buyer, wait: wait), with: identity)
        let until = now + min(Interval.milliseconds(Int64(call.closeMilliseconds)), parameters.holdMax)
        let claim = SlotGate.Claim(
            party: party, model: model.model, bid: bid, call: CalledFor(call, parameters, now), tokens: tokens
        )
        gate.hold(key, claim, model, until: until, now)
        countTask(claim, now)
        timers.set(.slot(key), at: until)
        count(\.bids, of: call.model)
        return .bid(bid.signed)
    }

    private enum Judgement {
        case bids(ServedModel, wait: Interval)
        case declines(Reason, retryAfter: Interval)
    }

    private mutating func judge(
        _ call: CallForBids, _ key: SlotKey, _ party: SlotShares.Party, _ now: MonotonicTime
    ) -> Judgement {
        let model: ServedModel
        switch terms.judge(call, from: key.buyer, taken: gate.taken(call.model), now) {
        case .fits(let found): model = found
        case .declined(let reason, let retryAfter): return .declines(reason, retryAfter: retryAfter)
        }
        if let wait = rates.wait(party, model, now) { return .declines(.overRate, retryAfter: wait) }
        switch gate.admission(of: key, party, model, now) {
        case .slot: return .bids(model, wait: .zero)
        case .place(let wait):
            if let late = late(call, model, tokens: gate.tokens(of: call), after: wait) {
                return .declines(.tooLate, retryAfter: late)
            }
            return .bids(model, wait: wait)
        case .refused(let reason, let retryAfter): return .declines(reason, retryAfter: retryAfter)
        }
    }

    /// Answers as it would a call now, and takes and remembers nothing.
    private mutating func quote(
        _ call: CallForBids, _ key: SlotKey, _ party: SlotShares.Party, _ now: MonotonicTime
    ) -> MarketMessage {
        if let retryAfter = quotes.take(party, now) { return decline(call, .busy, retryAfter: retryAfter) }
        switch judge(call, key, party, now) {
        case .bids(let model, let wait):
            let bid = terms.bid(for: call, model, buyer: key.buyer, wait: wait)
            return .bid(Verified(signing: bid, with: identity).signed)
        case .declines(let reason, let retryAfter): return decline(call, reason, retryAfter: retryAfter)
        }
    }

    /// How much too late a task would be done whose turn comes after that time; nil: it can meet its deadline.
    private func late(
        _ call: CallForBids, _ model: ServedModel, tokens: UInt32, after wait: Interval
    ) -> Interval? {
        let takes = Scoring.completion(
            queueMilliseconds: 0, firstTokenMilliseconds: model.speed.firstTokenMilliseconds,
            millitokensPerSecond: model.speed.millitokensPerSecond, tokens: tokens)
        let asked = Interval.milliseconds(Int64(call.deadlineMilliseconds))
        let late = wait + takes - (asked == .zero ? parameters.deadlineDefault : asked)
        return late > .zero ? min(late, wait) : nil
    }

    private func decline(_ call: CallForBids, _ reason: Reason, retryAfter: Interval) -> MarketMessage {
        let retry = UInt32(clamping: max(.zero, min(retryAfter, parameters.busyRetryMax)).milliseconds)
        return .decline(
            Decline(
                task: call.task, attempt: call.attempt, reason: reason.decline, retryAfterMilliseconds: retry)
        )
    }

    private mutating func released(
        _ release: Release, by buyer: PublicKey, _ now: Now, _ out: inout [BidderAction]
    ) {
        let key = SlotKey(buyer: buyer, task: release.task, attempt: release.attempt)
        switch gate.standing(of: key) {
        case .held:
            if release.winningScore > 0, let claim = gate.claim(of: key) { count(\.lost, of: claim.model) }
            end(key, .released, &out)
        // A lost-auction notice that the award overtook is ignored; a buyer that gives up names no winning
        // score.
        case .leased: if release.winningScore == 0 { end(key, .spent, &out) }
        case .running: if release.winningScore == 0 { cancelTask(key, now, &out) }
        case .ended, nil: break
        }
    }

    /// A bid counts as a task of its party until it has lost.
    private mutating func countTask(_ claim: SlotGate.Claim, _ now: MonotonicTime) {
        if let model = terms.model(claim.model) { rates.take(claim.party, model, now) }
    }

    mutating func uncountTask(_ claim: SlotGate.Claim) {
        if let model = terms.model(claim.model) { rates.giveBack(claim.party, model) }
    }

    private mutating func count(_ what: WritableKeyPath<CallCounts, Int>, of model: String) {
        if terms.sells(model) { record.models[model, default: CallCounts()][keyPath: what] &+= 1 }
    }

    /// Why the award is refused; nil: it is accepted.
    private mutating func awarded(
        _ award: Award, by peer: PeerAddress, _ now: MonotonicTime, _ out: inout [BidderAction]
    ) -> Reason? {
        let key = SlotKey(buyer: peer.key, task: award.task, attempt: award.attempt)
        switch gate.standing(of: key) {
        case nil: return .unknownBid
        // `.ran`: the task and its whole answer overtook the award's datagram; the channel tells the buyer
        // how it ended. "Busy" would make the buyer discard the answer and try another seller.
        case .leased, .running, .ended(.ran): return nil
        case .held, .ended(.lapsed), .ended(.released), .ended(.spent):
            guard lease(key, now) else { return .busy }
            if award.workerDials { out.append(.openChannel(award.task, attempt: award.attempt, to: peer)) }
            return nil
        }
    }

    /// Gives the bid's slot to its task; false: none is free.
    mutating func lease(_ key: SlotKey, _ now: MonotonicTime) -> Bool {
        let until = now + parameters.leaseTime
        // The hold of a late award has been given back.
        let isLate = gate.claim(of: key) == nil
        switch gate.lease(key, until: until, terms, now) {
        case .taken:
            if let claim = gate.claim(of: key) {
                count(\.won, of: claim.model)
                if isLate { countTask(claim, now) }
            }
            timers.set(.slot(key), at: until)
            return true
        case .standing: return true
        case .refused: return false
        }
    }

    // MARK: - Time

    public mutating func nextDeadline() -> MonotonicTime { min(timers.next(), gate.awaited.nextDeadline) }

    public mutating func tick(turn: inout Turn, out: inout [BidderAction]) {
        defer { fillSlots(turn.monotonic, &out) }
        while let due = timers.popDue(turn.monotonic) {
            switch due {
            case .slot(let key): if let how = gate.lapse(of: key, turn.monotonic) { end(key, how, &out) }
            case .progress(let id): progressDue(id, turn.now, &out)
            case .body(let id): bodyDue(id, turn.now, &out)
            case .deadline(let id): deadlineDue(id, turn.now, &out)
            case .unread(let id): unreadDue(id, turn.now, &out)
            }
        }
        while let key = gate.awaited.popDue(turn.monotonic) {
            out += gate.isOverdue(key, turn.now).map { .buyerJudged($0) }
        }
    }

    // MARK: - The queue

    /// Starts what waits for slots that have become free. To be called at the end of every event.
    mutating func fillSlots(_ now: MonotonicTime, _ out: inout [BidderAction]) {
        while !gate.freed.isEmpty {
            for model in gate.takeFreed() {
                for key in gate.advance(model, slots: terms.room(model, now).slots) { start(key, now, &out) }
            }
        }
    }

    /// nil: the model is not for sale now.
    func forSale(_ model: String, _ now: MonotonicTime) -> ServedModel? { terms.forSale(model, now) }

    // MARK: - For views and checkers

    /// Slots of a model that are taken by a bid, an award or a job now.
    public func slotsTaken(_ model: String) -> Int { gate.taken(model) }
    /// Tasks of a model that wait for a slot, bids and awards included.
    public func waiting(_ model: String) -> Int { gate.waiting(model) }
    /// Oldest first.
    public var runningJobs: [JobID] { gate.runningJobs }
    public var isIdle: Bool { gate.running == 0 }
    /// Of those, slots of strangers.
    public func slotsLent(_ model: String) -> Int { gate.shares.strangers(model) }
    /// Tables with their sizes and bounds. For checkers.
    public var tables: [(name: String, count: Int, bound: Int)] {
        gate.ended.tables + gate.shares.tables
            + [
                ("awaited receipts", gate.awaited.count, gate.awaited.capacity),
                ("sold tasks", gate.sold.count, gate.sold.bound),
            ] + quotes.tables + rates.tables
    }
    /// Everything that must be zero when nothing runs. For checkers.
    public var outstanding: (holds: Int, jobs: Int, channels: Int, timers: Int) {
        (gate.count, gate.running, channels.count, timers.count)
    }
}
