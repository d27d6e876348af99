import Primitives
import Wire

/// What this node has seen of a seller itself: the only reputation that it uses so far.
public struct SellerExperience: Sendable {
    /// What failures left of the trust, × 1000, as of `trustAt`. A key that is new here is worth less: see `trust`.
    fileprivate var trust: UInt32 = 1_000
    fileprivate var trustAt: MonotonicTime
    /// Smoothed time from a call to its answer; nil before the first.
    fileprivate(set) var reply: Interval?
    /// When the call was made that it owes an answer to; nil: it owes none.
    fileprivate var calledAt: MonotonicTime?
    fileprivate var heardAt: MonotonicTime?
    fileprivate var blamedAt: MonotonicTime?
    /// The sequence of the offer that it left with.
    fileprivate(set) var leftWith: UInt64?
    /// Left a call unanswered and hasn't been heard since.
    public fileprivate(set) var isSilent = false
    public fileprivate(set) var won = 0
    public fileprivate(set) var finished = 0
    public fileprivate(set) var failed = 0
    /// Calls that it declined since its last bid.
    fileprivate(set) var declines = 0
    /// What came to nothing with it, weighed (`Setback`), less what it finished since; at the same time it counts once.
    fileprivate var setbacks = 0
    fileprivate var setBackAt: MonotonicTime?
    /// Our own tasks that it is answering now: its offer can't say that.
    fileprivate(set) var inFlight = 0
    /// When its last bid came, and when the queue ends that it stated.
    fileprivate var bidAt: MonotonicTime?
    fileprivate var queueEndsAt = MonotonicTime.zero

    func queue(_ now: MonotonicTime) -> Interval { max(.zero, queueEndsAt - now) }
    /// Tasks that it may answer at a time while another seller has room: see `Standing`.
    fileprivate var window = 1

    fileprivate init(at now: MonotonicTime) { trustAt = now }

    fileprivate mutating func setBack(_ setback: Setback, _ now: MonotonicTime, _ every: Interval) {
        if let setBackAt, now - setBackAt < every { return }
        setBackAt = now
        setbacks = min(setbacks + setback.rawValue, 1 << 20)
    }
}

/// What brings a seller nearer to coming last, in finished tasks that make up for it. A single success must not: it would
/// pay to alternate.
enum Setback: Int, Sendable {
    /// It took a task and didn't do it.
    case loss = 4
    /// It found that the task can't be done, or refused an award that it had bid for: each may well be true.
    case finding = 2
}

/// What of a seller's experience outlives a restart of this node: a key's past must not end with our process.
public struct SellerRecord: Hashable, Sendable {
    public var key: PublicKey
    /// What failures had left of the trust at `at`, × 1000.
    public var trust: UInt32
    public var finished: Int
    public var failed: Int
    public var at: WallTime

    public init(key: PublicKey, trust: UInt32, finished: Int, failed: Int, at: WallTime) {
        self.key = key
        self.trust = trust
        self.finished = finished
        self.failed = failed
        self.at = at
    }
}

/// Sellers by key, bounded: the least recently changed is forgotten first.
struct SellerTable: Sendable {
    private let parameters: MarketParameters
    private var table: RecentTable<PublicKey, SellerExperience>
    private var newcomers: Newcomers

    init(_ parameters: MarketParameters) {
        self.parameters = parameters
        newcomers = Newcomers(parameters)
        table = RecentTable(capacity: parameters.sellersMax)
    }

    /// All of it, for whoever asks several things: an auction looks at every offer of its model.
    subscript(key: PublicKey) -> SellerExperience? { table[key] }

    /// Its smoothed time from a call to its answer; nil: it never answered.
    func replyTime(_ key: PublicKey) -> Interval? { table[key]?.reply }

    /// Our own tasks that it is answering now.
    func inFlight(_ key: PublicKey) -> Int { table[key]?.inFlight ?? 0 }

    /// Whether it owes an answer for longer than an auction would wait for it.
    func isOverdue(_ seller: SellerExperience?, _ now: MonotonicTime) -> Bool {
        guard let seller, let calledAt = seller.calledAt else { return false }
        let usual = seller.reply.map { max(parameters.bidWaitMin, $0 * 2 + parameters.bidWaitMargin) }
        return now - calledAt > usual ?? parameters.bidWaitMax
    }

    /// How many tasks of ours it won and finished.
    func finishedCount(_ key: PublicKey) -> Int { table[key]?.finished ?? 0 }

    func hasFinished(_ key: PublicKey) -> Bool { finishedCount(key) > 0 }

