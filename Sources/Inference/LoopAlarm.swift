import CLibuv
import Primitives

/// One timer on a libuv loop, for an owner with one next deadline. The handler is called on the loop's
/// thread, possibly early by a rounding error, never after `close`.
final class LoopAlarm {
    private var timer: UnsafeMutablePointer<uv_timer_t>?
    private let loop: UnsafeMutablePointer<uv_loop_t>
    private var setFor = MonotonicTime.never
    var handler: (() -> Void)?

    init(loop: UnsafeMutablePointer<uv_loop_t>) {
        self.loop = loop
        let timer = UnsafeMutablePointer<uv_timer_t>.allocate(capacity: 1)
        uv_timer_init(loop, timer)
        timer.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        self.timer = timer
    }

    deinit { close() }

    /// The clock of all deadlines here: CLOCK_MONOTONIC.
    static func now() -> MonotonicTime { MonotonicTime(nanoseconds: Int64(clamping: uv_hrtime())) }

    /// Sets the deadline; `never` for none. A deadline in the past fires in the loop's next turn.
    func set(_ deadline: MonotonicTime, now: MonotonicTime) {
        guard let timer, deadline != setFor else { return }
        setFor = deadline
        guard deadline != .never else {
            uv_timer_stop(timer)
            return
        }
        let wait = max(0, (deadline - now).nanoseconds)
        uv_update_time(loop)
        // Rounded up, and never zero: libuv would run a zero-length timer again in the same turn.
        let milliseconds = UInt64(max(1, wait / 1_000_000 + (wait % 1_000_000 > 0 ? 1 : 0)))
        uv_timer_start(
            timer,
            { timer in
                guard let data = timer?.pointee.data else { return }
                let alarm = Unmanaged<LoopAlarm>.fromOpaque(data).takeUnretainedValue()
                alarm.setFor = .never
                alarm.handler?()
            }, milliseconds, 0)
    }

    func close() {
        guard let timer else { return }
        self.timer = nil
        handler = nil
        uv_timer_stop(timer)
        timer.pointee.data = nil
        timer.withMemoryRebound(to: uv_handle_t.self, capacity: 1) { handle in
            uv_close(handle) { UnsafeMutableRawPointer($0)?.deallocate() }
        }
    }
}
