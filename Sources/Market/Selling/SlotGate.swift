import OrderedCollections
import Primitives
import Wire

/// Identifies a bid and everything that follows from it. It takes at most one slot.
struct SlotKey: Hashable, Sendable {
    var buyer: PublicKey
    var task: TaskID
    var attempt: UInt32
}

/// The seller's slots: the one table of holds, leases and running tasks. Only this type decides whether a
/// call, a late award or an OPEN may take a slot.
///
/// `SlotShares` counts this table by buyer, group and model; it changes only where an entry comes or goes.
/// `EndedClaims` remembers attempts whose slot is free again; `SlotGate+Receipts` judges what is signed for them.
struct SlotGate: Sendable {
    /// What has taken a slot.
    enum Use: Sendable {
        /// A bid, until its call closes.
        case held(until: MonotonicTime)
        /// An award, until its task must have been opened.
        case leased(until: MonotonicTime)
        /// `Slot.task`, which has its own deadlines.
        case running
    }

    struct Slot: Sendable {
        fileprivate(set) var use: Use
        var claim: Claim
        fileprivate let isStranger: Bool
        /// The channel that this node dialled for the slot.
        fileprivate(set) var dialled: ChannelID?
        /// Set exactly while `use` is `running`. Not inside the enum, so that it can be changed in place.
        fileprivate(set) var task: WorkerTask?
    }

    /// The bid that took the slot, and what followed; kept after the slot is free again.
    struct Claim: Sendable {
        let party: SlotShares.Party
        let model: String
        let bid: Verified<Bid>
        let call: CalledFor
        /// Set when the task has ended; until then the task counts.
        var work = Work()
        var receipts = ReceiptTrack()
        var payment = Payment.open
    }

    /// Why a slot became free.
    enum End: Sendable {
        /// The hold ran out. A late award may take a slot, once.
        case lapsed
        /// Another bid won, or the buyer gave up its hold. The same.
        case released
        /// The lease ran out or was given up, or the task could not be accepted.
        case spent
        /// The task started, and has ended.
        case ran
    }

    /// The state of a bid.
    enum Standing: Sendable { case held, leased, running, ended(End) }

    /// Why a call gets no slot, and when to try again.
    struct Refusal: Sendable {
        let reason: Reason
        var freeIn = Interval.zero
    }

    /// The result of an award or an OPEN.
    enum Lease: Sendable { case taken, standing, refused }

    let parameters: MarketParameters
    private(set) var slots: OrderedDictionary<SlotKey, Slot> = [:]
    private var jobs: [JobID: SlotKey] = [:]
    var shares: SlotShares
    var ended: EndedClaims
    var awaited: AwaitedReceipts
    var sold: SoldTasks
    private var forecasts: [String: Forecast] = [:]

    init(_ parameters: MarketParameters) {
        self.parameters = parameters
        shares = SlotShares(parameters)
        ended = EndedClaims(capacity: parameters.rememberedMax)
        awaited = AwaitedReceipts(capacity: parameters.rememberedMax)
        sold = SoldTasks(capacity: parameters.soldMax)
    }

    // MARK: - Admission

    /// Why a call for bids on `model` can't take a slot now; nil: it can.
    mutating func refusal(
        of key: SlotKey, _ party: SlotShares.Party, _ model: ServedModel, _ now: MonotonicTime
    ) -> Refusal? {
        switch ended.end(of: key) {
        // This attempt had its assignment, which has ended.
        case .spent, .ran: return Refusal(reason: .unspecified)
        case .lapsed, .released, nil: if sold.contains(key) { return Refusal(reason: .unspecified) }
        }
        switch shares.verdict(party, model.model, model.price, slots: model.slots, now) {
        case .free: return nil
        case .busy: return Refusal(reason: .busy, freeIn: nextFree(model, now).any)
        case .overShare: return Refusal(reason: .holdLimit, freeIn: nextFree(model, now).strangers)
        }
    }