    /// Whether it may get another task of ours although others could do it.
    func standing(_ key: PublicKey, _ now: MonotonicTime) -> Standing {
        let (window, inFlight) = (window(key), inFlight(key))
        if hasFinished(key) { return inFlight < window ? .room : .full }
        return inFlight < window && newcomers.haveRoom(now) ? .newcomer : .unproven
    }

    /// Whether it may be called alone, because what an auction would show of it is known. See `MarketParameters.soleAge`.
    func isFamiliar(_ key: PublicKey, _ now: MonotonicTime) -> Bool {
        guard let seller = table[key], let bidAt = seller.bidAt else { return false }
        return now - bidAt < parameters.soleAge && seller.queueEndsAt <= bidAt && seller.declines == 0
            && seller.finished >= parameters.provenTasks && seller.setbacks == 0
            && standing(key, now) == .room
    }

    /// Whether tasks came to nothing with it so often in a row that others are asked first for a while, be it without its
    /// fault. Trust alone, which makes a bid dearer, can't keep out one that costs nothing.
    func isSuspended(_ key: PublicKey, _ now: MonotonicTime) -> Bool { isSuspended(table[key], now) }

    func isSuspended(_ seller: SellerExperience?, _ now: MonotonicTime) -> Bool {
        guard let seller, let setBackAt = seller.setBackAt else { return false }
        let beyond = seller.setbacks - parameters.setbacksMax
        guard beyond >= 0 else { return false }
        let doublings = Int64(min(beyond / Setback.loss.rawValue, 16))
        let wait = min(parameters.suspensionMin * (1 << doublings), parameters.suspensionMax)
        return now < setBackAt + wait
    }

    /// Trust × 1000: of what failures took, half comes back each half-life, linearly in between. A new key has
    /// `trustNew` of that, a key that finished `provenTasks` all.
    func trust(_ key: PublicKey, _ now: MonotonicTime) -> UInt32 { trust(table[key], now) }

    func trust(_ seller: SellerExperience?, _ now: MonotonicTime) -> UInt32 {
        guard let seller else { return parameters.trustNew }
        let (proven, all) = (UInt32(min(seller.finished, parameters.provenTasks)), parameters.provenTasks)
        let most = parameters.trustNew + (1_000 - parameters.trustNew) * proven / UInt32(max(1, all))
        return Self.recovered(seller, parameters.trustHalfLife, now) * most / 1_000
    }

    /// Tasks that it may have at a time while others could do the rest: one, and those it finished since it last lost one.
    func window(_ key: PublicKey) -> Int { table[key]?.window ?? 1 }

    mutating func answered(_ key: PublicKey, roundTrip: Interval, _ now: MonotonicTime) {
        change(key, now) { seller in
            seller.isSilent = false
            seller.calledAt = nil
            seller.heardAt = now
            let old = seller.reply ?? roundTrip
            seller.reply = old + (roundTrip - old) / 4
        }
    }

    mutating func called(_ key: PublicKey, _ now: MonotonicTime) {
        change(key, now) { if $0.calledAt == nil { $0.calledAt = now } }
    }

    mutating func unanswered(_ key: PublicKey, _ now: MonotonicTime) {
        change(key, now) {
            $0.isSilent = true
            $0.calledAt = nil
        }
    }

    /// The call never left this node: there is no answer to wait for.
    mutating func notAsked(_ key: PublicKey) { table.change(key) { $0.calledAt = nil } }

    mutating func heard(_ key: PublicKey, _ now: MonotonicTime) {
        table.change(key) {
            $0.isSilent = false
            $0.calledAt = nil
            $0.heardAt = now
        }
    }

    /// Whether something came from it since `time`: then a question of that time was lost or waits, and the seller is
    /// busy and not silent.
    func wasHeard(_ key: PublicKey, since time: MonotonicTime) -> Bool {
        table[key]?.heardAt.map { $0 > time } ?? false
    }

    /// It handed a task back because it leaves. That costs no trust, and it gets no task until it states an offer anew.
    mutating func left(_ key: PublicKey, _ sequence: UInt64, _ now: MonotonicTime) {
        change(key, now) { $0.leftWith = sequence }
    }

    /// It bid, with a queue of that length.
    mutating func bid(_ key: PublicKey, queue: Interval, _ now: MonotonicTime) {
        table.change(key) {
            $0.declines = 0
            $0.bidAt = now
            $0.queueEndsAt = now + queue
        }
    }

    mutating func declined(_ key: PublicKey) { table.change(key) { $0.declines &+= 1 } }

    /// `wasMet`: it had finished a task before; `ended`, `lost` and `finished` of that task say the same.
    mutating func awarded(_ key: PublicKey, wasMet: Bool, _ now: MonotonicTime) {
        newcomers.awarded(isMet: wasMet)
        change(key, now) {
            $0.won &+= 1
            $0.inFlight &+= 1
        }
    }

