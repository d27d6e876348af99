import Primitives
import Testing

@testable import Simulation

@Suite struct PlainCarrierTests {
    private func report(_ carrier: Carrier) -> Report {
        var scenario = Scenarios.mesh("plain", "", seed: 3, nodes: 24)
        scenario.load = [Scenarios.load(tasks: 20, from: .seconds(6), every: .milliseconds(100))]
        scenario.network.loss = .percent(2)
        scenario.carrier = carrier
        return World(scenario).run()
    }

    @Test func aMeshWithoutCryptographyDoesWhatOneWithItDoes() {
        let plain = report(.plain)
        let sealed = report(.sealed)
        #expect(plain.violations.isEmpty, "\(plain.violations.prefix(3))")
        #expect(plain.delivered == 20)
        // The same packets of the same sizes: traffic differs only by chance.
        #expect(abs(plain.sentPerNode.mean - sealed.sentPerNode.mean) * 5 < sealed.sentPerNode.mean)
    }

    @Test func theSameSeedTakesTheSameCourseOnThePlainCarrier() {
        #expect(report(.plain).digest == report(.plain).digest)
    }
}

@Suite struct ScenarioPartsTests {
    @Test func whatLiesBetweenRegionsComesOnTop() {
        var plan = NetworkPlan()
        plan.latencyMin = .milliseconds(5)
        plan.latencyMax = .milliseconds(5)
        plan.regions = [
            [.milliseconds(1), .milliseconds(40)], [.milliseconds(40), .milliseconds(2)],
        ]
        let links = LinkModel(plan: plan, regions: [0, 0, 1], random: SeededRandom(seed: 1))
        #expect(links.latency(0, 1) == 6_000_000)
        #expect(links.latency(0, 2) == 45_000_000)
        #expect(links.latency(2, 0) == 45_000_000)
    }

    @Test func aNodeThatFallsSilentCostsNoTask() {
        var scenario = Scenarios.mesh("silent", "", seed: 5, nodes: 24)
        scenario.load = [Scenarios.load(tasks: 20, from: .seconds(9), every: .milliseconds(200))]
        scenario.events = [PlannedEvent(at: .seconds(8), .fallSilent(2))]
        scenario.expect.deliveredPercentMin = 100
        let report = World(scenario).run()
        #expect(report.violations.isEmpty, "\(report.violations.prefix(3))")
        #expect(report.measures.first { $0.name == "answered" }?.value == 100)
        #expect(report.chart.hasPrefix("<svg") && report.chart.hasSuffix("</svg>\n"))
        #expect(!report.curves.samples.isEmpty && report.curves.samples.count < Curves.samplesMax)
    }

    @Test func figuresAreShort() {
        #expect(Report.decimal(2) == "2")
        #expect(Report.decimal(0.5) == "0.5")
        #expect(Report.decimal(-1.2345) == "-1.235" || Report.decimal(-1.2345) == "-1.234")
    }
}
