import CSQLite
import Cryptography
import Foundation
import Market
import Primitives
import Testing
import Wire

@testable import Store

@Suite struct DatabaseTests {
    private func database() throws -> Database {
        let database = try Database(path: ":memory:")
        try database.execute(
            "CREATE TABLE item (name TEXT PRIMARY KEY, number INTEGER, bytes BLOB) WITHOUT ROWID")
        return database
    }

    @Test func valuesComeBackAsTheyWereBoundAndOtherTypesAreNil() throws {
        let database = try database()
        let name = "a'b\0c\u{1F9A9}"
        try database.run(
            "INSERT INTO item VALUES (?,?,?)", [.text(name), .integer(.min), .blob([0, 255])])
        try database.run("INSERT INTO item VALUES (?,?,?)", [.text(""), .integer(.max), .blob([])])
        try database.run("INSERT INTO item (name) VALUES ('null')")
        let rows = try database.rows("SELECT name, number, bytes FROM item ORDER BY name") { row in
            "\(row.text(0) ?? "-") \(row.integer(1) ?? 0) \(row.blob(2) ?? [9]) \(row.integer(0) ?? 7) \(row.blob(9) ?? [7])"
        }
        #expect(
            rows == [
                " \(Int64.max) [] 7 [7]", "\(name) \(Int64.min) [0, 255] 7 [7]", "null 0 [9] 7 [7]",
            ])
    }

    @Test func whatSQLiteRefusesHasItsMessageAndCode() throws {
        let database = try database()
        let syntax = try #require(throws: DatabaseError.self) { try database.run("SELEC 1") }
        #expect(
            syntax.code == SQLITE_ERROR && syntax.description == "near \"SELEC\": syntax error (SQLite 1)")
        try database.run("INSERT INTO item (name) VALUES ('a')")
        let twice = try #require(throws: DatabaseError.self) {
            try database.run("INSERT INTO item (name) VALUES (?)", [.text("a")])
        }
        #expect(twice.code == SQLITE_CONSTRAINT && twice.message.contains("UNIQUE"))
        let missing = try #require(throws: DatabaseError.self) {
            try database.run("INSERT INTO item (name) VALUES (?)")
        }
        #expect(missing.code == SQLITE_RANGE && missing.message == "0 values for 1 parameters")
        let folder = try #require(throws: DatabaseError.self) { try Database(path: "/proc/nope/db") }
        #expect(folder.code == SQLITE_CANTOPEN && folder.cause == "No such file or directory")
    }

    @Test func aStatementRunsAgainAfterAnError() throws {
        let database = try database()
        let statement = try database.prepare("INSERT INTO item (name) VALUES (?)")
        try statement.run([.text("a")])
        #expect(throws: DatabaseError.self) { try statement.run([.text("a")]) }
        try statement.run([.text("b")])
        #expect(try database.rows("SELECT name FROM item") { $0.text(0) } == ["a", "b"])
    }

    @Test func aTransactionIsAllOrNothingAndAFullDiskEndsIt() throws {
        let database = try database()
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            try database.transaction {
                try database.run("INSERT INTO item (name) VALUES ('a')")
                throw Stop()
            }
        }
        try database.execute("PRAGMA max_page_count = 8")
        let full = try #require(throws: DatabaseError.self) {
            try database.transaction {
                for number in 0..<100 {
                    try database.run(
                        "INSERT INTO item VALUES (?,?,?)",
                        [.text("\(number)"), .integer(1), .blob([UInt8](repeating: 1, count: 1_000))])
                }
            }
        }
        #expect(full.code == SQLITE_FULL)
        #expect(LedgerError(path: "/d", full).fix == "free some disk space")
        #expect(try database.rows("SELECT name FROM item") { $0.text(0) }.isEmpty)
        try database.transaction { try database.run("INSERT INTO item (name) VALUES ('a')") }
        #expect(try database.rows("SELECT name FROM item") { $0.text(0) } == ["a"])
    }

    @Test func aFileThatAnotherProcessWritesIsWaitedForAndThenSaidToBeInUse() throws {
        let path = NSTemporaryDirectory() + "starling-busy-\(UUID().uuidString)"
        defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
        let (first, second) = (try Database(path: path), try Database(path: path))
        try second.execute("PRAGMA busy_timeout = 1")
        try first.execute("CREATE TABLE item (name TEXT)")
        try first.transaction {
            let busy = #expect(throws: DatabaseError.self) {
                try second.transaction { try second.run("INSERT INTO item VALUES ('a')") }
            }
            #expect(busy?.code == SQLITE_BUSY)
            if let busy { #expect(LedgerError(path: "/d", busy).problem == "is in use by another program") }
        }
        try second.transaction { try second.run("INSERT INTO item VALUES ('a')") }
    }
}

