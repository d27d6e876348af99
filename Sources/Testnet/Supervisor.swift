import FoundationEssentials
import Glibc

/// The parent of a testnet's processes: starts them, reaps them and records how they ended. It never restarts
/// a node on its own: a killed node stays dead.
///
/// Each node leads its own session, so nodes outlive the supervisor; `down` finds them by the state file.
/// Commands arrive as lines on a FIFO: `start NAME`, `stop`.
public final class Supervisor {
    private let layout: Layout
    private var state: TestnetState

    public init(layout: Layout, state: TestnetState) {
        self.layout = layout
        self.state = state
    }

    /// Runs until `stop` arrives or the run folder is gone.
    public func run() throws {
        state.supervisor = getpid()
        state.supervisorTicks = ProcessTable.startTicks(getpid()) ?? 0
        unlink(layout.control)
        guard mkfifo(layout.control, 0o600) == 0 else {
            throw TestnetError(
                "the control pipe \(layout.control) can't be made", fix: "check the folder's permissions")
        }
        // Opened for reading and writing, so that the pipe never reports its end between two writers.
        let control = open(layout.control, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        defer { close(control) }
        // A handler that does nothing, so that the end of a child interrupts the poll below.
        signal(SIGCHLD) { _ in }
        for index in state.nodes.indices where state.nodes[index].pid == 0 { start(index) }
        try state.save(layout)

        var pending: [UInt8] = []
        while true {
            var poller = pollfd(fd: control, events: Int16(POLLIN), revents: 0)
            // SIGCHLD may be delivered to another thread, which doesn't interrupt this poll: hence the short
            // timeout.
            poll(&poller, 1, 50)
            if reap() { try state.save(layout) }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = read(control, &buffer, buffer.count)
            if count > 0 { pending += buffer.prefix(count) }
            while let end = pending.firstIndex(of: 10) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending.removeSubrange(...end)
                let words = line.split(separator: " ")
                if words.first == "stop" { return }
                if words.first == "start", words.count == 2,
                    let index = state.nodes.firstIndex(where: { $0.name == words[1] })
                {
                    start(index)
                    try state.save(layout)
                }
            }
            if access(layout.folder, F_OK) != 0 { return }
        }
    }

    private func start(_ index: Int) {
        let record = state.nodes[index]
        guard ProcessTable.state(record.pid, startTicks: record.startTicks) == .gone else { return }
        do {
            let pid = try Spawn.detached(
                program: state.program, arguments: ["node", "--config", record.config, "--quiet"],
                log: record.log)
            state.nodes[index].pid = pid
            state.nodes[index].startTicks = ProcessTable.startTicks(pid) ?? 0
            state.nodes[index].exit = nil
        } catch {
            state.nodes[index].exit = .init(at: Date(), signal: nil, status: 127)
        }
        state.nodes[index].since = Date()
    }

    private func reap() -> Bool {
        var changed = false
        var status: Int32 = 0
        while true {
            let pid = waitpid(-1, &status, WNOHANG)
            guard pid > 0 else { return changed }
            guard let index = state.nodes.firstIndex(where: { $0.pid == pid }) else { continue }
            let signal = status & 0x7f
            state.nodes[index].exit = .init(
                at: Date(), signal: signal == 0 ? nil : signal, status: signal == 0 ? status >> 8 & 0xff : nil
            )
            changed = true
        }
    }
}

/// Starts a program in its own session, without input and with its output appended to a file.
enum Spawn {
    static func detached(program: String, arguments: [String], log: String) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        // POSIX_SPAWN_SETSID of <spawn.h>, which Swift does not import.
        let newSession: Int16 = 0x80
        posix_spawnattr_setflags(&attributes, newSession | Int16(POSIX_SPAWN_SETSIGMASK))
        var strings: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) }
        strings.append(nil)
        defer { strings.forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, program, &actions, &attributes, strings, environ)
        guard code == 0 else {
            throw TestnetError(
                "\(program) can't be started: \(String(cString: strerror(code)))",
                fix: "build it first: swift build")
        }
        return pid
    }
}

/// A testnet's error, and the fix.
public struct TestnetError: Error, Sendable, CustomStringConvertible {
    public var description: String
    public var fix: String
    /// An exit code of sysexits: 1 failed, 64 usage, 69 unavailable, 78 configuration.
    public var exitCode: Int32

    public init(_ description: String, fix: String, exitCode: Int32 = 1) {
        self.description = description
        self.fix = fix
        self.exitCode = exitCode
    }
}
