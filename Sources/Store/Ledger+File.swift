import FoundationEssentials
import Glibc

/// The database's file: whether it is still there, and where a damaged one goes.
extension Ledger {
    /// A file by its identity, which it keeps when it is moved or deleted while it is open.
    struct OpenedFile: Sendable {
        let path: String
        private let device: UInt64
        private let number: UInt64

        /// Nil when there is none.
        init?(_ path: String) {
            guard let (device, number) = Self.identity(path) else { return nil }
            (self.path, self.device, self.number) = (path, device, number)
        }

        /// Makes an empty file unless there is one, and lets its owner alone read it, which SQLite doesn't.
        static func create(_ path: String) {
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { return }
            fchmod(descriptor, 0o600)
            close(descriptor)
        }

        var isInPlace: Bool { Self.identity(path).map { $0 == (device, number) } ?? false }

        private static func identity(_ path: String) -> (UInt64, UInt64)? {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            return (UInt64(status.st_dev), UInt64(status.st_ino))
        }
    }

    /// Throws a `LedgerError` (`isMissing`) when the file is not where it was opened.
    public func checkPlace() throws {
        if let opened, !opened.isInPlace { throw LedgerError.missing(opened.path) }
    }

    /// One transaction. Throws a `LedgerError` also after it, when the file is no longer in its place. If the file was
    /// moved, it holds what was written; if it was deleted, only the caller still has it.
    func write<Value>(_ changes: (Database) throws -> Value) throws -> Value {
        let value = try database.transaction { try changes(database) }
        try checkPlace()
        return value
    }

    /// Damaged files that are kept.
    static let damagedMax = 4

    /// Moves a file out of the way, to `path` with `.damaged-`, or another word, and a number behind it, which is higher
    /// than that of every earlier one. The lowest numbers leave. Returns the new path.
    @discardableResult public static func setAside(path: String, as word: String = "damaged") throws -> String
    {
        let files = FileManager.default
        let folder = path.parentPath
        let beginning = path.lastPathPart + ".\(word)-"
        let numbers = try files.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder)
            .filter { $0.hasPrefix(beginning) }.compactMap { Int($0.dropFirst(beginning.count)) }.sorted()
        let kept = path + ".\(word)-\((numbers.last ?? 0) + 1)"
        let suffixes = ["", "-wal", "-shm"]
        for suffix in suffixes where files.fileExists(atPath: path + suffix) {
            try files.moveItem(atPath: path + suffix, toPath: kept + suffix)
        }
        for number in numbers.dropLast(damagedMax - 1) {
            for suffix in suffixes { try? files.removeItem(atPath: path + ".\(word)-\(number)" + suffix) }
        }
        return kept
    }
}