    /// Takes a slot for the bid of a call that was not refused.
    mutating func hold(
        _ key: SlotKey, _ claim: Claim, slots: Int, until: MonotonicTime, _ now: MonotonicTime
    ) {
        guard case .free(let isStranger) = verdict(claim, slots: slots, now) else { return }
        ended.remove(key)
        insert(key, Slot(use: .held(until: until), claim: claim, isStranger: isStranger))
    }

    private func verdict(_ claim: Claim, slots: Int, _ now: MonotonicTime) -> SlotShares.Verdict {
        shares.verdict(claim.party, claim.model, claim.bid.record.price, slots: slots, now)
    }

    /// Turns a hold into a lease. A bid whose hold ran out or was released gets a slot again, once, if it could get one
    /// by a call and the model is still for sale.
    mutating func lease(_ key: SlotKey, until: MonotonicTime, _ terms: SellerTerms, _ now: MonotonicTime)
        -> Lease
    {
        if let index = slots.index(forKey: key) {
            switch slots.values[index].use {
            case .held:
                slots.values[index].use = .leased(until: until)
                leased(slots.values[index].claim.party, until)
            case .leased, .running: return .standing
            }
        } else {
            guard let claim = ended.leasable(key),
                case .free(let isStranger) = verdict(claim, slots: terms.slotsForSale(claim.model, now), now)
            else { return .refused }
            ended.remove(key)
            insert(key, Slot(use: .leased(until: until), claim: claim, isStranger: isStranger))
            leased(claim.party, until)
        }
        return .taken
    }

    private mutating func leased(_ party: SlotShares.Party, _ until: MonotonicTime) {
        shares.leased(party, until: until + parameters.openLeaseMemory)
    }

    private mutating func insert(_ key: SlotKey, _ slot: Slot) {
        shares.took(slot.claim.party, slot.claim.model, isStranger: slot.isStranger)
        slots[key] = slot
    }

    // MARK: - When a slot becomes free

    /// When one of a model's slots is likely to be free, and one of those that strangers use.
    private struct Forecast {
        let madeAt: MonotonicTime
        var any: MonotonicTime
        var strangers: MonotonicTime
    }

    /// Looks at all slots, therefore at most once in this time, whatever is asked.
    private static let forecastAge = Interval.milliseconds(10)

    private mutating func nextFree(_ model: ServedModel, _ now: MonotonicTime)
        -> (any: Interval, strangers: Interval)
    {
        if forecasts[model.model].map({ $0.madeAt + Self.forecastAge <= now }) ?? true {
            forecasts[model.model] = forecast(model, now)
        }
        let last = now + parameters.busyRetryMax
        let found = forecasts[model.model] ?? Forecast(madeAt: now, any: last, strangers: last)
        return (max(.milliseconds(1), found.any - now), max(.milliseconds(1), found.strangers - now))
    }

    private func forecast(_ model: ServedModel, _ now: MonotonicTime) -> Forecast {
        let last = now + parameters.busyRetryMax
        var forecast = Forecast(madeAt: now, any: last, strangers: last)
        for slot in slots.values where slot.claim.model == model.model {
            let free = min(last, slot.free(model, parameters.busyRetry, now))
            forecast.any = min(forecast.any, free)
            if slot.isStranger { forecast.strangers = min(forecast.strangers, free) }
        }
        return forecast
    }

    // MARK: - Lookups

    /// Slots of a model that are taken.
    func taken(_ model: String) -> Int { shares.taken(model) }

    var count: Int { slots.count }
    var keys: [SlotKey] { Array(slots.keys) }

    /// nil: this node never bid for it, or has forgotten it.
    func standing(of key: SlotKey) -> Standing? {
        switch slots[key]?.use {
        case .held: .held
        case .leased: .leased
        case .running: .running
        case nil: ended.end(of: key).map { .ended($0) }
        }
    }

    /// The bid that took the slot of this key, its call and its model; nil: it has no slot.
    func claim(of key: SlotKey) -> Claim? { slots[key]?.claim }

