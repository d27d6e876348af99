import Foundation

/// The condition for which a test waited too long.
struct NeverHappened: Error, CustomStringConvertible {
    let description: String
    init(_ what: String, _ seconds: Double, _ last: String = "") {
        description = "not within \(seconds) s: \(what)\(last.isEmpty ? "" : " (\(last))")"
    }
}

/// Polls until `condition` returns a value.
@discardableResult
func eventually<T>(
    _ what: String, within seconds: Double = 10, every pause: Duration = .milliseconds(10),
    _ condition: () async throws -> T?
) async throws -> T {
    let end = ContinuousClock.now + .seconds(seconds)
    while true {
        if let found = try await condition() { return found }
        guard ContinuousClock.now < end else { throw NeverHappened(what, seconds) }
        try await Task.sleep(for: pause)
    }
}

/// Polls until `condition` holds; returns the milliseconds that this took.
@discardableResult
func until(
    _ what: String, within seconds: Double = 10, every pause: Duration = .milliseconds(10),
    _ condition: () async throws -> Bool
) async throws -> Double {
    let start = ContinuousClock.now
    try await eventually(what, within: seconds, every: pause) { try await condition() ? true : nil }
    return (ContinuousClock.now - start) / .milliseconds(1)
}

/// Runs blocking work off the few threads that run the tests.
func blocking<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Result { try work() }) }
    }
}

/// Wall-clock seconds, comparable with Python's `time.time()`.
func wallClock() -> Double { Date().timeIntervalSince1970 }

/// Prints a figure for readers of the test's output; nothing depends on it.
func measured(_ what: String, _ milliseconds: Double) {
    print("    measured: \(what): \(String(format: "%.1f", milliseconds)) ms")
}
