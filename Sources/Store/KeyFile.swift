import Cryptography
import FoundationEssentials
import Glibc
import Primitives

/// The file that holds a node's Ed25519 seed: one line, readable by its owner only.
///
/// Format: `starling-key-1 ` and 52 characters of base 32. Losing the file loses the identity and everything
/// it earned; disclosing it gives both away.
public enum KeyFile {
    private static let header = "starling-key-1 "

    /// Reads the identity in a node's data folder. If there is no key, makes a new one (mode 0600,
    /// folders 0700). Throws when the file can't be read or made, is readable by others, or isn't a
    /// key; and when it is missing beside a database, whose receipts would belong to nobody.
    public static func loadOrCreate(in folder: String) throws(KeyFileError) -> Identity {
        let path = DataFolder.keyPath(in: folder)
        if access(path, F_OK) == 0 || errno != ENOENT { return try load(path) }
        let database = DataFolder.databasePath(in: folder)
        guard access(database, F_OK) != 0 else {
            throw KeyFileError(
                path: path, problem: "is missing, and \(database) holds what its node earned",
                fix: "restore the key from your backup; to begin with a new one, move the database away")
        }
        return try create(path, seed: SecureRandom.bytes32())
    }

    /// Reads the identity in `path`. Throws as `loadOrCreate` does, and when there is no file.
    public static func load(_ path: String) throws(KeyFileError) -> Identity {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw KeyFileError(
                path: path, problem: "can't be read: \(String(cString: strerror(errno)))",
                fix: "check the path, or run `starling init` to make a key")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw KeyFileError(
                path: path,
                problem: "is open to others (mode \(String(status.st_mode & 0o777, radix: 8)))",
                fix: "chmod 600 \(path)")
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw KeyFileError(
                path: path, problem: "can't be read by this user",
                fix: "chown \(ProcessInfo.processInfo.userName) \(path)")
        }
        guard !data.isEmpty else {
            throw KeyFileError(
                path: path, problem: "is empty: it holds no key",
                fix: "restore it from your backup; if there never was a key, remove it: rm \(path)")
        }
        let text = String(decoding: data, as: UTF8.self).trimmed
        guard text.hasPrefix(header), let bytes = Base32.decode(text.dropFirst(header.count)),
            let seed = Bytes32(bytes)
        else {
            throw KeyFileError(
                path: path, problem: "is not a Starling key",
                fix: "restore it from your backup, or name another file")
        }
        return Identity(seed: seed)
    }

    /// Writes `seed` to a new file; never overwrites an existing one.
    public static func create(_ path: String, seed: Bytes32) throws(KeyFileError) -> Identity {
        let folder = path.parentPath
        if !folder.isEmpty, !FileManager.default.fileExists(atPath: folder) {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw KeyFileError(
                    path: path,
                    problem:
                        "can't be made, because its folder can't: \((error as? CocoaError)?.cause ?? "\(error)")",
                    fix: "choose another folder (`data:` of the configuration)")
            }
        }
        do {
            try NewFile.write(Array((header + Base32.encode(seed.bytes) + "\n").utf8), to: path)
        } catch {
            throw KeyFileError(
                path: path, problem: "can't be written: \(error.reason)",
                fix: [ENOSPC, EDQUOT, EFBIG].contains(error.code)
                    ? "free some disk space" : "choose another `data:` folder")
        }
        return Identity(seed: seed)
    }
}

extension CocoaError {
    /// Why the system refused, in its own words.
    public var cause: String {
        if let posix = underlying as? POSIXError { return String(cString: strerror(posix.code.rawValue)) }
        return "\(self)"
    }
}

/// What is wrong with a key file, and the fix. Never holds the key.
public struct KeyFileError: Error, Sendable, CustomStringConvertible {
    public var path: String
    public var problem: String
    public var fix: String
    public var description: String { "key file \(path) \(problem)" }
}
