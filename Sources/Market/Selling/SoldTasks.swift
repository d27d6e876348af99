import Primitives
import Wire

/// An attempt that a buyer has signed a receipt for.
public struct SoldTask: Hashable, Sendable {
    public var buyer: PublicKey
    public var task: TaskID
    public var attempt: UInt32

    public init(buyer: PublicKey, task: TaskID, attempt: UInt32) {
        self.buyer = buyer
        self.task = task
        self.attempt = attempt
    }
}

/// Attempts that have been sold, long after everything else of them is forgotten: a buyer that names a new task like an
/// old one could pay for it with the receipts of the old one. Only a fingerprint of each is kept.
struct SoldTasks: Sendable {
    private var table: RecentTable<UInt64, Bool>
    let bound: Int

    init(capacity: Int) {
        table = RecentTable(capacity: capacity)
        bound = capacity
    }

    var count: Int { table.count }

    func contains(_ key: SlotKey) -> Bool { table[Self.fingerprint(key)] != nil }

    mutating func insert(_ key: SlotKey) { table.insert(Self.fingerprint(key), true) }

    /// Needs no secret: whoever makes two names collide is refused the second.
    private static func fingerprint(_ key: SlotKey) -> UInt64 {
        let buyer = key.buyer.value
        let words = [
            buyer.w0, buyer.w1, buyer.w2, buyer.w3, key.task.high, key.task.low, UInt64(key.attempt),
        ]
        return words.reduce(0xcbf2_9ce4_8422_2325) { sum, word in
            let mixed = (sum ^ word) &* 0x9e37_79b9_7f4a_7c15
            return mixed ^ mixed >> 32
        }
    }
}
