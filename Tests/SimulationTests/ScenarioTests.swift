// Many real peers in virtual time. Each scenario is built in, so that a failure is repeated, and looked into, by
// `starling sim NAME --seed S`.

import Primitives
import Testing

@testable import Simulation

/// Runs a built-in scenario; a broken invariant fails the test with the line that repeats it.
@discardableResult
func run(
    _ name: String, seed: UInt64, size: Scenarios.Size = .init(), location: SourceLocation = #_sourceLocation
) throws
    -> Report
{
    let scenario = try #require(Scenarios.named(name, seed: seed, size: size), sourceLocation: location)
    let report = World(scenario).run()
    let replay = "starling sim \(name) --seed \(seed)"
    #expect(report.holds, "\(report.text(replay: replay))", sourceLocation: location)
    return report
}

@Suite struct MarketScenarioTests {
    @Test("200 nodes join, gossip and run 1,000 tasks under 2 % loss, duplicates and reordering")
    func market() throws {
        let report = try run("market", seed: 1)
        #expect(report.delivered >= 990)
        #expect(report.carrier.lost > 0 && report.carrier.duplicated > 0)
        print(report.text(replay: "starling sim market --seed 1"))
    }
}

@Suite struct FaultScenarioTests {
    @Test(
        "Workers killed in mid-stream: the client's text goes on without a gap or a repeated byte",
        arguments: [1, 2] as [UInt64])
    func kills(seed: UInt64) throws {
        let report = try run("kill-midstream", seed: seed)
        #expect(report.failovers > 0)
    }

    @Test(
        "Workers stopped in mid-stream: others go on, and what the woken ones still say is discarded",
        arguments: [1, 2] as [UInt64])
    func freezes(seed: UInt64) throws {
        let report = try run("freeze-midstream", seed: seed)
        #expect(report.failovers > 0)
    }

    @Test("Machines that vanish without a word cost time but no task, and trade again when they are back")
    func powerCuts() throws { try run("power-cut", seed: 1) }

    @Test(
        "A client that hangs up in any phase ends once, and the backend stops within 200 ms",
        arguments: [1, 2] as [UInt64])
    func cancels(seed: UInt64) throws {
        let report = try run("cancel", seed: seed)
        #expect(report.outcomes.contains { $0.name == "cancelled" && $0.count >= 50 })
    }

    @Test("A seller that leaves in order is in nobody's book a second later", arguments: [1, 2] as [UInt64])
    func leaves(seed: UInt64) throws {
        let report = try run("leave", seed: seed)
        #expect(report.leaves.count == 4)
    }

    @Test(
        "A killed seller costs each asker at most one unanswered call, and no task",
        arguments: [1, 2, 3] as [UInt64])
    func deadNode(seed: UInt64) throws { try run("dead-node", seed: seed) }

    @Test("Both parts of a split mesh go on, and know each other's offers again after it")
    func partition() throws { try run("partition", seed: 1) }

    @Test("Failing, hanging and dying backends cost no text")
    func backends() throws {
        let report = try run("backends", seed: 1)
        #expect(report.failovers > 0)
    }
}

@Suite struct OddNodeScenarioTests {
    @Test("A seller and an asker whose clocks say 1970 join and trade")
    func clocks() throws { try run("clock-1970", seed: 1) }

    @Test("Sellers that accept no connection dial their buyers")
    func behindNat() throws { try run("behind-nat", seed: 1) }

    @Test("Slow readers hold their workers back and still get every byte")
    func slowReaders() throws { try run("slow-readers", seed: 1) }

    @Test("Handshakes replayed under addresses that never asked get out no more bytes than came in")
    func spoof() throws {
        let report = try run("spoof", seed: 1)
        #expect(report.carrier.unheard > 0)
    }
}

@Suite struct ReplayTests {
    @Test("The same seed takes the same course, another seed another one")
    func digests() throws {
        let size = Scenarios.Size(nodes: 20, tasks: 30, kills: 1)
        let first = try run("market", seed: 7, size: size)
        let second = try run("market", seed: 7, size: size)
        let other = try run("market", seed: 8, size: size)
        #expect(first.digest == second.digest)
        #expect(first.events == second.events)
        #expect(first.digest != other.digest)
    }

    @Test("Every built-in scenario has a name of its own")
    func names() {
        let names = Scenarios.names.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(Scenarios.named("no such", seed: 1).map(\.name) == nil)
    }
}
