import CLibuv
import Synchronization

/// Runs `work` on libuv's thread pool, then `done` with its result on the loop.
func runOnPool<Value: Sendable>(
    of loop: UnsafeMutablePointer<uv_loop_t>, _ work: @escaping @Sendable () -> Value,
    then done: @escaping (Value) -> Void
) {
    let result = PoolResult<Value>()
    PoolWork(work: { result.set(work()) }, done: { if let value = result.take() { done(value) } }).queue(loop)
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
