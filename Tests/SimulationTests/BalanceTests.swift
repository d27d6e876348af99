import Credit
import Primitives
import Testing
import Wire

@testable import Simulation

@Suite struct BalanceTests {
    private func played() throws -> World {
        let size = Scenarios.Size(nodes: 16, tasks: 24, kills: 0)
        let world = World(try #require(Scenarios.named("market", seed: 3, size: size)))
        let report = world.run()
        #expect(report.holds, "\(report.text(replay: "starling sim market --seed 3 --nodes 16 --tasks 24"))")
        return world
    }

    @Test func whatSomeNodesEarnedOthersSpent() throws {
        let hosts = try played().hosts
        let earned = hosts.map(\.balances.earned).reduce(.zero, +)
        #expect(earned > .zero)
        #expect(earned == hosts.map(\.balances.spent).reduce(.zero, +))
    }

    @Test func aReceiptThatItsBuyerNeverSignedBreaksTheSum() throws {
        let world = try played()
        let (buyer, worker) = (world.hosts[1], world.hosts[0])
        worker.balances.add(
            Receipt(
                task: TaskID(high: 0, low: 1), attempt: 1, buyer: buyer.identity.publicKey,
                worker: worker.identity.publicKey, sequence: 1, cost: Money(microCredits: 1), final: true))
        world.finalChecks(calmFrom: 0)
        #expect(world.violations.map(\.invariant) == [.balancesSum])
    }

    @Test func aReceiptForMoreThanWasProducedBreaksTheWatch() throws {
        let world = try played()
        let (buyer, worker) = (world.hosts[1], world.hosts[0])
        world.checkWork(
            Receipt(
                task: TaskID(high: 0, low: 1), attempt: 1, buyer: buyer.identity.publicKey,
                worker: worker.identity.publicKey, sequence: 1, completionTokens: 1), worker)
        #expect(world.violations.map(\.invariant) == [.paidForWork])
    }
}
