// The bounded pipe between the loop, which appends a task's events, and one HTTP handler, which takes all
// buffered events each time it wakes. A mutex and one continuation: an AsyncStream would cost a hop per
// token.
//
// Back-pressure counts the bytes that the client's socket has not taken. Above the high-water mark `append`
// says so, and the loop stops extending the worker's window; below the low-water mark `onResume` is called
// once. In between no byte is refused or dropped: the window already granted bounds what may still arrive.
//
// The window bounds bytes, not events. So in a long buffer text joins the text before it, and of progress
// reports the latest is kept: a worker can send both without end to a client that doesn't read.

import Market
import Primitives
import Synchronization
import Wire

/// One task's bounded pipe. The loop appends, one reader reads, any thread may cancel.
public final class TaskStream: TaskStreaming {
    /// Bytes in flight above which the source should stop.
    public static let highWaterBytes = 256 << 10
    /// Bytes in flight below which it should resume.
    public static let lowWaterBytes = 64 << 10

    /// Buffered events from which on text is joined. Below it, each delta stays a chunk of its own.
    static let eventsApart = 256

    public let id: TaskID
    private let highWater: Int
    private let lowWater: Int
    private let onResume: @Sendable () -> Void
    private let onCancel: @Sendable () -> Void
    private let state = Mutex(State())

    private struct State {
        var buffered: [ClientEvent] = []
        /// Something is buffered that the reader waits for.
        var hasNews = false
        /// The latest report since the reader took its events; it is handed over after them.
        var progress: Progress?
        var queue = QueueNews()
        var bytesInFlight = 0
        var full = false
        var woken = false
        /// The last event was appended.
        var ended = false
        /// The reader has received the end, or has gone.
        var closed = false
        var waiter: CheckedContinuation<[ClientEvent]?, Never>?

        var isEmpty: Bool { buffered.isEmpty && progress == nil }

        mutating func add(_ event: ClientEvent) {
            switch event {
            case .progress(let latest): if queue.isNews(latest) { hasNews = true }
            case .awarded: queue = QueueNews()
            case .delta, .restarted, .finished, .failed, .quoted: hasNews = true
            }
            switch event {
            case .progress(let latest): progress = latest
            case .delta(let text, let tokens, let extra) where extra.isEmpty: add(text, tokens)
            case .awarded, .delta, .restarted, .finished, .failed, .quoted: buffered.append(event)
            }
        }

        private mutating func add(_ text: [UInt8], _ tokens: UInt32) {
            guard buffered.count >= TaskStream.eventsApart,
                case .delta(var joined, let before, let extra)? = buffered.last, extra.isEmpty
            else {
                return buffered.append(.delta(text: text, tokens: tokens, extra: []))
            }
            // Taken out of the array, so that the text grows in place.
            buffered.removeLast()
            joined += text
            buffered.append(.delta(text: joined, tokens: before &+ tokens, extra: []))
        }
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

    /// Appends an event and hands it over. Returns false when the source should stop until `onResume`. Events after the
    /// final one, or after a cancel, are dropped.
    @discardableResult
    public func append(_ event: ClientEvent) -> Bool {
        defer { handOver() }
        return buffer(event)
    }

    /// The same, but the reader is not woken before the next `handOver`.
    func buffer(_ event: ClientEvent) -> Bool {
        state.withLock { state in
            guard !state.ended, !state.closed else { return true }
            state.ended = event.isFinal
            state.bytesInFlight += event.bytes
            if state.bytesInFlight > highWater { state.full = true }
            state.add(event)
            return !state.full
        }
    }

    /// Wakes a waiting reader if something is new: once for all events of a turn of the loop, because to wake another
    /// thread costs more than the rest. An award and reports wake nobody, but for news of the queue; they are handed over with
    /// what follows.
    func handOver() {
        let (waiter, taken) = state.withLock {
            state -> (CheckedContinuation<[ClientEvent]?, Never>?, [ClientEvent]) in
            guard state.hasNews, let waiter = state.waiter else { return (nil, []) }
            state.waiter = nil
            return (waiter, Self.take(&state))
        }
        waiter?.resume(returning: taken)
    }

    public func next() async -> [ClientEvent]? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> [ClientEvent]?? in
                    precondition(state.waiter == nil, "TaskStream \(id) has two readers")
                    if state.closed || (state.ended && state.isEmpty) {
                        state.closed = true
                        return .some(nil)
                    }
                    if state.hasNews || state.progress != nil { return Self.take(&state) }
                    if state.woken { return Self.takeWoken(&state) }
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
        let (waiter, taken) = state.withLock {
            state -> (CheckedContinuation<[ClientEvent]?, Never>?, [ClientEvent]) in
            guard let waiter = state.waiter else {
                state.woken = true
                return (nil, [])
            }
            state.waiter = nil
            return (waiter, Self.takeWoken(&state))
        }
        waiter?.resume(returning: taken)
    }

    public func cancel() {
        let (waiter, first) = state.withLock { state in
            let waiter = state.waiter
            let first = !state.closed && !state.ended
            state.waiter = nil
            state.closed = true
            state.buffered = []
            state.progress = nil
            return (waiter, first)
        }
        waiter?.resume(returning: nil)
        if first { onCancel() }
    }

    /// What is buffered, and then nothing, which is what a woken reader looks for.
    private static func takeWoken(_ state: inout State) -> [ClientEvent] {
        let taken = take(&state)
        state.woken = !taken.isEmpty
        return taken
    }

    private static func take(_ state: inout State) -> [ClientEvent] {
        state.woken = false
        state.hasNews = false
        var taken = state.buffered
        // After the last event nothing is reported.
        if let progress = state.progress, !state.ended { taken.append(.progress(progress)) }
        state.buffered = []
        state.progress = nil
        return taken
    }
}
