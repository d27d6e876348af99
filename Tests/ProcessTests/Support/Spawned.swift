import Foundation
import Synchronization

/// A process started by a test. Its output goes to files, so that nothing blocks and all can be read at any
/// time.
final class Spawned: Sendable {
    struct Finished: Sendable {
        /// Exit status, or 128 + signal if a signal ended it, as in a shell.
        var status: Int32
        var out: String
        var err: String
        var json: JSON { JSON(parsing: out) }
    }

    struct CannotStart: Error { var program: String, words: String }

    let pid: Int32
    let outFile: String
    let errFile: String
    private let exit = Mutex<Int32?>(nil)

    init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], folder: String,
        input: String? = nil
    ) throws {
        let stem =
            "\(folder)/\(URL(fileURLWithPath: program).lastPathComponent)-\(UInt32.random(in: 0...UInt32.max))"
        (outFile, errFile) = (stem + ".out", stem + ".err")
        if let input { try input.write(toFile: stem + ".in", atomically: true, encoding: .utf8) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input == nil ? "/dev/null" : stem + ".in", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, outFile, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, errFile, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        Self.closeOthersOnExec()
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var all = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("STARLING_") }
        all["SWIFT_BACKTRACE"] = "enable=no"
        all.merge(environment) { $1 }
        var words = ([program] + arguments).map { strdup($0) } + [nil]
        var variables = all.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (words + variables).forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, program, &actions, &attributes, &words, &variables)
        guard code == 0 else { throw CannotStart(program: program, words: String(cString: strerror(code))) }
        self.pid = pid
    }

    /// Other tests of this process have open sockets; a child that inherits one would keep its port in use.
    private static func closeOthersOnExec() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        }
    }

    /// The exit status, once it has ended.
    var status: Int32? {
        exit.withLock { exit in
            if let exit { return exit }
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
            exit = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
            return exit
        }
    }

    var out: String { Self.text(outFile) }
    var err: String { Self.text(errFile) }
    /// Complete lines on standard output so far.
    var lines: [JSON] {
        out.split(separator: "\n", omittingEmptySubsequences: true).map { JSON(parsing: String($0)) }
    }

    func send(_ signal: Int32) { if status == nil { kill(pid, signal) } }

    /// Waits for its end; kills it and throws after `seconds`.
    func finished(within seconds: Double = 60) async throws -> Finished {
        do {
            let status = try await eventually("\(outFile) ends", within: seconds) { self.status }
            return Finished(status: status, out: out, err: err)
        } catch {
            stop()
            throw NeverHappened("the process ends", seconds, "stderr: \(err)")
        }
    }

    /// Kills it and reaps it.
    func stop() {
        guard status == nil else { return }
        kill(pid, SIGKILL)
        var status: Int32 = 0
        exit.withLock { exit in
            if exit == nil, waitpid(pid, &status, 0) == pid { exit = 137 }
        }
    }

    private static func text(_ file: String) -> String {
        String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
    }
}
