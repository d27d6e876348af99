// One movable deadline: the shell needs no other timer. libuv counts milliseconds; a deadline is rounded up
// to the next one, so the timer never fires early and the machine that it wakes always has something due.

import CLibuv
import Primitives

/// A one-shot timer that can be moved.
public final class Timer: LoopHandle {
    private var onFire: (() -> Void)?
    /// The current deadline; `never` when disarmed.
    public private(set) var deadline = MonotonicTime.never

    /// Makes a disarmed timer. Throws when the loop is stopping.
    public init(on loop: EventLoop, _ onFire: @escaping () -> Void) throws(SocketError) {
        self.onFire = onFire
        try super.init(
            on: loop, bytes: MemoryLayout<uv_timer_t>.size, stoppingError: .stopping(.timer, nil))
        try adopt(uv_timer_init(loop.uv, handle())) { SocketError(status: $0, .timer, nil) }
    }

    /// Fires once, at `deadline` or up to 1 ms later (more when the loop is busy). A deadline in the past
    /// fires on the next turn. Replaces the previous deadline; `never` disarms.
    public func arm(at deadline: MonotonicTime) {
        loop.preconditionOnLoop()
        guard let timer = handle(as: uv_timer_t.self), deadline != self.deadline else { return }
        guard deadline != .never else { return disarm() }
        self.deadline = deadline
        uv_update_time(loop.uv)
        let wanted = (UInt64(max(0, deadline.nanoseconds)) + 999_999) / 1_000_000
        let current = uv_now(loop.uv)
        let delay = wanted > current ? wanted - current : 0
        uv_timer_start(
            timer,
            { handle in LoopHandle.object(handle, as: Timer.self)?.fire() },
            max(delay, loop.isFiringTimers ? 1 : 0), 0)
    }

    /// Arms it at `interval` from now.
    public func arm(after interval: Interval) { arm(at: SystemClock.monotonic + interval) }

    public func disarm() {
        loop.preconditionOnLoop()
        deadline = .never
        if let timer = handle(as: uv_timer_t.self) { uv_timer_stop(timer) }
    }

    /// Closes for good, and releases the callback.
    public func close() {
        loop.preconditionOnLoop()
        deadline = .never
        beginClose()
    }

    private func fire() {
        deadline = .never
        loop.isFiringTimers = true
        onFire?()
        loop.isFiringTimers = false
    }

    override func didClose() { onFire = nil }
}
