import CLibuv
import Cryptography
import Glibc
import Primitives
import Synchronization

/// SHA-256 of a file, as Hugging Face and Ollama use it (Protocol/models.md); nil if the file can't be read.
/// Blocks for some seconds per gigabyte.
func fileDigest(path: String, isCancelled: () -> Bool = { false }) -> Bytes32? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let size = 1 << 20
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { buffer.deallocate() }
    let stream = Sha256Stream()
    while !isCancelled() {
        let count = read(file, buffer.baseAddress, size)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        guard count > 0 else { return stream.finish() }
        stream.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
    return nil
}

/// A file's digest, computed on libuv's thread pool.
final class FileDigestWork {
    private let path: String
    private let cancelled = Atomic(false)
    private var digest: Bytes32?
    private var done: ((Bytes32?) -> Void)?
    private let request = UnsafeMutablePointer<uv_work_t>.allocate(capacity: 1)

    /// Calls `done` on the loop, unless `cancel` came first.
    init(path: String, loop: UnsafeMutablePointer<uv_loop_t>, then done: @escaping (Bytes32?) -> Void) {
        self.path = path
        self.done = done
        request.pointee.data = Unmanaged.passRetained(self).toOpaque()
        let status = uv_queue_work(
            loop, request,
            { request in
                guard let data = request?.pointee.data else { return }
                let work = Unmanaged<FileDigestWork>.fromOpaque(data).takeUnretainedValue()
                work.digest = fileDigest(path: work.path) { work.cancelled.load(ordering: .relaxed) }
            },
            { request, _ in
                guard let data = request?.pointee.data else { return }
                let work = Unmanaged<FileDigestWork>.fromOpaque(data).takeRetainedValue()
                let done = work.done
                work.done = nil
                done?(work.digest)
            })
        if status != 0 { Unmanaged.passUnretained(self).release() }
    }

    deinit { request.deallocate() }

    func cancel() {
        done = nil
        cancelled.store(true, ordering: .relaxed)
    }
}
