// The loop: one thread that waits for sockets and timers, and runs the actors that live on it.
//
// It is a `SerialExecutor`: an actor whose `unownedExecutor` is the loop runs on the loop's thread, so a libuv
// callback is already inside it. An owner sets its callbacks to closures formed in one of its isolated methods:
// they are isolated to it, reach its state directly and cost nothing; elsewhere `assumeIsolated` enters, once per
// callback. Other threads hand work over with `post` or by calling such an actor; one wake-up serves a whole batch.
//
// Lifetime: `start`, then `stop` from another thread. `stop` closes every handle, tells its owner, joins the
// thread. Work that comes later is not lost (a lost job is a task that hangs for ever): it runs one piece at a
// time on a short-lived thread, and finds every handle closed.

import CLibuv
import Glibc
import Primitives

/// What has handles on a loop that is about to stop.
public protocol LoopResource: AnyObject {
    /// Called once, on the loop's thread: call `uv_close` on every open handle. Nothing new can be opened.
    func loopWillStop()
}

// Sendable: `queue`, `state`, `isSignalled`, `lateThread` are read and written under `lock` only; `thread` is
// written before the first `stop` can join it, under `lock`; `uv`, `scratch` and the rest are touched by the
// loop's thread only (`preconditionOnLoop`), or by nobody else before `start` and after the join. The lock is a
// pthread mutex because the thread sanitizer doesn't see Synchronization.Mutex.
public final class EventLoop: SerialExecutor, @unchecked Sendable {
    enum Work {
        case job(UnownedJob)
        case call(@Sendable () -> Void)
    }
    private enum State { case idle, running, stopping, stopped }

    /// Batches that are run before sockets get their turn again.
    static let roundsPerWakeUpMax = 16
    /// Batches that the loop's thread still runs after its handles are closed; what follows runs late.
    static let roundsAtStopMax = 1_000
    /// A batch of datagrams, or what one read of a connection brings. Pages are touched as used.
    static let scratchBytes = 256 * 1024

    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let stopped: UnsafeMutablePointer<pthread_cond_t>
    private var queue: [Work] = []
    private var state = State.idle
    private var isSignalled = false
    private var lateThread = false
    private var thread = pthread_t()

    /// For drivers that bring their own handles (libcurl's polls): on the loop's thread only. Register a
    /// `LoopResource` that closes them.
    public let uv: UnsafeMutablePointer<uv_loop_t>
    private let async: UnsafeMutablePointer<uv_async_t>
    private let name: String
    private var batch: [Work] = []
    private var resources: [ObjectIdentifier: any LoopResource] = [:]
    /// True from the moment at which handles can't be opened any more. On the loop's thread only.
    public private(set) var isStopping = false
    /// True inside a timer's callback, where libuv would run a timer of zero length at once, for ever.
    var isFiringTimers = false
    /// What sockets read into. One for all: libuv reads and delivers before it reads the next.
    let scratch: UnsafeMutableRawBufferPointer

    /// Fails when the process is out of file descriptors. `name` is what `top -H` shows, at most 15 bytes.
    public init(name: String = "loop") throws(SocketError) {
        self.name = name
        lock = .allocate(capacity: 1)
        stopped = .allocate(capacity: 1)
        uv = .allocate(capacity: 1)
        async = .allocate(capacity: 1)
        scratch = .allocate(byteCount: EventLoop.scratchBytes, alignment: 64)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(stopped, nil)
        var status = uv_loop_init(uv)
        if status == 0 {
            status = uv_async_init(uv, async) { async in
                guard let data = async?.pointee.data else { return }
                Unmanaged<EventLoop>.fromOpaque(data).takeUnretainedValue().drain()
            }
            if status != 0 { uv_loop_close(uv) }
        }
        if status != 0 {
            // `deinit` doesn't run for an object whose `init` threw before it was whole; this one is whole.
            state = .stopped
            throw SocketError(status: status, .loop, nil)
        }
        async.pointee.data = Unmanaged.passUnretained(self).toOpaque()
    }

