import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct NetworkTests {
    /// At a refresh, too.
    @Test func among64NodesWith2PercentLossEveryOfferIsEverywhereInAboutOneCopyEach() {
        var network = Network(64, seed: 1)
        network.joinAll()
        for index in 0..<64 { network.announce(index, terms("model-\(index % 5)")) }
        network.run(.seconds(2))
        let early = network.missing(among: 0..<64, publishers: 0..<64)
        #expect(early <= 20, "of 4,032, before anti-entropy")
        network.run(.seconds(48))
        #expect(network.missing(among: 0..<64, publishers: 0..<64) == 0)

        // All refresh, 55 to 60 s after the announcement.
        let before = network.offersReceived
        network.run(.seconds(14))
        let copies = Double(network.offersReceived - before) / Double(64 * 63)
        #expect(copies > 0.95 && copies <= 1.5, "copies per holder: \(copies)")
        #expect(network.nodes.allSatisfy { $0.gossip.models.count == 5 })
    }

    @Test func aWithdrawalAndALeaveAreKnownEverywhereWithinASecond() {
        var network = Network(64, seed: 2)
        network.joinAll()
        for index in 0..<4 { network.announce(index, terms("wren-m")) }
        network.run(.seconds(20))
        network.act(0) { $0.withdraw(model: "wren-m", turn: &$1, out: &$2) }
        network.act(1) { $0.leave(turn: &$1, out: &$2) }
        network.run(.seconds(1))
        let holders = network.nodes.count { $0.gossip.offers(model: "wren-m").count > 2 }
        #expect(holders == 0)
        #expect(network.nodes[1].events.last == "left")
        network.nodes[1].isUp = false
        network.run(.seconds(40))
        #expect(network.nodes.allSatisfy { $0.isUp ? $0.gossip.offers(model: "wren-m").count == 2 : true })
    }

    @Test func aKilledSellersOfferRunsOutEverywhereNobodyElsesDoes() {
        var network = Network(16, seed: 3)
        network.joinAll()
        for index in 0..<4 { network.announce(index, terms("wren-m")) }
        network.run(.seconds(10))
        network.nodes[0].isUp = false
        network.run(.seconds(225))
        #expect(network.nodes[1...].allSatisfy { $0.gossip.offers(model: "wren-m").count == 3 })
        #expect(network.nodes[1...].allSatisfy { $0.events.filter { $0.hasPrefix("expired") }.count == 1 })
    }

    @Test func aMeshThatWasPartedForLongerThanOffersHoldIsOneAgainWithinTwoRounds() {
        var network = Network(24, seed: 4)
        network.joinAll()
        for index in 0..<24 { network.announce(index, terms("wren-m", output: 1)) }
        network.run(.seconds(10))
        network.isLinked = { $0 / 12 == $1 / 12 }
        network.run(.seconds(300))
        for index in 0..<24 { network.announce(index, terms("wren-m", output: Int64(2 + index / 12))) }
        network.run(.seconds(5))
        #expect(network.nodes.allSatisfy { $0.gossip.allOffers.count == 12 })
        network.isLinked = { _, _ in true }
        network.run(.seconds(120))
        #expect(network.missing(among: 0..<24, publishers: 0..<24) == 0)
    }

    @Test func halvesPartedRightAfterAChangeAgreeWithinTwoRoundsOfAntiEntropy() {
        var parameters = GossipParameters()
        parameters.refreshEvery = .seconds(170)
        parameters.validity = .seconds(500)
        var network = Network(24, seed: 5, parameters: parameters)
        network.joinAll()
        for index in 0..<24 { network.announce(index, terms("wren-m", output: 1)) }
        network.run(.seconds(65))
        network.isLinked = { $0 / 12 == $1 / 12 }
        for index in 0..<24 { network.announce(index, terms("wren-m", output: 2)) }
        network.run(.seconds(3))
        network.isLinked = { _, _ in true }
        network.run(.seconds(140))
        #expect(network.missing(among: 0..<24, publishers: 0..<24) == 0)
    }

    @Test func aNewcomerHasEverythingWithinSecondsAndIsKnownToThoseWhomItDoesntKnow() {
        var network = Network(33, seed: 6)
        for index in 0..<32 { for other in 0..<32 where other != index { network.join(index, other) } }
        for index in 0..<32 { network.announce(index, terms("wren-m")) }
        network.run(.seconds(30))
        network.announce(32, terms("wren-l"))
        for index in 0..<16 { network.join(32, index) }
        network.run(.seconds(8))
        #expect(network.nodes[32].gossip.allOffers.count == 33)
        #expect(!network.nodes[32].gossip.isJoining)
        network.run(.seconds(100))
        #expect(network.nodes.allSatisfy { $0.gossip.offers(model: "wren-l").count == 1 })
    }

    @Test(arguments: [7, 8, 9])
    func aSellerThatTellsTwoHalvesDifferentThingsEndsWithOneOfferEverywhere(seed: UInt64) {
        // Enough spot checks that one of them crosses from half to half.
        var parameters = GossipParameters()
        parameters.spotCheckOneIn = 2
        var network = Network(33, seed: seed, parameters: parameters)
        network.lossPerMille = 0
        for index in 0..<32 { for other in 0..<32 where other != index { network.join(index, other) } }
        network.run(.seconds(8))
        for index in 0..<32 { network.act(index) { gossip, _, _ in gossip.joining = nil } }
        let bodies = [
            offer(of: 40, sequence: 9, output: 1, issued: 8, ends: 188),
            offer(of: 40, sequence: 9, output: 2, issued: 8, ends: 188),
        ]
        for index in 0..<32 {
            network.act(index) {
                _ = $0.handle(
                    .offerMail([bodies[index / 16]]), from: address(40), proven: true, turn: &$1, out: &$2)
            }
        }
        network.run(.seconds(3))
        let held = network.nodes[0..<32].map { $0.gossip.allOffers.map(\.signed) }
        #expect(held.allSatisfy { $0.count == 1 && $0 == held[0] })
    }

    @Test func aSellerRestartedWithoutItsStoredSequenceContinuesAboveWhatTheMeshRemembers() {
        var network = Network(8, seed: 8)
        network.joinAll()
        // A sequence far above the wall clock, as left behind by a clock that once ran ahead.
        network.announce(0, terms("wren-m", output: 1, sequence: UInt64(wallStart) + 900_000))
        network.run(.seconds(10))
        network.restart(0)
        network.announce(0, terms("wren-m", output: 2))
        for other in 1..<8 { network.join(0, other) }
        network.run(.seconds(3))
        #expect(network.nodes.allSatisfy { $0.gossip.allOffers.map(\.record.price.output) == [2] })
        #expect(network.missing(among: 0..<8, publishers: 0..<1) == 0)
    }

    /// With and without a withdrawal; at half a percent of loss.
    @Test(arguments: [false, true])
    func sellersThatRestartEveryFewSecondsAreHeldByAllInTheirNewestVersionWithinTwoSeconds(leaves: Bool) {
        var network = Network(24, seed: 14)
        network.lossPerMille = 5
        network.joinAll()
        for index in 0..<24 { network.announce(index, terms("wren-m")) }
        network.run(.seconds(20))
        for round in 1...12 as ClosedRange<Int64> {
            for seller in 0..<3 {
                if leaves { network.act(seller) { $0.leave(turn: &$1, out: &$2) } }
            }
            network.run(.milliseconds(500))
            for seller in 0..<3 {
                network.restart(seller, resuming: ["wren-m"])
                for other in 0..<24 where other != seller { network.join(seller, other) }
            }
            // Its model server needs a moment, in which it learns of its former life.
            network.run(.milliseconds(400))
            for seller in 0..<3 { network.announce(seller, terms("wren-m", output: 100 + round)) }
            network.run(.milliseconds(2_500))
            let missing = network.missing(among: 3..<24, publishers: 0..<3)
            #expect(missing == 0, "in round \(round)")
        }
        #expect(network.nodes[3...].allSatisfy { $0.gossip.dropped[.rateLimited] == 0 })
    }

    @Test func anOldOfferReplayedToEverybodyAfterItsTombstoneComesBackNowhere() throws {
        var network = Network(16, seed: 9)
        network.joinAll()
        network.announce(0, terms("wren-m"))
        network.run(.seconds(10))
        let old = try #require(network.nodes[5].gossip.allOffers.first?.signed)
        network.act(0) { $0.withdraw(model: "wren-m", turn: &$1, out: &$2) }
        network.run(.seconds(2))
        for second in 0..<250 {
            network.act(1 + second % 15) {
                _ = $0.handle(
                    .offerMail([old]), from: address(500), proven: true, turn: &$1, out: &$2)
            }
            network.run(.seconds(1))
        }
        #expect(network.nodes.allSatisfy { $0.gossip.allOffers.isEmpty })
        #expect(network.nodes.allSatisfy { $0.events.filter { $0.hasPrefix("learnt") }.count == 1 })
        #expect(network.nodes.allSatisfy { $0.gossip.heldCount == 0 })
    }

    @Test func nodesWhoseClocksDifferByUpTo29SecondsTradeLikeAnyOthers() {
        var network = Network(8, seed: 10)
        network.nodes[1].wallError = 25_000
        network.nodes[2].wallError = -4_000
        network.joinAll()
        for index in 0..<3 { network.announce(index, terms("wren-m")) }
        for _ in 0..<20 {
            network.run(.seconds(15))
            #expect(network.nodes.allSatisfy { $0.gossip.allOffers.count == 3 })
        }
    }

    @Test(arguments: [1, 2, 5])
    func oneTwoAndFiveNodesAreNoSpecialCases(count: Int) {
        var network = Network(count, seed: 11)
        network.joinAll()
        for index in 0..<count { network.announce(index, terms("wren-m")) }
        network.run(.seconds(90))
        #expect(network.missing(among: 0..<count, publishers: 0..<count) == 0)
        network.act(0) { $0.search(model: "none", token: 1, turn: &$1, out: &$2) }
        network.run(.seconds(2))
        #expect(network.nodes[0].events.last == "finished 1")
    }

    @Test func theSameSeedGivesTheSameRunAnotherSeedAnother() {
        func digest(_ seed: UInt64) -> CourseDigest {
            var network = Network(12, seed: seed)
            network.joinAll()
            for index in 0..<12 { network.announce(index, terms("model-\(index % 3)")) }
            network.run(.seconds(75))
            return network.digest
        }
        let first = digest(12)
        #expect(first == digest(12))
        #expect(first != digest(13))
    }
}
