/// Time since an arbitrary start that never jumps, in nanoseconds: for timers and timeouts.
public struct MonotonicTime: Hashable, Comparable, Sendable {
    public var nanoseconds: Int64
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    public static let zero = MonotonicTime(nanoseconds: 0)
    /// Later than any event: no deadline.
    public static let never = MonotonicTime(nanoseconds: .max)
    @inlinable
    public static func < (a: MonotonicTime, b: MonotonicTime) -> Bool { a.nanoseconds < b.nanoseconds }
    /// Saturates at `never`, so that a hostile duration can't overflow the timer that it sets.
    public static func + (a: MonotonicTime, b: Interval) -> MonotonicTime {
        let (sum, overflow) = a.nanoseconds.addingReportingOverflow(b.nanoseconds)
        return overflow ? (b.nanoseconds > 0 ? .never : .zero) : MonotonicTime(nanoseconds: sum)
    }
    public static func - (a: MonotonicTime, b: MonotonicTime) -> Interval {
        let (difference, overflow) = a.nanoseconds.subtractingReportingOverflow(b.nanoseconds)
        return Interval(nanoseconds: overflow ? .max : difference)
    }
}

/// Civil time in milliseconds since 1970: only for the expiry of signed records, never for timers.
public struct WallTime: Hashable, Comparable, Sendable {
    public var milliseconds: Int64
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }
    @inlinable
    public static func < (a: WallTime, b: WallTime) -> Bool { a.milliseconds < b.milliseconds }
    /// Saturates.
    public static func + (a: WallTime, b: Interval) -> WallTime {
        let (sum, overflow) = a.milliseconds.addingReportingOverflow(b.milliseconds)
        return WallTime(milliseconds: overflow ? (b.nanoseconds > 0 ? .max : 0) : sum)
    }
}

/// A signed length of time in nanoseconds. Eight bytes where Swift's `Duration` has sixteen; arithmetic saturates.
public struct Interval: Hashable, Comparable, Sendable {
    public var nanoseconds: Int64
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    public static let zero = Interval(nanoseconds: 0)

    public static func microseconds(_ n: Int64) -> Interval { scaled(n, 1_000) }
    public static func milliseconds(_ n: Int64) -> Interval { scaled(n, 1_000_000) }
    public static func seconds(_ n: Int64) -> Interval { scaled(n, 1_000_000_000) }
    public static func minutes(_ n: Int64) -> Interval { scaled(n, 60_000_000_000) }

    public var microseconds: Int64 { nanoseconds / 1_000 }
    public var milliseconds: Int64 { nanoseconds / 1_000_000 }
    public var seconds: Double { Double(nanoseconds) / 1e9 }

    @inlinable
    public static func < (a: Interval, b: Interval) -> Bool { a.nanoseconds < b.nanoseconds }
    public static func + (a: Interval, b: Interval) -> Interval {
        let (sum, overflow) = a.nanoseconds.addingReportingOverflow(b.nanoseconds)
        return Interval(nanoseconds: overflow ? (b.nanoseconds > 0 ? .max : .min) : sum)
    }
    public static func - (a: Interval, b: Interval) -> Interval {
        let (difference, overflow) = a.nanoseconds.subtractingReportingOverflow(b.nanoseconds)
        return Interval(nanoseconds: overflow ? (b.nanoseconds < 0 ? .max : .min) : difference)
    }
    public static func * (a: Interval, b: Int64) -> Interval { scaled(a.nanoseconds, b) }
    public static func / (a: Interval, b: Int64) -> Interval { Interval(nanoseconds: a.nanoseconds / b) }

    private static func scaled(_ n: Int64, _ unit: Int64) -> Interval {
        let (product, overflow) = n.multipliedReportingOverflow(by: unit)
        return Interval(nanoseconds: overflow ? ((n > 0) == (unit > 0) ? .max : .min) : product)
    }
}

/// The moment of an event, on both clocks. The shell reads them once per event; the core reads neither.
public struct Now: Sendable {
    public var monotonic: MonotonicTime
    public var wall: WallTime
    public init(monotonic: MonotonicTime, wall: WallTime) {
        self.monotonic = monotonic
        self.wall = wall
    }
}
