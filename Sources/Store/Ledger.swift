import Foundation
import GRDB
import Primitives
import Wire

/// What must outlive a node's process, in one SQLite file: receipts of both sides, anchors of the DHT,
/// measured speeds and offer sequences. An actor off the loop's thread: the loop hands it values and never
/// waits for it. Methods throw GRDB's errors.
public actor Ledger {
    private let database: DatabaseQueue

    /// Opens or creates the file at `path` (`:memory:` for none) and migrates its schema.
    public init(path: String) throws {
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
        try migrator.migrate(database)
    }

    /// Stores `receipts`, except those for which a later one of the same attempt is already stored.
    public func keep(_ receipts: [Verified<Receipt>]) throws {
        try database.write { db in
            let statement = try db.cachedStatement(
                sql: """
                    INSERT INTO receipt VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
                    ON CONFLICT DO UPDATE SET sequence = excluded.sequence, prompt_tokens = excluded.prompt_tokens,
                      completion_tokens = excluded.completion_tokens, cost_ucr = excluded.cost_ucr, final = excluded.final,
                      issued_at_ms = excluded.issued_at_ms, body = excluded.body, signature = excluded.signature
                    WHERE excluded.sequence > receipt.sequence
                    """)
            for verified in receipts {
                let receipt = verified.record
                try statement.execute(arguments: [
                    Data(receipt.task.bytes), Int64(receipt.attempt), Data(receipt.buyer.value.bytes),
                    Data(receipt.worker.value.bytes), Int64(clamping: receipt.sequence),
                    Int64(clamping: receipt.promptTokens),
                    Int64(clamping: receipt.completionTokens), receipt.cost, receipt.final,
                    receipt.issuedAt.milliseconds,
                    Data(verified.signed.body), Data(verified.signed.signature.bytes),
                ])
            }
        }
    }

    /// Micro-credits that each peer owes `node` (positive) or is owed by it (negative) according to the
    /// stored receipts, and the totals that `node` earned and spent.
    public func balances(of node: PublicKey) throws -> (
        byPeer: [PublicKey: Int64], earned: Int64, spent: Int64
    ) {
        try database.read { db in
            var byPeer: [PublicKey: Int64] = [:]
            var earned: Int64 = 0
            var spent: Int64 = 0
            let own = Data(node.value.bytes)
            for row in try Row.fetchAll(
                db,
                sql:
                    "SELECT buyer, worker, SUM(cost_ucr) AS cost FROM receipt WHERE buyer <> worker GROUP BY buyer, worker"
            ) {
                guard let buyer: Data = row["buyer"], let worker: Data = row["worker"],
                    let cost: Int64 = row["cost"]
                else { continue }
                if worker == own, let key = Bytes32(buyer) {
                    byPeer[PublicKey(key), default: 0] += cost
                    earned += cost
                } else if buyer == own, let key = Bytes32(worker) {
                    byPeer[PublicKey(key), default: 0] -= cost
                    spent += cost
                }
            }
            return (byPeer, earned, spent)
        }
    }

    /// Replaces the saved anchors of the DHT, best first.
    public func saveAnchors(_ contacts: [SignedRecord], keys: [PublicKey]) throws {
        try database.write { db in
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
        try database.write { db in
            try db.execute(
                sql: "INSERT OR REPLACE INTO setting VALUES (?,?)", arguments: [name, Data(value)])
        }
    }
}
