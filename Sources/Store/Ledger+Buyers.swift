import Foundation
import GRDB
import Market
import Primitives

/// What buyers have paid here and left unpaid, so that no restart makes them strangers, nor gives back what they lost.
extension Ledger {
    private enum Kind: Int64, CaseIterable { case key = 1, network }

    /// Stores what is known of buyers and their networks, replacing what was known of them. Beyond
    /// `LedgerLimits.buyersMax` those with the shortest history leave, of these the oldest.
    public func keep(_ buyers: [BuyerRecord]) throws {
        guard !buyers.isEmpty else { return }
        try write { db in
            let statement = try db.cachedStatement(sql: "INSERT OR REPLACE INTO buyer VALUES (?,?,?,?,?,?)")
            for buyer in buyers {
                let (kind, name) = Self.row(buyer.party)
                try statement.execute(arguments: [
                    kind.rawValue, name, Int64(clamping: buyer.paid.tasks), buyer.at.milliseconds,
                    Int64(clamping: buyer.unpaid), buyer.paid.amount.microCredits,
                ])
            }
            try db.execute(sql: "DELETE FROM buyer WHERE paid <= 0 AND unpaid <= 0")
            for kind in Kind.allCases {
                try db.execute(
                    sql: """
                        DELETE FROM buyer WHERE kind = ?1 AND name IN
                          (SELECT name FROM buyer WHERE kind = ?1 ORDER BY paid + unpaid DESC, at_ms DESC LIMIT -1 OFFSET ?2)
                        """, arguments: [kind.rawValue, limits.buyersMax])
            }
        }
    }

    /// The remembered buyers and networks, the oldest first.
    public func buyers() throws -> [BuyerRecord] {
        try database.read { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT kind, name, paid, unpaid, at_ms, paid_ucr FROM buyer ORDER BY at_ms")
            return rows.compactMap { row in
                guard let kind: Int64 = row[0], let name: Data = row[1], let party = Self.party(kind, name)
                else { return nil }
                let (paid, unpaid, at): (Int64, Int64, Int64) = (row[2], row[3], row[4])
                let amount = Money(microCredits: row[5])
                return BuyerRecord(
                    party, paid: Paid(tasks: Int(clamping: paid), amount: amount),
                    unpaid: Int(clamping: unpaid),
                    at: WallTime(milliseconds: at))
            }
        }
    }

    /// The attempts that the owner sold and has receipts for, the oldest first.
    public func sold() throws -> [SoldTask] {
        try database.read { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT buyer, task, attempt FROM receipt WHERE worker = ? ORDER BY kept_at_ms",
                arguments: [Data(owner.value.bytes)])
            return rows.compactMap { row in
                guard let buyer: Data = row[0], let key = Bytes32(buyer), let bytes: Data = row[1],
                    let task = TaskID(bytes), let attempt: Int64 = row[2]
                else { return nil }
                return SoldTask(buyer: PublicKey(key), task: task, attempt: UInt32(clamping: attempt))
            }
        }
    }

    private static func row(_ party: BuyerRecord.Party) -> (Kind, Data) {
        switch party {
        case .key(let key): (.key, Data(key.value.bytes))
        case .network(let group): (.network, withUnsafeBytes(of: group.bigEndian) { Data($0) })
        }
    }

    private static func party(_ kind: Int64, _ name: Data) -> BuyerRecord.Party? {
        switch Kind(rawValue: kind) {
        case .key: Bytes32(name).map { .key(PublicKey($0)) }
        case .network where name.count == 8: .network(name.reduce(0) { $0 << 8 | UInt64($1) })
        case .network, nil: nil
        }
    }
}
