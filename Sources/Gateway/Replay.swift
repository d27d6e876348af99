// One answer that several requests get: those that carry the same `Idempotency-Key`. What was said is kept, so that a
// request that comes later gets it too.

import Cryptography
import NIOCore
import NIOHTTP1
import Primitives
import Synchronization

/// The answer of one task, as its clients get it. One task writes it; any number of requests read it.
final class Replay: Sendable {
    /// The answer's status and headers, once there are any.
    struct Head: Sendable {
        var status: HTTPResponseStatus
        var headers: HTTPHeaders
        var isStream: Bool
    }

    /// A reader's next part.
    enum Part: Sendable {
        case bytes([UInt8], isLast: Bool)
        case end
        /// The answer broke off.
        case failed
    }

    private struct Reader {
        var position: Int
        var waiter: CheckedContinuation<Void, Never>?
        var isCancelled = false
    }

    private struct State {
        var head: Head?
        /// From `start` on.
        var bytes: [UInt8] = []
        /// The last bytes that were written.
        var tail: [UInt8] = []
        var start = 0
        var isOver = false
        var hasFailed = false
        /// False: what all readers have is dropped, and no more may come.
        var isKept = true
        var readers: [Int: Reader] = [:]
        var lastReader = 0
        var writer: CheckedContinuation<Void, Never>?
        var isCancelled = false
        var task: Task<Void, Never>?

        var end: Int { start + bytes.count }
    }

    /// Of the request.
    let digest: Bytes32
    private let state = Mutex(State())
    /// Bytes that wait for the slowest reader of an answer that isn't kept.
    private static let behindMax = 256 << 10
    private static let tailSize = 16

    init(digest: Bytes32) { self.digest = digest }

    // MARK: The task

    func runs(_ task: Task<Void, Never>) { state.withLock { $0.task = task } }

    func begin(_ head: Head) {
        change { $0.head = head }
    }

    /// Appends to the answer; waits, where it isn't kept, for its slowest reader. Throws when it was cancelled.
    func write(_ bytes: [UInt8], isKept: Bool) async throws {
        change { state in
            state.bytes += bytes
            state.tail = Array((state.tail + bytes.suffix(Self.tailSize)).suffix(Self.tailSize))
            if !isKept { state.isKept = false }
            Self.trim(&state)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goesOn = state.withLock { state in
                    guard !state.isKept, state.bytes.count > Self.behindMax, !state.isCancelled else {
                        return true
                    }
                    state.writer = continuation
                    return false
                }
                if goesOn { continuation.resume() }
            }
        } onCancel: {
            let writer = state.withLock { state in
                state.isCancelled = true
                let writer = state.writer
                state.writer = nil
                return writer
            }
            writer?.resume()
        }
        try Task.checkCancellation()
    }

    func finish(failed: Bool) {
        change { state in
            state.isOver = true
            state.hasFailed = failed
            state.task = nil
        }
    }

    /// What is kept is dropped when its readers have it, and nobody else may read it.
    func drop() {
        state.withLock { state in
            state.isKept = false
            Self.trim(&state)
        }
    }

    func ends(with end: [UInt8]) -> Bool {
        state.withLock { $0.tail.reversed().starts(with: end.reversed()) }
    }

    /// Ends the task if nobody reads.
    func cancelIfAbandoned() {
        let task = state.withLock { $0.readers.isEmpty && !$0.isOver ? $0.task : nil }
        task?.cancel()
    }

    private func change(_ body: (inout State) -> Void) {
        let waiters = state.withLock { state in
            body(&state)
            return Self.takeWaiters(&state)
        }
        for waiter in waiters { waiter.resume() }
    }

    private static func takeWaiters(_ state: inout State) -> [CheckedContinuation<Void, Never>] {
        var waiters: [CheckedContinuation<Void, Never>] = []
        for (id, reader) in state.readers {
            guard let waiter = reader.waiter else { continue }
            waiters.append(waiter)
            state.readers[id]?.waiter = nil
        }
        return waiters
    }

    /// Drops what all readers have, where it isn't kept.
    private static func trim(_ state: inout State) {
        guard !state.isKept else { return }
        let slowest = state.readers.values.map(\.position).min() ?? (state.isOver ? state.end : state.start)
        let surplus = min(max(0, slowest - state.start), state.bytes.count)
        state.bytes.removeFirst(surplus)
        state.start += surplus
    }

    // MARK: Readers

    /// A reader from the answer's beginning; nil: that is no longer there.
    func attach() -> Int? {
        state.withLock { state in
            guard state.start == 0, state.isKept || state.bytes.count <= Self.behindMax && !state.isOver
            else {
                return nil
            }
            state.lastReader += 1
            state.readers[state.lastReader] = Reader(position: 0)
            return state.lastReader
        }
    }

    /// Returns whether others read it, or it is over.
    func detach(_ reader: Int) -> Bool {
        let (writer, isUsed) = state.withLock { state in
            state.readers[reader] = nil
            Self.trim(&state)
            return (Self.takeWriter(&state), state.isOver || !state.readers.isEmpty)
        }
        writer?.resume()
        return isUsed
    }

    private static func takeWriter(_ state: inout State) -> CheckedContinuation<Void, Never>? {
        guard state.bytes.count <= behindMax else { return nil }
        defer { state.writer = nil }
        return state.writer
    }

    /// Waits for the status and the headers; nil: the reader was cancelled.
    func head(for reader: Int) async -> Head? {
        while true {
            if let head = state.withLock({ $0.head }) { return head }
            if Task.isCancelled { return nil }
            await change(for: reader) { $0.head != nil }
        }
    }

    func next(_ reader: Int) async -> Part {
        while true {
            let part = state.withLock { state -> (Part?, CheckedContinuation<Void, Never>?) in
                guard let position = state.readers[reader]?.position else { return (.failed, nil) }
                let end = state.end
                guard position < end else {
                    return (state.isOver ? state.hasFailed ? .failed : .end : nil, nil)
                }
                let bytes = Array(state.bytes[(position - state.start)...])
                state.readers[reader]?.position = end
                Self.trim(&state)
                let isLast = state.isOver && !state.hasFailed
                return (.bytes(bytes, isLast: isLast), Self.takeWriter(&state))
            }
            part.1?.resume()
            if let part = part.0 { return part }
            if Task.isCancelled { return .failed }
            await change(for: reader) { state in
                state.isOver || (state.readers[reader].map { $0.position < state.end } ?? true)
            }
        }
    }

    /// Waits until `condition` may hold, or the reader is cancelled.
    private func change(for reader: Int, _ condition: @escaping @Sendable (State) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isMet = state.withLock { state in
                    guard !condition(state), state.readers[reader]?.isCancelled == false else { return true }
                    state.readers[reader]?.waiter = continuation
                    return false
                }
                if isMet { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                guard var cancelled = state.readers[reader] else {
                    return nil as CheckedContinuation<Void, Never>?
                }
                let waiter = cancelled.waiter
                (cancelled.isCancelled, cancelled.waiter) = (true, nil)
                state.readers[reader] = cancelled
                return waiter
            }
            waiter?.resume()
        }
    }
}
