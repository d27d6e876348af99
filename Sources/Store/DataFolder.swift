import FoundationEssentials
import Glibc

/// The folder of a node's key and database, which one process at a time may use: two would sign with one key
/// and overwrite each other's receipts.
public final class DataFolder: Sendable {
    private let descriptor: Int32

    /// Makes the folder if there is none, and holds it until the process ends or this value is gone.
    public init(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw DataFolderError(path, "can't be made", (error as? CocoaError)?.cause ?? "\(error)")
        }
        descriptor = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw DataFolderError(path, "can't be used", String(cString: strerror(errno)))
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            guard errno == EWOULDBLOCK else {
                throw DataFolderError(path, "can't be locked", String(cString: strerror(errno)))
            }
            throw DataFolderError(
                path: path, problem: "is in use by another node",
                fix: "stop that node, or give this one its own folder (`data:` of the configuration)")
        }
    }

    deinit { close(descriptor) }

    /// Where a node's key and its database are.
    public static func keyPath(in folder: String) -> String { folder + "/key" }
    public static func databasePath(in folder: String) -> String { folder + "/starling.sqlite" }
}

/// Why a data folder can't be used, and the fix.
public struct DataFolderError: Error, Sendable, CustomStringConvertible {
    public var path: String
    public var problem: String
    public var fix: String
    public var description: String { "the data folder \(path) \(problem)" }

    init(path: String, problem: String, fix: String) {
        (self.path, self.problem, self.fix) = (path, problem, fix)
    }

    init(_ path: String, _ what: String, _ cause: String) {
        self.init(
            path: path, problem: "\(what): \(cause)",
            fix: "check its permissions, or choose another folder (`data:` of the configuration)")
    }
}
