// One timer for all streamed answers that are open. A timer for each would cost as much as writing a chunk, and most
// answers end before it fires.

import NIOCore
import NodeRuntime
import Primitives
import Synchronization
import Wire

/// Wakes the readers of open streams from time to time.
final class Heartbeat: Sendable {
    private struct State {
        var streams: [TaskID: (stream: any TaskStreaming, at: NIODeadline)] = [:]
        var isBeating = false
    }

    private let first: TimeAmount
    private let every: TimeAmount
    private let state = Mutex(State())

    /// A stream is woken after `first`, and then `every` so often; up to a quarter of the shorter one later.
    init(first: Interval, every: Interval) {
        self.first = .nanoseconds(first.nanoseconds)
        self.every = .nanoseconds(every.nanoseconds)
    }

    func add(_ stream: any TaskStreaming, on loop: any EventLoop) {
        let starts = state.withLock { state in
            state.streams[stream.id] = (stream, .now() + first)
            defer { state.isBeating = true }
            return !state.isBeating
        }
        if starts { beat(on: loop) }
    }

    func remove(_ task: TaskID) {
        state.withLock { $0.streams[task] = nil }
    }

    private func beat(on loop: any EventLoop) {
        _ = loop.scheduleTask(in: .nanoseconds(min(first, every).nanoseconds / 4)) { [self] in
            let now = NIODeadline.now()
            let (due, goesOn) = state.withLock { state in
                let due = state.streams.values.filter { $0.at <= now }.map(\.stream)
                for stream in due { state.streams[stream.id]?.at = now + every }
                state.isBeating = !state.streams.isEmpty
                return (due, state.isBeating)
            }
            for stream in due { stream.wake() }
            if goesOn { beat(on: loop) }
        }
    }
}
