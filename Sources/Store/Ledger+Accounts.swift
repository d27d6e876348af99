import Foundation
import GRDB
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
        try database.read { db in
            var accounts = try kept(db)
            let rows = try Row.fetchCursor(db, sql: "SELECT buyer, worker, cost_ucr FROM receipt")
            while let row = try rows.next() { add(row, to: &accounts) }
            var total = Account()
            for account in accounts.values { total.add(account) }
            return (accounts.mapValues(\.balance), total.earned, total.spent)
        }
    }

    /// Amounts of receipts that left.
    private func kept(_ db: Database) throws -> [PublicKey: Account] {
        var accounts: [PublicKey: Account] = [:]
        let rows = try Row.fetchCursor(
            db, sql: "SELECT peer, earned_ucr, spent_ucr FROM account WHERE owner = ?",
            arguments: [Data(owner.value.bytes)])
        while let row = try rows.next() {
            guard let peer = key(row[0]) else { continue }
            accounts[peer] = Account(
                earned: Money(microCredits: row[1] ?? 0), spent: Money(microCredits: row[2] ?? 0))
        }
        return accounts
    }

    /// Adds a receipt (buyer, worker, cost), unless it is between others or of the owner with itself.
    private func add(_ row: Row, to accounts: inout [PublicKey: Account]) {
        guard let buyer = key(row[0]), let worker = key(row[1]), buyer != worker else { return }
        let cost = Money(microCredits: row[2] ?? 0)
        if worker == owner {
            accounts[buyer, default: Account()].earned += cost
        } else if buyer == owner {
            accounts[worker, default: Account()].spent += cost
        }
    }

    func receiptCount() throws -> Int { try database.read { try Self.count($0) } }

    private static func count(_ db: Database) throws -> Int {
        try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM receipt") ?? 0
    }

    private func key(_ bytes: Data?) -> PublicKey? { bytes.flatMap { Bytes32($0) }.map { PublicKey($0) } }

    // MARK: Bounds

    /// Removes receipts that are too many or too old, the oldest first, and adds their costs to their peers' accounts.
    /// What buyers paid so long ago is forgotten.
    public func prune(at now: WallTime) throws {
        keptSincePruning = 0
        let oldest = now.milliseconds - limits.receiptDaysMax * 86_400_000
        try database.write { db in
            let count = try Self.count(db)
            let aged =
                try Int.fetchOne(
                    db, sql: "SELECT COUNT(*) FROM receipt WHERE kept_at_ms < ?", arguments: [oldest]) ?? 0
            let surplus = min(limits.prunedAtOnceMax, max(aged, count - limits.receiptsMax))
            if surplus > 0 { try fold(surplus, db) }
            try db.execute(sql: "DELETE FROM buyer WHERE at_ms < ?", arguments: [oldest])
        }
    }

    private func fold(_ count: Int, _ db: Database) throws {
        var accounts: [PublicKey: Account] = [:]
        let rows = try Row.fetchAll(
            db,
            sql: "SELECT buyer, worker, cost_ucr, task, attempt FROM receipt ORDER BY kept_at_ms LIMIT ?",
            arguments: [count])
        let removal = try db.cachedStatement(
            sql: "DELETE FROM receipt WHERE buyer = ? AND worker = ? AND task = ? AND attempt = ?")
        for row in rows {
            add(row, to: &accounts)
            try removal.execute(arguments: [row[0], row[1], row[3], row[4]] as StatementArguments)
        }
        var all = try kept(db)
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
        for peer in changed { try set(all[peer], of: peer, db) }
    }

    private func set(_ account: Account?, of peer: PublicKey, _ db: Database) throws {
        let keys: StatementArguments = [Data(owner.value.bytes), Data(peer.value.bytes)]
        guard let account else {
            return try db.execute(sql: "DELETE FROM account WHERE owner = ? AND peer = ?", arguments: keys)
        }
        try db.execute(
            sql: "INSERT OR REPLACE INTO account VALUES (?,?,?,?)",
            arguments: keys + [account.earned.microCredits, account.spent.microCredits])
    }
}
