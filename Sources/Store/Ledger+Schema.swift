// The schema, by the steps in which it grew.

extension Ledger {
    /// Each is applied once to a file, in this order. A step that was released never changes.
    private static let migrations: [(name: String, sql: StaticString)] = [
        (
            "1",
            """
            CREATE TABLE receipt (
              task BLOB NOT NULL, attempt INTEGER NOT NULL, buyer BLOB NOT NULL, worker BLOB NOT NULL,
              sequence INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
              cost_ucr INTEGER NOT NULL, final INTEGER NOT NULL, issued_at_ms INTEGER NOT NULL,
              body BLOB NOT NULL, signature BLOB NOT NULL,
              PRIMARY KEY (buyer, worker, task, attempt)) WITHOUT ROWID;
            CREATE TABLE anchor (
              public_key BLOB PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL,
              rank INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
            """
        ),
        (
            "2",
            """
            ALTER TABLE receipt ADD COLUMN kept_at_ms INTEGER NOT NULL DEFAULT 0;
            CREATE INDEX receipt_by_age ON receipt (kept_at_ms);
            CREATE TABLE account (
              owner BLOB NOT NULL, peer BLOB NOT NULL, earned_ucr INTEGER NOT NULL,
              spent_ucr INTEGER NOT NULL, PRIMARY KEY (owner, peer)) WITHOUT ROWID;
            """
        ),
        (
            "sellers",
            """
            CREATE TABLE seller (
              public_key BLOB PRIMARY KEY, trust INTEGER NOT NULL, finished INTEGER NOT NULL,
              failed INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
            CREATE INDEX seller_by_time ON seller (at_ms);
            """
        ),
        (
            "buyers",
            """
            CREATE TABLE buyer (
              kind INTEGER NOT NULL, name BLOB NOT NULL, paid INTEGER NOT NULL, at_ms INTEGER NOT NULL,
              PRIMARY KEY (kind, name)) WITHOUT ROWID;
            """
        ),
        ("debtors", "ALTER TABLE buyer ADD COLUMN unpaid INTEGER NOT NULL DEFAULT 0"),
        ("amounts", "ALTER TABLE buyer ADD COLUMN paid_ucr INTEGER NOT NULL DEFAULT 0"),
        (
            "sales",
            """
            CREATE TABLE sale (
              day INTEGER NOT NULL, model TEXT NOT NULL, buyer BLOB NOT NULL, answers INTEGER NOT NULL,
              broken INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
              earned_ucr INTEGER NOT NULL, PRIMARY KEY (day, model, buyer)) WITHOUT ROWID;
            CREATE TABLE refusal (
              day INTEGER NOT NULL, model TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
              PRIMARY KEY (day, model, reason)) WITHOUT ROWID;
            CREATE TABLE transcript (
              task TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, document BLOB NOT NULL) WITHOUT ROWID;
            CREATE INDEX transcript_by_time ON transcript (at_ms);
            """
        ),
        (
            "usage",
            """
            CREATE TABLE usage (
              day INTEGER NOT NULL, client TEXT NOT NULL, model TEXT NOT NULL, tasks INTEGER NOT NULL,
              prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost_ucr INTEGER NOT NULL,
              PRIMARY KEY (day, client, model)) WITHOUT ROWID;
            """
        ),
    ]

    /// Applies what a file lacks. The table of what was applied is named as earlier versions named it, by their
    /// library's word, so that files move between versions in both directions.
    /// - Parameter steps: how many of the migrations; for tests.
    static func migrate(_ db: Database, steps: Int = .max) throws {
        try db.execute("CREATE TABLE IF NOT EXISTS grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY)")
        let applied = Set(try db.rows("SELECT identifier FROM grdb_migrations") { $0.text(0) })
        for (name, sql) in migrations.prefix(steps) where !applied.contains(name) {
            try db.transaction {
                try db.execute(sql)
                try db.run("INSERT INTO grdb_migrations VALUES (?)", [.text(name)])
            }
        }
    }
}
