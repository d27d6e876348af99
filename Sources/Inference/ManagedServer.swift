import CLibuv
import Glibc
import OpenAIFormat
import Primitives

/// A llama.cpp server that we start.
public struct ManagedServerOptions: Sendable {
    public enum Launcher: Sendable, Hashable {
        /// `scripts/llama-server.py` under a Python that has xllamacpp.
        case python(interpreter: String, script: String)
        /// Upstream's `llama-server`.
        case binary(path: String)
    }
    public var launcher: Launcher
    /// The GGUF file.
    public var file: String
    /// The model's name at the server; nil means the file's name without `.gguf`.
    public var alias: String?
    public var slots: Int
    /// Tokens of context in each slot.
    public var context: Int
    public var threads: Int
    public var embeddings: Bool

    public init(
        launcher: Launcher, file: String, alias: String? = nil, slots: Int = 1, context: Int = 512,
        threads: Int = 1,
        embeddings: Bool = false
    ) {
        self.launcher = launcher
        self.file = file
        self.alias = alias
        self.slots = slots
        self.context = context
        self.threads = threads
        self.embeddings = embeddings
    }

    /// The model name that the server is started with.
    public var name: String {
        if let alias { return alias }
        let last = file.split(separator: "/").last.map(String.init) ?? file
        return last.hasSuffix(".gguf") ? String(last.dropLast(5)) : last
    }

    /// Sampling must not depend on what other slots are answering: one KV buffer for all slots (upstream's
    /// default without `--parallel`) made 4 of 50 greedy answers differ. The prompt cache beyond the slots'
    /// own is off, because its default is 8 GB.
    func arguments(port: Int) -> [String] {
        let numbers = [
            "--port", String(port), "--parallel", String(slots), "--threads", String(threads), "--alias",
            name,
        ]
        switch launcher {
        case .python(let interpreter, let script):
            return [interpreter, script, file, "--context", String(context), "--parent", String(getpid())]
                + (embeddings ? ["--embeddings"] : []) + numbers
        case .binary(let path):
            // util-linux's setpriv ties the server's life to ours; without it, a SIGKILL of this process
            // would orphan the server.
            let setpriv = "/usr/bin/setpriv"
            let tied = access(setpriv, X_OK) == 0 ? [setpriv, "--pdeathsig", "KILL", "--"] : []
            return tied + [
                path, "--model", file, "--host", "127.0.0.1", "--ctx-size", String(context * slots),
            ]
                + ["--no-kv-unified", "--cache-ram", "0", "--no-webui", "--metrics", "--slots"]
                + (embeddings ? ["--embeddings"] : []) + numbers
        }
    }
}

/// Starts a llama.cpp server for one file, watches it, and restarts it when it ends.
///
/// No orphans: `close` kills the server, and it dies with us even if we are killed (the launcher script, or
/// setpriv, asks the kernel for that). The launcher's server picks its own port, so no other process can take
/// it first.
final class ManagedServer {
    enum Change {
        /// What the file says, and later its digest.
        case described(ModelDescription)
        case ready(url: String)
        /// The reason is for the operator; the server is restarted automatically.
        case ended(String)
    }
    static let backoffMin = Interval.milliseconds(500)
    static let backoffMax = Interval.seconds(30)
    /// A server that ran this long resets the backoff.
    static let steadyAfter = Interval.seconds(60)
    /// Long enough to load a model from a slow disk.
    static let readyMax = Interval.minutes(10)
    static let probeEvery = Interval.milliseconds(100)

    private let options: ManagedServerOptions
    private let loop: UnsafeMutablePointer<uv_loop_t>
    private let http: HTTPStreams
    private let alarm: LoopAlarm
    private var child: ChildProcess?
    private var digesting: FileDigestWork?
    private var startedAt = MonotonicTime.zero
    private var startAt = MonotonicTime.never
    private var probeAt = MonotonicTime.never
    private var backoff = ManagedServer.backoffMin
    private var isReady = false
    private var port = 0
    private var isClosed = false
    var onChange: ((Change) -> Void)?

    /// The pid of the running server; 0 if none runs.
    var pid: Int32 { child?.pid ?? 0 }

    init(_ options: ManagedServerOptions, loop: UnsafeMutablePointer<uv_loop_t>, http: HTTPStreams) {
        self.options = options
        self.loop = loop
        self.http = http
        alarm = LoopAlarm(loop: loop)
        alarm.handler = { [weak self] in self?.tick() }
    }

