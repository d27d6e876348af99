import OrderedCollections
import Primitives
import Wire

/// What one bid is named by: the bidder keeps at most one slot for it.
struct HoldKey: Hashable, Sendable {
    var buyer: PublicKey
    var task: TaskID
    var attempt: UInt32
}

/// One slot, taken by a bid, by an award or by a job.
struct Hold: Sendable {
    enum State: Hashable, Sendable { case held, leased, running(job: JobID) }
    var state: State
    /// When a hold or lease falls back; a job has its own deadlines.
    var until: MonotonicTime
    let model: String
    let bid: Verified<Bid>
    let tokensOut: UInt32
    /// The channel that we dialled for it.
    var dialled: ChannelID?
    var receipts = ReceiptTrack()
}

/// The latest receipt of a job: cumulative, so that it replaces the ones before.
struct ReceiptTrack: Sendable {
    private var sequence: UInt64 = 0
    private var at: MonotonicTime?
    private var closed = false

    /// Whether a receipt is worth a signature check: newer, and not faster than a buyer has reason to send them.
    func wants(_ receipt: Receipt, least: Interval, _ now: MonotonicTime) -> Bool {
        guard !closed, receipt.sequence > sequence else { return false }
        guard let at, !receipt.final else { return true }
        return now - at >= least
    }

    mutating func accepted(_ receipt: Receipt, _ now: MonotonicTime) {
        sequence = receipt.sequence
        at = now
        closed = receipt.final
    }
}

/// The slots that are taken, and those that were: for late awards, repeated awards and last receipts. A slot is
/// counted by looking at the holds themselves, so that no counter can leak.
struct HoldTable: Sendable {
    struct Past: Sendable {
        var hold: Hold
        /// Its slot was given back before a job began: a late award may have one again.
        var revivable: Bool
    }

    private(set) var active: OrderedDictionary<HoldKey, Hold> = [:]
    private var past: RecentTable<HoldKey, Past>
    /// Buyers that paid for a finished task.
    private var known: RecentTable<PublicKey, Bool>

    init(_ parameters: MarketParameters) {
        past = RecentTable(capacity: parameters.rememberedMax)
        known = RecentTable(capacity: parameters.knownBuyersMax)
    }

    subscript(key: HoldKey) -> Hold? { active[key] }
    func past(_ key: HoldKey) -> Past? { past[key] }

    func taken(_ model: String) -> Int { active.values.count { $0.model == model } }

    /// Until when this buyer has a bid or an award that it has not used; nil: it has none.
    func unused(by buyer: PublicKey) -> MonotonicTime? {
        for (key, hold) in active where key.buyer == buyer {
            if case .running = hold.state { continue }
            return hold.until
        }
        return nil
    }

    func isKnown(_ buyer: PublicKey) -> Bool { known[buyer] ?? false }
    mutating func becameKnown(_ buyer: PublicKey) { known.insert(buyer, true) }

    mutating func add(_ key: HoldKey, _ hold: Hold) {
        past.remove(key)
        active[key] = hold
    }

    mutating func change(_ key: HoldKey, _ body: (inout Hold) -> Void) {
        guard let index = active.index(forKey: key) else { return }
        body(&active.values[index])
    }

    /// Gives the slot back.
    mutating func end(_ key: HoldKey, revivable: Bool) {
        guard let hold = active.removeValue(forKey: key) else { return }
        past.insert(key, Past(hold: hold, revivable: revivable))
    }

    /// Takes a slot again for a bid that had given it back.
    mutating func revive(_ key: HoldKey, until: MonotonicTime) {
        guard let past = past.remove(key) else { return }
        var hold = past.hold
        hold.state = .leased
        hold.until = until
        active[key] = hold
    }

    /// Whether `key` wants this receipt, from whichever table.
    func track(_ key: HoldKey) -> ReceiptTrack? { active[key]?.receipts ?? past[key]?.hold.receipts }

    mutating func accepted(_ key: HoldKey, _ receipt: Receipt, _ now: MonotonicTime) {
        change(key) { $0.receipts.accepted(receipt, now) }
        past.change(key) { $0.hold.receipts.accepted(receipt, now) }
    }
}
