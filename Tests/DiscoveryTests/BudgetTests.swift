import Primitives
import TestSupport
import Testing

@testable import Discovery

/// A limit per kind and in total within any `window`. The reference remembers every entry that was taken.
private struct PlainWindow {
    let window: Interval
    let perKind: Int
    let total: Int
    private var taken: [(kind: Endpoint, time: MonotonicTime)] = []

    init(window: Interval, perKind: Int, total: Int) {
        self.window = window
        self.perKind = perKind
        self.total = total
    }

    mutating func take(_ kind: Endpoint, _ now: MonotonicTime) -> Bool {
        let recent = taken.filter { now - $0.time < window }
        guard recent.count < total, recent.count(where: { $0.kind == kind }) < perKind else { return false }
        taken.append((kind, now))
        return true
    }
}

@Suite struct BudgetTests {
    enum Operation { case take(UInt16), pass(Interval), sweep }

    static func draw(_ random: inout SeededRandom, window: Interval) -> Operation {
        switch random.below(20) {
        case 0: .pass(window)
        case 1: .pass(window - Interval(nanoseconds: 1))
        case 2..<6: .pass(random.interval(.zero, window / 8))
        case 6: .sweep
        default: .take(UInt16(random.below(4)))
        }
    }

    private struct Probes: ModelTest {
        var budget: ProbeBudget
        var plain: PlainWindow
        var now = MonotonicTime.zero

        init(_ random: inout SeededRandom) {
            var parameters = DiscoveryParameters()
            parameters.probesPerDestinationMax = 1 + random.below(4)
            parameters.probesPerSecondMax = 1 + random.below(10)
            budget = ProbeBudget(parameters)
            plain = PlainWindow(
                window: .seconds(1), perKind: parameters.probesPerDestinationMax,
                total: parameters.probesPerSecondMax)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            BudgetTests.draw(&random, window: .seconds(1))
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .take(let port):
                try same(budget.take(.loopback(port), now: now), plain.take(.loopback(port), now), "took")
            case .pass(let interval): now = now + interval
            case .sweep: budget.sweep(now)
            }
        }
    }

    private struct Callbacks: ModelTest {
        var budget: CallbackBudget
        var plain: PlainWindow
        var now = MonotonicTime.zero

        init(_ random: inout SeededRandom) {
            let (perGroup, total) = (1 + random.below(4), 1 + random.below(10))
            budget = CallbackBudget(perGroup: perGroup, total: total)
            plain = PlainWindow(window: .minutes(10), perKind: perGroup, total: total)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            BudgetTests.draw(&random, window: .minutes(10))
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .take(let port):
                try same(budget.take(.loopback(port), now: now), plain.take(.loopback(port), now), "took")
            case .pass(let interval): now = now + interval
            case .sweep: break
            }
        }
    }

    @Test(arguments: modelSeeds)
    func noSecondHasMoreProbesThanAllowedOfADestinationOrInAll(_ seed: UInt64) throws {
        try check(Probes.self, seed: seed, steps: 500)
    }

    @Test(arguments: modelSeeds)
    func noTenMinutesHaveMoreCallbacksThanAllowedOfANetworkOrInAll(_ seed: UInt64) throws {
        try check(Callbacks.self, seed: seed, steps: 500)
    }
}
