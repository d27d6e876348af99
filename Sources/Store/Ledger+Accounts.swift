import Primitives
import Wire

// Amounts: those of the receipts that are stored, and those of receipts that left. Sums are made here, where they
// saturate: SQL's own raise an error when they overflow.
extension Ledger {
    /// What a node earned from one peer and spent there.
    private struct Account {
        var earned = Money.zero
        var spent = Money.zero
        var balance: Money { earned - spent }

        mutating func add(_ other: Account) {
            earned += other.earned
            spent += other.spent
        }
    }

    /// What each peer owes the owner (positive) or is owed by it (negative), according to all receipts that were ever
    /// stored, and the totals that the owner earned and spent.
    public func balances() throws -> (byPeer: [PublicKey: Money], earned: Money, spent: Money) {
        var accounts = try kept()
        try database.prepare("SELECT buyer, worker, cost_ucr FROM receipt").run { row in
            add(row, to: &accounts)
        }
        var total = Account()
        for account in accounts.values { total.add(account) }
        return (accounts.mapValues(\.balance), total.earned, total.spent)
    }

    /// Amounts of receipts that left.
    private func kept() throws -> [PublicKey: Account] {
        var accounts: [PublicKey: Account] = [:]
        try database.prepare("SELECT peer, earned_ucr, spent_ucr FROM account WHERE owner = ?").run(
            [.blob(owner.value.bytes)]
        ) { row in
            guard let peer = key(row.blob(0)) else { return }
            accounts[peer] = Account(
                earned: Money(microCredits: row.integer(1) ?? 0),
                spent: Money(microCredits: row.integer(2) ?? 0))
        }
        return accounts
    }

    /// Adds a receipt (buyer, worker, cost), unless it is between others or of the owner with itself.
    private func add(_ row: borrowing Row, to accounts: inout [PublicKey: Account]) {
        guard let buyer = key(row.blob(0)), let worker = key(row.blob(1)), buyer != worker else { return }
        let cost = Money(microCredits: row.integer(2) ?? 0)
        if worker == owner {
            accounts[buyer, default: Account()].earned += cost
        } else if buyer == owner {
            accounts[worker, default: Account()].spent += cost
        }
    }

    func receiptCount() throws -> Int {
        Int(clamping: try database.rows("SELECT COUNT(*) FROM receipt") { $0.integer(0) }.first ?? 0)
    }

    private func key(_ bytes: [UInt8]?) -> PublicKey? { bytes.flatMap { Bytes32($0) }.map { PublicKey($0) } }

    // MARK: Bounds

    /// Removes receipts that are too many or too old, the oldest first, and adds their costs to their peers' accounts.
    /// What buyers paid so long ago is forgotten.
    public func prune(at now: WallTime) throws {
        keptSincePruning = 0
        let oldest = now.milliseconds - limits.receiptDaysMax * 86_400_000
        try database.transaction {
            let count = try receiptCount()
            let aged =
                try database.rows("SELECT COUNT(*) FROM receipt WHERE kept_at_ms < ?", [.integer(oldest)]) {
                    $0.integer(0)
                }.first ?? 0
            let surplus = min(limits.prunedAtOnceMax, max(Int(clamping: aged), count - limits.receiptsMax))
            if surplus > 0 { try fold(surplus) }
            try database.run("DELETE FROM buyer WHERE at_ms < ?", [.integer(oldest)])
        }
    }

    private func fold(_ count: Int) throws {
        var accounts: [PublicKey: Account] = [:]
        try database.prepare(
            """
            DELETE FROM receipt WHERE (buyer, worker, task, attempt) IN
              (SELECT buyer, worker, task, attempt FROM receipt ORDER BY kept_at_ms LIMIT ?)
            RETURNING buyer, worker, cost_ucr
            """
        ).run([.integer(Int64(count))]) { row in add(row, to: &accounts) }
        var all = try kept()
        for (peer, account) in accounts { all[peer, default: Account()].add(account) }
        var changed = Array(accounts.keys)
        let surplus = all.count - limits.accountsMax
        if surplus > 0 {
            // The smallest balances are summed under no name.
            let nobody = PublicKey(.zero)
            let smallest = all.filter { $0.key != nobody }.sorted {
                $0.value.balance.magnitude < $1.value.balance.magnitude
            }
            for (peer, account) in smallest.prefix(surplus + 1) {
                all[peer] = nil
                all[nobody, default: Account()].add(account)
                changed.append(peer)
            }
            changed.append(nobody)
        }
        for peer in changed { try set(all[peer], of: peer) }
    }

    private func set(_ account: Account?, of peer: PublicKey) throws {
        let keys: [DatabaseValue] = [.blob(owner.value.bytes), .blob(peer.value.bytes)]
        guard let account else {
            return try database.run("DELETE FROM account WHERE owner = ? AND peer = ?", keys)
        }
        try database.run(
            "INSERT OR REPLACE INTO account VALUES (?,?,?,?)",
            keys + [.integer(account.earned.microCredits), .integer(account.spent.microCredits)])
    }
}
