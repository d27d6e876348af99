// Machines that turn hostile among real peers: what must hold among the honest ones does, on either carrier.

import Primitives
import Testing
import Wire

@testable import Simulation

@Suite struct HostileWorldTests {
    /// 40 nodes of which 0 to 15 sell; from the seventh second on `hostile` of the others are what `hostility` says.
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

    @Test("Where nobody is hostile every lookup finds the nearest node and every search the providers")
    func honest() {
        let report = World(scenario(.lie, hostile: 0)).run()
        expectHolds(report)
        #expect(report.lookups.successPercent == 100 && report.searches.successPercent == 100)
        #expect(report.carrier.hostile == 0)
    }

    @Test(
        "Liars who name each other hide nobody, and no record that they forged is believed",
        arguments: [Carrier.sealed, .plain])
    func lies(carrier: Carrier) {
        let report = World(scenario(.lie, hostile: 10, carrier)).run()
        expectHolds(report)
        #expect(report.carrier.hostile > 100)
        let refused = report.dropped.first { $0.name == "discovery_bad_contact" }?.count ?? 0
        #expect(refused > 0)
    }

    @Test("Ids that are ground next to a topic hide no provider")
    func ground() {
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

    @Test("A flood of handshakes and of invented offers costs no honest node its mesh")
    func flood() {
        let report = World(scenario(.flood(perSecond: 200, victims: []), hostile: 1, .sealed)).run()
        expectHolds(report)
        #expect(report.carrier.hostile > 2_000)
    }

    @Test("Datagrams that are sent again, to whom they were meant for and to others, change nothing")
    func replay() {
        let report = World(scenario(.replay(perSecond: 300), hostile: 2, .sealed)).run()
        expectHolds(report)
        #expect(report.carrier.hostile > 3_000)
    }

    @Test("Hostile worlds take the same course again")
    func digests() {
        let scenario = scenario(.lie, hostile: 10)
        #expect(World(scenario).run().digest == World(scenario).run().digest)
    }

    @Test("What no longer holds is reported by name, with the line that repeats it")
    func rigged() {
        var scenario = scenario(.lie, hostile: 0)
        // Every seller turns while their buyers wait.
        for node in 0..<16 { scenario.events.append(PlannedEvent(at: .seconds(12), .turn(node, .lie))) }
        let report = World(scenario).run()
        #expect(report.violations.contains { $0.invariant == .enoughDelivered })
        let text = report.text(replay: "starling sim rigged --seed 21")
        #expect(text.contains("BROKEN") && text.contains("enough_delivered"))
        #expect(text.hasSuffix("repeat it:  starling sim rigged --seed 21\n"))
    }
}

@Suite struct LiesTests {
    @Test("A record under another record's signature is in no memo, whoever has been verified before")
    func memo() throws {
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

    @Test("An answer is cut to what fits")
    func cut() {
        let record = SignedRecord(
            body: [UInt8](repeating: 1, count: 150), signature: Signature(r: .zero, s: .zero))
        let long = Message.discovery(.found(contacts: Array(repeating: record, count: 8)))
        guard case .discovery(.found(let contacts)) = Lies.cut(long, to: 700) else {
            return #expect(Bool(false))
        }
        #expect(contacts.count == 3)
    }
}
