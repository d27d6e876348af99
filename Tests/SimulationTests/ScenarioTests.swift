// Many real peers in virtual time. The scenarios are built in, so that a failure can be repeated, and
// examined, by `starling sim NAME --seed S`.

import Primitives
import Testing

@testable import Simulation

/// Runs a built-in scenario; a broken invariant fails the test with the command that repeats it.
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
    /// 200 nodes join and gossip first; 2 % of the datagrams are lost.
    @Test func a200NodeMeshRuns1000TasksUnderLossDuplicatesAndReordering() throws {
        let report = try run("market", seed: 1)
        #expect(report.delivered >= 990)
        #expect(report.carrier.lost > 0 && report.carrier.duplicated > 0)
        print(report.text(replay: "starling sim market --seed 1"))
    }
}

@Suite struct FaultScenarioTests {
    @Test(arguments: [1, 2] as [UInt64])
    func workersKilledInMidStreamTheClientsTextGoesOnWithoutAGapOrARepeatedByte(seed: UInt64) throws {
        let report = try run("kill-midstream", seed: seed)
        #expect(report.failovers > 0)
        #expect(report.text(replay: "").hasSuffix("\nall invariants held\n"))
    }

    @Test(arguments: [1, 2] as [UInt64])
    func workersStoppedInMidStreamOthersGoOnAndWhatTheWokenOnesStillSayIsDiscarded(seed: UInt64) throws {
        let report = try run("freeze-midstream", seed: seed)
        #expect(report.failovers > 0)
    }

    @Test
    func machinesThatVanishWithoutAWordCostTimeButNoTaskAndTradeAgainWhenTheyAreBack() throws {
        try run("power-cut", seed: 1)
    }

    @Test(arguments: [1, 2] as [UInt64])
    func aClientThatHangsUpInAnyPhaseEndsOnceAndTheBackendStopsWithin200Milliseconds(seed: UInt64) throws {
        let report = try run("cancel", seed: seed)
        #expect(report.outcomes.contains { $0.name == "cancelled" && $0.count >= 50 })
    }

    @Test(arguments: [1, 2] as [UInt64])
    func aSellerThatLeavesInOrderIsInNobodysOfferBookASecondLater(seed: UInt64) throws {
        let report = try run("leave", seed: seed)
        #expect(report.leaves.count == 4)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func aSellerThatIsRestartedEveryFewSecondsIsFoundWithinTwoAfterEachRestart(seed: UInt64) throws {
        let report = try run("restarts", seed: seed)
        #expect(report.returns.count >= 30)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func aKilledSellerCostsEachAskerAtMostOneUnansweredCallAndNoTask(seed: UInt64) throws {
        try run("dead-node", seed: seed)
    }

    @Test
    func bothPartsOfASplitMeshGoOnAndKnowEachOthersOffersAgainAfterIt() throws {
        try run("partition", seed: 1)
    }

    @Test func failingHangingAndDyingBackendsCostNoText() throws {
        let report = try run("backends", seed: 1)
        #expect(report.failovers > 0)
    }
}

@Suite struct OddNodeScenarioTests {
    @Test func aSellerAndAnAskerWhoseClocksSay1970JoinAndTrade() throws { try run("clock-1970", seed: 1) }

    @Test func sellersThatAcceptNoConnectionDialTheirBuyers() throws { try run("behind-nat", seed: 1) }

    @Test
    func slowReadersHoldTheirWorkersBackAndStillGetEveryByte() throws { try run("slow-readers", seed: 1) }

    @Test func handshakesReplayedUnderAddressesThatNeverAskedGetOutNoMoreBytesThanCameIn() throws {
        let report = try run("spoof", seed: 1)
        #expect(report.carrier.unheard > 0)
    }
}

@Suite struct ReplayTests {
    @Test func theSameSeedTakesTheSameCourseAnotherSeedAnotherOne() throws {
        let size = Scenarios.Size(nodes: 20, tasks: 30, kills: 1)
        let first = try run("market", seed: 7, size: size)
        let second = try run("market", seed: 7, size: size)
        let other = try run("market", seed: 8, size: size)
        #expect(first.digest == second.digest)
        #expect(first.events == second.events)
        #expect(first.digest != other.digest)
    }

    @Test func everyBuiltInScenarioHasANameOfItsOwn() {
        let names = Scenarios.names.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(Scenarios.named("no such", seed: 1).map(\.name) == nil)
    }
}

@Suite struct BurstScenarioTests {
    /// Nothing fails, so the run also checks that nobody is taken for dead (`blameless`).
    @Test(arguments: [1, 2] as [UInt64])
    func aBurstFromOneAskerIsRefusedAtMostForWantOfAFreeSlot(seed: UInt64) throws {
        var scenario = Scenarios.mesh("burst", "200 tasks at once to one seller", seed: seed, nodes: 4)
        for index in scenario.nodes.indices { scenario.nodes[index].serves = [] }
        scenario.nodes[0].serves = [ServePlan(model: "wren-m", slots: 256)]
        var load = LoadPlan(tasks: 200, from: .seconds(20), every: .zero, models: ["wren-m"])
        load.askers = [3]
        scenario.load = [load]
        let report = World(scenario).run()
        #expect(report.holds, "\(report.text(replay: "scenario burst, seed \(seed)"))")
        let refused = report.outcomes.filter { $0.name != "delivered" }
        #expect(refused.allSatisfy { $0.name == "refused:busy" || $0.name == "refused_busy" }, "\(refused)")
        #expect(report.delivered >= 100)
    }
}
