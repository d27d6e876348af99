import Primitives
import Wire

/// Who uses how many slots and places in the queue, and who may take another: the counters of `SlotGate`'s table, which
/// alone changes them.
///
/// A key has slots of its own, one more than it has paid tasks here, but no more than what it paid is worth
/// (`slotTokens`); and so has its network group (`Endpoint.group`). A slot beyond that is lent, while *strangers*, which
/// are keys without an own slot and users of lent slots, use less than their share of the model. A stranger gets even its
/// first slot only within that share once anybody has paid, or for a while after a lease of its network that no receipt
/// has followed. So a new buyer finds the idle half of a seller, and buyers that pay find the other half, whatever
/// strangers do; new keys cost nothing and gain nothing, and what is left unpaid is taken from what was paid.
///
/// Places are shared out by the same rule: what a key has of its own it uses for either, and strangers wait in their share
/// of the places.
///
/// A *debtor* (`UnpaidAnswers`), or a new key of its network, is lent one slot at a time, and only while half of the
/// strangers' share is free: a network costs more than a key, and whoever hasn't failed anybody comes first.
struct SlotShares: Sendable {
    /// Who asks.
    struct Party: Sendable {
        let buyer: PublicKey
        let group: UInt64
        /// This node itself, to which no share applies.
        let isOwn: Bool
    }

    enum Verdict: Equatable, Sendable {
        case free(toStranger: Bool)
        /// No slot of the model is free.
        case busy
        /// The buyer uses what it may.
        case overShare
    }

    /// Of one kind, slots or places.
    private struct Count {
        var all = 0
        var strangers = 0
        var isEmpty: Bool { all == 0 }
    }
    private struct Use {
        var slots = Count()
        var places = Count()
    }

    private let strangersPercent: Int
    private let slotTokens: UInt64
    // An entry without a slot is removed, so that there are no more of them than slots.
    private var byModel: [String: Use] = [:]
    private var byBuyer: [PublicKey: Int] = [:]
    private var byGroup: [UInt64: Int] = [:]
    private let openLeasesMax: Int
    /// Tasks that were paid as counted, less those that were left unpaid.
    private var paidByBuyer: PaidTasks<PublicKey>
    private var paidByGroup: PaidTasks<UInt64>
    /// Networks with a lease that no receipt has followed yet, and until when that is remembered.
    private var openLeases: RecentTable<UInt64, MonotonicTime>

    private var unpaidByBuyer: UnpaidAnswers<PublicKey>
    private var unpaidByGroup: UnpaidAnswers<UInt64>

    init(_ parameters: MarketParameters) {
        strangersPercent = parameters.strangersPercent
        slotTokens = parameters.slotTokens
        openLeasesMax = parameters.knownBuyersMax
        paidByBuyer = PaidTasks(capacity: parameters.knownBuyersMax / 4)
        paidByGroup = PaidTasks(capacity: parameters.knownBuyersMax / 4)
        openLeases = RecentTable(capacity: openLeasesMax)
        unpaidByBuyer = UnpaidAnswers(parameters)
        unpaidByGroup = UnpaidAnswers(parameters)
    }

    var tables: [(name: String, count: Int, bound: Int)] {
        [
            ("paying buyers", paidByBuyer.count, paidByBuyer.bound),
            ("paying groups", paidByGroup.count, paidByGroup.bound),
            ("groups with open leases", openLeases.count, openLeasesMax),
            ("buyers with unpaid answers", unpaidByBuyer.count, unpaidByBuyer.bound),
            ("groups with unpaid answers", unpaidByGroup.count, unpaidByGroup.bound),
        ]
    }

    func taken(_ model: String) -> Int { byModel[model]?.slots.all ?? 0 }
    func strangers(_ model: String) -> Int { byModel[model]?.slots.strangers ?? 0 }
    func waiting(_ model: String) -> Int { byModel[model]?.places.all ?? 0 }

    /// Whether the party may take one of the model's `slots`.
    func verdict(_ party: Party, _ model: String, _ price: Price, slots: Int, _ now: MonotonicTime) -> Verdict
    {
        verdict(party, byModel[model]?.slots ?? Count(), price, of: slots, now)
    }

