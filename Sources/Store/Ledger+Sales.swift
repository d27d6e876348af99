import Primitives

/// What was sold and refused, by day, model and buyer or reason; and the transcripts of own tasks.
extension Ledger {
    /// Adds `sales`. Sums in SQL stop at 2^53, before they overflow.
    public func add(_ sales: Sales, today: Int64) throws {
        guard !sales.isEmpty else { return }
        // Before it, not after it as in `write`: what is added twice counts twice.
        try checkPlace()
        try database.transaction {
            let db = database
            let sale = try db.prepare(
                """
                INSERT INTO sale VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
                  answers = answers + excluded.answers, broken = broken + excluded.broken,
                  prompt_tokens = min(prompt_tokens + excluded.prompt_tokens, 9007199254740992),
                  completion_tokens = min(completion_tokens + excluded.completion_tokens, 9007199254740992),
                  earned_ucr = min(earned_ucr + excluded.earned_ucr, 9007199254740992)
                """)
            for (key, sums) in sales.sales {
                try sale.run([
                    .integer(key.day), .text(key.model), .blob(key.buyer.value.bytes), .integer(sums.answers),
                    .integer(sums.broken), .integer(min(sums.promptTokens, 1 << 53)),
                    .integer(min(sums.completionTokens, 1 << 53)),
                    .integer(min(sums.earned.microCredits, 1 << 53)),
                ])
            }
            let refusal = try db.prepare(
                """
                INSERT INTO refusal VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET count = count + excluded.count
                """)
            for (key, count) in sales.refusals {
                try refusal.run([
                    .integer(key.day), .text(key.model), .text(key.reason), .integer(count),
                ])
            }
            try bound(today: today, db)
        }
    }

    /// Sums old days into day 0, and small buyers of a day into none.
    private func bound(today: Int64, _ db: Database) throws {
        let oldest = DatabaseValue.integer(today - limits.saleDaysMax)
        try db.run(
            """
            INSERT INTO sale SELECT 0, model, buyer, sum(answers), sum(broken),
              CAST(min(total(prompt_tokens), 9007199254740992) AS INTEGER),
              CAST(min(total(completion_tokens), 9007199254740992) AS INTEGER),
              CAST(min(total(earned_ucr), 9007199254740992) AS INTEGER)
            FROM sale WHERE day > 0 AND day <= ? GROUP BY model, buyer ON CONFLICT DO UPDATE SET
              answers = answers + excluded.answers, broken = broken + excluded.broken,
              prompt_tokens = min(prompt_tokens + excluded.prompt_tokens, 9007199254740992),
              completion_tokens = min(completion_tokens + excluded.completion_tokens, 9007199254740992),
              earned_ucr = min(earned_ucr + excluded.earned_ucr, 9007199254740992)
            """, [oldest])
        try db.run("DELETE FROM sale WHERE day > 0 AND day <= ?", [oldest])
        try db.run(
            """
            INSERT INTO refusal SELECT 0, model, reason, sum(count) FROM refusal WHERE day > 0 AND day <= ?
            GROUP BY model, reason ON CONFLICT DO UPDATE SET count = count + excluded.count
            """, [oldest])
        try db.run("DELETE FROM refusal WHERE day > 0 AND day <= ?", [oldest])
        for (day, most) in [(today, limits.saleBuyersMax.ofDay), (0, limits.saleBuyersMax.older)] {
            let place: [DatabaseValue] = [.integer(day), .integer(Int64(most))]
            try db.run(
                """
                INSERT INTO sale SELECT day, model, zeroblob(32), sum(answers), sum(broken),
                  CAST(min(total(prompt_tokens), 9007199254740992) AS INTEGER),
                  CAST(min(total(completion_tokens), 9007199254740992) AS INTEGER),
                  CAST(min(total(earned_ucr), 9007199254740992) AS INTEGER)
                FROM sale WHERE day = ?1 AND buyer IN
                  (SELECT buyer FROM sale WHERE day = ?1 AND buyer <> zeroblob(32) GROUP BY buyer
                   ORDER BY total(completion_tokens) DESC, buyer LIMIT -1 OFFSET ?2)
                GROUP BY model ON CONFLICT DO UPDATE SET
                  answers = answers + excluded.answers, broken = broken + excluded.broken,
                  prompt_tokens = min(prompt_tokens + excluded.prompt_tokens, 9007199254740992),
                  completion_tokens = min(completion_tokens + excluded.completion_tokens, 9007199254740992),
                  earned_ucr = min(earned_ucr + excluded.earned_ucr, 9007199254740992)
                """, place)
            try db.run(
                """
                DELETE FROM sale WHERE day = ?1 AND buyer IN
                  (SELECT buyer FROM sale WHERE day = ?1 AND buyer <> zeroblob(32) GROUP BY buyer
                   ORDER BY total(completion_tokens) DESC, buyer LIMIT -1 OFFSET ?2)
                """, place)
        }
    }

    /// All that is kept of sales and refusals.
    public func sales() throws -> Sales {
        var kept = Sales()
        try database.prepare(
            """
            SELECT day, model, buyer, answers, broken, prompt_tokens, completion_tokens, earned_ucr FROM sale
            """
        ).run { row in
            guard let day = row.integer(0), let model = row.text(1),
                let buyer = row.blob(2).flatMap({ Bytes32($0) })
            else { return }
            kept.sales[Sales.Sale(day: day, model: model, buyer: PublicKey(buyer))] = SaleSums(
                answers: row.integer(3) ?? 0, broken: row.integer(4) ?? 0, promptTokens: row.integer(5) ?? 0,
                completionTokens: row.integer(6) ?? 0, earned: Money(microCredits: row.integer(7) ?? 0))
        }
        try database.prepare("SELECT day, model, reason, count FROM refusal").run { row in
            guard let day = row.integer(0), let model = row.text(1), let reason = row.text(2) else { return }
            kept.refusals[Sales.Refusal(day: day, model: model, reason: reason)] = row.integer(3) ?? 0
        }
        return kept
    }

    // MARK: Transcripts

    /// Stores documents of ended tasks by id; the oldest leave. One that is too long is left out.
    public func keep(transcripts: [(task: String, document: [UInt8])], at now: WallTime) throws {
        let kept = transcripts.filter { $0.document.count <= limits.transcriptBytesMax }
        guard !kept.isEmpty else { return }
        try write { db in
            let statement = try db.prepare("INSERT OR REPLACE INTO transcript VALUES (?,?,?)")
            for (task, document) in kept {
                try statement.run([.text(task), .integer(now.milliseconds), .blob(document)])
            }
            try db.run(
                """
                DELETE FROM transcript WHERE task IN
                  (SELECT task FROM transcript ORDER BY at_ms DESC LIMIT -1 OFFSET ?)
                """, [.integer(Int64(limits.transcriptsMax))])
        }
    }

    /// Documents of tasks whose ids begin with `prefix`, of letters and digits; two at most.
    public func transcripts(prefix: String) throws -> [[UInt8]] {
        try database.rows(
            "SELECT document FROM transcript WHERE task >= ?1 AND task < ?1 || '~' ORDER BY task LIMIT 2",
            [.text(prefix)]
        ) { $0.blob(0) }
    }
}
