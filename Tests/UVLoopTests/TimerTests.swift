import Primitives
import Testing

@testable import UVLoop

@Suite(.timeLimit(.minutes(1))) struct TimerTests {
    @Test func timersFireInTheOrderOfTheirDeadlinesAndNeverEarly() async throws {
        try await withLoop { owner in
            let fired = Promise<[Int]>()
            try await owner.run { owner in
                let start = SystemClock.monotonic
                var order: [Int] = []
                for delay in [30, 5, 20, 1, 10] {
                    let deadline = start + .milliseconds(Int64(delay)) + .microseconds(300)
                    let timer = try Timer(on: owner.loop) {
                        #expect(SystemClock.monotonic >= deadline)
                        order.append(delay)
                        if order.count == 5 { fired.keep(order) }
                    }
                    timer.arm(at: deadline)
                }
            }
            #expect(await fired.value() == [1, 5, 10, 20, 30])
        }
    }

    @Test func armingReplacesTheDeadlineAndDisarmingForgetsIt() async throws {
        try await withLoop { owner in
            let fired = Promise<Bool>()
            try await owner.run { owner in
                var isDue = false
                let moved = try Timer(on: owner.loop) { fired.keep(isDue) }
                moved.arm(after: .zero)
                moved.arm(after: .milliseconds(20))
                let forgotten = try Timer(on: owner.loop) { fired.keep(false) }
                forgotten.arm(after: .milliseconds(1))
                forgotten.disarm()
                #expect(forgotten.deadline == .never)
                let before = try Timer(on: owner.loop) { isDue = true }
                before.arm(after: .milliseconds(5))
            }
            #expect(await fired.value())
        }
    }

    @Test func aTimerThatRearmsItselfForNowLeavesTheLoopItsTurns() async throws {
        try await withLoop { owner in
            let count = Promise<Int>()
            try await owner.run { owner in
                let ticker = Ticker()
                ticker.timer = try Timer(on: owner.loop) {
                    ticker.count += 1
                    ticker.timer?.arm(at: .zero)
                    if ticker.count == 3 { count.keep(3) }
                }
                ticker.timer?.arm(at: .zero)
            }
            #expect(await count.value() == 3)
        }
    }

    @Test func deadlinesAtTheEndsOfTimeAreHarmless() async throws {
        try await withLoop { owner in
            try await owner.run { owner in
                let timer = try Timer(on: owner.loop) { Issue.record("fired") }
                timer.arm(at: MonotonicTime(nanoseconds: .max - 1))
                timer.arm(at: .never)
                timer.arm(after: Interval(nanoseconds: .max))
                timer.arm(at: MonotonicTime(nanoseconds: .min))
                timer.close()
                timer.close()
                timer.arm(after: .zero)
            }
            await owner.run { _ in }
        }
    }

    @Test func theWallClockAndTheMonotonicOneAdvance() {
        let first = SystemClock.now()
        let second = SystemClock.now()
        #expect(second.monotonic >= first.monotonic)
        // 2020-01-01: only a machine without a clock would be earlier, and those don't run tests.
        #expect(first.wall > WallTime(milliseconds: 1_577_836_800_000))
    }
}

final class Ticker {
    var timer: Timer?
    var count = 0
}
