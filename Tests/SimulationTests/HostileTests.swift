// Machines that turn hostile among real peers: invariants hold among the honest ones, on either carrier.

import Primitives
import Testing
import Wire

@testable import Simulation

@Suite struct HostileWorldTests {
    /// 40 nodes, of which 0 to 15 sell; from the seventh second on, `hostile` of the others behave as
    /// `hostility` says.
    private func scenario(_ hostility: Hostility, hostile: Int, _ carrier: Carrier = .plain) -> Scenario {
        var scenario = Scenarios.mesh("hostile", "", seed: 21, nodes: 40)
        scenario.carrier = carrier
        for node in 8..<16 { scenario.nodes[node].serves = scenario.nodes[node - 8].serves }
        for node in 0..<hostile {
            scenario.events.append(PlannedEvent(at: .seconds(7), .turn(39 - node, hostility)))
        }
        scenario.load = [Scenarios.load(tasks: 40, from: .seconds(10), every: .milliseconds(200))]
        scenario.probes = [
            ProbePlan(.lookup, count: 60, from: .seconds(12), every: .milliseconds(100)),
            ProbePlan(.search(model: "wren-m"), count: 20, from: .seconds(12), every: .milliseconds(300)),
        ]
        scenario.expect.deliveredPercentMin = 100
        return scenario
    }

    private func expectHolds(_ report: Report, location: SourceLocation = #_sourceLocation) {
        let holds = report.holds
        #expect(holds, "\(report.text(replay: "HostileWorldTests"))", sourceLocation: location)
        if report.lookups.count + report.searches.count < 80 || report.lookups.successPercent < 95
            || report.searches.successPercent < 95
        {
            Issue.record("\(report.text(replay: "HostileWorldTests"))", sourceLocation: location)
        }
    }

    @Test func whereNobodyIsHostileEveryLookupFindsTheNearestNodeAndEverySearchTheProviders() {
        let report = World(scenario(.lie, hostile: 0)).run()
        expectHolds(report)
        #expect(report.lookups.successPercent == 100 && report.searches.successPercent == 100)
        #expect(report.carrier.hostile == 0)
    }

    @Test(arguments: [Carrier.sealed, .plain])
    func liarsThatNameEachOtherHideNobodyAndNoRecordThatTheyForgedIsBelieved(carrier: Carrier) {
        let report = World(scenario(.lie, hostile: 10, carrier)).run()
        expectHolds(report)
        #expect(report.carrier.hostile > 100)
        let refused = report.dropped.first { $0.name == "discovery_bad_contact" }?.count ?? 0
        #expect(refused > 0)
    }

    @Test func idsThatAreGroundNextToATopicHideNoProvider() {
        var scenario = scenario(.lie, hostile: 0)
        for index in 40..<52 {
            var plan = NodePlan(name: "ground\(index)")
            plan.groundNear = "wren-m"
            scenario.nodes.append(plan)
            scenario.events.append(PlannedEvent(at: .seconds(4), .turn(index, .lie)))
        }
        let world = World(scenario)
        let report = world.run()
        expectHolds(report)
        let topic = TopicID(model: "wren-m").value
        let honest = world.hosts[..<40].map { $0.nodeID.value ^ topic }.min() ?? .zero
        let nearer = world.hosts[40...].count { $0.nodeID.value ^ topic < honest }
        #expect(nearer >= 6)
    }

    @Test func aFloodOfHandshakesAndOfInventedOffersCostsNoHonestNodeItsMesh() {
        let report = World(scenario(.flood(perSecond: 200, victims: []), hostile: 1, .sealed)).run()
        expectHolds(report)
        #expect(report.carrier.hostile > 2_000)
    }

    @Test func datagramsSentAgainToTheirReceiversAndToOthersChangeNothing() {
        let report = World(scenario(.replay(perSecond: 300), hostile: 2, .sealed)).run()
        expectHolds(report)
        #expect(report.carrier.hostile > 3_000)
    }

    @Test func hostileWorldsTakeTheSameCourseAgain() {
        let scenario = scenario(.lie, hostile: 10)
        #expect(World(scenario).run().digest == World(scenario).run().digest)
    }

    @Test func whatNoLongerHoldsIsReportedByNameWithTheLineThatRepeatsIt() {
        var scenario = scenario(.lie, hostile: 0)
        // Every seller turns hostile while its buyers wait.
        for node in 0..<16 { scenario.events.append(PlannedEvent(at: .seconds(12), .turn(node, .lie))) }
        let report = World(scenario).run()
        #expect(report.violations.contains { $0.invariant == .enoughDelivered })
        let text = report.text(expectations: ["  MISSED  x"], replay: "starling sim rigged --seed 21")
        #expect(
            text.contains("  MISSED  x\nBROKEN: 1 violation of invariants\n")
                && text.contains("enough_delivered"))
        #expect(text.hasSuffix("repeat it:  starling sim rigged --seed 21\n"))
    }
}

@Suite struct LiesTests {
    @Test func aRecordUnderAnotherRecordsSignatureIsInNoMemo() throws {
        let honest = World(Scenarios.mesh("memo", "", seed: 1, nodes: 2)).hosts[0].identity
        let memo = SharedMemo()
        let contact = Contact(publicKey: honest.publicKey, endpoints: [World.endpoint(0)], sequence: 1)
        let signed = Verified(signing: contact, with: honest).signed
        _ = try Verified<Contact>.checked(signed, by: memo)
        var moved = contact
        moved.endpoints = [World.endpoint(1)]
        let forged = SignedRecord(body: moved.encoded(), signature: signed.signature)
        #expect(throws: WireError.self) { try Verified<Contact>.checked(forged, by: memo) }
        #expect((memo.find(forged) as Verified<Contact>?) == nil)
    }

    @Test func anAnswerIsCutToWhatFits() {
        let record = SignedRecord(
            body: [UInt8](repeating: 1, count: 150), signature: Signature(r: .zero, s: .zero))
        let long = Message.discovery(.found(contacts: Array(repeating: record, count: 8)))
        let cut = Message.discovery(.found(contacts: Array(repeating: record, count: 3)))
        #expect(Lies.cut(long, to: 700) == cut)
    }
}
