import ArgumentParser
import FoundationEssentials
import Glibc
import MeshClient
import MeshDocuments
import NodeConfiguration
import Primitives
import Store
import Testnet
import UVLoop

/// Exit codes of sysexits.h, as the root command's help lists them.
enum ExitStatus: Int32 {
    case failed = 1
    case usage = 64
    case unavailable = 69
    case brokenOff = 74
    case tryAgain = 75
    case permission = 77
    case configuration = 78
    case interrupted = 130
}

/// Prints the problem and the fix to stderr, and returns `status` as the error to throw.
func fail(_ problem: String, fix: String?, _ status: ExitStatus) -> ExitCode {
    remark("starling: \(problem)")
    if let fix { remark("  fix: \(fix)") }
    return ExitCode(status.rawValue)
}

/// `~`: HOME if it is set, as in other Unix programs, else the account's home folder.
var homeFolder: String {
    let home = ProcessInfo.processInfo.environment["HOME"] ?? ""
    return home.isEmpty ? FileManager.default.homeDirectoryForCurrentUser.path : home
}

/// Prints a line to stderr, without control characters. Pass a stranger's text through `Printable.line` first: its
/// line breaks could fake a line of ours.
func remark(_ line: String) { output(Printable.lines(line) + "\n", to: STDERR_FILENO) }

/// Prints text to stdout, unbuffered, without a line end. On a terminal it loses its control characters; a file or a
/// pipe gets it byte by byte.
func emit(_ text: String) { output(isTerminal ? Printable.lines(text) : text, to: STDOUT_FILENO) }

/// Prints a JSON document as a node sent it to stdout, with a line end; on a terminal with the escapes that it needs.
func emit(json: String) {
    output((isTerminal ? Printable.json(json) : json) + (json.hasSuffix("\n") ? "" : "\n"), to: STDOUT_FILENO)
}

private let isTerminal = isatty(STDOUT_FILENO) == 1

/// Prints text, unbuffered. What can't be written is lost: a full disk or a reader that has gone must not end
/// the program, as an error of `FileHandle` would.
func output(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)
        while !rest.isEmpty {
            let written = write(descriptor, rest.baseAddress, rest.count)
            if written > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[written...])
            } else if written == 0 || errno != EINTR && errno != EAGAIN {
                return
            } else if errno == EAGAIN {
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&waiting, 1, -1)
            }
        }
    }
}

/// Runs a command's body and turns every error into a sentence, a fix and an exit code.
func reporting(_ body: () async throws -> Void) async throws {
    do {
        try await body()
    } catch let error as ExitCode {
        throw error
    } catch let error as ConfigurationError {
        throw fail(error.description, fix: error.fix, .configuration)
    } catch let error as KeyFileError {
        throw fail(error.description, fix: error.fix, .permission)
    } catch let error as DataFolderError {
        throw fail(error.description, fix: error.fix, .unavailable)
    } catch let error as Backup.Failure {
        throw fail(error.description, fix: error.fix, .failed)
    } catch let error as LedgerError {
        throw fail(error.description, fix: error.fix, .unavailable)
    } catch let error as SocketError {
        throw fail(
            "\(error)", fix: fix(error, port: "mesh.port", address: "mesh.address"), .unavailable)
    } catch let error as MeshClientError {
        throw fail(
            error.description,
            fix: error.isUnreachable
                ? "start one with `starling node`, or say where it is: --via http://host:port" : "try again",
            .unavailable)
    } catch let error as TestnetError {
        throw fail(error.description, fix: error.fix, ExitStatus(rawValue: error.exitCode) ?? .failed)
    } catch let error as CocoaError {
        throw fail(
            "\(error.filePath ?? "a file") can't be used: \(error.cause)",
            fix: "check the path and its permissions", .failed)
    }
}

/// What the operator can do about a port or an address of this machine; `key` is its place in the configuration.
func fix(_ error: SocketError, port key: String, address: String) -> String {
    switch error.code {
    case EADDRINUSE: return "stop the program (or the other node) that uses it, or set \(key) to a free port"
    case EADDRNOTAVAIL:
        let own = ThisMachine.addresses().map(\.host)
        return "set \(address) to an address of this machine, which has "
            + Nearest.list(own.prefix(6) + ["127.0.0.1"]) + ", or to 0.0.0.0 for all of them"
    case EACCES: return "set \(key) to a port above 1023"
    case EMFILE, ENFILE: return "raise the limit of open files (ulimit -n)"
    case EAFNOSUPPORT: return "this machine has no IPv6: set \(address) to an IPv4 address"
    default: return "check \(address) and \(key)"
    }
}

/// Why the system refused, in its own words where it has some.
func cause(_ error: any Error) -> String { (error as? CocoaError)?.cause ?? "\(error)" }

/// The text of a file that a command names as an argument. `kind` is what it should be, `example` one of them.
func contents(of path: String, kind: String, example: String) throws -> String {
    if let data = FileManager.default.contents(atPath: path) {
        return try YAMLReader.text(of: data, file: path)
    }
    var isFolder = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
        let folder = path.parentPath
        let beside =
            (try? FileManager.default.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder)) ?? []
        let meant = Nearest.match(path.lastPathPart, in: yamlFiles(beside))
        throw fail(
            "there is no \(path)",
            fix: meant.map { "did you mean \(folder.isEmpty ? $0 : "\(folder == "/" ? "" : folder)/\($0)")?" }
                ?? "name \(kind)'s file, such as \(example)", .usage)
    }
    guard isFolder else {
        throw fail("\(path) can't be read", fix: "check its permissions", .usage)
    }
    let inside = yamlFiles((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
    throw fail(
        "\(path) is a folder",
        fix: inside.isEmpty
            ? "name \(kind)'s file, such as \(example)"
            : "name one of its files: \(inside.joined(separator: ", "))",
        .usage)
}

private func yamlFiles(_ names: [String]) -> [String] { names.filter { $0.hasSuffix(".yaml") }.sorted() }

/// The characters of a node's id that are printed, and that find it again.
func shortID(_ id: String) -> String { Printable.line(id.prefix(NodeID.shortCount)) }

/// A node's name: the owner's as it is; the one that the node gives itself in quotes, because any node can.
func label(_ name: String, isPinned: Bool) -> String {
    isPinned || name.isEmpty ? Printable.line(name) : Printable.quoted(name)
}
