import Glibc

/// CPU time: unlike wall time, it doesn't grow when another process uses the same core.
enum Stopwatch {
    /// Nanoseconds of CPU that this thread has used.
    static func threadCPU() -> Int64 { read(CLOCK_THREAD_CPUTIME_ID) }

    /// Seconds of CPU that this process has used.
    static func processCPU() -> Double { Double(read(CLOCK_PROCESS_CPUTIME_ID)) / 1e9 }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Nanoseconds of CPU per call, for `count` calls that `body` makes.
    static func each(_ count: Int, _ body: () -> Void) -> Double {
        let start = threadCPU()
        body()
        return Double(threadCPU() - start) / Double(count)
    }
}

/// Two ways to do the same thing, in alternating slices, so that a slow moment of the machine affects both.
struct Pair {
    var ours: [Double] = []
    var bare: [Double] = []

    /// Medians, in nanoseconds.
    var ourTime: Double { median(ours) }
    var bareTime: Double { median(bare) }
    /// Our rate relative to the bare one: the median of the slices' ratios.
    var ratio: Double { median(zip(ours, bare).map { $1 / $0 }) }

    /// Runs slices of about 5 ms until `seconds` have passed.
    static func measure(seconds: Double, ours: () -> Void, bare: () -> Void) -> Pair {
        let once = max(20, Stopwatch.each(64) { for _ in 0..<64 { bare() } })
        let count = max(1, Int(5e6 / once))
        var pair = Pair()
        let end = Stopwatch.processCPU() + seconds
        while Stopwatch.processCPU() < end || pair.ours.count < 5 {
            pair.ours.append(Stopwatch.each(count) { for _ in 0..<count { ours() } })
            pair.bare.append(Stopwatch.each(count) { for _ in 0..<count { bare() } })
        }
        return pair
    }
}

func median(_ values: [Double]) -> Double {
    guard !values.isEmpty else { return .nan }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// Keeps the compiler from removing a computation.
@inline(never)
func blackHole<T>(_ value: T) {
    withUnsafeBytes(of: value) { _ in }
}
