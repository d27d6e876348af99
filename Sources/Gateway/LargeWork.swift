@preconcurrency import Dispatch
import UVLoop

/// Work on large documents, in two lanes with a thread and an order each. The threads that serve all requests are as
/// few as the cores; a document of 8 MiB would keep one of them for some tenths of a second, and its tree takes many
/// times its size. So only one of that size is read at a time, however many clients send one, and what is only
/// somewhat large, such as an answer with a few embeddings, doesn't wait behind it.
enum LargeWork {
    /// Bytes above which a document is large.
    static let sizeMin = 64 << 10
    /// Bytes above which it may take longer than a person notices.
    static let hugeMin = 1 << 20
    private static let large = DispatchQueue(label: "starling large documents")
    private static let huge = DispatchQueue(label: "starling huge documents")

    /// Runs `work` at once for a small document, and on a lane's thread for a large one.
    static func run<Value: Sendable>(
        bytes: Int, _ work: @escaping @Sendable () -> Value
    ) async -> Value {
        guard bytes > sizeMin else { return work() }
        let isHuge = bytes > hugeMin
        return await withCheckedContinuation { continuation in
            (isHuge ? huge : large).async {
                let value = work()
                if isHuge { FreeMemory.release() }
                continuation.resume(returning: value)
            }
        }
    }
}
