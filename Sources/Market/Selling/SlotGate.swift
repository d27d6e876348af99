import OrderedCollections
import Primitives
import Wire

/// Identifies a bid and everything that follows from it. It takes at most one slot, or waits for one.
struct SlotKey: Hashable, Sendable {
    var buyer: PublicKey
    var task: TaskID
    var attempt: UInt32
}

/// The seller's slots and the queue for them: the one table of holds, leases and tasks. Only this type decides whether a
/// call, a late award or an OPEN may take a slot, or wait for one, and who gets a slot that becomes free.
///
/// `SlotShares` counts this table by buyer, group and model; it changes only where an entry comes, moves or goes.
/// `SlotQueue` has the order, and `SlotForecast` says when the turn of each will come.
/// `EndedClaims` remembers attempts whose slot is free again; `SlotGate+Receipts` judges what is signed for them.
struct SlotGate: Sendable {
    /// What has taken a slot or a place.
    enum Use: Sendable {
        /// A bid, until its call closes.
        case held(until: MonotonicTime)
        /// An award, until its task must have been opened.
        case leased(until: MonotonicTime)
        /// `Slot.task`, which has its own deadlines.
        case running

        var isHeld: Bool { if case .held = self { true } else { false } }
    }

    struct Slot: Sendable {
        fileprivate(set) var use: Use
        var claim: Claim
        fileprivate let ticket: SlotQueue.Ticket
        /// It has a place in the queue, and no slot yet.
        fileprivate(set) var waits: Bool
        fileprivate var isStranger: Bool { ticket.rank == .stranger }
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
        /// Tokens that its answer is likely to have.
        var tokens: UInt32 = 1
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

    /// What a call gets.
    enum Admission: Sendable {
        case slot
        /// A place in the queue, and when it is likely to get a slot.
        case place(wait: Interval)
        /// Nothing, and when to try again.
        case refused(Reason, retryAfter: Interval = .zero)
    }

    /// What a model has for sale now.
    struct Room: Sendable {
        var slots = 0
        var places = 0
    }

    /// The result of an award or an OPEN.
    enum Lease: Sendable { case taken, standing, refused }

    let parameters: MarketParameters
    private(set) var slots: OrderedDictionary<SlotKey, Slot> = [:]
    private var queue: SlotQueue
    private var jobs: [JobID: SlotKey] = [:]
    var shares: SlotShares
    var ended: EndedClaims
    var awaited: AwaitedReceipts
    var sold: SoldTasks
    private var forecasts: [String: SlotForecast] = [:]
    /// Models of which a slot or place has become free since `advance`.
    private(set) var freed: [String] = []
    private var odds = BidOdds()
    /// Tokens of answers that finished, smoothed, by model.
    private var lengths: [String: UInt32] = [:]

    init(_ parameters: MarketParameters) {
        self.parameters = parameters
        shares = SlotShares(parameters)
        queue = SlotQueue(parameters)
        ended = EndedClaims(capacity: parameters.rememberedMax)
        awaited = AwaitedReceipts(capacity: parameters.rememberedMax)
        sold = SoldTasks(capacity: parameters.soldMax)
    }

    // MARK: - Admission

    /// What a call for bids on `model` gets now.
    mutating func admission(
        of key: SlotKey, _ party: SlotShares.Party, _ model: ServedModel, _ now: MonotonicTime
    ) -> Admission {
        switch ended.end(of: key) {
        // This attempt had its assignment, which has ended.
        case .spent, .ran: return .refused(.unspecified)
        case .lapsed, .released, nil: if sold.contains(key) { return .refused(.unspecified) }
        }
        let slot = shares.verdict(party, model.model, model.price, slots: model.slots, now)
        if case .free = slot { return .slot }
        let place = shares.verdict(party, model.model, model.price, places: model.places, now)
        let forecast = forecast(model, now)
        if case .free(let isStranger) = place, let next = forecast.next(rank(party, isStranger)) {
            return .place(wait: max(.milliseconds(1), next - now))
        }
        if slot == .overShare || place == .overShare {
            return .refused(.holdLimit, retryAfter: max(.milliseconds(1), forecast.strangersFree - now))
        }
        return .refused(.busy, retryAfter: max(.milliseconds(1), forecast.anyFree - now))
    }

    /// Takes a slot or place for the bid of a call that was not refused.
    mutating func hold(
        _ key: SlotKey, _ claim: Claim, _ model: ServedModel, until: MonotonicTime, _ now: MonotonicTime
    ) {
        let room = Room(slots: model.slots, places: model.places)
        guard insert(key, claim, .held(until: until), room, now), let slot = slots[key] else { return }
        let uses = uses(slot, model, now)
        forecasts[claim.model]?.add(slot.ticket, uses: uses)
    }

