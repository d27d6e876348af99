import FoundationEssentials
import Glibc

/// Process states from `/proc`. A process is identified by pid *and* start time, so that a pid reused by
/// another process is never signalled.
enum ProcessTable {
    enum State: Sendable { case running, frozen, gone }

    /// State letter and start time of a live process, or nil.
    private static func stat(_ pid: Int32) -> (letter: Character, ticks: UInt64)? {
        guard pid > 0, let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else {
            return nil
        }
        // The program's name is in parentheses and may contain any character, so fields are counted after the
        // last `)`.
        let text = String(decoding: data, as: UTF8.self)
        guard let close = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard fields.count > 19, let letter = fields[0].first, let ticks = UInt64(fields[19]) else {
            return nil
        }
        return (letter, ticks)
    }

    static func startTicks(_ pid: Int32) -> UInt64? { stat(pid)?.ticks }

    /// The state of the process; `gone` if the pid now belongs to another one.
    static func state(_ pid: Int32, startTicks: UInt64) -> State {
        guard let found = stat(pid), found.ticks == startTicks, found.letter != "Z", found.letter != "X"
        else { return .gone }
        return found.letter == "T" || found.letter == "t" ? .frozen : .running
    }

    /// Sends `signal` if this is still the same process; returns false when it is gone.
    @discardableResult
    static func signal(_ pid: Int32, startTicks: UInt64, _ signal: Int32) -> Bool {
        guard state(pid, startTicks: startTicks) != .gone else { return false }
        return kill(pid, signal) == 0
    }

    /// Waits at most `seconds` for the process to end; returns whether it did.
    static func waitUntilGone(_ pid: Int32, startTicks: UInt64, seconds: Double) -> Bool {
        let end = Date().addingTimeInterval(seconds)
        while state(pid, startTicks: startTicks) != .gone {
            if end.timeIntervalSinceNow <= 0 { return false }
            usleep(5_000)
        }
        return true
    }
}
