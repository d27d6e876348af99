// Who owes whom, by the receipts that one node keeps.
//
// A receipt is the buyer's signed, cumulative acknowledgement of one assignment (`records.proto`): each states the whole
// cost so far, so a later one adds only its difference, and a lost one costs nothing once the next has come. The database
// keeps the receipts themselves by the same rule (`Store/Ledger.keep`), so that a balance that was counted while the node
// ran equals the sum over the table after a restart.

import Primitives
import Wire

/// One assignment between two nodes: what its receipts have in common, and what a later receipt replaces.
public struct ReceiptKey: Hashable, Sendable {
    let task: TaskID
    let attempt: UInt32
    let buyer: PublicKey
    let worker: PublicKey

    public init(_ receipt: Receipt) {
        task = receipt.task
        attempt = receipt.attempt
        buyer = receipt.buyer
        worker = receipt.worker
    }
}

/// One node's balances with its peers.
public struct Balances: Sendable {
    /// The node that they belong to.
    public let owner: PublicKey
    /// The cost of everything that the owner sold, since its first receipt.
    public private(set) var earned: Money
    /// The cost of everything that the owner bought.
    public private(set) var spent: Money
    /// The sum of what peers owe the owner, without what it owes others.
    public private(set) var owedToOwner = Money.zero
    /// The sum of what the owner owes peers; not negative.
    public private(set) var owedByOwner = Money.zero
    /// Peers that owe the owner something.
    public private(set) var debtorCount = 0
    /// Money is not forgotten: at the bound, further peers share the entry of nobody's key.
    private var byPeer: [PublicKey: Money] = [:]
    private var counted = RecentTable<ReceiptKey, Counted>(capacity: CreditLimits.assignmentsMax)
    private var ended = RecentTable<ReceiptKey, Counted>(capacity: CreditLimits.endedMax)

    /// What the latest receipt of an assignment said.
    private struct Counted {
        var sequence: UInt64
        var cost: Money
    }

    /// Balances from the receipts that the database holds; none by default.
    ///
    /// - Parameters:
    ///   - byPeer: what each peer owes `owner` (positive) or is owed by it (negative), each peer once; the most important
    ///     first, because at the bound the others share one entry.
    ///   - earned: everything that `owner` sold.
    ///   - spent: everything that it bought.
    public init(
        of owner: PublicKey, byPeer: some Sequence<(key: PublicKey, value: Money)> = [:],
        earned: Money = .zero,
        spent: Money = .zero
    ) {
        self.owner = owner
        self.earned = earned
        self.spent = spent
        for (peer, amount) in byPeer { change(peer, by: amount) }
    }

    /// What `peer` owes the owner; negative: the owner owes it.
    public subscript(peer: PublicKey) -> Money { byPeer[peer] ?? .zero }

    /// Everything that the owner is owed, less everything that it owes. Over all nodes these sum to zero when each
    /// receipt has reached its worker.
    public var net: Money { owedToOwner - owedByOwner }

    /// Counts a receipt whose signature was checked. One that its assignment's later receipt overtook changes nothing, nor
    /// does a repetition, one between other nodes, or one of the owner with itself.
    public mutating func add(_ receipt: Receipt) {
        guard receipt.buyer != receipt.worker else { return }
        let isSeller = receipt.worker == owner
        guard isSeller || receipt.buyer == owner else { return }
        let key = ReceiptKey(receipt)
        let before = counted[key] ?? ended[key]
        if let before, receipt.sequence <= before.sequence { return }
        // Removed first, so that the assignment becomes the most recent.
        counted.remove(key)
        ended.remove(key)
        let latest = Counted(sequence: receipt.sequence, cost: receipt.cost)
        if receipt.final { ended.insert(key, latest) } else { counted.insert(key, latest) }
        let difference = receipt.cost - (before?.cost ?? .zero)
        if isSeller {
            earned += difference
            change(receipt.buyer, by: difference)
        } else {
            spent += difference
            change(receipt.worker, by: -difference)
        }
    }

    private mutating func change(_ name: PublicKey, by difference: Money) {
        let isFull = byPeer.count >= CreditLimits.peersMax
        let peer = isFull && byPeer[name] == nil ? PublicKey(.zero) : name
        let before = self[peer]
        let after = before + difference
        byPeer[peer] = after
        owedToOwner += max(.zero, after) - max(.zero, before)
        owedByOwner -= min(.zero, after) - min(.zero, before)
        debtorCount += (after > .zero ? 1 : 0) - (before > .zero ? 1 : 0)
    }
}
