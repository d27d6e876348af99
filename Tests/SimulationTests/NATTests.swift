// NATs: the mappings and filters of RFC 4787, named as in RFC 3489, and a mesh behind them.

import PeerCore
import Primitives
import Sessions
import Testing
import Wire

@testable import Simulation

@Suite struct TranslatorTests {
    private var translators = Translators(idle: .seconds(60), random: SeededRandom(seed: 1))
    private let second: Int64 = 1_000_000_000

    @Test func noNATIsNoMapping() {
        var nats = translators
        #expect(nats.leaving(5, .none, to: 9, at: 0) == 5)
        #expect(nats.machine(of: 5) == 5 && nats.port(of: 5) == World.port)
    }

    @Test(arguments: [NATKind.fullCone, .restricted, .portRestricted])
    func oneMappingServesAllDestinationsOfACone(kind: NATKind) {
        var nats = translators
        let outside = nats.leaving(5, kind, to: 9, at: 0)
        #expect(outside < 0 && nats.machine(of: outside) == 5 && nats.port(of: outside) != World.port)
        #expect(nats.leaving(5, kind, to: 10, at: second) == outside)
        #expect(nats.number(5, port: nats.port(of: outside)) == outside)
    }

    @Test func aSymmetricOneMapsEachDestinationToAPortOfItsOwn() {
        var nats = translators
        let first = nats.leaving(5, .symmetric, to: 9, at: 0)
        let second = nats.leaving(5, .symmetric, to: 10, at: 0)
        #expect(first != second && nats.port(of: first) != nats.port(of: second))
        #expect(nats.leaving(5, .symmetric, to: 9, at: 1) == first)
        #expect(nats.admits(first, from: 9, at: 1) && !nats.admits(first, from: 10, at: 1))
    }

    /// From a stranger, from another port of an address that it wrote to, and from an endpoint that it wrote
    /// to.
    @Test(arguments: [
        (NATKind.fullCone, true, true), (.restricted, false, true), (.portRestricted, false, false),
        (.symmetric, false, false),
    ])
    func filtersAsItsKindSays(kind: NATKind, stranger: Bool, otherPort: Bool) {
        var nats = translators
        // Machine 7 has two outside ports, because it is behind a symmetric NAT itself.
        let seven = nats.leaving(7, .symmetric, to: 1, at: 0)
        let sevenElsewhere = nats.leaving(7, .symmetric, to: 2, at: 0)
        let outside = nats.leaving(5, kind, to: seven, at: 0)
        #expect(nats.admits(outside, from: seven, at: second))
        #expect(nats.admits(outside, from: sevenElsewhere, at: second) == otherPort)
        #expect(nats.admits(outside, from: 8, at: second) == stranger)
    }

    @Test(arguments: NATKind.allCases.filter { $0 != .none })
    func silenceEndsAMappingAndOnlyWhatLeavesRefreshesIt(kind: NATKind) {
        var nats = translators
        let outside = nats.leaving(5, kind, to: 9, at: 0)
        #expect(nats.leaving(5, kind, to: 9, at: 60 * second) == outside)
        #expect(nats.admits(outside, from: 9, at: 120 * second))
        #expect(!nats.admits(outside, from: 9, at: 121 * second))
        let next = nats.leaving(5, kind, to: 9, at: 121 * second)
        #expect(next != outside)
        #expect(
            nats.admits(next, from: 9, at: 121 * second) && !nats.admits(outside, from: 9, at: 121 * second))
    }

    @Test func aPermissionEndsByItselfWhileItsMappingIsKept() {
        var nats = translators
        let outside = nats.leaving(5, .portRestricted, to: 9, at: 0)
        #expect(nats.leaving(5, .portRestricted, to: 10, at: 50 * second) == outside)
        #expect(nats.admits(outside, from: 10, at: 70 * second))
        #expect(!nats.admits(outside, from: 9, at: 70 * second))
    }
}

