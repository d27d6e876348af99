// What all handles share: the ownership of their memory, and closing.
//
// libuv owns a handle's memory from its init until the callback of uv_close. So the loop's registry keeps the
// object alive for exactly that time, the handle's `data` is an unretained pointer to it, and that callback
// frees the memory. An owner that drops its reference without `close` leaves the handle open until the loop
// stops.
//
// Confined to the loop: everything here and in the subclasses runs on the loop's thread. `preconditionOnLoop`
// checks it at public entry points. None of it is Sendable, so the compiler checks the rest.

import CLibuv

/// A libuv handle as an object. Its subclasses are the timer and the sockets.
public class LoopHandle: LoopResource {
    public let loop: EventLoop
    /// Nil from `beginClose` on, so a late callback has nothing to touch.
    private(set) final var raw: UnsafeMutablePointer<uv_handle_t>?

    init(on loop: EventLoop, bytes: Int, stoppingError: SocketError) throws(SocketError) {
        self.loop = loop
        loop.preconditionOnLoop()
        if loop.isStopping { throw stoppingError }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        raw = memory.assumingMemoryBound(to: uv_handle_t.self)
    }

    /// Call after the handle's uv_…_init: on success libuv owns the memory, on failure it is freed here.
    final func adopt(_ status: Int32, _ error: (Int32) -> SocketError) throws(SocketError) {
        guard status == 0 else {
            raw.map { UnsafeMutableRawPointer($0).deallocate() }
            raw = nil
            throw error(status)
        }
        raw?.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        loop.register(self)
    }

    /// False from `close`, or from the loop's stop, on.
    public final var isOpen: Bool { raw != nil }

    /// The handle as its own type.
    final func handle<T>(as type: T.Type = T.self) -> UnsafeMutablePointer<T>? {
        raw.map { UnsafeMutableRawPointer($0).assumingMemoryBound(to: T.self) }
    }

    /// Closes the handle. `closing` may replace uv_close; it returns 0 when it has taken over.
    final func beginClose(
        _ closing: (UnsafeMutablePointer<uv_handle_t>, @escaping uv_close_cb) -> Int32 = { _, _ in -1 }
    ) {
        guard let raw else { return }
        self.raw = nil
        let closed: uv_close_cb = { handle in
            guard let handle, let object = LoopHandle.object(handle, as: LoopHandle.self) else { return }
            object.loop.unregister(object)
            UnsafeMutableRawPointer(handle).deallocate()
            object.didClose()
        }
        if closing(raw, closed) != 0 { uv_close(raw, closed) }
    }

    /// libuv has released the handle. Tell the owner, then drop the closures, which may retain the owner.
    func didClose() {}

    public func loopWillStop() { beginClose() }

    /// The object behind a handle or a stream, for use in a callback.
    static func object<Handle, T: LoopHandle>(_ handle: UnsafeMutablePointer<Handle>?, as type: T.Type) -> T?
    {
        guard let handle else { return nil }
        let data = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self).pointee.data
        return data.map {
            unsafeDowncast(Unmanaged<LoopHandle>.fromOpaque($0).takeUnretainedValue(), to: T.self)
        }
    }
}
