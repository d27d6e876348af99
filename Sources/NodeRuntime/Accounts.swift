import Primitives
import Wire

/// One attempt of one task between two nodes: what a receipt replaces.
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

/// Running balances by peer, from the receipts that the database holds and those that came since.
public struct Accounts: Sendable {
    /// Micro-credits; positive: they owe us.
    public var byPeer: [PublicKey: Int64] = [:]
    public var earned: Int64 = 0
    public var spent: Int64 = 0
    /// What the running attempts' latest receipts said, so that a cumulative one adds only its difference.
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