    /// Whether the party may wait in one of the model's `places`.
    func verdict(_ party: Party, _ model: String, _ price: Price, places: Int, _ now: MonotonicTime)
        -> Verdict
    {
        verdict(party, byModel[model]?.places ?? Count(), price, of: places, now)
    }

    /// Whether nobody has paid here yet: then each key may have a first slot, of all.
    var isNew: Bool { paidByBuyer.isEmpty }

    /// How many of the slots strangers use at most.
    func strangerSlots(of slots: Int) -> Int { isNew ? slots : share(of: slots) }

    /// Whether one that waits may have a free slot.
    func maySeat(isStranger: Bool, _ model: String, slots: Int) -> Bool {
        !isStranger || strangers(model) < share(of: slots)
    }

    private func share(of all: Int) -> Int { (all * strangersPercent + 99) / 100 }

    private func verdict(
        _ party: Party, _ use: Count, _ price: Price, of all: Int, _ now: MonotonicTime
    ) -> Verdict {
        guard use.all < all else { return .busy }
        if party.isOwn { return .free(toStranger: false) }
        let own = ownSlots(paidByBuyer[party.buyer], price)
        let isStranger = own == 0
        let (most, mostAround) = (max(1, own), max(1, own, ownSlots(paidByGroup[party.group], price)))
        let owes = isStranger && openLeases[party.group] ?? .zero > now
        let mayUseOwn = byBuyer[party.buyer] ?? 0 < most && byGroup[party.group] ?? 0 < mostAround
        let share = share(of: all)
        if isDebtor(party, isStranger: isStranger, now) {
            let isFirst = byBuyer[party.buyer] == nil && byGroup[party.group] == nil
            return isFirst && use.strangers < share && 2 * use.strangers <= share
                ? .free(toStranger: true) : .overShare
        }
        if use.strangers < share { return .free(toStranger: isStranger || !mayUseOwn) }
        // Before anybody has paid there is nobody to keep the other half for.
        guard mayUseOwn, !owes, !isStranger || paidByBuyer.isEmpty else { return .overShare }
        return .free(toStranger: isStranger)
    }

    /// One for each `slotTokens` that it paid for at the dearer of the prices, and no more than one beyond its tasks.
    private func ownSlots(_ paid: Paid, _ price: Price) -> Int {
        guard paid.tasks > 0 else { return 0 }
        let rate = max(price.input, price.output)
        let worth = Scoring.cost(
            Price(input: 0, cachedInput: 0, output: rate), prompt: 0, cached: 0, completion: slotTokens)
        guard worth > .zero else { return 1 + paid.tasks }
        return min(1 + paid.tasks, Int(paid.amount.microCredits / worth.microCredits))
    }

    /// What other keys of its network left counts only against a stranger.
    private func isDebtor(_ party: Party, isStranger: Bool, _ now: MonotonicTime) -> Bool {
        unpaidByBuyer.isDebtor(party.buyer, now) || isStranger && unpaidByGroup.isDebtor(party.group, now)
    }

    // MARK: - Changes

    mutating func took(_ party: Party, _ model: String, isStranger: Bool, waits: Bool) {
        count(model, isStranger, waits, by: 1)
        byBuyer[party.buyer, default: 0] += 1
        byGroup[party.group, default: 0] += 1
    }

    mutating func freed(_ party: Party, _ model: String, isStranger: Bool, waits: Bool) {
        count(model, isStranger, waits, by: -1)
        Self.lower(&byBuyer, party.buyer)
        Self.lower(&byGroup, party.group)
    }

    /// From a place to a slot, or back.
    mutating func moved(_ model: String, isStranger: Bool, waits: Bool) {
        count(model, isStranger, !waits, by: -1)
        count(model, isStranger, waits, by: 1)
    }

    private mutating func count(_ model: String, _ isStranger: Bool, _ waits: Bool, by one: Int) {
        var use = byModel[model] ?? Use()
        let kind = waits ? \Use.places : \Use.slots
        use[keyPath: kind].all += one
        if isStranger { use[keyPath: kind].strangers += one }
        byModel[model] = use.slots.isEmpty && use.places.isEmpty ? nil : use
    }

