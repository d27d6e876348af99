import FoundationEssentials
import Glibc

/// A file that is there whole or not at all, whatever ends the process or the machine while it is written.
public enum NewFile {
    /// Why the system refused.
    public struct Failure: Error, Sendable {
        /// The errno.
        public let code: Int32
        public var reason: String { String(cString: strerror(code)) }
    }

    /// Writes `bytes` beside `path`, flushes them, and only then gives the file its name. Throws `EEXIST` when there is
    /// a file already, unless it `replaces` it.
    public static func write(
        _ bytes: [UInt8], to path: String, mode: mode_t = 0o600, replaces: Bool = false
    ) throws(Failure) {
        let aside = path + ".new-\(getpid())"
        unlink(aside)
        defer { unlink(aside) }
        try fill(aside, bytes, mode)
        // A link, unlike a renaming, fails where there is a file.
        guard (replaces ? rename(aside, path) : link(aside, path)) == 0 else { throw Failure(code: errno) }
        flush(folderOf: path)
    }

    private static func fill(_ path: String, _ bytes: [UInt8], _ mode: mode_t) throws(Failure) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw Failure(code: errno) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written >= 0 || errno == EINTR else { throw Failure(code: errno) }
            rest = rest.dropFirst(max(0, written))
        }
        guard fsync(descriptor) == 0 else { throw Failure(code: errno) }
    }

    /// Makes the name itself durable. Not every file system can: then the file is as safe as that system makes it.
    private static func flush(folderOf path: String) {
        let folder = path.parentPath
        let descriptor = open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}
