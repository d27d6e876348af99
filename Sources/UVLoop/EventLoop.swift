// The loop: one thread that waits for sockets and timers, and runs the actors that live on it.
//
// It is a `SerialExecutor`: an actor whose `unownedExecutor` is the loop runs on the loop's thread, so a
// libuv callback is already inside that actor. An owner sets its callbacks to closures formed in one of its
// isolated methods: such closures are isolated to it and reach its state directly, at no cost. Code elsewhere
// enters by `assumeIsolated`, once per callback. Other threads hand over work with `post` or by calling such
// an actor; one wake-up serves a whole batch.
//
// Lifetime: `start`, then `stop` from another thread. `stop` tells every owner, closes every handle and joins
// the thread. Work that arrives later still runs, because dropping a job would leave its task waiting for
// ever: a short-lived thread runs it one piece at a time, and it finds every handle closed.

import CLibuv
import Glibc
import Primitives

/// An object that has handles on a loop, and must close them when the loop stops.
public protocol LoopResource: AnyObject {
    /// Called once, on the loop's thread. Call `uv_close` on every open handle; no new one can be opened.
    func loopWillStop()
}

// Sendable: `queue`, `state`, `isSignalled` and `lateThread` are read and written only under `lock`. `thread`
// is written under `lock`, before the first `stop` can join it. `uv`, `scratch` and the rest are touched only
// by the loop's thread (`preconditionOnLoop`), or by the sole owner before `start` and after the join. The
// lock is a pthread mutex because the thread sanitizer doesn't see Synchronization.Mutex.
public final class EventLoop: SerialExecutor, @unchecked Sendable {
    enum Work {
        case job(UnownedJob)
        case call(@Sendable () -> Void)
    }
    private enum State { case idle, running, stopping, stopped }

    /// Batches of work to run before sockets get their turn again.
    static let roundsPerWakeUpMax = 16
    /// Batches that the loop's thread still runs after its handles are closed; later work goes to the late
    /// thread.
    static let roundsAtStopMax = 1_000
    /// Room for a batch of datagrams, or for one read of a connection. Untouched pages cost no memory.
    static let scratchBytes = 256 * 1024

    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let stopped: UnsafeMutablePointer<pthread_cond_t>
    private var queue: [Work] = []
    private var state = State.idle
    private var isSignalled = false
    private var lateThread = false
    private var thread = pthread_t()

    /// For drivers with handles of their own (libcurl's polls). Use it only on the loop's thread, and
    /// register a `LoopResource` that closes those handles.
    public let uv: UnsafeMutablePointer<uv_loop_t>
    private let async: UnsafeMutablePointer<uv_async_t>
    private let name: String
    private var batch: [Work] = []
    private var resources: [ObjectIdentifier: any LoopResource] = [:]
    /// True once no more handles can be opened. Read it only on the loop's thread.
    private(set) var isStopping = false
    /// True inside a timer's callback, where libuv would run a zero-length timer at once, and so loop for
    /// ever.
    var isFiringTimers = false
    /// The buffer that sockets read into. All share one: libuv reads and delivers before it reads again.
    let scratch: UnsafeMutableRawBufferPointer

    /// Throws when the process is out of file descriptors. `name` is the thread's name in `top -H`, at most
    /// 15 bytes.
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
            // All stored properties are set, so `deinit` runs in spite of the throw: tell it that there is no
            // loop to close.
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

    /// Starts the thread. Work posted earlier runs first.
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

    /// Closes every handle (owners get `loopStopped`) and joins the thread. Call it from any other thread; a
    /// second call, even a concurrent one, is harmless.
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
        // libuv writes to sockets without MSG_NOSIGNAL. With the signal blocked, such a write fails with
        // EPIPE.
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

    /// First half of the shutdown, inside `uv_run`: closes every handle. `uv_run` returns when all are
    /// closed.
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

    /// Second half, after `uv_run`: runs the remaining work and closes the loop.
    private func finish() {
        if uv_is_closing(handle(async)) == 0 { closeHandles() }
        uv_run(uv, UV_RUN_DEFAULT)
        isStopping = true
        for _ in 0..<EventLoop.roundsAtStopMax where !runBatch() { break }
        let status = uv_loop_close(uv)
        precondition(status == 0, "the loop still has handles after it ended")
        pthread_mutex_lock(lock)
        state = .stopped
        pthread_cond_broadcast(stopped)
        let late = startsLateThread()
        pthread_mutex_unlock(lock)
        if late { runLate() }
    }

    /// For an idle loop that is being deallocated.
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

    /// Runs `work` on the loop's thread, in the order of posting. Call it from any thread.
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

    /// Call under the lock. The async handle exists until `isStopping`; after that `isSignalled` stays set.
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
        // While `isSignalled` is set no other thread sends, so the async handle can be closed without a race.
        isSignalled = ends || !queue.isEmpty
        if isSignalled && !ends { uv_async_send(async) }
        pthread_mutex_unlock(lock)
        if ends { closeHandles() }
    }

    /// Runs what is queued now. Returns false when the queue was empty.
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

    /// Call under the lock. Returns true when the caller must start the thread for work posted after the end.
    private func startsLateThread() -> Bool {
        if lateThread || queue.isEmpty { return false }
        lateThread = true
        return true
    }

    /// Uses a new thread: the caller may hold locks that the work needs.
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

    /// Marks this thread as the loop's for the duration of `body`.
    private func own(_ body: () -> Void) {
        let outer = pthread_getspecific(EventLoop.ownedLoop)
        pthread_setspecific(EventLoop.ownedLoop, Unmanaged.passUnretained(self).toOpaque())
        body()
        pthread_setspecific(EventLoop.ownedLoop, outer)
    }

    /// Whether the caller is on the loop's thread.
    var isOnLoop: Bool {
        pthread_getspecific(EventLoop.ownedLoop) == Unmanaged.passUnretained(self).toOpaque()
    }

    /// What `assumeIsolated` calls in a libuv callback, where there is no current task.
    public func checkIsolated() { preconditionOnLoop() }

    func preconditionOnLoop() { precondition(isOnLoop, "called off the thread of event loop '\(name)'") }

    // MARK: Resources

    /// Keeps `resource` alive until `unregister`, and tells it when the loop stops. Call it on the loop's
    /// thread.
    public func register(_ resource: some LoopResource) {
        preconditionOnLoop()
        precondition(!isStopping, "a handle was opened on a loop that is stopping: check isStopping first")
        resources[ObjectIdentifier(resource)] = resource
    }

    /// Ends `register`. On the loop's thread.
    public func unregister(_ resource: some LoopResource) {
        preconditionOnLoop()
        resources[ObjectIdentifier(resource)] = nil
    }
}
