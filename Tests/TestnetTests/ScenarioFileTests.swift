import Foundation
import NodeConfiguration
import Primitives
import Testing

@testable import Testnet

@Suite struct ScenarioFileTests {
    private func scenario(
        _ yaml: String, size: Int? = nil, nodes: String = "{ada: {serves: wren-m}, bob: {count: 3}, cyd: {}}"
    ) throws -> ScenarioFile {
        try ScenarioFile(
            parsing: "mesh: testnet-s\nnodes: \(nodes)\n" + yaml,
            path: "s.yaml", folder: "/t", nodeCountMax: 10_000, size: size)
    }

    private func problem(_ yaml: String, nodes: String = "{ada: {serves: wren-m}, bob: {count: 3}, cyd: {}}")
        -> String
    {
        do {
            _ = try scenario(yaml, nodes: nodes)
            return "none"
        } catch {
            return "\((error as? ConfigurationError)?.problem ?? "\(error)")"
        }
    }

    @Test func theScenariosOfTheRepositoryAreRead() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("testnet/scenarios")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(files.count >= 3)
        for name in files {
            let file = folder.appendingPathComponent(name)
            let scenario = try ScenarioFile(
                parsing: String(contentsOf: file, encoding: .utf8), path: name, folder: "/t",
                nodeCountMax: 10_000)
            #expect(!scenario.expect.isEmpty && (!scenario.load.isEmpty || scenario.calm != nil), "\(name)")
        }
    }

    @Test func everyPartOfAScenarioIsRead() throws {
        let read = try scenario(
            """
            links:
              latency: 5ms..1.5 s
              loss: 2 %
              regions: {eu: 60 %, us: 40 %}
              matrix: {eu: {eu: 5 ms, us: 45 ms}, us: {us: 9 ms}}
            load: {count: 7, rate: 2.5, via: bob, tokens: 10..30}
            events:
              - {at: 5s, kill: ada}
              - {at: 6s, partition: [bob, cyd], for: 2s}
            churn: {nodes: bob, mean_life: 5 min, until: 1 min}
            byzantine: {behaviour: drop, share: 10 %}
            expect: [answered >= 99.5 %, convergence <= 2 s, sent_mean <= 900 B/s]
            """)
        #expect(read.links?.latency == .milliseconds(5)...(.milliseconds(1_500)))
        #expect(read.links?.loss == 20_000)
        #expect(read.links?.matrix[1][0] == .milliseconds(45))
        #expect(read.load[0].count == 7 && read.load[0].model == "wren-m" && read.load[0].tokens == 10...30)
        #expect(read.places(read.load[0].via) == [1, 2, 3])
        #expect(read.events[0].at == .seconds(5) && read.events[0].action == .kill)
        #expect(read.events[1].lasts == .seconds(2) && read.places(read.events[1].nodes) == [1, 2, 3, 4])
        #expect(read.churn?.meanLife == .minutes(5))
        #expect(read.byzantine[0].share == 100_000 && read.byzantine[0].behaviour == .drop)
        #expect(read.expect.map(\.bound) == [99.5, 2, 900])
        #expect(read.expect[0].holds(99.5) && !read.expect[0].holds(99.4) && !read.expect[1].holds(2.1))
    }

    @Test func whatStandsBeforeANodeIsRead() throws {
        let read = try scenario(
            "links: {nat: {symmetric: 10 %, port-restricted: 30 %}, nat_idle: 30 s}\n",
            nodes: "{ada: {}, bob: {}, cyd: {nat: full-cone, count: 2}, dot: {nat: none, address: learnt}}")
        #expect(read.links?.nat.map(\.kind) == [.portRestricted, .symmetric])
        #expect(read.links?.nat.map(\.share) == [300_000, 100_000])
        #expect(read.links?.natIdle == .seconds(30))
        #expect(read.testnet.nodes.map(\.nat) == [nil, nil, .fullCone, .fullCone, TestnetFile.NAT.none])
        #expect(read.testnet.nodes.map(\.learnsAddress) == [false, false, false, false, true])
    }

    @Test func clocksAreRead() throws {
        let read = try scenario(
            "clocks: {skew: -1h..2 min, stuck_1970: 5 %}\n",
            nodes: "{ada: {clock_skew: 30s}, bob: {clock_skew: -1.5 min}, cyd: {}}")
        #expect(read.clocks?.skew == (.minutes(-60))...(.minutes(2)))
        #expect(read.clocks?.stuckIn1970 == 50_000)
        #expect(read.testnet.nodes.map(\.clockSkew) == [.seconds(30), .seconds(-90), nil])
    }

    @Test func whoMisbehavesIsRead() throws {
        let read = try scenario(
            """
            byzantine:
              - {behaviour: lie, share: 10 %, nodes: [bob], from: 8s}
              - {behaviour: ground, count: 16}
              - {behaviour: flood, count: 2, rate: 300, victims: ada}
              - {behaviour: replay, count: 1, rate: 50}
            lookups: {count: 20, rate: 4, from: 9s}
            searches: {count: 3}
            """)
        #expect(read.byzantine.map(\.behaviour) == [.lie, .ground, .flood, .replay])
        #expect(read.byzantine[0].nodes == ["bob"] && read.byzantine[0].from == .seconds(8))
        #expect(read.byzantine[1].near == "wren-m" && read.byzantine[1].count == 16)
        #expect(read.byzantine[2].rate == 300 && read.byzantine[2].victims == ["ada"])
        #expect(read.lookups[0].model == nil && read.lookups[0].count == 20 && read.lookups[0].rate == 4)
        #expect(read.searches[0].model == "wren-m" && read.searches[0].from == .seconds(5))
    }

    @Test func groupsGrowAndSingleNodesStayOne() throws {
        let read = try scenario("", size: 1_002)
        #expect(read.testnet.nodes.count == 1_002)
        #expect(read.places(["bob"]).count == 1_000)
    }

    @Test func whatAScenarioCannotMeanIsRefused() {
        #expect(problem("load: {via: bop}") == "`bop` is not a node of this file")
        #expect(problem("events: [{at: 5, kill: ada}]") == "`events[0].at` is 5")
        #expect(problem("events: [{at: 5s}]") == "an event needs `at` and one action")
        #expect(problem("events: [{at: 5s, kill: ada, thaw: ada}]") == "an event needs `at` and one action")
        #expect(
            problem("events: [{at: 5s, restart: ada, for: 2s}]")
                == "`for` only applies to freeze and partition")
        #expect(problem("links: {loss: 120 %}") == "`links.loss` is 120 %")
        #expect(
            problem("links: {regions: {eu: 50 %}, matrix: {eu: {eu: 1ms}}}")
                == "the regions' shares don't add up to 100 %")
        #expect(problem("", nodes: "{ada: {}, bob: {nat: symmetric}}") == "`bob` is behind a NAT")
        #expect(problem("", nodes: "{ada: {nat: cone}}") == "`nodes.ada.nat` is cone")
        #expect(
            problem("links: {nat: {symmetric: 60 %, restricted: 50 %}}") == "the NATs' shares exceed 100 %")
        #expect(problem("links: {nat: {none: 60 %}}") == "unknown key `links.nat.none`")
        #expect(problem("", nodes: "{ada: {clock_skew: 30}}") == "`nodes.ada.clock_skew` is 30")
        #expect(problem("clocks: {skew: 1h}") == "`clocks.skew` is 1h")
        #expect(problem("clocks: {skew: 1h..-1h}") == "`clocks.skew` is 1h..-1h")
        #expect(problem("links: {speed: 3}") == "unknown key `links.speed`")
        #expect(problem("byzantine: {behaviour: drip, share: 1 %}") == "`byzantine.behaviour` is drip")
        #expect(problem("byzantine: {share: 1 %}") == "`byzantine` needs a `behaviour`")
        #expect(
            problem("byzantine: {behaviour: lie}") == "`behaviour: lie` needs a number of nodes")
        #expect(
            problem("byzantine: {behaviour: lie, share: 1 %, count: 2}")
                == "`behaviour: lie` needs a number of nodes")
        #expect(
            problem("byzantine: {behaviour: ground, share: 3 %}") == "unknown key `byzantine.share`")
        #expect(
            problem("byzantine: {behaviour: lie, count: 3, rate: 5}") == "unknown key `byzantine.rate`")
        #expect(
            problem("byzantine: {behaviour: flood, count: 3, rate: 50000}")
                == "`byzantine.rate` is 50000")
        #expect(
            problem("byzantine: {behaviour: lie, count: 1, nodes: [dan]}")
                == "`dan` is not a node of this file")
        #expect(problem("searches: {model: wren-m, rate: 0}") == "`searches.rate` is 0")
        #expect(problem("expect: [answered > 3]") == "`answered > 3` is not a threshold")
        #expect(problem("expect: [answered >= many]") == "`answered >= many` is not a threshold")
    }
}
