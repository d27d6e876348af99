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
/// Taken slots are counted from the table itself, so that no separate counter can go wrong.
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
        fileprivate var use: Use
        fileprivate var claim: Claim
        /// The channel that this node dialled for the slot.
        fileprivate(set) var dialled: ChannelID?
        /// Set exactly while `use` is `running`. Not inside the enum, so that it can be changed in place.
        fileprivate(set) var task: WorkerTask?
    }

    /// The bid that took the slot, and the receipts for what followed; kept after the slot is free again.
    fileprivate struct Claim: Sendable {
        let model: String
        let bid: Verified<Bid>
        let tokensOut: UInt32
        var receipts = ReceiptTrack()
    }

    /// Why a slot became free.
    enum End: Sendable {
        /// The hold or lease ran out, or another bid won. A late award may take a slot again.
        case lapsed
        /// The buyer gave up, or its task could not be accepted.
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

    private let holdMax: Interval
    private let busyRetry: Interval
    private let busyRetryMax: Interval
    private var slots: OrderedDictionary<SlotKey, Slot> = [:]
    private var jobs: [JobID: SlotKey] = [:]
    /// Kept for late awards, repeated awards and last receipts.
    private var ended: RecentTable<SlotKey, (claim: Claim, end: End)>
    /// Buyers that have paid for a finished task.
    private var known: RecentTable<PublicKey, Bool>

    init(_ parameters: MarketParameters) {
        holdMax = parameters.holdMax
        busyRetry = parameters.busyRetry
        busyRetryMax = parameters.busyRetryMax
        ended = RecentTable(capacity: parameters.rememberedMax)
        known = RecentTable(capacity: parameters.knownBuyersMax)
    }

    // MARK: - Admission

    /// Why a call for bids on `model` can't take a slot now; nil: it can.
    func refusal(of key: SlotKey, _ model: ServedModel, _ now: MonotonicTime) -> Refusal? {
        switch ended[key]?.end {
        // This attempt had its assignment, which has ended.
        case .spent, .ran: return Refusal(reason: .unspecified)
        case .lapsed, nil: break
        }
        guard taken(model.model) < model.slots else {
            return Refusal(reason: .busy, freeIn: nextFree(model, now))
        }
        if let until = unused(by: key.buyer), known[key.buyer] == nil {
            return Refusal(reason: .holdLimit, freeIn: min(holdMax, until - now))
        }
        return nil
    }

    /// Takes a slot for a bid.
    mutating func hold(
        _ key: SlotKey, model: String, _ bid: Verified<Bid>, tokensOut: UInt32, until: MonotonicTime
    ) {
        ended.remove(key)
        slots[key] = Slot(
            use: .held(until: until), claim: Claim(model: model, bid: bid, tokensOut: tokensOut))
    }

    /// Turns a hold into a lease. A bid whose hold has lapsed gets a slot again if one is free and the model
    /// is still for sale.
    mutating func lease(_ key: SlotKey, until: MonotonicTime, _ terms: SellerTerms) -> Lease {
        if let index = slots.index(forKey: key) {
            switch slots.values[index].use {
            case .held: slots.values[index].use = .leased(until: until)
            case .leased, .running: return .standing
            }
        } else {
            guard let (claim, end) = ended[key], case .lapsed = end,
                taken(claim.model) < terms.slotsForSale(claim.model)
            else { return .refused }
            ended.remove(key)
            slots[key] = Slot(use: .leased(until: until), claim: claim)
        }
        return .taken
    }

    /// When this buyer's unused bid or award runs out; nil: it has none.
    private func unused(by buyer: PublicKey) -> MonotonicTime? {
        for index in slots.keys.indices where slots.keys[index].buyer == buyer {
            switch slots.values[index].use {
            case .held(let until), .leased(let until): return until
            case .running: continue
            }
        }
        return nil
    }

    /// When one of the model's slots is likely to be free.
    private func nextFree(_ model: ServedModel, _ now: MonotonicTime) -> Interval {
        var soonest = busyRetryMax
        for slot in slots.values where slot.claim.model == model.model {
            switch slot.use {
            case .held(let until): soonest = min(soonest, until - now)
            case .leased: soonest = min(soonest, busyRetry)
            case .running:
                let done = slot.task?.tokens ?? 0
                let speed = Int64(model.speed.millitokensPerSecond)
                guard speed > 0, slot.claim.tokensOut > done else {
                    soonest = min(soonest, busyRetry)
                    continue
                }
                let left = Int64(slot.claim.tokensOut - done)
                soonest = min(soonest, .milliseconds(left * 1_000_000 / speed))
            }
        }
        return max(.milliseconds(1), soonest)
    }

    // MARK: - Lookups

    /// Slots of a model that are taken.
    func taken(_ model: String) -> Int { slots.values.count { $0.claim.model == model } }

    var count: Int { slots.count }
    var keys: [SlotKey] { Array(slots.keys) }

    /// nil: this node never bid for it, or has forgotten it.
    func standing(of key: SlotKey) -> Standing? {
        switch slots[key]?.use {
        case .held: .held
        case .leased: .leased
        case .running: .running
        case nil: ended[key].map { .ended($0.end) }
        }
    }

    /// The model of the bid's slot; nil: it has none.
    func model(of key: SlotKey) -> String? { slots[key]?.claim.model }

    /// The bid that took the slot of this key.
    func bid(of key: SlotKey) -> SignedRecord? { slots[key]?.claim.bid.signed }

    /// A hold or lease that has run out, the oldest first.
    func lapsed(_ now: MonotonicTime) -> SlotKey? {
        slots.values.firstIndex { $0.isLapsed(now) }.map { slots.keys[$0] }
    }

    func isLapsed(_ key: SlotKey, _ now: MonotonicTime) -> Bool { slots[key]?.isLapsed(now) ?? false }

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

    // MARK: - Running tasks

    var running: Int { jobs.count }

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

    /// Frees the slot, and returns what it was.
    mutating func end(_ key: SlotKey, _ end: End) -> Slot? {
        guard let slot = slots.removeValue(forKey: key) else { return nil }
        if let task = slot.task { jobs[task.id] = nil }
        ended.insert(key, (slot.claim, end))
        return slot
    }

    // MARK: - Receipts

    /// Whether a receipt for this bid is worth a signature check.
    func wants(_ receipt: Receipt, for key: SlotKey, least: Interval, _ now: MonotonicTime) -> Bool {
        (slots[key]?.claim ?? ended[key]?.claim)?.receipts.wants(receipt, least: least, now) ?? false
    }

    mutating func accepted(_ receipt: Receipt, for key: SlotKey, _ now: MonotonicTime) {
        if let index = slots.index(forKey: key) { slots.values[index].accepted(receipt, now) }
        ended.change(key) { $0.claim.receipts.accepted(receipt, now) }
        if receipt.final && (receipt.completionTokens > 0 || receipt.cost > .zero) {
            known.insert(key.buyer, true)
        }
    }
}

extension SlotGate.Slot {
    fileprivate func isLapsed(_ now: MonotonicTime) -> Bool {
        switch use {
        case .held(let until), .leased(let until): until <= now
        case .running: false
        }
    }

    fileprivate mutating func change<Result>(_ body: (inout WorkerTask) -> Result) -> Result? {
        task?.apply(body)
    }

    fileprivate mutating func accepted(_ receipt: Receipt, _ now: MonotonicTime) {
        claim.receipts.accepted(receipt, now)
    }
}

extension WorkerTask {
    fileprivate mutating func apply<Result>(_ body: (inout WorkerTask) -> Result) -> Result { body(&self) }
}
