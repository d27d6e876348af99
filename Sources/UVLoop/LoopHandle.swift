// What every handle has in common: its memory, and its end.
//
// libuv owns a handle's memory from its init until the callback of uv_close. So the loop keeps the object (its
// registry) for exactly that time, the handle's `data` is an unretained pointer to it, and the memory goes in that
// callback. An owner that drops its reference without `close` leaves the handle open until the loop stops.
//
// Confined to the loop: everything here and in the subclasses is called on the loop's thread, checked by
// `preconditionOnLoop` where strangers call. None of it is Sendable, which the compiler checks for us.

import CLibuv

public class LoopHandle: LoopResource {
    public let loop: EventLoop
    /// Nil from the moment of `beginClose`, so that whatever comes late finds nothing to touch.
    private(set) final var raw: UnsafeMutablePointer<uv_handle_t>?

    init(on loop: EventLoop, bytes: Int, stoppingError: SocketError) throws(SocketError) {
        self.loop = loop
        loop.preconditionOnLoop()
        if loop.isStopping { throw stoppingError }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        raw = memory.assumingMemoryBound(to: uv_handle_t.self)
    }

    /// After the handle's uv_…_init: from here on libuv has it. A failed init returns the memory.
    final func adopt(_ status: Int32, _ error: (Int32) -> SocketError) throws(SocketError) {
        guard status == 0 else {
            raw.map { UnsafeMutableRawPointer($0).deallocate() }
            raw = nil
            throw error(status)
        }
        raw?.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        loop.register(self)
    }

    public final var isOpen: Bool { raw != nil }

    /// The handle under its own type.
    final func handle<T>(as type: T.Type = T.self) -> UnsafeMutablePointer<T>? {
        raw.map { UnsafeMutableRawPointer($0).assumingMemoryBound(to: T.self) }
    }

    /// Gives the handle back. `closing` may replace uv_close; it returns 0 when it has taken over.
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

    /// libuv has let go: the last word to the owner, then drop the closures, which may hold the owner.
    func didClose() {}

    public func loopWillStop() { beginClose() }

    /// The object behind a handle or a stream, in a callback.
    static func object<Handle, T: LoopHandle>(_ handle: UnsafeMutablePointer<Handle>?, as type: T.Type) -> T?
    {
        guard let handle else { return nil }
        let data = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self).pointee.data
        return data.map {
            unsafeDowncast(Unmanaged<LoopHandle>.fromOpaque($0).takeUnretainedValue(), to: T.self)
        }
    }
}
