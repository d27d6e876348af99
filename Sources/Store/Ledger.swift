import Foundation
import GRDB
import Primitives
import Wire

/// What must outlive a node's process, in one SQLite file: receipts of both sides, what buyers paid and sellers did,
/// anchors of the DHT, measured speeds and offer sequences. An actor off the loop's thread: the loop hands it values and never
/// waits for it. Methods throw GRDB's errors.
///
/// `Ledger+Accounts` bounds the receipts and sums them.
public actor Ledger {
    let database: DatabaseQueue
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
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            try db.execute(
                sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256")
        }
        database = try DatabaseQueue(path: path, configuration: configuration)
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            try db.execute(
                sql: """
                    CREATE TABLE receipt (
                      task BLOB NOT NULL, attempt INTEGER NOT NULL, buyer BLOB NOT NULL, worker BLOB NOT NULL,
                      sequence INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
                      cost_ucr INTEGER NOT NULL, final INTEGER NOT NULL, issued_at_ms INTEGER NOT NULL,
                      body BLOB NOT NULL, signature BLOB NOT NULL,
                      PRIMARY KEY (buyer, worker, task, attempt)) WITHOUT ROWID;
                    CREATE TABLE anchor (
                      public_key BLOB PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL, rank INTEGER NOT NULL) WITHOUT ROWID;
                    CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("2") { db in
            try db.execute(
                sql: """
                    ALTER TABLE receipt ADD COLUMN kept_at_ms INTEGER NOT NULL DEFAULT 0;
                    CREATE INDEX receipt_by_age ON receipt (kept_at_ms);
                    CREATE TABLE account (
                      owner BLOB NOT NULL, peer BLOB NOT NULL, earned_ucr INTEGER NOT NULL, spent_ucr INTEGER NOT NULL,
                      PRIMARY KEY (owner, peer)) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("sellers") { db in
            try db.execute(
                sql: """
                    CREATE TABLE seller (
                      public_key BLOB PRIMARY KEY, trust INTEGER NOT NULL, finished INTEGER NOT NULL, failed INTEGER NOT NULL,
                      at_ms INTEGER NOT NULL) WITHOUT ROWID;
                    CREATE INDEX seller_by_time ON seller (at_ms);
                    """)
        }
        migrator.registerMigration("buyers") { db in
            try db.execute(
                sql: """
                    CREATE TABLE buyer (
                      kind INTEGER NOT NULL, name BLOB NOT NULL, paid INTEGER NOT NULL, at_ms INTEGER NOT NULL,
                      PRIMARY KEY (kind, name)) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("debtors") { db in
            try db.execute(sql: "ALTER TABLE buyer ADD COLUMN unpaid INTEGER NOT NULL DEFAULT 0")
        }
        migrator.registerMigration("amounts") { db in
            try db.execute(sql: "ALTER TABLE buyer ADD COLUMN paid_ucr INTEGER NOT NULL DEFAULT 0")
        }
        try migrator.migrate(database)
        opened = path == ":memory:" ? nil : OpenedFile(path)
    }

    /// Whether an error says that the file is no database of ours, or a damaged one.
    public static func isDamage(_ error: any Error) -> Bool {
        let code = (error as? DatabaseError)?.resultCode
        return code == .SQLITE_CORRUPT || code == .SQLITE_NOTADB
    }

    /// Stores `receipts`, except those for which a later one of the same attempt is already stored; all of them or none.
    public func keep(_ receipts: [Verified<Receipt>], at now: WallTime) throws {
        try write { db in
            let statement = try db.cachedStatement(
                sql: """
                    INSERT INTO receipt VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)
                    ON CONFLICT DO UPDATE SET sequence = excluded.sequence, prompt_tokens = excluded.prompt_tokens,
                      completion_tokens = excluded.completion_tokens, cost_ucr = excluded.cost_ucr, final = excluded.final,
                      issued_at_ms = excluded.issued_at_ms, body = excluded.body, signature = excluded.signature,
                      kept_at_ms = excluded.kept_at_ms
                    WHERE excluded.sequence > receipt.sequence
                    """)
            for verified in receipts {
                let receipt = verified.record
                try statement.execute(arguments: [
                    Data(receipt.task.bytes), Int64(receipt.attempt), Data(receipt.buyer.value.bytes),
                    Data(receipt.worker.value.bytes), Int64(clamping: receipt.sequence),
                    Int64(clamping: receipt.promptTokens),
                    Int64(clamping: receipt.completionTokens), receipt.cost.microCredits, receipt.final,
                    receipt.issuedAt.milliseconds,
                    Data(verified.signed.body), Data(verified.signed.signature.bytes), now.milliseconds,
                ])
            }
        }
        keptSincePruning += receipts.count
        if keptSincePruning >= limits.pruneEvery { try prune(at: now) }
    }

    /// Replaces the saved anchors of the DHT, best first.
    public func saveAnchors(_ contacts: [SignedRecord], keys: [PublicKey]) throws {
        try write { db in
            try db.execute(sql: "DELETE FROM anchor")
            for (rank, pair) in zip(keys, contacts).enumerated() {
                try db.execute(
                    sql: "INSERT OR REPLACE INTO anchor VALUES (?,?,?,?)",
                    arguments: [
                        Data(pair.0.value.bytes), Data(pair.1.body), Data(pair.1.signature.bytes), rank,
                    ])
            }
        }
    }

    /// The saved anchors, best first, as they were signed. The caller must verify them again.
    public func anchors() throws -> [SignedRecord] {
        try database.read { db in
            try Row.fetchAll(db, sql: "SELECT body, signature FROM anchor ORDER BY rank").compactMap { row in
                guard let body: Data = row["body"], let bytes: Data = row["signature"],
                    let signature = Signature(bytes)
                else { return nil }
                return SignedRecord(body: Array(body), signature: signature)
            }
        }
    }

    /// A small named value: a measured speed or an offer sequence.
    public func setting(_ name: String) throws -> [UInt8]? {
        try database.read { db in
            try Data.fetchOne(db, sql: "SELECT value FROM setting WHERE name = ?", arguments: [name]).map(
                Array.init)
        }
    }

    /// Stores a small named value, replacing the old one.
    public func set(_ name: String, _ value: [UInt8]) throws {
        try write { db in
            try db.execute(
                sql: "INSERT OR REPLACE INTO setting VALUES (?,?)", arguments: [name, Data(value)])
        }
    }
}