    private func rank(_ party: SlotShares.Party, _ isStranger: Bool) -> SlotQueue.Rank {
        party.isOwn ? .own : isStranger ? .stranger : .known
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
                odds.note(won: true)
                leased(slots.values[index].claim.party, until)
            case .leased, .running: return .standing
            }
        } else {
            guard let claim = ended.leasable(key),
                insert(key, claim, .leased(until: until), terms.room(claim.model, now), now)
            else { return .refused }
            leased(claim.party, until)
        }
        return .taken
    }

    private mutating func leased(_ party: SlotShares.Party, _ until: MonotonicTime) {
        shares.leased(party, until: until + parameters.openLeaseMemory)
    }

    /// Takes a slot, or else a place; false: its party may have neither.
    private mutating func insert(
        _ key: SlotKey, _ claim: Claim, _ use: Use, _ room: Room, _ now: MonotonicTime
    ) -> Bool {
        let (party, price) = (claim.party, claim.bid.record.price)
        let (isStranger, waits): (Bool, Bool)
        if case .free(let toStranger) = shares.verdict(party, claim.model, price, slots: room.slots, now) {
            (isStranger, waits) = (toStranger, false)
        } else if case .free(let toStranger) = shares.verdict(
            party, claim.model, price, places: room.places, now)
        {
            (isStranger, waits) = (toStranger, true)
        } else {
            return false
        }
        ended.remove(key)
        shares.took(party, claim.model, isStranger: isStranger, waits: waits)
        let ticket = queue.ticket(rank(party, isStranger), now)
        slots[key] = Slot(use: use, claim: claim, ticket: ticket, waits: waits)
        // One that waits may have the better right to the slot.
        if waits {
            queue.insert(key, ticket, claim.model)
        } else if waiting(claim.model) > 0 {
            free(claim.model)
        }
        return true
    }

    // MARK: - The queue

    /// Gives the model's free slots to those that wait, and returns the tasks that may start.
    ///
    /// A slot goes to the first whose request is complete, so that none stands idle while there is one; else to the first
    /// award, else to the first bid. A bid without an award, or a stranger without a request, keeps no slot from a request
    /// that is there.
    mutating func advance(_ model: String, slots most: Int) -> [SlotKey] {
        var ready: [SlotKey] = []
        while let (index, isReady) = next(model, slots: most) {
            seat(index)
            if isReady { ready.append(slots.keys[index]) }
        }
        return ready
    }

    /// The request of one that waits is complete: `advance` may have a slot for it.
    mutating func isReady(_ key: SlotKey) {
        if let model = slots[key]?.claim.model { free(model) }
    }

    private mutating func free(_ model: String) { if !freed.contains(model) { freed.append(model) } }

    /// All models with something that has become free, once.
    mutating func takeFreed() -> [String] {
        defer { freed.removeAll(keepingCapacity: true) }
        return freed
    }

    /// Who gets a slot next, and whether its request is complete; nil: nobody.
    private mutating func next(_ model: String, slots most: Int) -> (index: Int, isReady: Bool)? {
        var (award, bid): (Int?, Int?)
        let isFree = shares.taken(model) < most
        for place in queue[model] {
            guard let index = slots.index(forKey: place.key) else { continue }
            let slot = slots.values[index]
            let mayHave =
                shares.maySeat(isStranger: slot.isStranger, model, slots: most)
                || shares.isNew && !hasSlot(slot.claim.party)
            switch slot.use {
            case .running where slot.task?.isComplete == true:
                if isFree, mayHave { return (index, true) }
                if !isFree, most > 0, takeBack(model, for: place.ticket, mayHave: mayHave) {
                    return (index, true)
                }
            case .running, .leased: if mayHave { award = award ?? index }
            case .held: if mayHave { bid = bid ?? index }
            }
        }
        guard isFree, let index = award ?? bid else { return nil }
        return (index, false)
    }

    /// Whether the party, or another of its network, has a slot.
    private func hasSlot(_ party: SlotShares.Party) -> Bool {
        slots.values.contains {
            !$0.waits && ($0.claim.party.buyer == party.buyer || $0.claim.party.group == party.group)
        }
    }

    /// Sends the latest that has a slot and no use for it yet back to the queue: a bid, or a stranger's award or task whose
    /// request isn't here; false: there is none. Else strangers that send no request would keep the slots of those that do.
    private mutating func takeBack(_ model: String, for ticket: SlotQueue.Ticket, mayHave: Bool) -> Bool {
        var latest: Int?
        for index in slots.values.indices {
            let slot = slots.values[index]
            guard slot.use.isHeld || slot.isStranger && slot.task?.isHere != true, !slot.waits,
                slot.claim.model == model, mayHave || slot.isStranger,
                ticket.rank == .own || slot.ticket.rank != .own
            else { continue }
            if latest.map({ slots.values[$0].ticket < slot.ticket }) ?? true { latest = index }
        }
        guard let latest else { return false }
        let slot = slots.values[latest]
        slots.values[latest].waits = true
        queue.insert(slots.keys[latest], slot.ticket, model)
        shares.moved(model, isStranger: slot.isStranger, waits: true)
        return true
    }

    private mutating func seat(_ index: Int) {
        let slot = slots.values[index]
        slots.values[index].waits = false
        queue.remove(slot.ticket, slot.claim.model)
        shares.moved(slot.claim.model, isStranger: slot.isStranger, waits: false)
    }

    /// Tasks of a model that wait for a slot, bids and awards included.
    func waiting(_ model: String) -> Int { shares.waiting(model) }

    /// Where a task waits: how many are before it, and when it is likely to start; nil: it has a slot.
    mutating func place(of key: SlotKey, _ model: ServedModel, _ now: MonotonicTime) -> (
        before: Int, wait: Interval
    )? {
        guard let slot = slots[key], slot.waits else { return nil }
        let start = forecast(model, now).starts[slot.ticket] ?? now
        return (queue.position(of: slot.ticket, model.model), max(.zero, start - now))
    }

    private mutating func forecast(_ model: ServedModel, _ now: MonotonicTime) -> SlotForecast {
        if let made = forecasts[model.model], now < made.madeAt + SlotForecast.age { return made }
        let last = now + parameters.busyRetryMax
        var (anyFree, strangersFree) = (last, last)
        var busy: [(until: MonotonicTime, isStranger: Bool)] = []
        for slot in slots.values where slot.claim.model == model.model && !slot.waits {
            busy.append((min(now + uses(slot, model, now), deadline(slot)), slot.isStranger))
            // Of a bid: when it ends at the latest.
            let free = if case .held(let until) = slot.use { until } else { now + uses(slot, model, now) }
            anyFree = min(anyFree, free)
            if slot.isStranger { strangersFree = min(strangersFree, free) }
        }
        let waiting = queue[model.model].compactMap { place in
            slots[place.key].map { (place.ticket, uses($0, model, now), deadline($0)) }
        }
        let forecast = SlotForecast(
            slots: model.slots, strangerSlots: shares.strangerSlots(of: model.slots), busy: busy,
            waiting: waiting, strangersDelay: parameters.strangersDelay, anyFree: anyFree,
            strangersFree: strangersFree, now)
        forecasts[model.model] = forecast
        return forecast
    }

    private func deadline(_ slot: Slot) -> MonotonicTime {
        slot.task?.deadlineAt ?? slot.claim.call.deadlineAt
    }

    /// How long the answer of a call is likely to be: what it says, but no more than four times what answers here have.
    func tokens(of call: CallForBids) -> UInt32 {
        let said = max(1, min(call.tokensOut, call.tokensOutMax == 0 ? .max : call.tokensOutMax))
        guard let usual = lengths[call.model] else { return min(said, parameters.answerTokensMax) }
        return min(said, max(64, usual * 4))
    }

    /// A task has finished.
    mutating func noteLength(of key: SlotKey) {
        guard let slot = slots[key], let task = slot.task else { return }
        let tokens = min(task.tokens, parameters.answerTokensMax)
        let usual = lengths[slot.claim.model] ?? tokens
        lengths[slot.claim.model] = usual - usual / 8 + tokens / 8
    }

    /// How long it is likely to use a slot from now on, or from its turn on. Of a bid only as much as bids win.
    private func uses(_ slot: Slot, _ model: ServedModel, _ now: MonotonicTime) -> Interval {
        let whole = Scoring.completion(
            queueMilliseconds: 0, firstTokenMilliseconds: model.speed.firstTokenMilliseconds,
            millitokensPerSecond: model.speed.millitokensPerSecond, tokens: slot.claim.tokens)
        switch slot.use {
        case .held: return odds.part(of: whole)
        case .leased: return whole
        case .running:
            guard let task = slot.task, task.tokens > 0 else { return whole }
            guard task.tokens < slot.claim.tokens, model.speed.millitokensPerSecond > 0 else {
                return parameters.busyRetry
            }
            let left = Scoring.completion(
                queueMilliseconds: 0, firstTokenMilliseconds: 0,
                millitokensPerSecond: model.speed.millitokensPerSecond,
                tokens: slot.claim.tokens - task.tokens)
            // Counted from the last token; from now where that says that it should have ended.
            let end = task.producedAt + left
            return end > now ? end - now : left
        }
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

    /// Whether it has a place in the queue, and no slot yet.
    func waits(_ key: SlotKey) -> Bool { slots[key]?.waits ?? false }

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
        let model = slot.claim.model
        shares.freed(slot.claim.party, model, isStranger: slot.isStranger, waits: slot.waits)
        if slot.waits { queue.remove(slot.ticket, model) }
        free(model)
        if slot.use.isHeld { odds.note(won: false) }
        ended.insert(key, slot.claim, end, isStranger: slot.isStranger)
        return slot
    }
}

extension SlotGate.Slot {
    fileprivate mutating func change<Result>(_ body: (inout WorkerTask) -> Result) -> Result? {
        task?.apply(body)
    }
}

extension WorkerTask {
    fileprivate mutating func apply<Result>(_ body: (inout WorkerTask) -> Result) -> Result { body(&self) }
}

/// How many of the node's bids win, smoothed: what a bid that isn't decided yet is likely to use.
private struct BidOdds: Sendable {
    /// × 4,096. A quarter, before anything is known.
    private var won: Int64 = 1_024

    mutating func note(won isWon: Bool) { won += ((isWon ? 4_096 : 0) - won) / 32 }

    func part(of whole: Interval) -> Interval {
        Interval(nanoseconds: whole.nanoseconds / 4_096 * max(64, won))
    }
}