    deinit {
        if state == .idle { closeLoop() }
        precondition(state == .idle || state == .stopped, "an event loop was dropped while \(state)")
        precondition(queue.isEmpty, "an event loop that was never started was given work")
        pthread_cond_destroy(stopped)
        pthread_mutex_destroy(lock)
        stopped.deallocate()
        lock.deallocate()
        async.deallocate()
        uv.deallocate()
        scratch.deallocate()
    }

    // MARK: Life

    /// Starts the thread. Work that was posted before runs first.
    public func start() {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        precondition(state == .idle, "an event loop starts once (it is \(state))")
        state = .running
        isSignalled = true
        uv_async_send(async)
        let status = pthread_create(
            &thread, nil, EventLoop.threadMain, Unmanaged.passRetained(self).toOpaque())
        precondition(status == 0, "no thread for the event loop: error \(status)")
    }

    /// Closes every handle (owners hear `loopStopped`), joins the thread, returns. From any other thread; calling
    /// it again, or from two threads, is harmless.
    public func stop() {
        precondition(!isOnLoop, "stop an event loop from another thread: it would wait for itself")
        pthread_mutex_lock(lock)
        switch state {
        case .idle:
            state = .stopping
            isSignalled = true
            pthread_mutex_unlock(lock)
            own { finish() }
        case .running:
            state = .stopping
            wakeUp()
            let thread = thread
            pthread_mutex_unlock(lock)
            pthread_join(thread, nil)
        case .stopping:
            while state != .stopped { pthread_cond_wait(stopped, lock) }
            pthread_mutex_unlock(lock)
        case .stopped:
            pthread_mutex_unlock(lock)
        }
    }

