import CSQLite
import Cryptography
import FoundationEssentials
import Glibc
import Primitives

/// A node's key and database, copied while the node runs: a folder with a file of each, readable by its owner only.
public struct Backup: Sendable {
    public var folder: String
    public var madeAt: WallTime
    /// The node's key; nil: the folder has none (a testnet's node).
    public var node: PublicKey?
    public var receipts: Int

    /// Why a backup can't be made or restored, and the fix.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public var problem: String
        public var fix: String
        public var description: String { problem }
    }

    private static let madeAtName = "backup/made"
    private static let restoredAtName = "backup/restored"

    // MARK: Making

    /// Copies the key and the database of `data` into the new folder `folder`. The database is copied as it is at one
    /// moment, whoever writes to it (SQLite's online backup).
    public static func make(of data: String, in folder: String, at now: WallTime) throws -> Backup {
        let source = DataFolder.databasePath(in: data)
        guard access(source, F_OK) == 0 else {
            throw Failure(
                problem: "there is no database at \(source)",
                fix: "name the node's configuration with --config: its `data:` says where it keeps it")
        }
        guard mkdir(folder, 0o700) == 0 else {
            throw Failure(
                problem: "\(folder) can't be made: \(String(cString: strerror(errno)))",
                fix: errno == EEXIST
                    ? "name a folder that doesn't exist yet" : "name a folder in one that you may write to")
        }
        let target = DataFolder.databasePath(in: folder)
        do {
            Ledger.OpenedFile.create(target)
            try Database(path: source).copy(to: target)
            let copy = try Database(path: target)
            try set(madeAtName, now, in: copy)
        } catch { throw LedgerError(path: source, error) }
        let key = DataFolder.keyPath(in: data)
        if access(key, F_OK) == 0 {
            _ = try KeyFile.load(key)
            try copyFile(key, to: DataFolder.keyPath(in: folder))
        }
        return try read(folder)
    }

    /// What a backup holds. Throws when it is none, or is damaged.
    public static func read(_ folder: String) throws -> Backup {
        let path = DataFolder.databasePath(in: folder)
        guard access(path, F_OK) == 0 else {
            throw Failure(
                problem: "\(folder) is no backup: it has no \(path.lastPathPart)",
                fix: "name a folder that `starling backup` made")
        }
        let key = DataFolder.keyPath(in: folder)
        let node = access(key, F_OK) == 0 ? try KeyFile.load(key).publicKey : nil
        do {
            let database = try Database(path: path)
            let checks = try database.rows("PRAGMA quick_check(1)") { $0.text(0) }
            guard checks == ["ok"] else {
                throw DatabaseError(code: SQLITE_CORRUPT, message: checks.first ?? "no check")
            }
            let made = try database.rows(
                "SELECT value FROM setting WHERE name = ?", [.text(madeAtName)]
            ) { $0.blob(0) }
            let receipts = try database.rows("SELECT COUNT(*) FROM receipt") { $0.integer(0) }
            let at = made.first.flatMap { Int64(String(decoding: $0, as: UTF8.self)) }
            return Backup(
                folder: folder, madeAt: WallTime(milliseconds: at ?? 0), node: node,
                receipts: Int(clamping: receipts.first ?? 0))
        } catch {
            var known = LedgerError(path: path, error)
            if Ledger.isDamage(error) { known.fix = "use another backup" }
            throw known
        }
    }

    // MARK: Restoring

    /// Puts the key and the database into `data`, which no node may be using. A database that is there is set aside; its
    /// new path is returned. Another node's key is never replaced.
    public func restore(to data: String, at now: WallTime) throws -> String? {
        let lock = try DataFolder(data)
        defer { withExtendedLifetime(lock) {} }
        let (key, path) = (DataFolder.keyPath(in: data), DataFolder.databasePath(in: data))
        if access(key, F_OK) == 0, let node {
            let there = try KeyFile.load(key).publicKey
            guard there == node else {
                throw Failure(
                    problem:
                        "\(key) is the key of another node (\(NodeID(of: there).short)) than the backup's"
                        + " (\(NodeID(of: node).short))",
                    fix: "restore into another folder (`data:` of the configuration), or move that one away")
            }
        } else if node != nil {
            try Self.copyFile(DataFolder.keyPath(in: folder), to: key)
        }
        let aside = access(path, F_OK) == 0 ? try Ledger.setAside(path: path, as: "replaced") : nil
        try Self.copyFile(DataFolder.databasePath(in: folder), to: path)
        do { try Self.set(Self.restoredAtName, now, in: Database(path: path)) } catch {
            throw LedgerError(path: path, error)
        }
        return aside
    }

    private static func set(_ name: String, _ time: WallTime, in database: Database) throws {
        try database.run(
            "INSERT OR REPLACE INTO setting VALUES (?,?)",
            [.text(name), .blob(Array(String(time.milliseconds).utf8))])
    }

    private static func copyFile(_ path: String, to target: String) throws {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw Failure(problem: "\(path) can't be read", fix: "check its permissions")
        }
        do { try NewFile.write(Array(bytes), to: target) } catch {
            throw Failure(
                problem: "\(target) can't be written: \(error.reason)",
                fix: [ENOSPC, EDQUOT, EFBIG].contains(error.code)
                    ? "free some disk space" : "check the permissions of its folder")
        }
    }
}

extension Ledger {
    /// When this database was last restored from a backup; nil: never. What was promised before, and not redeemed then, may
    /// have been redeemed since.
    public func restoredAt() throws -> WallTime? {
        try setting("backup/restored").flatMap { Int64(String(decoding: $0, as: UTF8.self)) }
            .map { WallTime(milliseconds: $0) }
    }
}

extension Database {
    /// Copies everything to the file at `path`, as it is at one moment.
    fileprivate func copy(to path: String) throws {
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nil)
        defer { sqlite3_close_v2(opened) }
        guard code == SQLITE_OK else { throw DatabaseError(code: code, message: "can't open \(path)") }
        try copy(into: opened)
    }
}
