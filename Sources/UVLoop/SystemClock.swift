// The only place that reads the clocks for the core: the core itself is given a `Now`.

import CLibuv
import Glibc
import Primitives

public enum SystemClock {
    /// CLOCK_MONOTONIC, which libuv's timers count too.
    public static var monotonic: MonotonicTime {
        MonotonicTime(nanoseconds: Int64(truncatingIfNeeded: uv_hrtime()))
    }

    /// How long the machine has slept since its start: CLOCK_BOOTTIME counts that, CLOCK_MONOTONIC doesn't.
    public static var asleep: Interval {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        let sinceStart = Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
        return max(.zero, Interval(nanoseconds: sinceStart &- monotonic.nanoseconds))
    }

    /// CLOCK_REALTIME, in milliseconds since 1970.
    public static var wall: WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(milliseconds: Int64(time.tv_sec) &* 1_000 &+ Int64(time.tv_nsec) / 1_000_000)
    }

    /// Seconds by which this machine's local time is ahead of UTC then.
    public static func localOffset(at wall: WallTime) -> Int {
        var seconds = time_t(wall.milliseconds / 1_000)
        var parts = tm()
        return localtime_r(&seconds, &parts) == nil ? 0 : Int(parts.tm_gmtoff)
    }

    /// Both clocks, read one after the other.
    public static func now() -> Now { Now(monotonic: monotonic, wall: wall) }
}
