import Cryptography
import Foundation
import Market
import Primitives
import Testing
import Wire

@testable import Store

private func temporaryFolder() -> String {
    let path = NSTemporaryDirectory() + "starling-store-\(UUID().uuidString)"
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
}

extension Money: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: Int64) { self.init(microCredits: value) }
}

@Suite struct KeyFileTests {
    @Test func aNewKeyIsReadableByItsOwnerAloneAndStaysTheSame() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let made = try KeyFile.loadOrCreate(in: folder + "/deep")
        let mode =
            try FileManager.default.attributesOfItem(atPath: folder + "/deep/key")[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(try KeyFile.loadOrCreate(in: folder + "/deep").publicKey == made.publicKey)
    }

    @Test func aKeyThatOthersMayReadIsRefusedWithTheFix() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/key"
        _ = try KeyFile.loadOrCreate(in: folder)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        let error = try #require(throws: KeyFileError.self) { _ = try KeyFile.load(path) }
        #expect(error.fix == "chmod 600 \(path)")
        #expect(error.description.contains("mode 644"))
    }

    @Test func aKeyThatIsMissingBesideItsDatabaseIsNotMadeAnew() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        _ = try KeyFile.loadOrCreate(in: folder)
        try FileManager.default.removeItem(atPath: folder + "/key")
        try Data([1]).write(to: URL(fileURLWithPath: DataFolder.databasePath(in: folder)))
        let error = try #require(throws: KeyFileError.self) { _ = try KeyFile.loadOrCreate(in: folder) }
        #expect(error.problem.hasPrefix("is missing") && error.fix.contains("backup"))
        #expect(!FileManager.default.fileExists(atPath: folder + "/key"))
    }

    @Test func aFolderThatCannotBeMadeIsTheProblem() throws {
        let error = try #require(throws: KeyFileError.self) { try KeyFile.loadOrCreate(in: "/proc/nope") }
        #expect(error.problem == "can't be made, because its folder can't: No such file or directory")
    }

    @Test(arguments: [
        " ", "starling-key-1 ", "starling-key-1 zz", "starling-key-2 \(String(repeating: "0", count: 52))",
    ])
    func whatIsNoKeyIsSaidSo(text: String) throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/key"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        let error = try #require(throws: KeyFileError.self) { _ = try KeyFile.load(path) }
        #expect(error.problem == "is not a Starling key")
    }

    /// As a full disk left it, before keys were written aside.
    @Test func anEmptyFileIsNoKeyAndIsNamedWithTheFix() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/key"
        try Data().write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        let error = try #require(throws: KeyFileError.self) { _ = try KeyFile.loadOrCreate(in: folder) }
        #expect(error.problem == "is empty: it holds no key" && error.fix.contains("rm \(path)"))
    }
}

@Suite struct NewFileTests {
    @Test func aFileThatIsThereIsOnlyReplacedOnPurposeAndNothingIsLeftBeside() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/file"
        try NewFile.write([1, 2], to: path)
        let error = try #require(throws: NewFile.Failure.self) { try NewFile.write([3], to: path) }
        #expect(error.code == EEXIST && FileManager.default.contents(atPath: path) == Data([1, 2]))
        try NewFile.write([3], to: path, replaces: true)
        #expect(FileManager.default.contents(atPath: path) == Data([3]))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["file"])
        let missing = try #require(throws: NewFile.Failure.self) {
            try NewFile.write([1], to: folder + "/no/file")
        }
        #expect(missing.code == ENOENT && missing.reason == "No such file or directory")
    }
}

@Suite struct DataFolderTests {
    @Test func oneProcessAtATimeUsesAFolder() throws {
        let path = temporaryFolder() + "/data"
        defer { try? FileManager.default.removeItem(atPath: path) }
        var first: DataFolder? = try DataFolder(path)
        let error = try #require(throws: DataFolderError.self) { try DataFolder(path) }
        #expect(error.problem == "is in use by another node" && first != nil)
        first = nil
        _ = try DataFolder(path)
    }
}

