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
            let statement = try db.prepare("INSERT OR REPLACE INTO buyer VALUES (?,?,?,?,?,?)")
            for buyer in buyers {
                let (kind, name) = Self.row(buyer.party)
                try statement.run([
                    .integer(kind.rawValue), .blob(name), .integer(Int64(clamping: buyer.paid.tasks)),
                    .integer(buyer.at.milliseconds), .integer(Int64(clamping: buyer.unpaid)),
                    .integer(buyer.paid.amount.microCredits),
                ])
            }
            try db.run("DELETE FROM buyer WHERE paid <= 0 AND unpaid <= 0")
            for kind in Kind.allCases {
                try db.run(
                    """
                    DELETE FROM buyer WHERE kind = ?1 AND name IN
                      (SELECT name FROM buyer WHERE kind = ?1 ORDER BY paid + unpaid DESC, at_ms DESC LIMIT -1 OFFSET ?2)
                    """, [.integer(kind.rawValue), .integer(Int64(limits.buyersMax))])
            }
        }
    }

    /// The remembered buyers and networks, the oldest first.
    public func buyers() throws -> [BuyerRecord] {
        try database.rows("SELECT kind, name, paid, unpaid, at_ms, paid_ucr FROM buyer ORDER BY at_ms") {
            row in
            guard let kind = row.integer(0), let name = row.blob(1), let party = Self.party(kind, name),
                let paid = row.integer(2), let unpaid = row.integer(3), let at = row.integer(4),
                let amount = row.integer(5)
            else { return nil }
            return BuyerRecord(
                party, paid: Paid(tasks: Int(clamping: paid), amount: Money(microCredits: amount)),
                unpaid: Int(clamping: unpaid), at: WallTime(milliseconds: at))
        }
    }

    /// The attempts that the owner sold and has receipts for, the oldest first.
    public func sold() throws -> [SoldTask] {
        try database.rows(
            "SELECT buyer, task, attempt FROM receipt WHERE worker = ? ORDER BY kept_at_ms",
            [.blob(owner.value.bytes)]
        ) { row in
            guard let buyer = row.blob(0).flatMap({ Bytes32($0) }),
                let task = row.blob(1).flatMap({ TaskID($0) }),
                let attempt = row.integer(2)
            else { return nil }
            return SoldTask(buyer: PublicKey(buyer), task: task, attempt: UInt32(clamping: attempt))
        }
    }

    private static func row(_ party: BuyerRecord.Party) -> (Kind, [UInt8]) {
        switch party {
        case .key(let key): (.key, key.value.bytes)
        case .network(let group): (.network, withUnsafeBytes(of: group.bigEndian, Array.init))
        }
    }

    private static func party(_ kind: Int64, _ name: [UInt8]) -> BuyerRecord.Party? {
        switch Kind(rawValue: kind) {
        case .key: Bytes32(name).map { .key(PublicKey($0)) }
        case .network where name.count == 8: .network(name.reduce(0) { $0 << 8 | UInt64($1) })
        case .network, nil: nil
        }
    }
}