    private static func lower<Key>(_ counts: inout [Key: Int], _ key: Key) {
        let left = (counts[key] ?? 0) - 1
        counts[key] = left > 0 ? left : nil
    }

    mutating func leased(_ party: Party, until: MonotonicTime) {
        guard !party.isOwn else { return }
        openLeases.remove(party.group)
        openLeases.insert(party.group, until)
    }

    /// A receipt has followed the party's lease.
    mutating func acknowledged(_ party: Party) { openLeases.remove(party.group) }

    /// The party let a job run without acknowledging it: what it and its network paid before counts no more, or a few
    /// small payments would hold slots for ever.
    mutating func defaulted(_ party: Party) {
        guard !party.isOwn else { return }
        paidByBuyer.remove(party.buyer)
        paidByGroup.remove(party.group)
    }

    /// The party's answer was left unpaid, and that may make it a debtor. Returns whether that has changed.
    mutating func leftUnpaid(_ party: Party, _ now: MonotonicTime) -> Bool {
        guard !party.isOwn else { return false }
        let isNews = (unpaidByBuyer.add(party.buyer, now), unpaidByGroup.add(party.group, now))
        if unpaidByBuyer.isDebtor(party.buyer, now) { defaulted(party) }
        return isNews.0 || isNews.1
    }

    /// The party has paid for most of an answer. Returns whether its history has changed.
    mutating func settled(_ party: Party) -> Bool {
        let hadAny = (unpaidByBuyer.settle(party.buyer), unpaidByGroup.settle(party.group))
        return hadAny.0 || hadAny.1
    }

    /// The party has paid for a task what was counted. This node pays itself nothing.
    mutating func paid(_ party: Party, _ amount: Money) {
        guard !party.isOwn else { return }
        paidByBuyer.add(party.buyer, Paid(tasks: 1, amount: amount))
        paidByGroup.add(party.group, Paid(tasks: 1, amount: amount))
    }

    /// What was taken for an answer from what the key and its network had paid.
    struct Charge: Sendable {
        fileprivate let key: Paid
        fileprivate let network: Paid
    }

    /// Takes what the party owes from what it and its network paid.
    mutating func charge(_ party: Party, _ owed: Paid) -> Charge {
        guard !party.isOwn else { return Charge(key: Paid(), network: Paid()) }
        return Charge(
            key: paidByBuyer.take(party.buyer, owed), network: paidByGroup.take(party.group, owed))
    }

    /// The party has paid after all.
    mutating func giveBack(_ charge: Charge, to party: Party) {
        guard !party.isOwn else { return }
        paidByBuyer.add(party.buyer, charge.key)
        paidByGroup.add(party.group, charge.network)
    }

    // MARK: - Memory

    /// What is known of the party now, to be stored.
    func records(of party: Party, _ now: Now) -> [BuyerRecord] {
        guard !party.isOwn else { return [] }
        return [
            BuyerRecord(
                .key(party.buyer), paid: paidByBuyer[party.buyer],
                unpaid: unpaidByBuyer.count(party.buyer, now.monotonic), at: now.wall),
            BuyerRecord(
                .network(party.group), paid: paidByGroup[party.group],
                unpaid: unpaidByGroup.count(party.group, now.monotonic), at: now.wall),
        ]
    }

    /// Takes what an earlier process knew, the oldest first; the time since then counts.
    mutating func restore(_ records: [BuyerRecord], _ now: Now) {
        for record in records {
            let passed = Interval.milliseconds(max(0, now.wall.milliseconds &- record.at.milliseconds))
            let at = now.monotonic + (.zero - passed)
            switch record.party {
            case .key(let buyer):
                paidByBuyer.set(buyer, record.paid)
                if record.unpaid > 0 { unpaidByBuyer.set(buyer, record.unpaid, at: at) }
            case .network(let group):
                paidByGroup.set(group, record.paid)
                if record.unpaid > 0 { unpaidByGroup.set(group, record.unpaid, at: at) }
            }
        }
    }
}