    /// The end of an assignment, whatever follows from it.
    mutating func ended(_ key: PublicKey, wasMet: Bool) {
        newcomers.ended(isMet: wasMet)
        table.change(key) { $0.inFlight = max(0, $0.inFlight - 1) }
    }

    /// It took a task and didn't do it, for whatever reason of its own: it begins again with one at a time.
    mutating func lost(_ key: PublicKey, wasMet: Bool, _ now: MonotonicTime) {
        if !wasMet { newcomers.lost(now) }
        let every = parameters.blameEvery
        change(key, now) {
            $0.window = 1
            $0.setBack(.loss, now, every)
        }
    }

    /// It found something of the task itself.
    mutating func found(_ key: PublicKey, _ now: MonotonicTime) {
        let every = parameters.blameEvery
        change(key, now) { $0.setBack(.finding, now, every) }
    }

    /// What weighs on it: see `Setback`.
    func setbacks(_ key: PublicKey) -> Int { table[key]?.setbacks ?? 0 }

    /// What it found is what others found too: `setback`, which that had cost, is taken back.
    mutating func confirmed(_ key: PublicKey, _ setback: Int) {
        table.change(key) { $0.setbacks = max(0, $0.setbacks - setback) }
    }

    /// It finished its task: a tenth of the missing trust comes back.
    mutating func finished(_ key: PublicKey, wasMet: Bool, _ now: MonotonicTime) {
        if !wasMet { newcomers.finished() }
        change(key, now) { seller in
            seller.finished &+= 1
            seller.window = min(seller.window &+ 1, 1 << 30)
            seller.setbacks = max(0, seller.setbacks - 1)
            seller.trust = min(1_000, seller.trust + (1_000 - seller.trust) / 10 + 1)
        }
    }

    /// Leaves `factor` ÷ 1000 of the trust. What fails within `blameEvery` counts once: a node that dies with a hundred
    /// tasks failed once.
    mutating func blame(_ key: PublicKey, factor: UInt32, _ now: MonotonicTime) {
        let (floor, every) = (parameters.trustMin, parameters.blameEvery)
        let setback: Setback = factor < parameters.trustAfterRefusal ? .loss : .finding
        change(key, now) { seller in
            seller.failed &+= 1
            seller.setBack(setback, now, every)
            if let blamedAt = seller.blamedAt, now - blamedAt < every { return }
            seller.blamedAt = now
            seller.trust = max(floor, UInt32(UInt64(seller.trust) * UInt64(factor) / 1_000))
        }
    }

    // MARK: - Memory

    func record(of key: PublicKey, _ now: Now) -> SellerRecord? {
        table[key].map {
            SellerRecord(
                key: key, trust: Self.recovered($0, parameters.trustHalfLife, now.monotonic),
                finished: $0.finished, failed: $0.failed, at: now.wall)
        }
    }

    /// Takes what an earlier process knew; the time since then counts.
    mutating func restore(_ records: [SellerRecord], _ now: Now) {
        for record in records.suffix(parameters.sellersMax) {
            let passed = Interval.milliseconds(max(0, now.wall.milliseconds &- record.at.milliseconds))
            var seller = SellerExperience(at: now.monotonic + (.zero - passed))
            seller.trust = min(record.trust, 1_000)
            seller.trust = Self.recovered(seller, parameters.trustHalfLife, now.monotonic)
            seller.trustAt = now.monotonic
            seller.finished = min(max(0, record.finished), 1 << 30)
            seller.window = 1 + seller.finished
            seller.failed = min(max(0, record.failed), 1 << 30)
            table.insert(record.key, seller)
        }
    }

    private mutating func change(
        _ key: PublicKey, _ now: MonotonicTime, _ body: (inout SellerExperience) -> Void
    ) {
        if table[key] == nil { table.insert(key, SellerExperience(at: now)) }
        let halfLife = parameters.trustHalfLife
        table.change(key) { seller in
            seller.trust = Self.recovered(seller, halfLife, now)
            seller.trustAt = max(seller.trustAt, now)
            body(&seller)
        }
    }

    private static func recovered(
        _ seller: SellerExperience, _ halfLife: Interval, _ now: MonotonicTime
    ) -> UInt32 {
        let half = max(1, halfLife.nanoseconds)
        let elapsed = max(0, (now - seller.trustAt).nanoseconds)
        let halvings = elapsed / half
        guard halvings < 16 else { return 1_000 }
        let missing = (1_000 - min(seller.trust, 1_000)) >> UInt32(halvings)
        let part = UInt32(clamping: Int64(missing) * (elapsed % half / 1_000) / max(1, half / 1_000) / 2)
        return 1_000 - missing + min(missing, part)
    }
}
