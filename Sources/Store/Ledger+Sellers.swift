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
            let statement = try db.prepare("INSERT OR REPLACE INTO seller VALUES (?,?,?,?,?)")
            for seller in sellers {
                try statement.run([
                    .blob(seller.key.value.bytes), .integer(Int64(seller.trust)),
                    .integer(Int64(clamping: seller.finished)), .integer(Int64(clamping: seller.failed)),
                    .integer(seller.at.milliseconds),
                ])
            }
            try db.run(
                """
                DELETE FROM seller WHERE public_key IN
                  (SELECT public_key FROM seller ORDER BY at_ms DESC LIMIT -1 OFFSET ?)
                """, [.integer(Int64(Self.sellersMax))])
        }
    }

    /// The remembered sellers, the one judged longest ago first.
    public func sellers() throws -> [SellerRecord] {
        try database.rows(
            "SELECT public_key, trust, finished, failed, at_ms FROM seller ORDER BY at_ms"
        ) { row in
            guard let key = row.blob(0).flatMap({ Bytes32($0) }), let trust = row.integer(1),
                let finished = row.integer(2), let failed = row.integer(3), let at = row.integer(4)
            else { return nil }
            return SellerRecord(
                key: PublicKey(key), trust: UInt32(clamping: trust), finished: Int(clamping: finished),
                failed: Int(clamping: failed), at: WallTime(milliseconds: at))
        }
    }
}
