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
    private final class Flag: Sendable {
        private let raised = Atomic(false)
        var isRaised: Bool { raised.load(ordering: .relaxed) }
        func raise() { raised.store(true, ordering: .relaxed) }
    }
    private let cancelled = Flag()

    /// Calls `done` on the loop, unless `cancel` came first.
    init(path: String, loop: UnsafeMutablePointer<uv_loop_t>, then done: @escaping (Bytes32?) -> Void) {
        let cancelled = cancelled
        runOnPool(of: loop) {
            fileDigest(path: path) { cancelled.isRaised }
        } then: { digest in
            if !cancelled.isRaised { done(digest) }
        }
    }

    func cancel() { cancelled.raise() }
}