@Suite struct MigrationTests {
    private let owner = Identity(seed: Bytes32(2, 0, 0, 0)).publicKey

    /// As versions before this one made them, by another library, at each of their steps.
    @Test(arguments: 1...6) func aFileOfAnEarlierVersionKeepsWhatItHas(steps: Int) async throws {
        let path = NSTemporaryDirectory() + "starling-old-\(UUID().uuidString)"
        defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
        do {
            let old = try Database(path: path)
            try Ledger.migrate(old, steps: steps)
            try old.run("INSERT INTO setting VALUES ('sequence/wren-m', ?)", [.blob(Array("12".utf8))])
            #expect(try old.rows("SELECT identifier FROM grdb_migrations") { $0.text(0) }.count == steps)
        }
        let ledger = try Ledger(path: path, owner: owner)
        #expect(try await ledger.setting("sequence/wren-m") == Array("12".utf8))
        #expect(try await ledger.sales() == Sales())
        // Again, and by an earlier version, which only looks for its own steps.
        _ = try Ledger(path: path, owner: owner)
    }

    @Test func aFileOfAnotherProgramIsToldFromADamagedOne() throws {
        let path = NSTemporaryDirectory() + "starling-other-\(UUID().uuidString)"
        defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
        try Database(path: path).execute("CREATE TABLE receipt (total REAL)")
        let error = try #require(throws: (any Error).self) { _ = try Ledger(path: path, owner: owner) }
        #expect(!Ledger.isDamage(error))
        #expect(
            LedgerError(path: path, error).description.contains("has another form than this version writes"))
    }
}

@Suite struct SalesTests {
    private let owner = PublicKey(Bytes32(9, 9, 9, 9))
    private func buyer(_ number: Int) -> PublicKey { PublicKey(Bytes32(UInt64(number), 1, 1, 1)) }

    private func sales(_ day: Int64, _ buyers: ClosedRange<Int>, _ model: String = "wren-m") -> Sales {
        var sales = Sales()
        for number in buyers {
            sales.sales[Sales.Sale(day: day, model: model, buyer: buyer(number))] = SaleSums(
                answers: 1, broken: 2, promptTokens: 10, completionTokens: Int64(number),
                earned: Money(microCredits: Int64(number)))
        }
        sales.refusals[Sales.Refusal(day: day, model: model, reason: "busy")] = 3
        return sales
    }

    @Test func whatIsSoldOnADayIsSummedByModelAndBuyerAndRefusalsByReason() async throws {
        let ledger = try Ledger(path: ":memory:", owner: owner)
        for _ in 0..<2 { try await ledger.add(sales(100, 1...3), today: 100) }
        try await ledger.add(sales(101, 3...3, "wren-s"), today: 101)
        var all = sales(100, 1...3)
        all += sales(100, 1...3)
        all += sales(101, 3...3, "wren-s")
        #expect(try await ledger.sales() == all)
    }

    @Test func oldDaysAndSmallBuyersAreSummedAndNothingIsLost() async throws {
        var limits = LedgerLimits()
        limits.saleDaysMax = 10
        limits.saleBuyersMax = (ofDay: 4, older: 2)
        let ledger = try Ledger(path: ":memory:", owner: owner, limits: limits)
        for day: Int64 in 100...140 { try await ledger.add(sales(day, 1...6), today: day) }
        let kept = try await ledger.sales()
        #expect(Set(kept.sales.keys.map(\.day)) == Set([0] + Array(131...140)))
        #expect(kept.sales.keys.count { $0.day == 140 } == 5, "four buyers and the others")
        #expect(kept.sales.keys.count { $0.day == 0 } == 3)
        var total = SaleSums()
        for sums in kept.sales.values { total += sums }
        #expect(total.answers == 41 * 6 && total.broken == 41 * 12 && total.promptTokens == 41 * 60)
        #expect(total.completionTokens == 41 * 21 && total.earned == Money(microCredits: 41 * 21))
        #expect(kept.refusals.values.reduce(0, +) == 41 * 3 && kept.refusals.count == 11)
    }