    private static let threadMain: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = {
        data in
        guard let data else { return nil }
        let loop = Unmanaged<EventLoop>.fromOpaque(data).takeRetainedValue()
        _ = cuv_thread_name(pthread_self(), String(loop.name.prefix(15)))
        // libuv writes to sockets without MSG_NOSIGNAL. Blocked here, the signal is an EPIPE and no more.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        loop.own {
            uv_run(loop.uv, UV_RUN_DEFAULT)
            loop.finish()
        }
        return nil
    }

    /// First half of the end, inside `uv_run`: everything is told to close, and `uv_run` returns when it has.
    private func closeHandles() {
        guard !isStopping else { return }
        isStopping = true
        let open = resources.values.map { $0 }
        for resource in open { resource.loopWillStop() }
        closeAsync()
        uv_walk(
            uv,
            { handle, _ in
                guard let handle, uv_is_closing(handle) == 0 else { return }
                let kind = uv_handle_type_name(handle.pointee.type).map { String(cString: $0) } ?? "handle"
                preconditionFailure("a \(kind) was left open when the loop stopped")
            }, nil)
    }

    /// Second half, after `uv_run`: the last work, then the loop is gone.
    private func finish() {
        if uv_is_closing(handle(async)) == 0 { closeHandles() }
        uv_run(uv, UV_RUN_DEFAULT)
        isStopping = true
        for _ in 0..<EventLoop.roundsAtStopMax where !runBatch() { break }
        let status = uv_loop_close(uv)
        precondition(status == 0, "the loop has handles after its end")
        pthread_mutex_lock(lock)
        state = .stopped
        pthread_cond_broadcast(stopped)
        let late = startsLateThread()
        pthread_mutex_unlock(lock)
        if late { runLate() }
    }

    /// An idle loop that is dropped.
    private func closeLoop() {
        closeAsync()
        uv_run(uv, UV_RUN_DEFAULT)
        uv_loop_close(uv)
    }

    private func closeAsync() { uv_close(handle(async), nil) }

    private func handle<T>(_ pointer: UnsafeMutablePointer<T>) -> UnsafeMutablePointer<uv_handle_t> {
        UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: uv_handle_t.self)
    }

    // MARK: Work

    /// Runs `work` on the loop's thread, in the order of posting. From any thread.
    public func post(_ work: @escaping @Sendable () -> Void) { add(.call(work)) }

    public func enqueue(_ job: consuming ExecutorJob) { add(.job(UnownedJob(job))) }

    private func add(_ work: Work) {
        pthread_mutex_lock(lock)
        queue.append(work)
        var late = false
        switch state {
        case .running, .stopping: wakeUp()
        case .stopped: late = startsLateThread()
        case .idle: break
        }
        pthread_mutex_unlock(lock)
        if late { runLate() }
    }

    /// Under the lock. The async handle lives while the loop isn't `isStopping`; `isSignalled` stays set after.
    private func wakeUp() {
        if isSignalled { return }
        isSignalled = true
        uv_async_send(async)
    }

    /// The async handle's callback.
    private func drain() {
        for _ in 0..<EventLoop.roundsPerWakeUpMax where !runBatch() { break }
        pthread_mutex_lock(lock)
        let ends = state == .stopping
        // While signalled nobody else sends, so that the async handle can be closed without a race.
        isSignalled = ends || !queue.isEmpty
        if isSignalled && !ends { uv_async_send(async) }
        pthread_mutex_unlock(lock)
        if ends { closeHandles() }
    }

    /// Runs what is queued now; false when that was nothing.
    private func runBatch() -> Bool {
        pthread_mutex_lock(lock)
        swap(&queue, &batch)
        pthread_mutex_unlock(lock)
        if batch.isEmpty { return false }
        for work in batch {
            switch work {
            case .job(let job): job.runSynchronously(on: asUnownedSerialExecutor())
            case .call(let call): call()
            }
        }
        batch.removeAll(keepingCapacity: batch.capacity <= 4_096)
        return true
    }

    /// Under the lock: whether the caller must run what came after the end.
    private func startsLateThread() -> Bool {
        if lateThread || queue.isEmpty { return false }
        lateThread = true
        return true
    }

    /// A thread of its own and not the caller's, which may hold locks that the work wants.
    private func runLate() {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var late = pthread_t()
        let status = pthread_create(
            &late, &attributes,
            { data in
                guard let data else { return nil }
                let loop = Unmanaged<EventLoop>.fromOpaque(data).takeRetainedValue()
                loop.own { loop.drainLate() }
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        pthread_attr_destroy(&attributes)
        precondition(status == 0, "no thread for a stopped loop's last work: error \(status)")
    }

    private func drainLate() {
        while true {
            while runBatch() {}
            pthread_mutex_lock(lock)
            let ends = queue.isEmpty
            if ends { lateThread = false }
            pthread_mutex_unlock(lock)
            if ends { return }
        }
    }

    // MARK: Isolation

    private static let ownedLoop: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key, nil)
        return key
    }()

    /// This thread is the loop's for as long as `body` runs.
    private func own(_ body: () -> Void) {
        let outer = pthread_getspecific(EventLoop.ownedLoop)
        pthread_setspecific(EventLoop.ownedLoop, Unmanaged.passUnretained(self).toOpaque())
        body()
        pthread_setspecific(EventLoop.ownedLoop, outer)
    }

    /// Whether the caller is on the loop's thread.
    public var isOnLoop: Bool {
        pthread_getspecific(EventLoop.ownedLoop) == Unmanaged.passUnretained(self).toOpaque()
    }

    /// What `assumeIsolated` asks in a libuv callback, where there is no current task.
    public func checkIsolated() { preconditionOnLoop() }

    func preconditionOnLoop() { precondition(isOnLoop, "called off the thread of event loop '\(name)'") }

    // MARK: Resources

    /// Keeps `resource` alive until `unregister`, and tells it when the loop stops. On the loop's thread.
    public func register(_ resource: some LoopResource) {
        preconditionOnLoop()
        precondition(!isStopping, "something was opened on a loop that stops: look at isStopping first")
        resources[ObjectIdentifier(resource)] = resource
    }

    public func unregister(_ resource: some LoopResource) {
        preconditionOnLoop()
        resources[ObjectIdentifier(resource)] = nil
    }

    // MARK: Time

    /// Both clocks, read now. From any thread.
    public var now: Now { SystemClock.now() }
}
