import CLibuv
import Glibc

/// One child process on a libuv loop: its standard output by lines, and the end of its standard error.
///
/// The child gets its own session, so that Ctrl-C at the terminal reaches only us and running answers can
/// finish. The child itself must see to it that it doesn't outlive us (PR_SET_PDEATHSIG; see
/// `ManagedServer`).
final class ChildProcess {
    /// Bytes kept of one line, and of the end of standard error.
    static let lineMax = 4_096
    static let errorsMax = 2_048

    private final class Pipe {
        let handle = UnsafeMutablePointer<uv_pipe_t>.allocate(capacity: 1)
        var received: ((UnsafeRawBufferPointer) -> Void)?
        /// The buffer that libuv reads into; its size bounds a line.
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: ChildProcess.lineMax, alignment: 16)

        init(loop: UnsafeMutablePointer<uv_loop_t>) {
            uv_pipe_init(loop, handle, 0)
            handle.pointee.data = Unmanaged.passRetained(self).toOpaque()
        }

        deinit {
            handle.deallocate()
            buffer.deallocate()
        }

        var stream: UnsafeMutablePointer<uv_stream_t> {
            UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_stream_t.self)
        }

        func read() {
            uv_read_start(
                stream,
                { handle, _, buffer in
                    guard let data = handle?.pointee.data else { return }
                    let pipe = Unmanaged<Pipe>.fromOpaque(data).takeUnretainedValue()
                    buffer?.pointee = uv_buf_t(
                        base: pipe.buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
                        len: pipe.buffer.count)
                },
                { stream, count, _ in
                    guard let stream, let data = stream.pointee.data else { return }
                    let pipe = Unmanaged<Pipe>.fromOpaque(data).takeUnretainedValue()
                    if count > 0 {
                        pipe.received?(UnsafeRawBufferPointer(rebasing: pipe.buffer[..<count]))
                    } else if count < 0 {
                        uv_read_stop(stream)
                    }
                })
        }

        func close() {
            received = nil
            UnsafeMutableRawPointer(handle).withMemoryRebound(to: uv_handle_t.self, capacity: 1) { handle in
                uv_close(handle) { handle in
                    guard let data = handle?.pointee.data else { return }
                    Unmanaged<Pipe>.fromOpaque(data).release()
                }
            }
        }
    }

    private var process: UnsafeMutablePointer<uv_process_t>?
    private let output: Pipe
    private let errors: Pipe
    private var line: [UInt8] = []
    private var lastErrors: [UInt8] = []
    private(set) var pid: Int32 = 0
    var onLine: (([UInt8]) -> Void)?
    /// Called once, when the process has ended and is reaped, with a description of how it ended. Not after
    /// `close`.
    var onExit: ((String) -> Void)?

    /// Starts `arguments[0]`; throws libuv's message if that fails.
    init(_ arguments: [String], loop: UnsafeMutablePointer<uv_loop_t>) throws(SpawnError) {
        output = Pipe(loop: loop)
        errors = Pipe(loop: loop)
        let process = UnsafeMutablePointer<uv_process_t>.allocate(capacity: 1)
        process.initialize(to: uv_process_t())
        let status = Self.spawn(arguments, process, output: output.stream, errors: errors.stream, loop: loop)
        self.process = process
        guard status == 0 else {
            process.pointee.data = nil
            Self.dispose(process)
            self.process = nil
            output.close()
            errors.close()
            throw SpawnError(words: String(cString: uv_strerror(status)))
        }
        pid = process.pointee.pid
        process.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        output.received = { [weak self] in self?.gotOutput($0) }
        errors.received = { [weak self] in self?.gotErrors($0) }
        output.read()
        errors.read()
    }

    struct SpawnError: Error { let words: String }

    deinit { close() }

    private static func spawn(
        _ arguments: [String], _ process: UnsafeMutablePointer<uv_process_t>,
        output: UnsafeMutablePointer<uv_stream_t>,
        errors: UnsafeMutablePointer<uv_stream_t>, loop: UnsafeMutablePointer<uv_loop_t>
    ) -> Int32 {
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var stdio = [uv_stdio_container_t](repeating: uv_stdio_container_t(), count: 3)
        let flags = uv_stdio_flags(UV_CREATE_PIPE.rawValue | UV_WRITABLE_PIPE.rawValue)
        stdio[0].flags = UV_IGNORE
        stdio[1].flags = flags
        stdio[1].data.stream = output
        stdio[2].flags = flags
        stdio[2].data.stream = errors
        return words.withUnsafeMutableBufferPointer { words in
            stdio.withUnsafeMutableBufferPointer { stdio in
                var options = uv_process_options_t()
                options.file = UnsafePointer(words[0])
                options.args = words.baseAddress
                options.stdio = stdio.baseAddress
                options.stdio_count = Int32(stdio.count)
                options.flags = UV_PROCESS_DETACHED.rawValue
                options.exit_cb = { process, status, signal in
                    guard let data = process?.pointee.data else { return }
                    let child = Unmanaged<ChildProcess>.fromOpaque(data).takeUnretainedValue()
                    child.exited(signal != 0 ? "ended by signal \(signal)" : "exited with \(status)")
                }
                return uv_spawn(loop, process, &options)
            }
        }
    }

    private static func dispose(_ process: UnsafeMutablePointer<uv_process_t>) {
        process.withMemoryRebound(to: uv_handle_t.self, capacity: 1) { handle in
            uv_close(handle) { UnsafeMutableRawPointer($0)?.deallocate() }
        }
    }

    /// The last line on standard error, without control characters.
    var lastWords: String {
        let lines = lastErrors.split(separator: 0x0A)
        let text = String(decoding: lines.last ?? [], as: UTF8.self)
        return String(
            String.UnicodeScalarView(
                text.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }.prefix(200)))
    }

    func kill(_ signal: Int32) {
        if let process { uv_process_kill(process, signal) }
    }

    /// Kills the process if it still runs, reaps it and closes the handles. Waits at most 0.3 s: SIGKILL is
    /// quick.
    func close() {
        guard let process else { return }
        self.process = nil
        process.pointee.data = nil
        onExit = nil
        onLine = nil
        let isRunning = uv_process_kill(process, 0) == 0
        if isRunning { uv_process_kill(process, SIGKILL) }
        Self.dispose(process)
        output.close()
        errors.close()
        guard isRunning else { return }
        for _ in 0..<300 {
            var status: Int32 = 0
            if waitpid(pid, &status, WNOHANG) != 0 { return }
            usleep(1_000)
        }
    }

    private func exited(_ words: String) {
        let onExit = onExit
        if let process {
            self.process = nil
            process.pointee.data = nil
            Self.dispose(process)
            output.close()
            errors.close()
        }
        self.onExit = nil
        onExit?(words)
    }

    private func gotOutput(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes {
            if byte == 0x0A {
                let whole = line
                line = []
                onLine?(whole)
            } else if line.count < Self.lineMax {
                line.append(byte)
            }
        }
    }

    private func gotErrors(_ bytes: UnsafeRawBufferPointer) {
        lastErrors.append(contentsOf: bytes)
        if lastErrors.count > Self.errorsMax { lastErrors.removeFirst(lastErrors.count - Self.errorsMax) }
    }
}