@Suite struct BehindNATTests {
    private func mesh(_ kinds: [NATKind]) -> Scenario {
        var scenario = Scenarios.mesh("nats", "", seed: 11, nodes: 20)
        // Sellers are 0 to 3; the last nodes are behind NATs.
        for (offset, kind) in kinds.enumerated() { scenario.nodes[19 - offset].nat = kind }
        scenario.load = [Scenarios.load(tasks: 30, from: .seconds(8), every: .milliseconds(100))]
        return scenario
    }

    private func expectHolds(_ report: Report, location: SourceLocation = #_sourceLocation) {
        let holds = report.holds
        #expect(holds, "\(report.text(replay: "BehindNATTests"))", sourceLocation: location)
    }

    private func ownEndpoints(_ host: Host) -> [Endpoint] { host.process?.peer.ownEndpoints ?? [] }

    @Test func behindAnyNATANodeJoinsLearnsEveryOfferAndBuysFromSellersInTheOpen() {
        var scenario = mesh([.fullCone, .restricted, .portRestricted, .symmetric])
        scenario.load[0].askers = [16, 17, 18, 19]
        scenario.expect.deliveredPercentMin = 100
        let world = World(scenario)
        let report = world.run()
        expectHolds(report)
        #expect(report.carrier.filtered > 0)
    }

    @Test(arguments: [
        NATKind.fullCone, .restricted, .portRestricted,
    ])
    func aNodeBehindAConeLearnsItsOutsideAddressFromItsPeers(kind: NATKind) throws {
        let world = World(mesh([kind, kind]))
        world.run(until: .zero + .seconds(12))
        for host in world.hosts.suffix(2) {
            let endpoints = ownEndpoints(host)
            let own = try #require(endpoints.first)
            #expect(endpoints.count == 1)
            let address = try #require(world.address(of: own), "\(own) was never a mapping of its NAT")
            #expect(address < 0 && world.host(at: own)?.index == host.index)
            #expect(own != host.endpoint)
        }
    }

    @Test func aNodeThatNobodyToldItsAddressLearnsIt() {
        var scenario = mesh([])
        scenario.nodes[19].learnsAddress = true
        let world = World(scenario)
        world.run(until: .zero + .seconds(12))
        #expect(ownEndpoints(world.hosts[19]) == [world.hosts[19].endpoint])
    }

    @Test func aSellerBehindANATThatSaysSoDialsItsBuyers() {
        var scenario = mesh([])
        for (offset, kind) in [NATKind.fullCone, .portRestricted, .symmetric].enumerated() {
            scenario.nodes[2 + offset].serves = scenario.nodes[0].serves
            scenario.nodes[2 + offset].acceptsInbound = false
            scenario.nodes[2 + offset].nat = kind
        }
        scenario.nodes[0].serves = []
        scenario.nodes[1].serves = []
        // No node mails to those that state they are unreachable; they ask once a minute.
        scenario.expect.offersWithin = .seconds(70)
        scenario.load[0].every = .milliseconds(300)
        scenario.load[0].askers = Array(5..<20)
        scenario.expect.deliveredPercentMin = 100
        let report = World(scenario).run()
        expectHolds(report)
    }

    @Test func noConnectionComesInThroughANAT() throws {
        let world = World(mesh([.fullCone]))
        world.run(until: .zero + .seconds(10))
        let hidden = world.hosts[19]
        let outside = try #require(ownEndpoints(hidden).first)
        let dialler = world.hosts[5]
        let process = try #require(dialler.process)
        let stream = world.streams.count
        world.dial(ChannelID(rawValue: 1 << 40), outside, dialler, process)
        world.run(until: .zero + .seconds(14))
        #expect(!world.streams[stream].isConnected)
        #expect(process.channels[ChannelID(rawValue: 1 << 40)] == nil)
    }

    @Test func theSameSeedDrawsTheSamePorts() {
        let scenario = mesh([.symmetric, .portRestricted])
        #expect(World(scenario).run().digest == World(scenario).run().digest)
    }
}
