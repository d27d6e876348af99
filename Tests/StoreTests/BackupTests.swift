import Cryptography
import Foundation
import Primitives
import Testing
import Wire

@testable import Store

@Suite struct BackupTests {
    private let now = WallTime(milliseconds: 1_800_000_000_000)
    private let seller = Identity(seed: Bytes32(1, 1, 1, 1))
    private let buyer = Identity(seed: Bytes32(2, 2, 2, 2))

    private func with(_ body: (_ data: String, _ backup: String) async throws -> Void) async throws {
        let root = NSTemporaryDirectory() + "starling-backup-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await body(root + "/data", root + "/backup")
    }

    /// Makes a node's folder with one key and this many receipts of 5 µcr.
    private func node(_ data: String, receipts: Range<UInt64>) async throws -> Ledger {
        try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
        if !FileManager.default.fileExists(atPath: data + "/key") {
            _ = try KeyFile.create(data + "/key", seed: Bytes32(1, 1, 1, 1))
        }
        let ledger = try Ledger(path: DataFolder.databasePath(in: data), owner: seller.publicKey)
        try await ledger.keep(
            receipts.map { number in
                Verified(
                    signing: Receipt(
                        task: TaskID(high: 1, low: number), attempt: 1, buyer: buyer.publicKey,
                        worker: seller.publicKey, sequence: 1, completionTokens: 3,
                        cost: Money(microCredits: 5), final: true, issuedAt: now), with: buyer)
            }, at: now)
        return ledger
    }

    private func earned(_ data: String) async throws -> Money {
        try await Ledger(path: DataFolder.databasePath(in: data), owner: seller.publicKey).balances().earned
    }

    @Test func aBackupOfANodeThatRunsIsRestoredAsItWas() async throws {
        try await with { data, folder in
            // Open all the time, as in a node that runs.
            let ledger = try await node(data, receipts: 0..<3)
            let made = try Backup.make(of: data, in: folder, at: now)
            #expect(made.receipts == 3 && made.node == seller.publicKey && made.madeAt == now)
            let mode = try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int
            #expect(mode == 0o700)
            try await ledger.keep([], at: now)
            _ = try await node(data, receipts: 3..<5)
            let aside = try Backup.read(folder).restore(to: data, at: now + .seconds(60))
            #expect(aside == DataFolder.databasePath(in: data) + ".replaced-1")
            #expect(try await earned(data) == Money(microCredits: 15))
            let restored = try Ledger(path: DataFolder.databasePath(in: data), owner: seller.publicKey)
            #expect(try await restored.restoredAt() == now + .seconds(60))
            #expect(try await ledger.restoredAt() == nil)
        }
    }

    @Test func intoAnEmptyFolderComesTheKeyToo() async throws {
        try await with { data, folder in
            _ = try await node(data, receipts: 0..<1)
            let backup = try Backup.make(of: data, in: folder, at: now)
            let other = data + "-new"
            #expect(try backup.restore(to: other, at: now) == nil)
            #expect(try KeyFile.loadOrCreate(in: other).publicKey == seller.publicKey)
            #expect(try await earned(other) == Money(microCredits: 5))
        }
    }

    @Test func aFolderInUseIsRefusedAndNothingIsChanged() async throws {
        try await with { data, folder in
            _ = try await node(data, receipts: 0..<1)
            let backup = try Backup.make(of: data, in: folder, at: now)
            _ = try await node(data, receipts: 1..<2)
            let running = try DataFolder(data)
            let error = try #require(throws: DataFolderError.self) { try backup.restore(to: data, at: now) }
            #expect(error.fix.contains("stop that node"))
            withExtendedLifetime(running) {}
            #expect(try await earned(data) == Money(microCredits: 10))
        }
    }

    @Test func anotherNodesKeyIsNeverReplaced() async throws {
        try await with { data, folder in
            _ = try await node(data, receipts: 0..<1)
            let backup = try Backup.make(of: data, in: folder, at: now)
            let other = data + "-other"
            let theirs = try KeyFile.loadOrCreate(in: other).publicKey
            let error = try #require(throws: Backup.Failure.self) { try backup.restore(to: other, at: now) }
            #expect(error.problem.contains("another node") && error.fix.contains("data:"))
            #expect(try KeyFile.loadOrCreate(in: other).publicKey == theirs)
        }
    }

    @Test func whatIsNoBackupOrIsDamagedIsNamedWithTheFix() async throws {
        try await with { data, folder in
            let missing = try #require(throws: Backup.Failure.self) {
                try Backup.make(of: data, in: folder, at: now)
            }
            #expect(missing.fix.contains("--config"))
            _ = try await node(data, receipts: 0..<1)
            _ = try Backup.make(of: data, in: folder, at: now)
            let again = try #require(throws: Backup.Failure.self) {
                try Backup.make(of: data, in: folder, at: now)
            }
            #expect(again.fix.contains("doesn't exist yet"))
            let none = try #require(throws: Backup.Failure.self) { try Backup.read(data + "-none") }
            #expect(none.problem.contains("is no backup"))
            let path = DataFolder.databasePath(in: folder)
            try Data([UInt8](repeating: 7, count: 8_192)).write(to: URL(fileURLWithPath: path))
            let damaged = try #require(throws: LedgerError.self) { try Backup.read(folder) }
            #expect(damaged.fix == "use another backup")
        }
    }
}
