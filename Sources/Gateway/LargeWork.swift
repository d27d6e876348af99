@preconcurrency import Dispatch

/// Work on large documents, on one thread of its own and one piece after the other. The threads that serve
/// all requests are as few as the cores; a document of 16 MiB would keep one of them for some tenths of a
/// second, and its tree takes many times its size.
enum LargeWork {
    /// Bytes above which a document is large.
    static let sizeMin = 64 << 10
    private static let queue = DispatchQueue(label: "starling large documents")

    /// Runs `work` at once for a small document, and on that thread for a large one.
    static func run<Value: Sendable>(
        bytes: Int, _ work: @escaping @Sendable () -> Value
    ) async -> Value {
        guard bytes > sizeMin else { return work() }
        return await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: work()) }
        }
    }
}
