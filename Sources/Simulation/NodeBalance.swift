import Primitives
import Wire

/// What others owe one node less what it owes them, by the receipts that it keeps. Each receipt states the
/// whole cost of its assignment so far, so a later one adds only the difference.
struct NodeBalance {
    private struct Key: Hashable {
        var task: TaskID
        var attempt: UInt32
        var other: PublicKey
    }

    let owner: PublicKey
    /// Micro-credits.
    private(set) var net: Int64 = 0
    private var counted: [Key: (sequence: UInt64, cost: Int64)] = [:]

    init(of owner: PublicKey) { self.owner = owner }

    mutating func add(_ receipt: Receipt) {
        guard receipt.buyer != receipt.worker else { return }
        let isSeller = receipt.worker == owner
        let key = Key(
            task: receipt.task, attempt: receipt.attempt, other: isSeller ? receipt.buyer : receipt.worker)
        let before = counted[key]
        if let before, receipt.sequence <= before.sequence { return }
        counted[key] = (receipt.sequence, receipt.cost)
        let difference = receipt.cost - (before?.cost ?? 0)
        net += isSeller ? difference : -difference
    }
}

extension Host {
    /// The node keeps a receipt, as a seller or as a buyer.
    func keep(_ receipt: Receipt) {
        if balances == nil { balances = NodeBalance(of: identity.publicKey) }
        balances?.add(receipt)
    }
}
