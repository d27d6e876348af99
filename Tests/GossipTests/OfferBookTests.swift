import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct OfferBookTests {
    private func book(_ count: Int, models: Int = 100) -> OfferBook {
        var book = OfferBook()
        for index in 0..<count { _ = hold(&book, index, "model-\(index % models)") }
        return book
    }

    /// Checks the offer's signature first: an offer book holds only checked records.
    private func hold(
        _ book: inout OfferBook, _ index: Int, _ model: String, sequence: UInt64 = 1, withdrawn: Bool = false,
        groups: OfferBook.Groups? = nil
    ) -> OfferDropReason? {
        let signed = offer(of: index % 600, model: model, sequence: sequence, withdrawn: withdrawn)
        guard let verified = try? Verified<Offer>(checking: signed) else { return .badSignature }
        let id = Offer.shortID(key: verified.record.publicKey, model: model)
        let groups = groups ?? OfferBook.Groups(seller: UInt64(index), sender: UInt64(index))
        var random = SeededRandom(seed: UInt64(index))
        switch book.room(for: verified.record, replacing: book[id], groups, random: &random) {
        case .none(let reason): return reason
        case .evicting(let victim): book.remove(victim, .zero)
        case .free: break
        }
        book.hold(
            verified, id: id, groups: groups, own: false, expiresAt: .zero + .seconds(180), now: .zero)
        return nil
    }

    /// An offer book that `group` has filled with offers of invented keys: ids stand for them.
    private func flooded(_ group: OfferBook.Groups, model: String = "flood") -> OfferBook {
        var book = OfferBook()
        guard let verified = try? Verified<Offer>(checking: offer(of: 599, model: model)) else { return book }
        for number in 0..<GossipLimits.offersMax {
            book.hold(
                verified, id: UInt64(number) << 50 | 1, groups: group, own: false,
                expiresAt: .zero + .seconds(180), now: .zero)
        }
        return book
    }

    @Test func aFloodFromOneNetworkEvictsItselfAndFindsNoRoomForMore() {
        let flood = OfferBook.Groups(seller: 7_777, sender: 7_778)
        var book = flooded(flood)
        #expect(hold(&book, 1, "flood-2", groups: flood) == .bookFull)
        #expect(hold(&book, 2, "wren-m", groups: .init(seller: 2, sender: 7_778)) == .bookFull)
        for index in 3..<300 { #expect(hold(&book, index, "model-\(index)") == nil) }
        #expect(book.count == GossipLimits.offersMax)
        // Honest offers are hardly ever drawn, and never the worst of those drawn.
        for index in 300..<599 { #expect(hold(&book, index, "model-\(index)") == nil) }
        for index in 3..<300 {
            #expect(book.offers(model: "model-\(index)").count == 1, "model-\(index)")
        }
    }

    /// Whoever states an honest seller's address in a flood, or passes its offers on in one, crowds only what
    /// it brings itself.
    @Test func whatASellerMailsItselfIsNeverCrowdedByWhatOthersClaimOrPassOn() {
        let flood = OfferBook.Groups(seller: 1, sender: 7_778)
        var book = flooded(flood)
        let own = OfferBook.Groups(seller: 1, sender: 1, isDirect: true)
        #expect(hold(&book, 1, "rare", groups: own) == nil)
        #expect(hold(&book, 1, "rare", sequence: 2, groups: flood) == nil)
        for index in 2..<599 { #expect(hold(&book, index, "model-\(index)") == nil) }
        #expect(book.offers(model: "rare").map(\.record.sequence) == [2])
        #expect(book[Offer.shortID(key: Identity.ofNode(1).publicKey, model: "rare")]?.groups == own)
        // Nor by its own session's other side: what it passes on of the flood.
        #expect(hold(&book, 300, "flood-2", groups: .init(seller: 9, sender: 1)) == nil)
        #expect(book.crowd(own) == 1)
    }

    @Test func anOfferThatAnotherPassedOnFirstIsItsSellersOnceThatMailsIt() {
        var machine = Machine()
        machine.mail([offer(of: 1)], from: 2)
        let id = Offer.shortID(key: Identity.ofNode(1).publicKey, model: "wren-m")
        #expect(machine.gossip.book[id]?.groups.isDirect == false)
        machine.mail([offer(of: 1)], from: 1)
        #expect(machine.gossip.book[id]?.groups.isDirect == true)
        machine.mail([offer(of: 1, sequence: 2)], from: 2)
        #expect(machine.gossip.book[id]?.groups.isDirect == true)
    }

    @Test func anOfferOfAModelInWhichWeTradeAlwaysHasRoomAndStays() {
        var book = flooded(OfferBook.Groups(seller: 7_777, sender: 7_778))
        book.trade(in: ["wren-m"])
        // From the flood's own network.
        #expect(hold(&book, 1, "wren-m", groups: .init(seller: 7_777, sender: 7_778)) == nil)
        for index in 2..<300 { #expect(hold(&book, index, "model-\(index)") == nil) }
        #expect(book.offers(model: "wren-m").count == 1)
    }

    @Test func aFloodOfAModelInWhichWeTradeTakesHalfOfTheBookAndThenEvictsItself() throws {
        let flood = OfferBook.Groups(seller: 7_777, sender: 7_778)
        var book = OfferBook()
        book.trade(in: ["wren-m"])
        let verified = try Verified<Offer>(checking: offer(of: 599, model: "wren-m"))
        let other = try Verified<Offer>(checking: offer(of: 598, model: "other"))
        for number in 0..<GossipLimits.offersMax {
            let isTraded = number < GossipLimits.tradedOffersMax
            book.hold(
                isTraded ? verified : other, id: UInt64(number) << 50 | 1,
                groups: isTraded ? flood : .init(seller: UInt64(number), sender: UInt64(number)), own: false,
                expiresAt: .zero + .seconds(180), now: .zero)
        }
        #expect(hold(&book, 1, "wren-m", groups: flood) == .bookFull)
        #expect(hold(&book, 2, "wren-m") == nil)
        #expect(book.offers(model: "wren-m").count == GossipLimits.tradedOffersMax)
        #expect(book.offers(model: "other").count == GossipLimits.offersMax - GossipLimits.tradedOffersMax)
    }

    @Test func aFullBookWantsNothingThatItDoesntHold() {
        let book = flooded(OfferBook.Groups(seller: 7_777, sender: 7_778))
        var random = SeededRandom(seed: 1)
        let theirs = OfferDigest(
            first: 0, last: .max,
            offers: [OfferVersion(id: 1, sequence: 2), OfferVersion(id: 2, sequence: 1)])
        let answer = book.difference(to: theirs, at: WallTime(milliseconds: wallStart), random: &random)
        #expect(answer.wanted == [1], "a newer version of what it holds, and not the unknown one")
    }

    @Test func aModelCountsAsSoldForTenMinutesAfterItsLastOfferHasGone() {
        var book = OfferBook()
        #expect(!book.wasSold("wren-m", .zero))
        _ = hold(&book, 1, "wren-m")
        _ = hold(&book, 2, "wren-m")
        #expect(book.wasSold("wren-m", .zero))
        for id in book.ids { book.remove(id, .zero + .minutes(5)) }
        #expect(book.wasSold("wren-m", .zero + .minutes(14)))
        #expect(!book.wasSold("wren-m", .zero + .minutes(15)))
    }

    @Test func aCatalogueListsTheModelsInWhichWeTradeAndThoseWithMostSellers() {
        var book = OfferBook()
        for index in 0..<600 { _ = hold(&book, index, "model-\(index)") }
        for index in 0..<3 { _ = hold(&book, index + 10, "model-599") }
        book.trade(in: ["model-99"])
        let listed = book.summaries { _ in true }.map(\.name)
        #expect(listed.count == GossipLimits.modelsMax && listed == listed.sorted())
        #expect(listed.contains("model-99") && listed.contains("model-599"))
    }

    @Test func tombstonesOfAKeyAreEightAtMostTheNinthTakesThePlaceOfTheOneThatEndsFirst() {
        var book = OfferBook()
        for index in 0..<20 { #expect(hold(&book, 1, "model-\(index)", withdrawn: true) == nil) }
        #expect(book.count == 8)
    }

    @Test(arguments: 0..<8) func theCountOfSellersEqualsAPlainRecount(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var book = OfferBook()
        var sequence: UInt64 = 0
        for step in 0..<600 {
            if random.chance(1, in: 3), !book.ids.isEmpty {
                book.remove(book.ids[random.below(book.ids.count)], .zero)
            } else {
                sequence += 1
                _ = hold(
                    &book, random.below(6), "model-\(random.below(12))", sequence: sequence,
                    withdrawn: random.chance(2, in: 5))
            }
            let sellers = Set(book.live.map(\.record.publicKey)).count
            try #require(book.sellerCount == sellers, "seed \(seed), step \(step)")
            let listed = book.byModel.values.map(\.count).reduce(0, +)
            try #require(listed == book.live.count, "seed \(seed), step \(step)")
        }
    }

    @Test func otherModelsAreNamedWithTheirLowestPriceTheCheapestFirst() {
        var machine = Machine()
        machine.mail(
            [offer(of: 1, model: "avocet", output: 5), offer(of: 2, model: "avocet", output: 3)], from: 3)
        machine.mail([offer(of: 1, model: "wren-m", output: 1)], from: 3)
        machine.mail(
            [offer(of: 1, model: "dunlin", output: 3), offer(of: 2, model: "brant", output: 9)], from: 3)
        let others = machine.gossip.cheapest(except: "wren-m", limit: 8)
        #expect(others.map(\.model) == ["avocet", "dunlin", "brant"])
        #expect(others.map(\.price.output) == [3, 3, 9])
        #expect(machine.gossip.cheapest(except: "wren-m", limit: 1).map(\.model) == ["avocet"])
        #expect(machine.gossip.sellerCount == 2)
    }

    @Test func digestRangesCoverTheWholeBookWithoutGapOrOverlap() {
        let book = book(150)
        var first: UInt64 = 0
        var listed: [UInt64] = []
        for _ in 0..<10 {
            let digest = book.digest(first, .max, limit: 32, at: WallTime(milliseconds: wallStart))
            #expect(OfferBook.isSound(digest))
            listed += digest.offers.map(\.id)
            if digest.last == .max { break }
            first = digest.last + 1
        }
        #expect(listed == book.ids)
    }

    @Test func aDifferenceNamesExactlyWhatEitherSideLacks() {
        var random = SeededRandom(seed: 3)
        let mine = book(100)
        var theirs = book(90)
        for index in 100..<105 { _ = hold(&theirs, index, "model-\(index)") }
        _ = hold(&theirs, 3, "model-3", sequence: 9)
        var wanted: [UInt64] = []
        var lacking = 0
        var first: UInt64 = 0
        while true {
            let digest = theirs.digest(first, .max, limit: 32, at: WallTime(milliseconds: wallStart))
            let difference = mine.difference(
                to: digest, at: WallTime(milliseconds: wallStart), random: &random)
            wanted += difference.wanted
            lacking += difference.offers.count + Int(difference.more)
            #expect(difference.offers.count <= 2)
            if digest.last == .max { break }
            first = digest.last + 1
        }
        #expect(lacking == 10)
        let expected = ((100..<105).map { ($0, "model-\($0)") } + [(3, "model-3")]).map {
            Offer.shortID(key: Identity.ofNode($0.0).publicKey, model: $0.1)
        }
        #expect(wanted.sorted() == expected.sorted())
    }

    @Test func craftedDigestsAreRefusedTurnedRangesIdsOutsideUnsortedTwice() {
        func version(_ id: UInt64) -> OfferVersion { OfferVersion(id: id, sequence: 1) }
        let unsound = [
            OfferDigest(first: 5, last: 4, offers: []),
            OfferDigest(first: 5, last: 9, offers: [version(4)]),
            OfferDigest(first: 5, last: 9, offers: [version(10)]),
            OfferDigest(first: 5, last: 9, offers: [version(7), version(6)]),
            OfferDigest(first: 5, last: 9, offers: [version(7), version(7)]),
            OfferDigest(first: 0, last: .max, offers: (0..<57).map { version($0) }),
        ]
        for digest in unsound {
            var machine = Machine()
            #expect(machine.receive(.offerDigest(digest), from: 1) == nil)
            #expect(machine.gossip.dropped[.badDigest] == 1)
        }
        var machine = Machine()
        let edges = OfferDigest(first: 0, last: .max, offers: [version(0), version(.max)])
        #expect(
            machine.receive(.offerDigest(edges), from: 1)
                == .offerDifference(OfferDifference(wanted: [0, .max], now: machine.now.wall)))
    }

    @Test func twoOffersOfTheLargestSizeShareNoMessage() {
        var machine = Machine.joined(members: 1..<2)
        for model in ["a", "b", "c"] {
            var draft = terms(model)
            draft.endpoints = []
            machine.announce(draft)
        }
        machine.pass(.milliseconds(100))
        for request in machine.takeRequests() {
            guard case .offerMail(let offers) = request.message else { continue }
            #expect(offers.map(\.fieldSize).reduce(0, +) <= WireLimits.listSizeMax)
            #expect(offers.count <= 2)
        }
    }

    @Test func summariesGiveAModelsRangeOfPricesContextsAndQuantizationsByName() {
        var machine = Machine()
        machine.mail([offer(of: 1, output: 5), offer(of: 2, output: 3)], from: 3)
        machine.mail([offer(of: 1, model: "avocet", output: 5)], from: 3)
        let models = machine.gossip.models
        #expect(models.map(\.name) == ["avocet", "wren-m"])
        #expect(models.last?.providers == 2)
        #expect(models.last?.slots == 4)
        #expect(models.last?.lowest.output == 3)
        #expect(models.last?.highest.output == 5)
        #expect(models.last?.context == 4_096)
        #expect(models.last?.quantizations == ["q8_0"])
    }
}
