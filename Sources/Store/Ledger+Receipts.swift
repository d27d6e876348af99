import Primitives

/// What receipts between the owner and one peer say, as far as they are kept.
public struct PeerReceipts: Hashable, Sendable {
    public var earned = Money.zero
    public var spent = Money.zero
    /// Attempts.
    public var sold: Int64 = 0
    public var bought: Int64 = 0
    public var lastAt = WallTime(milliseconds: 0)

    public init() {}
}

extension Ledger {
    /// By peer, the receipts that were issued since then. Those that left are in no sum here, but in the balances.
    public func receipts(since: WallTime) throws -> [PublicKey: PeerReceipts] {
        var found: [PublicKey: PeerReceipts] = [:]
        try database.prepare(
            "SELECT buyer, worker, cost_ucr, issued_at_ms FROM receipt WHERE issued_at_ms >= ?"
        ).run([.integer(since.milliseconds)]) { row in
            guard let buyer = row.blob(0).flatMap({ Bytes32($0) }).map({ PublicKey($0) }),
                let worker = row.blob(1).flatMap({ Bytes32($0) }).map({ PublicKey($0) }), buyer != worker
            else { return }
            let cost = Money(microCredits: row.integer(2) ?? 0)
            let at = WallTime(milliseconds: row.integer(3) ?? 0)
            let isSeller = worker == owner
            guard isSeller || buyer == owner else { return }
            let peer = isSeller ? buyer : worker
            var receipts = found[peer] ?? PeerReceipts()
            receipts.lastAt = max(receipts.lastAt, at)
            if isSeller {
                receipts.earned += cost
                receipts.sold += 1
            } else {
                receipts.spent += cost
                receipts.bought += 1
            }
            found[peer] = receipts
        }
        return found
    }
}
