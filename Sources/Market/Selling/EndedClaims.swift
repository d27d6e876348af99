import Primitives
import Wire

/// Attempts whose slot is free again. Those with a job, whose receipts may still come, and those without one are kept
/// apart, so that bids, which cost a buyer nothing, can't push out work that is owed; nor can many small jobs of strangers
/// those of buyers that pay.
struct EndedClaims: Sendable {
    /// Holds that ran out, for late awards.
    private var lapsed: RecentTable<SlotKey, SlotGate.Claim>
    /// Holds and leases that were given up; false: without a claim to another slot.
    private var released: RecentTable<SlotKey, (claim: SlotGate.Claim, mayLease: Bool)>
    /// Attempts with a job, for repeated awards and last receipts.
    private var ran: RecentTable<SlotKey, SlotGate.Claim>
    /// The same for slots that were strangers'.
    private var ranForStrangers: RecentTable<SlotKey, SlotGate.Claim>

    private let capacity: Int

    var tables: [(name: String, count: Int, bound: Int)] {
        [
            ("lapsed holds", lapsed.count, capacity), ("released holds", released.count, capacity),
            ("ended attempts", ran.count, capacity),
            ("ended attempts of strangers", ranForStrangers.count, capacity),
        ]
    }

    init(capacity: Int) {
        self.capacity = capacity
        lapsed = RecentTable(capacity: capacity)
        released = RecentTable(capacity: capacity)
        ran = RecentTable(capacity: capacity)
        ranForStrangers = RecentTable(capacity: capacity)
    }

    func end(of key: SlotKey) -> SlotGate.End? {
        if ran(key) != nil { return .ran }
        if lapsed[key] != nil { return .lapsed }
        return released[key].map { $0.mayLease ? .released : .spent }
    }

    /// The bid whose late award may take a slot.
    func leasable(_ key: SlotKey) -> SlotGate.Claim? {
        lapsed[key] ?? released[key].flatMap { $0.mayLease ? $0.claim : nil }
    }

    func ran(_ key: SlotKey) -> SlotGate.Claim? { ran[key] ?? ranForStrangers[key] }

    mutating func insert(_ key: SlotKey, _ claim: SlotGate.Claim, _ end: SlotGate.End, isStranger: Bool) {
        switch end {
        case .lapsed: lapsed.insert(key, claim)
        case .released: released.insert(key, (claim, true))
        case .spent: released.insert(key, (claim, false))
        case .ran where isStranger: ranForStrangers.insert(key, claim)
        case .ran: ran.insert(key, claim)
        }
    }

    /// Forgets a bid that takes a slot again.
    mutating func remove(_ key: SlotKey) {
        lapsed.remove(key)
        released.remove(key)
    }

    mutating func changeRan(_ key: SlotKey, _ body: (inout SlotGate.Claim) -> Void) {
        if !ran.change(key, body) { ranForStrangers.change(key, body) }
    }
}
