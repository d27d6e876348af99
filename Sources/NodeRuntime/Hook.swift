import Glibc

/// Runs a program of the operator's with one document on its standard input. Blocks: not for the loop's thread.
struct Hook: Sendable {
    var command: [String]
    var timeout: Duration

    struct Failure: Error, Equatable {
        /// What happened, with the last line of its standard error.
        var problem: String
    }

    /// Kept of its standard error.
    private static let errorsMax = 2_048

    /// Returns when it has exited with 0. No shell reads the command; the program gets PATH, HOME and LANG of this process's
    /// environment, no file of it, and a process group of its own, which is killed at the timeout.
    func run(_ input: [UInt8]) throws(Failure) {
        let document = try Self.file(holding: input)
        defer { close(document) }
        var errorsPipe: [Int32] = [-1, -1]
        guard pipe(&errorsPipe) == 0 else {
            throw Failure(problem: "gets no pipe: \(String(cString: strerror(errno)))")
        }
        for end in errorsPipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(errorsPipe[0]) }
        let spawned = Result { () throws(Failure) in try spawn(document, errorsPipe[1]) }
        close(errorsPipe[1])
        let pid = try spawned.get()
        let (status, errors) = try wait(pid, errorsPipe[0])
        guard status != 0 else { return }
        let how =
            status & 0x7f == 0 ? "exited with \(status >> 8 & 0xff)" : "was ended by signal \(status & 0x7f)"
        throw Failure(problem: how + Self.lastLine(errors))
    }

    /// A file without a name, from its beginning: unlike a pipe it ends for its reader, whoever else was started meanwhile.
    private static func file(holding bytes: [UInt8]) throws(Failure) -> Int32 {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var path = Array("\(folder)/starling-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        guard descriptor >= 0 else {
            throw Failure(problem: "gets no file in \(folder): \(String(cString: strerror(errno)))")
        }
        unlink(path)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == bytes.count, lseek(descriptor, 0, SEEK_SET) == 0 else {
            close(descriptor)
            throw Failure(problem: "gets no file in \(folder): it can't be written")
        }
        return descriptor
    }

    private func spawn(_ stdin: Int32, _ stderr: Int32) throws(Failure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, stdin, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, stderr, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (all, none) = (sigset_t(), sigset_t())
        sigfillset(&all)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        let flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP
        posix_spawnattr_setflags(&attributes, Int16(flags))
        let names: [String] = ["PATH", "HOME", "LANG"]
        let kept: [String] = names.compactMap { name in
            getenv(name).map { "\(name)=\(String(cString: $0))" }
        }
        var words = command.map { strdup($0) } + [nil]
        var environment = kept.map { strdup($0) } + [nil]
        defer { (words + environment).forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, command[0], &actions, &attributes, &words, &environment)
        guard code == 0 else {
            throw Failure(problem: "\(command[0]) can't be started: \(String(cString: strerror(code)))")
        }
        return pid
    }

    /// Waits for its end; returns its status, and the end of what it wrote to `errors`.
    private func wait(_ pid: pid_t, _ errors: Int32) throws(Failure) -> (Int32, [UInt8]) {
        let end = ContinuousClock.now + timeout
        var (kept, buffer): ([UInt8], [UInt8]) = ([], [UInt8](repeating: 0, count: 1_024))
        _ = fcntl(errors, F_SETFL, O_NONBLOCK)
        func readOn() -> Bool {
            let count = read(errors, &buffer, buffer.count)
            if count > 0 { kept = Array((kept + buffer[..<count]).suffix(Self.errorsMax)) }
            return count > 0
        }
        while true {
            var status: Int32 = 0
            if waitpid(pid, &status, WNOHANG) == pid {
                while readOn() {}
                return (status, kept)
            }
            if ContinuousClock.now >= end {
                kill(-pid, SIGKILL)
                waitpid(pid, &status, 0)
                throw Failure(
                    problem: "was still running after \(timeout.components.seconds) s, and was killed"
                        + Self.lastLine(kept))
            }
            var waiting = pollfd(fd: errors, events: Int16(POLLIN), revents: 0)
            // A program may close its standard error, or leave it to a child of its own.
            if poll(&waiting, 1, 20) > 0, !readOn() { usleep(20_000) }
        }
    }

    private static func lastLine(_ errors: [UInt8]) -> String {
        let line = errors.split(separator: 0x0A).last.map { String(decoding: $0.prefix(200), as: UTF8.self) }
        return line.map { ": \($0)" } ?? ""
    }
}
