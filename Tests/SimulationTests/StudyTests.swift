import Discovery
import Primitives
import Testing

@testable import Simulation

/// The studies at a size that a debug build can run; `scripts/bench` runs them at full size.
@Suite struct StudyTests {
    @Test func lookupsAmong1000NodesFindTheNearestInTwoRoundsTheSamePlanGivesTheSameReport() throws {
        var plan = RoutingStudy.Plan()
        plan.nodes = 1_000
        plan.lookups = 20
        let report = RoutingStudy.run(plan)
        #expect(report.rounds.count == 20 && report.found == 20)
        #expect(try #require(RoutingStudy.Report.quantile(500, of: report.rounds)) <= 2)
        #expect(report.tableEntries > 90 && report.tableBytes < 24_000)
        #expect(RoutingStudy.run(plan).latency == report.latency)
    }

    @Test func case16HalfOfTheNodesNameOnlyEachOtherAndLookupsStillFindTheNearestHonestOne() {
        var plan = RoutingStudy.Plan()
        plan.nodes = 1_000
        plan.lookups = 40
        plan.colludersPerMille = 500
        #expect(RoutingStudy.run(plan).found >= 38)
    }

    /// With 1 % loss, at 100 ms.
    @Test func case33LookupsEndWithin1500MillisecondsWithAFifthOfTheContactsDead() throws {
        var plan = RoutingStudy.Plan()
        plan.nodes = 1_000
        plan.lookups = 40
        plan.deadPerMille = 200
        plan.lossPerMille = 10
        let report = RoutingStudy.run(plan)
        #expect(report.found >= 39)
        #expect(try #require(RoutingStudy.Report.quantile(950, of: report.latency)) <= .milliseconds(1_500))
    }

    /// 64 and 128 ids. Storage at the closest k nodes, as Kademlia has it, is silenced by them.
    @Test(arguments: [64, 128])
    func case16IdsGroundNextToATopicDroppingAndLyingHideNoProvider(_ hostile: Int) {
        var plan = RendezvousStudy.Plan()
        plan.nodes = 600
        plan.hostile = hostile
        plan.population = 20_000
        plan.searches = 12
        for providers in [3, 20] {
            plan.providers = providers
            let report = RendezvousStudy.run(plan)
            #expect(report.succeeded >= 11, "\(providers) providers: \(report.honest)")
            #expect(report.closestSucceeded <= 1, "\(report.closestHonest)")
        }
    }

    @Test func case16LiarsThatOwnTheNearEndOfATopicEndNoSearchWithTheirOwn() {
        var plan = RendezvousStudy.Plan()
        plan.nodes = 600
        plan.hostile = 128
        plan.behaviours = [.lying]
        plan.population = 20_000
        plan.searches = 12
        let report = RendezvousStudy.run(plan)
        #expect(report.succeeded >= 11, "\(report.honest)")
    }

    @Test(arguments: [64, 128])
    func case16IdsGroundIntoTheBucketsWhereProviderAndSearcherMeetHideFew(_ hostile: Int) {
        var plan = RendezvousStudy.Plan()
        plan.nodes = 600
        plan.hostile = hostile
        plan.placement = .meeting
        plan.population = 10_000
        plan.searches = 12
        let report = RendezvousStudy.run(plan)
        #expect(report.succeeded >= 11, "\(report.honest)")
    }

    @Test func idsInFourNetworksHoldTenSlotsEachAndRestartsAmidTheirAttackReachTwoHonestAnchors() {
        var plan = EclipseStudy.Plan()
        plan.nodes = 200
        plan.hostile = 200
        plan.pushesPerSecond = 20
        plan.settled = 1
        plan.pushedFor = .seconds(20)
        plan.restarts = 5
        plan.time = .seconds(10)
        plan.lookups = 2
        let report = EclipseStudy.run(plan)
        #expect(report.slotsMax <= 10 && report.reachedTwo == 5)
        #expect(report.found >= 8)
    }
}
