import Discovery
import Primitives
import Testing

@testable import Simulation

/// The studies at a size that a debug build bears; `scripts/bench` runs them at theirs.
@Suite struct StudyTests {
    @Test("Lookups among 1,000 nodes find the nearest in two rounds; the same plan gives the same report")
    func rounds() throws {
        var plan = RoutingStudy.Plan()
        plan.nodes = 1_000
        plan.lookups = 20
        let report = RoutingStudy.run(plan)
        #expect(report.rounds.count == 20 && report.found == 20)
        #expect(try #require(RoutingStudy.Report.quantile(500, of: report.rounds)) <= 2)
        #expect(report.tableEntries > 90 && report.tableBytes < 24_000)
        #expect(RoutingStudy.run(plan).latency == report.latency)
    }

    @Test("Case 16: half of the nodes name only each other, and lookups still find the nearest honest one")
    func colluders() {
        var plan = RoutingStudy.Plan()
        plan.nodes = 1_000
        plan.lookups = 40
        plan.colludersPerMille = 500
        #expect(RoutingStudy.run(plan).found >= 38)
    }

    @Test("Case 33: with a fifth of the contacts dead and 1 % loss, lookups end within 1.5 s at 100 ms")
    func dead() throws {
        var plan = RoutingStudy.Plan()
        plan.nodes = 1_000
        plan.lookups = 40
        plan.deadPerMille = 200
        plan.lossPerMille = 10
        let report = RoutingStudy.run(plan)
        #expect(report.found >= 39)
        #expect(try #require(RoutingStudy.Report.quantile(950, of: report.latency)) <= .milliseconds(1_500))
    }

    @Test(
        "Case 16: 64 and 128 ids ground next to a topic, dropping and lying, hide no provider; closest-k storage is silenced",
        arguments: [64, 128])
    func ground(_ hostile: Int) {
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

    @Test("Case 16: liars who own the near end of a topic end no search with their own")
    func liars() {
        var plan = RendezvousStudy.Plan()
        plan.nodes = 600
        plan.hostile = 128
        plan.behaviours = [.lying]
        plan.population = 20_000
        plan.searches = 12
        let report = RendezvousStudy.run(plan)
        #expect(report.succeeded >= 11, "\(report.honest)")
    }

    @Test(
        "Case 16: ids ground into the buckets where provider and searcher meet hide few",
        arguments: [64, 128])
    func meeting(_ hostile: Int) {
        var plan = RendezvousStudy.Plan()
        plan.nodes = 600
        plan.hostile = hostile
        plan.placement = .meeting
        plan.population = 10_000
        plan.searches = 12
        let report = RendezvousStudy.run(plan)
        #expect(report.succeeded >= 11, "\(report.honest)")
    }

    @Test(
        "Eclipse: ids in four /24s hold ten slots each, and restarts amid their attack reach two honest anchors"
    )
    func eclipse() {
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
