import Primitives
import Wire

/// What this node has seen of a seller itself: the only reputation that it uses so far.
public struct SellerExperience: Sendable {
    /// Trust × 1000, 0...1000, as of `trustAt`.
    fileprivate var trust: UInt32 = 1_000
    fileprivate var trustAt: MonotonicTime
    /// Smoothed time from a call to its answer; nil before the first.
    fileprivate var reply: Interval?
    /// When the call was made that it owes an answer to; nil: it owes none.
    fileprivate var calledAt: MonotonicTime?
    /// Left a call unanswered and hasn't been heard since.
    fileprivate var isSilent = false
    public fileprivate(set) var won = 0
    public fileprivate(set) var finished = 0
    public fileprivate(set) var failed = 0
    /// Our own tasks that it is answering now: its offer can't say that.
    fileprivate var inFlight = 0

    fileprivate init(at now: MonotonicTime) { trustAt = now }
}

/// Sellers by key, bounded: the least recently changed is forgotten first.
struct SellerTable: Sendable {
    private let parameters: MarketParameters
    private var table: RecentTable<PublicKey, SellerExperience>

    init(_ parameters: MarketParameters) {
        self.parameters = parameters
        table = RecentTable(capacity: parameters.sellersMax)
    }

    subscript(key: PublicKey) -> SellerExperience? { table[key] }

    /// Whether it left a call unanswered and hasn't been heard since.
    func isSilent(_ key: PublicKey) -> Bool { table[key]?.isSilent ?? false }

    /// Its smoothed time from a call to its answer; nil: it never answered.
    func replyTime(_ key: PublicKey) -> Interval? { table[key]?.reply }

    func hasAnswered(_ key: PublicKey) -> Bool { replyTime(key) != nil }

    /// Our own tasks that it is answering now.
    func inFlight(_ key: PublicKey) -> Int { table[key]?.inFlight ?? 0 }

    /// Whether it owes an answer for longer than an auction would wait for it.
    func isOverdue(_ key: PublicKey, _ now: MonotonicTime) -> Bool {
        guard let seller = table[key], let calledAt = seller.calledAt else { return false }
        let usual = seller.reply.map { max(parameters.bidWaitMin, $0 * 2 + parameters.bidWaitMargin) }
        return now - calledAt > usual ?? parameters.bidWaitMax
    }

    /// Whether we never gave it a task.
    func isNewcomer(_ key: PublicKey) -> Bool { (table[key]?.won ?? 0) == 0 }

    /// Trust × 1000: half of what is missing comes back each half-life, linearly in between.
    func trust(_ key: PublicKey, _ now: MonotonicTime) -> UInt32 {
        guard let seller = table[key] else { return 1_000 }
        return Self.recovered(seller, parameters.trustHalfLife, now)
    }

    mutating func answered(_ key: PublicKey, roundTrip: Interval, _ now: MonotonicTime) {
        change(key, now) { seller in
            seller.isSilent = false
            seller.calledAt = nil
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

    mutating func heard(_ key: PublicKey) {
        table.change(key) {
            $0.isSilent = false
            $0.calledAt = nil
        }
    }

    mutating func awarded(_ key: PublicKey, _ now: MonotonicTime) {
        change(key, now) {
            $0.won &+= 1
            $0.inFlight &+= 1
        }
    }

    /// The end of an assignment. `factor` × 1000 is what it leaves of the trust; nil: it finished its task.
    mutating func ended(_ key: PublicKey, factor: UInt32?, _ now: MonotonicTime) {
        let floor = parameters.trustMin
        change(key, now) { seller in
            seller.inFlight = max(0, seller.inFlight - 1)
            if let factor {
                if factor < 1_000 { seller.failed &+= 1 }
                seller.trust = max(floor, UInt32(UInt64(seller.trust) * UInt64(min(factor, 1_000)) / 1_000))
            } else {
                seller.finished &+= 1
                seller.trust = min(1_000, seller.trust + (1_000 - seller.trust) / 10 + 1)
            }
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