    /// How a hold or lease ends that has run out; nil: it has not.
    func lapse(of key: SlotKey, _ now: MonotonicTime) -> End? {
        switch slots[key]?.use {
        case .held(let until): until <= now ? .lapsed : nil
        case .leased(let until): until <= now ? .spent : nil
        case .running, nil: nil
        }
    }

    /// Records the channel that this node dialled for a lease; false if none was expected.
    mutating func dialled(_ channel: ChannelID, for key: SlotKey) -> Bool {
        guard let index = slots.index(forKey: key), case .leased = slots.values[index].use,
            slots.values[index].dialled == nil
        else { return false }
        slots.values[index].dialled = channel
        return true
    }

    /// Notes that the channel is gone, if this node dialled it for that slot.
    mutating func closed(_ channel: ChannelID, for key: SlotKey) {
        guard let index = slots.index(forKey: key), slots.values[index].dialled == channel else { return }
        slots.values[index].dialled = nil
    }

    func isStranger(_ key: SlotKey) -> Bool { slots[key]?.isStranger ?? true }

    // MARK: - Running tasks

    var running: Int { jobs.count }

    /// Bytes of requests that are announced and not complete.
    var awaitedBytes: Int { slots.values.reduce(0) { $0 + ($1.task?.awaitedBytes ?? 0) } }

    /// Oldest first.
    var runningJobs: [JobID] { slots.values.compactMap { $0.task?.id }.sorted() }

    func key(of job: JobID) -> SlotKey? { jobs[job] }

    /// Whether the task runs on that channel.
    func runs(_ key: SlotKey, on channel: ChannelID) -> Bool { slots[key]?.task?.channel == channel }

    /// The task takes over the slot of its lease.
    mutating func run(_ task: WorkerTask) {
        guard let index = slots.index(forKey: task.key) else { return }
        slots.values[index].use = .running
        slots.values[index].task = task
        jobs[task.id] = task.key
    }

    /// Changes a running task in place; nil: no task runs under this key.
    mutating func change<Result>(_ key: SlotKey, _ body: (inout WorkerTask) -> Result) -> Result? {
        guard let index = slots.index(forKey: key) else { return nil }
        return slots.values[index].change(body)
    }

    /// Changes what is kept of a bid that has a slot, in place; false: it has none.
    mutating func changeClaim(_ key: SlotKey, _ body: (inout Claim) -> Void) -> Bool {
        guard let index = slots.index(forKey: key) else { return false }
        body(&slots.values[index].claim)
        return true
    }

    /// Frees the slot, and returns what it was.
    mutating func end(_ key: SlotKey, _ end: End) -> Slot? {
        guard let index = slots.index(forKey: key) else { return nil }
        // The last slot takes its place: a removal in the middle would move all that follow.
        slots.swapAt(index, slots.count - 1)
        var slot = slots.removeLast().value
        if let task = slot.task {
            jobs[task.id] = nil
            slot.claim.work = task.work
        }
        shares.freed(slot.claim.party, slot.claim.model, isStranger: slot.isStranger)
        ended.insert(key, slot.claim, end, isStranger: slot.isStranger)
        return slot
    }
}

extension SlotGate.Slot {
    /// When it is likely to be free.
    fileprivate func free(_ model: ServedModel, _ unknown: Interval, _ now: MonotonicTime) -> MonotonicTime {
        switch use {
        case .held(let until): return until
        case .leased: return now + unknown
        case .running:
            let (done, all) = (task?.tokens ?? 0, claim.call.tokensOut)
            let speed = Int64(model.speed.millitokensPerSecond)
            guard speed > 0, all > done else { return now + unknown }
            let left = Interval.milliseconds(Int64(all - done) * 1_000_000 / speed)
            // Counted from the last token; from now where that says it should have ended.
            let end = (task?.producedAt ?? now) + left
            return end > now ? end : now + left
        }
    }

    fileprivate mutating func change<Result>(_ body: (inout WorkerTask) -> Result) -> Result? {
        task?.apply(body)
    }
}

extension WorkerTask {
    fileprivate mutating func apply<Result>(_ body: (inout WorkerTask) -> Result) -> Result { body(&self) }
}
