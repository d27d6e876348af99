import Cryptography
import Foundation
import Primitives
import Store
import Testing
import Wire

private func temporaryFolder() -> String {
    let path = NSTemporaryDirectory() + "starling-store-\(UUID().uuidString)"
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
}

@Suite struct KeyFileTests {
    @Test func aNewKeyIsReadableByItsOwnerAloneAndStaysTheSame() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/deep/key"
        let made = try KeyFile.loadOrCreate(path)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(try KeyFile.loadOrCreate(path).publicKey == made.publicKey)
    }

    @Test func aKeyThatOthersMayReadIsRefusedWithTheFix() throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/key"
        _ = try KeyFile.loadOrCreate(path)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        let error = try #require(throws: KeyFileError.self) { _ = try KeyFile.load(path) }
        #expect(error.fix == "chmod 600 \(path)")
        #expect(error.description.contains("mode 644"))
    }

    @Test func aFolderThatCannotBeMadeIsTheProblem() throws {
        let error = try #require(throws: KeyFileError.self) { try KeyFile.loadOrCreate("/proc/nope/key") }
        #expect(error.problem == "can't be made, because its folder can't: No such file or directory")
    }

    @Test(arguments: [
        "", "starling-key-1 ", "starling-key-1 zz", "starling-key-2 \(String(repeating: "0", count: 52))",
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
        let error = try #require(throws: (any Error).self) { _ = try Ledger(path: path) }
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
                == "the database /proc/nope/starling.sqlite can't be opened for writing")
    }
}

@Suite struct LedgerTests {
    private let buyer = Identity(seed: Bytes32(1, 0, 0, 0))
    private let worker = Identity(seed: Bytes32(2, 0, 0, 0)).publicKey

    private func receipt(task: UInt64, attempt: UInt32 = 1, sequence: UInt64, cost: Int64) -> Verified<
        Receipt
    > {
        Verified(
            signing: Receipt(
                task: TaskID(high: 0, low: task), attempt: attempt, buyer: buyer.publicKey, worker: worker,
                sequence: sequence, cost: cost,
                final: true), with: buyer)
    }

    @Test func aLaterReceiptReplacesAnEarlierOneAndNeverTheOtherWayRound() async throws {
        let ledger = try Ledger(path: ":memory:")
        try await ledger.keep([
            receipt(task: 1, sequence: 2, cost: 20), receipt(task: 2, sequence: 1, cost: 5),
        ])
        try await ledger.keep([receipt(task: 1, sequence: 1, cost: 10)])
        #expect(try await ledger.balances(of: worker).earned == 25)
        try await ledger.keep([receipt(task: 1, sequence: 3, cost: 30)])
        let earned = try await ledger.balances(of: worker)
        #expect(earned.earned == 35)
        #expect(earned.byPeer[buyer.publicKey] == 35)
        let spent = try await ledger.balances(of: buyer.publicKey)
        #expect(spent.spent == 35)
        #expect(spent.byPeer[worker] == -35)
    }

    @Test func whatIsKeptSurvivesTheProcess() async throws {
        let folder = temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let contact = Verified(
            signing: Contact(publicKey: buyer.publicKey, endpoints: [.loopback(7827)], sequence: 4),
            with: buyer)
        do {
            let ledger = try Ledger(path: folder + "/db")
            try await ledger.keep([receipt(task: 1, sequence: 1, cost: 7)])
            try await ledger.saveAnchors([contact.signed], keys: [buyer.publicKey])
            try await ledger.set("sequence/wren-m", Array("12".utf8))
        }
        let ledger = try Ledger(path: folder + "/db")
        #expect(try await ledger.balances(of: worker).earned == 7)
        #expect(try await ledger.anchors() == [contact.signed])
        #expect(try await ledger.setting("sequence/wren-m") == Array("12".utf8))
    }
}