    /// Makes no callback from inside this call.
    func start() {
        startAt = LoopAlarm.now()
        rearm()
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        onChange = nil
        digesting?.cancel()
        child?.close()
        child = nil
        alarm.close()
    }

    private func describe() {
        guard let header = try? GGUFHeader(path: options.file) else { return }
        var description = ModelDescription(
            name: options.name, context: UInt32(clamping: options.context), quantization: header.quantization,
            slots: UInt32(clamping: options.slots))
        onChange?(.described(description))
        digesting = FileDigestWork(path: options.file, loop: loop) { [weak self] digest in
            guard let self, let digest else { return }
            self.digesting = nil
            description.digest = digest
            description.digestOrigin = .file
            self.onChange?(.described(description))
        }
    }

    private func launch() {
        guard !isClosed else { return }
        startAt = .never
        isReady = false
        startedAt = LoopAlarm.now()
        do throws(GGUFHeader.ReadError) { _ = try GGUFHeader(path: options.file) } catch {
            let words: String
            switch error {
            case .unreadable(let code): words = "can't be read: \(String(cString: strerror(code)))"
            case .notGGUF: words = "is not a GGUF file"
            case .malformed: words = "is damaged"
            }
            return ended("\(options.file) \(words).")
        }
        if case .binary = options.launcher { port = Self.freePort() }
        do throws(ChildProcess.SpawnError) {
            let child = try ChildProcess(options.arguments(port: port), loop: loop)
            child.onLine = { [weak self] in self?.said($0) }
            child.onExit = { [weak self, weak child] words in
                let last = child?.lastWords ?? ""
                self?.ended("llama.cpp's server \(words)\(last.isEmpty ? "." : ": \(last)")")
            }
            self.child = child
            if case .binary = options.launcher { probeAt = startedAt + Self.probeEvery }
            rearm()
        } catch {
            ended("llama.cpp's server can't be started: \(error.words).")
        }
    }

    /// The launcher script prints one line of JSON when the model is loaded.
    private func said(_ line: [UInt8]) {
        guard case .python = options.launcher, !isReady,
            let url = (try? JSONTree(parsing: line))?["url"]?.text
        else {
            return
        }
        ready(url)
    }

    private func ready(_ url: String) {
        isReady = true
        probeAt = .never
        rearm()
        onChange?(.ready(url: url))
    }

    private func ended(_ words: String) {
        child = nil
        guard !isClosed else { return }
        isReady = false
        probeAt = .never
        let now = LoopAlarm.now()
        if now - startedAt > Self.steadyAfter { backoff = Self.backoffMin }
        startAt = now + backoff
        backoff = min(backoff * 2, Self.backoffMax)
        rearm()
        onChange?(.ended(words))
    }

    private func tick() {
        let now = LoopAlarm.now()
        if startAt <= now {
            if startedAt == .zero { describe() }
            launch()
        }
        if child != nil, !isReady, startedAt + Self.readyMax <= now {
            child?.kill(SIGKILL)
            startedAt = now
        }
        if probeAt <= now { probe() }
        rearm()
    }

    /// Upstream's binary prints nothing that we could wait for, so poll its health path.
    private func probe() {
        probeAt = .never
        let url = "http://127.0.0.1:\(port)"
        let started = startedAt
        Fetch.start(HTTPRequest(url: url + "/health", timeout: .seconds(2)), on: http) { [weak self] result in
            guard let self, !self.isClosed, self.startedAt == started, self.child != nil, !self.isReady else {
                return
            }
            if case .answer(200, _) = result { return self.ready(url) }
            self.probeAt = LoopAlarm.now() + Self.probeEvery
            self.rearm()
        }
    }

    private func rearm() {
        guard !isClosed else { return }
        var next = min(startAt, probeAt)
        if child != nil, !isReady { next = min(next, startedAt + Self.readyMax) }
        alarm.set(next, now: LoopAlarm.now())
    }

    /// A free port on loopback. Another process may take it before the server does; then the server fails and
    /// is restarted.
    private static func freePort() -> Int {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { return 0 }
        defer { Glibc.close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                guard bind(socket, generic, length) == 0, getsockname(socket, generic, &length) == 0 else {
                    return 0
                }
                return Int(UInt16(bigEndian: pointer.pointee.sin_port))
            }
        }
    }
}
