import Foundation
import GRDB
import Market
import Primitives
import Wire

/// What this node has seen of sellers, so that neither its restart nor theirs gives trust back.
extension Ledger {
    /// Sellers that are remembered; those judged longest ago are forgotten first.
    public static let sellersMax = 4_096

    /// Stores what this node has seen of sellers, replacing what it knew of them.
    public func keep(_ sellers: [SellerRecord]) throws {
        try write { db in
            for seller in sellers {
                try db.execute(
                    sql: "INSERT OR REPLACE INTO seller VALUES (?,?,?,?,?)",
                    arguments: [
                        Data(seller.key.value.bytes), Int64(seller.trust), Int64(clamping: seller.finished),
                        Int64(clamping: seller.failed), seller.at.milliseconds,
                    ])
            }
            try db.execute(
                sql: """
                    DELETE FROM seller WHERE public_key IN
                      (SELECT public_key FROM seller ORDER BY at_ms DESC LIMIT -1 OFFSET ?)
                    """, arguments: [Self.sellersMax])
        }
    }

    /// The remembered sellers, the one judged longest ago first.
    public func sellers() throws -> [SellerRecord] {
        try database.read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM seller ORDER BY at_ms").compactMap { row in
                guard let bytes: Data = row["public_key"], let key = Bytes32(bytes) else { return nil }
                let (trust, finished): (Int64, Int64) = (row["trust"], row["finished"])
                let (failed, at): (Int64, Int64) = (row["failed"], row["at_ms"])
                return SellerRecord(
                    key: PublicKey(key), trust: UInt32(clamping: trust), finished: Int(clamping: finished),
                    failed: Int(clamping: failed), at: WallTime(milliseconds: at))
            }
        }
    }
}