    @Test func theLargestSumsSaturateInsteadOfFailing() async throws {
        let ledger = try Ledger(path: ":memory:", owner: owner)
        var sales = Sales()
        sales.sales[Sales.Sale(day: 1, model: "m", buyer: buyer(1))] = SaleSums(
            promptTokens: .max, completionTokens: .max, earned: Money(microCredits: .max))
        for today: Int64 in [1, 2, 1_000] { try await ledger.add(sales, today: today) }
        let kept = try await ledger.sales()
        #expect(
            kept.sales.values.allSatisfy { $0.earned.microCredits == 1 << 53 && $0.promptTokens == 1 << 53 })
    }

    @Test func receiptsAreSummedByPeerSinceATime() async throws {
        let ledger = try Ledger(path: ":memory:", owner: owner)
        let seller = Identity(seed: Bytes32(5, 5, 5, 5))
        let own = try Ledger(path: ":memory:", owner: seller.publicKey)
        let buyer = Identity(seed: Bytes32(6, 6, 6, 6))
        for number in 1...4 as ClosedRange<UInt64> {
            let receipt = Receipt(
                task: TaskID(high: 1, low: number), attempt: 1, buyer: buyer.publicKey,
                worker: seller.publicKey, sequence: 1, completionTokens: 3, cost: Money(microCredits: 5),
                final: true, issuedAt: WallTime(milliseconds: Int64(number)))
            try await own.keep([Verified(signing: receipt, with: buyer)], at: WallTime(milliseconds: 9))
        }
        let sums = try await own.receipts(since: WallTime(milliseconds: 3))
        #expect(sums.count == 1)
        let peer = try #require(sums[buyer.publicKey])
        #expect(peer.sold == 2 && peer.earned == Money(microCredits: 10) && peer.bought == 0)
        #expect(peer.lastAt == WallTime(milliseconds: 4))
        #expect(try await ledger.receipts(since: WallTime(milliseconds: 0)).isEmpty)
    }

    @Test func namedValuesAreFoundByTheirBeginning() async throws {
        let ledger = try Ledger(path: ":memory:", owner: owner)
        for name in ["settle/b", "settle/a", "settled", "speed/x"] { try await ledger.set(name, [1]) }
        #expect(try await ledger.settings(beginning: "settle/").map(\.name) == ["settle/a", "settle/b"])
    }

    @Test func usageIsSummedByDayClientAndModelAndOldDaysTogether() async throws {
        var limits = LedgerLimits()
        limits.saleDaysMax = 10
        let ledger = try Ledger(path: ":memory:", owner: owner, limits: limits)
        for day: Int64 in 100...120 {
            for _ in 0..<2 {
                var usage = Usage()
                for client in ["", "laptop"] {
                    usage.sums[Usage.Key(day: day, client: client, model: "m")] = UsageSums(
                        tasks: 1, promptTokens: 2, completionTokens: 3, cost: Money(microCredits: 4))
                }
                try await ledger.add(usage, today: day)
            }
        }
        let kept = try await ledger.usage()
        #expect(Set(kept.sums.keys.map(\.day)) == Set([0] + Array(111...120)))
        let today = kept.sums[Usage.Key(day: 120, client: "laptop", model: "m")]
        #expect(
            today
                == UsageSums(tasks: 2, promptTokens: 4, completionTokens: 6, cost: Money(microCredits: 8)))
        let old = kept.sums[Usage.Key(day: 0, client: "", model: "m")]
        #expect(old?.tasks == 22 && old?.cost == Money(microCredits: 88))
    }

    @Test func theLatestTranscriptsAreKeptAndFoundByTheBeginningOfTheirIds() async throws {
        var limits = LedgerLimits()
        (limits.transcriptsMax, limits.transcriptBytesMax) = (3, 4)
        let ledger = try Ledger(path: ":memory:", owner: owner, limits: limits)
        for number in 1...5 {
            try await ledger.keep(
                transcripts: [("task\(number)", [UInt8(number)]), ("long\(number)", [1, 2, 3, 4, 5])],
                at: WallTime(milliseconds: Int64(number)))
        }
        #expect(try await ledger.transcripts(prefix: "task5") == [[5]])
        #expect(try await ledger.transcripts(prefix: "task") == [[3], [4]], "two show that it is not one")
        for gone in ["task1", "long", "tasl", "task55"] {
            #expect(try await ledger.transcripts(prefix: gone).isEmpty, "\(gone)")
        }
    }
}
