import CLibuv
import Synchronization
import UVLoop

/// Runs `work` on libuv's thread pool, then `done` with its result on the loop.
func runOnPool<Value: Sendable>(
    of loop: UnsafeMutablePointer<uv_loop_t>, _ work: @escaping @Sendable () -> Value,
    then done: @escaping (Value) -> Void
) {
    let result = PoolResult<Value>()
    PoolWork(work: { result.set(work()) }, done: { if let value = result.take() { done(value) } }).queue(loop)
}

/// Large documents that are read on libuv's pool. Of those that take some tenths of a second only one at a time: the
/// pool has four threads for all work, and the loop needs a core. Used on the loop's thread only.
final class DocumentReads {
    /// Bytes of a document that is read beside others.
    static let togetherMax = 1 << 20

    private let loop: UnsafeMutablePointer<uv_loop_t>
    /// Larger ones in their order. Each returns false when it isn't needed any more.
    private var waiting: [() -> Bool] = []
    private var isReading = false

    init(loop: UnsafeMutablePointer<uv_loop_t>) { self.loop = loop }

    /// Reads a document of that size, unless `isNeeded` says otherwise when its turn comes.
    func run<Value: Sendable>(
        bytes: Int, _ work: @escaping @Sendable () -> Value, then done: @escaping (Value) -> Void,
        isNeeded: @escaping () -> Bool = { true }
    ) {
        guard bytes > Self.togetherMax else { return runOnPool(of: loop, work, then: done) }
        waiting.append { [self] in
            guard isNeeded() else { return false }
            let readAndRelease: @Sendable () -> Value = {
                let value = work()
                FreeMemory.release()
                return value
            }
            runOnPool(of: loop, readAndRelease) { [self] value in
                isReading = false
                done(value)
                next()
            }
            return true
        }
        next()
    }

    private func next() {
        while !isReading, !waiting.isEmpty { isReading = waiting.removeFirst()() }
    }
}

private final class PoolResult<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    func set(_ value: Value) { self.value.withLock { $0 = value } }
    func take() -> Value? {
        value.withLock { value in
            defer { value = nil }
            return value
        }
    }
}

/// One request of libuv's, which owns this object until `done` has run. `work` runs on a thread of the pool;
/// nothing else touches the object meanwhile.
private final class PoolWork {
    private let work: @Sendable () -> Void
    private let done: () -> Void
    private let request = UnsafeMutablePointer<uv_work_t>.allocate(capacity: 1)

    init(work: @escaping @Sendable () -> Void, done: @escaping () -> Void) {
        self.work = work
        self.done = done
    }

    deinit { request.deallocate() }

    func queue(_ loop: UnsafeMutablePointer<uv_loop_t>) {
        request.pointee.data = Unmanaged.passRetained(self).toOpaque()
        let status = uv_queue_work(
            loop, request,
            { request in
                guard let data = request?.pointee.data else { return }
                Unmanaged<PoolWork>.fromOpaque(data).takeUnretainedValue().work()
            },
            { request, _ in
                guard let data = request?.pointee.data else { return }
                Unmanaged<PoolWork>.fromOpaque(data).takeRetainedValue().done()
            })
        // It fails only for arguments that this call doesn't pass.
        precondition(status == 0, "uv_queue_work failed with \(status)")
    }
}
