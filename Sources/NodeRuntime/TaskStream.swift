// The bounded pipe between the loop, which appends a task's events, and one HTTP handler, which takes all
// buffered events each time it wakes. A mutex and one continuation: an AsyncStream would cost a hop per
// token.
//
// Back-pressure counts the bytes that the client's socket has not taken. Above the high-water mark `append`
// says so, and the loop stops extending the worker's window; below the low-water mark `onResume` is called
// once. In between nothing is refused or dropped: the window already granted bounds what may still arrive.

import Market
import Primitives
import Synchronization

/// One task's bounded pipe. The loop appends, one reader reads, any thread may cancel.
public final class TaskStream: TaskStreaming {
    /// Bytes in flight above which the source should stop.
    public static let highWaterBytes = 256 << 10
    /// Bytes in flight below which it should resume.
    public static let lowWaterBytes = 64 << 10

    public let id: TaskID
    private let highWater: Int
    private let lowWater: Int
    private let onResume: @Sendable () -> Void
    private let onCancel: @Sendable () -> Void
    private let state = Mutex(State())

    private struct State {
        var buffered: [ClientEvent] = []
        var bytesInFlight = 0
        var full = false
        var woken = false
        /// The last event was appended.
        var ended = false
        /// The reader has received the end, or has gone.
        var closed = false
        var waiter: CheckedContinuation<[ClientEvent]?, Never>?
    }

    /// - Parameters:
    ///   - onResume: called on the reader's thread when a full pipe has drained below `lowWater`.
    ///   - onCancel: called once, on the cancelling thread, if the stream is cancelled before its last event. Both post
    ///     to the loop and return; neither is called with the lock held.
    public init(
        id: TaskID, highWater: Int = TaskStream.highWaterBytes, lowWater: Int = TaskStream.lowWaterBytes,
        onResume: @escaping @Sendable () -> Void = {}, onCancel: @escaping @Sendable () -> Void
    ) {
        self.id = id
        self.highWater = highWater
        self.lowWater = lowWater
        self.onResume = onResume
        self.onCancel = onCancel
    }

    /// Appends an event for the reader. Returns false when the source should stop until `onResume`. Events
    /// after the final one, or after a cancel, are dropped.
    @discardableResult
    public func append(_ event: ClientEvent) -> Bool {
        let (waiter, taken, room) = state.withLock {
            state -> (CheckedContinuation<[ClientEvent]?, Never>?, [ClientEvent], Bool) in
            guard !state.ended, !state.closed else { return (nil, [], true) }
            state.ended = event.isFinal
            state.bytesInFlight += event.bytes
            if state.bytesInFlight > highWater { state.full = true }
            state.buffered.append(event)
            guard let waiter = state.waiter else { return (nil, [], !state.full) }
            state.waiter = nil
            return (waiter, Self.take(&state), !state.full)
        }
        waiter?.resume(returning: taken)
        return room
    }

    public func next() async -> [ClientEvent]? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> [ClientEvent]?? in
                    precondition(state.waiter == nil, "TaskStream \(id) has two readers")
                    if state.closed || (state.ended && state.buffered.isEmpty) {
                        state.closed = true
                        return .some(nil)
                    }
                    if !state.buffered.isEmpty || state.woken { return Self.take(&state) }
                    state.waiter = continuation
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            cancel()
        }
    }

    public func consumed(_ bytes: Int) {
        let drained = state.withLock { state in
            state.bytesInFlight = max(0, state.bytesInFlight - bytes)
            guard state.full, state.bytesInFlight < lowWater else { return false }
            state.full = false
            return !state.ended && !state.closed
        }
        if drained { onResume() }
    }

    public func wake() {
        let waiter = state.withLock { state in
            guard let waiter = state.waiter else {
                state.woken = true
                return nil as CheckedContinuation<[ClientEvent]?, Never>?
            }
            state.waiter = nil
            return waiter
        }
        waiter?.resume(returning: [])
    }

    public func cancel() {
        let (waiter, first) = state.withLock { state in
            let waiter = state.waiter
            let first = !state.closed && !state.ended
            state.waiter = nil
            state.closed = true
            state.buffered = []
            return (waiter, first)
        }
        waiter?.resume(returning: nil)
        if first { onCancel() }
    }

    private static func take(_ state: inout State) -> [ClientEvent] {
        state.woken = false
        let taken = state.buffered
        state.buffered = []
        return taken
    }
}
