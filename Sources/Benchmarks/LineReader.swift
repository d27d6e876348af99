import CLibuv
import Glibc
import UVLoop

/// Lines of stdin, read on the loop's own thread, so that a command costs no hand-over between threads. The
/// process ends with its stdin, so that no node outlives the benchmark that started it.
final class LineReader: LoopResource {
    private let poll = UnsafeMutablePointer<uv_poll_t>.allocate(capacity: 1)
    private let onLine: (Substring) -> Void
    private var buffer: [UInt8] = []

    init(on loop: EventLoop, _ onLine: @escaping (Substring) -> Void) {
        self.onLine = onLine
        uv_poll_init(loop.uv, poll, 0)
        poll.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        loop.register(self)
        uv_poll_start(poll, Int32(UV_READABLE.rawValue)) { handle, _, _ in
            guard let data = handle?.pointee.data else { return }
            Unmanaged<LineReader>.fromOpaque(data).takeUnretainedValue().readable()
        }
    }

    private func readable() {
        var chunk = [UInt8](repeating: 0, count: 4_096)
        let count = read(0, &chunk, chunk.count)
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        guard count > 0 else { exit(0) }
        buffer += chunk[..<count]
        while let end = buffer.firstIndex(of: 10) {
            let line = String(decoding: buffer[..<end], as: UTF8.self)
            buffer.removeSubrange(...end)
            onLine(line[...])
        }
    }

    func loopWillStop() {
        uv_close(UnsafeMutableRawPointer(poll).assumingMemoryBound(to: uv_handle_t.self), nil)
    }
}
