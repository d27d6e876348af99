import Credit
import OrderedCollections
import Primitives
import Wire

/// Receipts that the database doesn't have yet. A refused write loses none: they stay here, and the next attempt waits
/// longer. Only at the bound, after minutes without a working disk, the oldest are lost.
struct UnsavedReceipts {
    /// Of one assignment only the latest, each about a kilobyte.
    static let countMax = 16_384
    private static let batchMax = 1_024
    private static let waits = (first: Interval.milliseconds(500), longest: Interval.seconds(60))

    private var receipts: OrderedDictionary<ReceiptKey, Verified<Receipt>> = [:]
    private var isLosing = false
    private var isRefused = false
    /// From a change, or from a refusal, until the next attempt.
    private(set) var wait = waits.first

    var isEmpty: Bool { receipts.isEmpty }
    var all: [Verified<Receipt>] { Array(receipts.values) }

    /// Adds a receipt; returns whether the loss of others begins with it.
    mutating func add(_ receipt: Verified<Receipt>) -> Bool {
        let key = ReceiptKey(receipt.record)
        if let held = receipts[key], held.record.sequence >= receipt.record.sequence { return false }
        receipts[key] = receipt
        guard receipts.count > Self.countMax else { return false }
        // Many at once: each removal moves all that follow.
        receipts.removeFirst(Self.batchMax)
        defer { isLosing = true }
        return !isLosing
    }

    /// The oldest, as many as one transaction takes.
    func batch() -> [Verified<Receipt>] { Array(receipts.values.prefix(Self.batchMax)) }

    /// The database has `batch`; returns whether it had refused before. A receipt that a later one has replaced meanwhile
    /// stays.
    mutating func saved(_ batch: [Verified<Receipt>]) -> Bool {
        let sequences = Dictionary(
            batch.map { (ReceiptKey($0.record), $0.record.sequence) }, uniquingKeysWith: max)
        receipts.removeAll { key, receipt in sequences[key].map { $0 >= receipt.record.sequence } ?? false }
        wait = Self.waits.first
        isLosing = false
        defer { isRefused = false }
        return isRefused
    }

    /// The database took nothing; returns whether this is news.
    mutating func refused() -> Bool {
        wait = min(wait * 2, Self.waits.longest)
        defer { isRefused = true }
        return !isRefused
    }
}
