import Primitives
import Wire

/// One assignment between two nodes: a receipt replaces earlier ones with the same key.
struct ReceiptKey: Hashable {
    var task: TaskID
    var attempt: UInt32
    var buyer: PublicKey
    var worker: PublicKey

    init(_ receipt: Receipt) {
        task = receipt.task
        attempt = receipt.attempt
        buyer = receipt.buyer
        worker = receipt.worker
    }
}

/// Running balances by peer: the receipts in the database, and those that arrived since it was read.
public struct Accounts: Sendable {
    /// Micro-credits; positive when the peer owes us.
    public var byPeer: [PublicKey: Int64] = [:]
    public var earned: Int64 = 0
    public var spent: Int64 = 0
    /// The cost in the latest receipt of each running assignment: receipts are cumulative, so a new one adds
    /// only the difference.
    private var running: [ReceiptKey: Int64] = [:]

    public init() {}

    public init(byPeer: [PublicKey: Int64], earned: Int64, spent: Int64) {
        self.byPeer = byPeer
        self.earned = earned
        self.spent = spent
    }

    mutating func add(_ receipt: Receipt, own: PublicKey) {
        guard receipt.buyer != receipt.worker else { return }
        let key = ReceiptKey(receipt)
        let difference = receipt.cost - (running[key] ?? 0)
        running[key] = receipt.final ? nil : receipt.cost
        if receipt.worker == own {
            byPeer[receipt.buyer, default: 0] += difference
            earned += difference
        } else if receipt.buyer == own {
            byPeer[receipt.worker, default: 0] -= difference
            spent += difference
        }
    }
}