@Suite struct LedgerErrorTests {
    private func problem(_ path: String) throws -> String {
        let error = try #require(throws: (any Error).self) {
            _ = try Ledger(path: path, owner: PublicKey(.zero))
        }
        return LedgerError(path: path, error).description
    }

    @Test func whatIsWrongWithADatabaseIsSaidWithoutSQLitesWords() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/starling.sqlite"
        try String(repeating: "no database ", count: 500).write(
            toFile: path, atomically: true, encoding: .utf8)
        #expect(try problem(path) == "the database \(path) is damaged, or no database")
        #expect(
            try problem("/proc/nope/starling.sqlite")
                == "the database /proc/nope/starling.sqlite can't be opened for writing: No such file or directory"
        )
    }
}

@Suite struct LedgerTests {
    private let buyer = Identity(seed: Bytes32(1, 0, 0, 0))
    private let worker = Identity(seed: Bytes32(2, 0, 0, 0)).publicKey

    private let now = WallTime(milliseconds: 1_800_000_000_000)

    private func receipt(
        task: UInt64, attempt: UInt32 = 1, from signer: Identity? = nil, sequence: UInt64 = 1, cost: Money
    ) -> Verified<Receipt> {
        let signer = signer ?? buyer
        return Verified(
            signing: Receipt(
                task: TaskID(high: 0, low: task), attempt: attempt, buyer: signer.publicKey, worker: worker,
                sequence: sequence, cost: cost, final: true), with: signer)
    }

    @Test func aLaterReceiptReplacesAnEarlierOneAndNeverTheOtherWayRound() async throws {
        for owner in [worker, buyer.publicKey] {
            let ledger = try Ledger(path: ":memory:", owner: owner)
            try await ledger.keep(
                [receipt(task: 1, sequence: 2, cost: 20), receipt(task: 2, cost: 5)], at: now)
            try await ledger.keep([receipt(task: 1, sequence: 1, cost: 10)], at: now)
            let before = try await ledger.balances()
            #expect(before.earned + before.spent == 25)
            try await ledger.keep([receipt(task: 1, sequence: 3, cost: 30)], at: now)
            let kept = try await ledger.balances()
            if owner == worker {
                #expect(kept.earned == 35 && kept.spent == 0 && kept.byPeer == [buyer.publicKey: 35])
            } else {
                #expect(kept.spent == 35 && kept.earned == 0 && kept.byPeer == [worker: -35])
            }
        }
    }

    @Test func whatWasSoldIsKnownAndWhatWasBoughtIsNotAmongIt() async throws {
        for owner in [worker, buyer.publicKey] {
            let ledger = try Ledger(path: ":memory:", owner: owner)
            try await ledger.keep([receipt(task: 2, attempt: 3, cost: 5)], at: now)
            try await ledger.keep(
                [receipt(task: 1, cost: 5)], at: WallTime(milliseconds: now.milliseconds + 1))
            let sold = [(2, 3), (1, 1)].map {
                SoldTask(buyer: buyer.publicKey, task: TaskID(high: 0, low: $0.0), attempt: $0.1)
            }
            #expect(try await ledger.sold() == (owner == worker ? sold : []))
        }
    }

    @Test func sellersAreRememberedByTheirLatestJudgementAndTheOldestAreForgotten() async throws {
        let ledger = try Ledger(path: ":memory:", owner: worker)
        func seller(_ number: Int, trust: UInt32 = 900, at: Int64) -> SellerRecord {
            SellerRecord(
                key: PublicKey(Bytes32(UInt64(number), 5, 5, 5)), trust: trust, finished: number, failed: 1,
                at: WallTime(milliseconds: at))
        }
        try await ledger.keep([seller(1, at: 10), seller(2, at: 20)])
        try await ledger.keep([seller(1, trust: 630, at: 30)])
        #expect(try await ledger.sellers() == [seller(2, at: 20), seller(1, trust: 630, at: 30)])
        try await ledger.keep((3...Ledger.sellersMax + 1).map { seller($0, at: 100 + Int64($0)) })
        let kept = try await ledger.sellers()
        #expect(kept.count == Ledger.sellersMax && kept.first == seller(1, trust: 630, at: 30))
    }

