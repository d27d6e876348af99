import CSQLite
import Glibc

/// Why a node's database can't be used, and the fix; without SQLite's own words, which tell an operator nothing.
public struct LedgerError: Error, Sendable, CustomStringConvertible {
    public var path: String
    public var problem: String
    public var fix: String
    /// The file is not where it was opened: its folder was deleted or moved.
    public var isMissing = false
    public var description: String { "the database \(path) \(problem)" }

    /// - Parameter error: what a `Ledger` threw.
    public init(path: String, _ error: any Error) {
        if let known = error as? LedgerError {
            self = known
            return
        }
        self.path = path
        let refusal = error as? DatabaseError
        let cause = refusal?.cause.map { ": \($0)" } ?? ""
        switch refusal?.code {
        case SQLITE_NOTADB?, SQLITE_CORRUPT?:
            problem = "is damaged, or no database"
            fix = "restore it from a backup, or move it away: a new one is made, without the receipts"
        case SQLITE_FULL?:
            problem = "can't be written\(cause)"
            fix = "free some disk space"
        case SQLITE_IOERR? where [ENOSPC, EDQUOT].contains(refusal?.systemCode ?? 0):
            problem = "can't be written\(cause)"
            fix = "free some disk space"
        case SQLITE_IOERR?:
            problem = "can't be read or written\(cause)"
            fix = "check the disk, or choose another folder (`data:` of the configuration)"
        case SQLITE_CANTOPEN?, SQLITE_READONLY?, SQLITE_PERM?, SQLITE_AUTH?:
            problem = "can't be opened for writing\(cause)"
            fix = "check the permissions of its folder, or choose another one (`data:` of the configuration)"
        case SQLITE_BUSY?, SQLITE_LOCKED?:
            problem = "is in use by another program"
            fix = "stop that program"
        case _?:
            problem = "has another form than this version writes (\(refusal?.message ?? ""))"
            fix = "move it away: a new one is made, without the receipts"
        case nil:
            problem = "can't be used: \(error)"
            fix = "check its folder, or choose another one (`data:` of the configuration)"
        }
    }

    static func missing(_ path: String) -> LedgerError {
        LedgerError(
            path: path, problem: "is gone: its folder was deleted or moved",
            fix: "move the folder back, and the node goes on; or stop it, restore a backup of the folder, key"
                + " included, and start it again", isMissing: true)
    }

    private init(path: String, problem: String, fix: String, isMissing: Bool) {
        (self.path, self.problem, self.fix, self.isMissing) = (path, problem, fix, isMissing)
    }
}
