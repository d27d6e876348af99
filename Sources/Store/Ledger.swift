import CSQLite
import FoundationEssentials
import Glibc
import Primitives
import Wire

/// What must outlive a node's process, in one SQLite file: receipts of both sides, what buyers paid and sellers did,
/// anchors of the DHT, measured speeds and offer sequences. An actor off the loop's thread: the loop hands it values and never
/// waits for it. Methods throw SQLite's errors; `LedgerError` says what they mean.
///
/// `Ledger+Accounts` bounds the receipts and sums them.
public actor Ledger {
    let database: Database
    let opened: OpenedFile?
    /// The node whose receipts are kept.
    public nonisolated let owner: PublicKey
    let limits: LedgerLimits
    /// Receipts stored since they were last counted.
    var keptSincePruning = 0

    /// Opens or creates the file at `path` (`:memory:` for none) and migrates its schema.
    public init(path: String, owner: PublicKey, limits: LedgerLimits = LedgerLimits()) throws {
        self.owner = owner
        self.limits = limits
        if path != ":memory:" { OpenedFile.create(path) }
        database = try Database(path: path)
        try Self.migrate(database)
        opened = path == ":memory:" ? nil : OpenedFile(path)
    }

    /// Whether an error says that the file is no database of ours, or a damaged one.
    public static func isDamage(_ error: any Error) -> Bool {
        let code = (error as? DatabaseError)?.code
        return code == SQLITE_CORRUPT || code == SQLITE_NOTADB
    }

    /// Stores `receipts`, except those for which a later one of the same attempt is already stored; all of them or none.
    public func keep(_ receipts: [Verified<Receipt>], at now: WallTime) throws {
        try write { db in
            let statement = try db.prepare(
                """
                INSERT INTO receipt VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)
                ON CONFLICT DO UPDATE SET sequence = excluded.sequence, prompt_tokens = excluded.prompt_tokens,
                  completion_tokens = excluded.completion_tokens, cost_ucr = excluded.cost_ucr, final = excluded.final,
                  issued_at_ms = excluded.issued_at_ms, body = excluded.body, signature = excluded.signature,
                  kept_at_ms = excluded.kept_at_ms
                WHERE excluded.sequence > receipt.sequence
                """)
            for verified in receipts {
                let receipt = verified.record
                try statement.run([
                    .blob(receipt.task.bytes), .integer(Int64(receipt.attempt)),
                    .blob(receipt.buyer.value.bytes), .blob(receipt.worker.value.bytes),
                    .integer(Int64(clamping: receipt.sequence)),
                    .integer(Int64(clamping: receipt.promptTokens)),
                    .integer(Int64(clamping: receipt.completionTokens)),
                    .integer(receipt.cost.microCredits), .integer(receipt.final ? 1 : 0),
                    .integer(receipt.issuedAt.milliseconds), .blob(verified.signed.body),
                    .blob(verified.signed.signature.bytes), .integer(now.milliseconds),
                ])
            }
        }
        keptSincePruning += receipts.count
        if keptSincePruning >= limits.pruneEvery { try prune(at: now) }
    }

    /// Replaces the saved anchors of the DHT, best first.
    public func saveAnchors(_ contacts: [SignedRecord], keys: [PublicKey]) throws {
        try write { db in
            try db.run("DELETE FROM anchor")
            let statement = try db.prepare("INSERT OR REPLACE INTO anchor VALUES (?,?,?,?)")
            for (rank, pair) in zip(keys, contacts).enumerated() {
                try statement.run([
                    .blob(pair.0.value.bytes), .blob(pair.1.body), .blob(pair.1.signature.bytes),
                    .integer(Int64(rank)),
                ])
            }
        }
    }

    /// The saved anchors, best first, as they were signed. The caller must verify them again.
    public func anchors() throws -> [SignedRecord] {
        try database.rows("SELECT body, signature FROM anchor ORDER BY rank") { row in
            guard let body = row.blob(0), let signature = row.blob(1).flatMap({ Signature($0) }) else {
                return nil
            }
            return SignedRecord(body: body, signature: signature)
        }
    }

    /// A small named value: a measured speed or an offer sequence.
    public func setting(_ name: String) throws -> [UInt8]? {
        try database.rows("SELECT value FROM setting WHERE name = ?", [.text(name)]) { $0.blob(0) }.first
    }

    /// The small named values whose names begin with `beginning`, of letters, digits and slashes.
    public func settings(beginning: String) throws -> [(name: String, value: [UInt8])] {
        try database.rows(
            "SELECT name, value FROM setting WHERE name >= ?1 AND name < ?1 || '~'", [.text(beginning)]
        ) { row in
            guard let name = row.text(0), let value = row.blob(1) else { return nil }
            return (name, value)
        }
    }

    /// Stores a small named value, replacing the old one.
    public func set(_ name: String, _ value: [UInt8]) throws {
        try write { try $0.run("INSERT OR REPLACE INTO setting VALUES (?,?)", [.text(name), .blob(value)]) }
    }
}