    private func payer(_ number: UInt64, paid: Int = 1, at: Int64) -> BuyerRecord {
        BuyerRecord(
            .key(PublicKey(Bytes32(number, 6, 6, 6))), paid: self.paid(paid), at: WallTime(milliseconds: at))
    }

    private func paid(_ tasks: Int) -> Paid {
        Paid(tasks: tasks, amount: Money(microCredits: 5 * Int64(tasks)))
    }

    @Test func whatBuyersPaidIsKeptByKeyAndByNetworkAndWhatTheyLostIsGone() async throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let network = BuyerRecord(.network(.max - 5), paid: paid(9), at: WallTime(milliseconds: 25))
        let debtor = BuyerRecord(.network(7), paid: paid(0), unpaid: 3, at: WallTime(milliseconds: 40))
        do {
            let ledger = try Ledger(path: folder + "/db", owner: worker)
            try await ledger.keep([payer(1, at: 10), payer(2, paid: 4, at: 20), network])
            try await ledger.keep([payer(1, paid: 2, at: 30), payer(2, paid: 0, at: 30), debtor])
        }
        let ledger = try Ledger(path: folder + "/db", owner: worker)
        #expect(try await ledger.buyers() == [network, payer(1, paid: 2, at: 30), debtor])
    }

    @Test func theOldestBuyersAreForgottenAndAllOfThemWithTheBooksOfTheirAge() async throws {
        var limits = LedgerLimits()
        limits.buyersMax = 3
        let ledger = try Ledger(path: ":memory:", owner: worker, limits: limits)
        let start = now.milliseconds
        let network = BuyerRecord(.network(7), paid: paid(1), at: WallTime(milliseconds: start - 1))
        try await ledger.keep((1...5).map { payer($0, at: start + Int64($0)) } + [network])
        #expect(try await ledger.buyers() == [network] + (3...5).map { payer($0, at: start + Int64($0)) })
        try await ledger.prune(at: WallTime(milliseconds: start + 4 + limits.receiptDaysMax * 86_400_000))
        #expect(try await ledger.buyers() == (4...5).map { payer($0, at: start + Int64($0)) })
        let regular = payer(9, paid: 2, at: start)
        try await ledger.keep([regular] + (10...20).map { payer($0, at: start + Int64($0)) })
        #expect(try await ledger.buyers() == [regular] + (19...20).map { payer($0, at: start + Int64($0)) })
    }

    @Test func whatIsKeptSurvivesTheProcess() async throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let contact = Verified(
            signing: Contact(publicKey: buyer.publicKey, endpoints: [.loopback(7827)], sequence: 4),
            with: buyer)
        do {
            let ledger = try Ledger(path: folder + "/db", owner: worker)
            try await ledger.keep([receipt(task: 1, cost: 7)], at: now)
            try await ledger.saveAnchors([contact.signed], keys: [buyer.publicKey])
            try await ledger.set("sequence/wren-m", Array("12".utf8))
        }
        let mode = try FileManager.default.attributesOfItem(atPath: folder + "/db")[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let ledger = try Ledger(path: folder + "/db", owner: worker)
        #expect(try await ledger.balances().earned == 7)
        #expect(try await ledger.anchors() == [contact.signed])
        #expect(try await ledger.setting("sequence/wren-m") == Array("12".utf8))
    }

    /// SQL's SUM would raise an error, and the node could not start.
    @Test func sumsOfTheLargestCostsSaturate() async throws {
        let ledger = try Ledger(path: ":memory:", owner: worker)
        let most = Money(microCredits: .max)
        try await ledger.keep((1...3).map { receipt(task: $0, cost: most) }, at: now)
        let kept = try await ledger.balances()
        #expect(kept.earned == most && kept.byPeer == [buyer.publicKey: most])
    }

    @Test func theOldestReceiptsLeaveAndTheirAmountsStay() async throws {
        var limits = LedgerLimits()
        limits.receiptsMax = 10
        limits.pruneEvery = 4
        let ledger = try Ledger(path: ":memory:", owner: worker, limits: limits)
        for task in 1...40 { try await ledger.keep([receipt(task: UInt64(task), cost: 1)], at: now) }
        #expect(try await ledger.receiptCount() <= 10 + 4)
        #expect(try await ledger.balances().byPeer == [buyer.publicKey: 40])
        try await ledger.prune(at: now + .minutes(500 * 24 * 60))
        #expect(try await ledger.receiptCount() == 0)
        let kept = try await ledger.balances()
        #expect(kept.earned == 40 && kept.byPeer == [buyer.publicKey: 40])
    }

    @Test func theSmallestAccountsAreSummedUnderNoName() async throws {
        var limits = LedgerLimits()
        (limits.receiptsMax, limits.accountsMax) = (0, 3)
        let ledger = try Ledger(path: ":memory:", owner: worker, limits: limits)
        for number in 1...6 {
            let signer = Identity(seed: Bytes32(UInt64(100 + number), 0, 0, 0))
            try await ledger.keep(
                [receipt(task: 1, from: signer, cost: Money(microCredits: Int64(number)))], at: now)
            try await ledger.prune(at: now)
        }
        let kept = try await ledger.balances()
        #expect(kept.byPeer.count == 3 && kept.byPeer[PublicKey(.zero)] == 1 + 2 + 3 + 4)
        #expect(kept.earned == 21 && kept.byPeer.values.reduce(.zero, +) == 21)
    }

    @Test func damagedFilesAreRecognisedAndSetAsideUnderNumbersAndTheLatestAreKept() async throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/db"
        for round in 1...6 {
            try Data(repeating: UInt8(round), count: 8_192).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: (any Error).self) { _ = try Ledger(path: path, owner: worker) }
            #expect(error.map(Ledger.isDamage) == true)
            #expect(try Ledger.setAside(path: path) == path + ".damaged-\(round)")
            #expect(!FileManager.default.fileExists(atPath: path))
        }
        for round in 1...6 {
            let kept = FileManager.default.contents(atPath: path + ".damaged-\(round)")
            #expect(kept?.first == (round < 3 ? nil : UInt8(round)))
        }
        let ledger = try Ledger(path: path, owner: worker)
        #expect(try await ledger.balances().earned == 0)
    }

    @Test func aFileThatIsNoLongerInItsPlaceSaysSoUntilItIsBackAndHasTakenEverything() async throws {
        let folder = temporaryFolder()
        let away = folder + "-away"
        defer {
            for path in [folder, away] { try? FileManager.default.removeItem(atPath: path) }
        }
        let ledger = try Ledger(path: folder + "/db", owner: worker)
        try await ledger.keep([receipt(task: 1, cost: 5)], at: now)
        try FileManager.default.moveItem(atPath: folder, toPath: away)
        let error = await #expect(throws: LedgerError.self) {
            try await ledger.keep([receipt(task: 2, cost: 7)], at: now)
        }
        #expect(error?.isMissing == true)
        await #expect(throws: LedgerError.self) { try await ledger.checkPlace() }
        // Another file in its place is not the one that was opened.
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data().write(to: URL(fileURLWithPath: folder + "/db"))
        await #expect(throws: LedgerError.self) { try await ledger.checkPlace() }
        try FileManager.default.removeItem(atPath: folder)
        try FileManager.default.moveItem(atPath: away, toPath: folder)
        try await ledger.checkPlace()
        try await ledger.keep([receipt(task: 2, cost: 7)], at: now)
        #expect(try await ledger.balances().earned == 12)
    }

    /// A file of an older version, with more than fits, and all of it at the largest cost.
    @Test func aFileThatIsFarTooLargeShrinksOverSeveralStarts() async throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            let ledger = try Ledger(path: folder + "/db", owner: worker)
            try await ledger.keep((1...100).map { receipt(task: $0, cost: WireLimits.costMax) }, at: now)
        }
        var limits = LedgerLimits()
        (limits.receiptsMax, limits.prunedAtOnceMax) = (20, 30)
        let ledger = try Ledger(path: folder + "/db", owner: worker, limits: limits)
        for left in [70, 40, 20, 20] {
            try await ledger.prune(at: now)
            #expect(try await ledger.receiptCount() == left)
            let earned = try await ledger.balances().earned
            #expect(earned.microCredits == 100 * WireLimits.costMax.microCredits)
        }
    }
}
