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
        _ book: inout OfferBook, _ index: Int, _ model: String, sequence: UInt64 = 1, withdrawn: Bool = false
    ) -> OfferDropReason? {
        let signed = offer(of: index % 600, model: model, sequence: sequence, withdrawn: withdrawn)
        guard let verified = try? Verified<Offer>(checking: signed) else { return .badSignature }
        return book.hold(
            verified, id: Offer.shortID(key: verified.record.publicKey, model: model), own: false,
            expiresAt: verified.record.notAfter, now: .zero)
    }

    @Test func aFullListOfModelsRefusesNewOnesAndTakesThemWhenOneHasGone() {
        var book = OfferBook()
        for index in 0..<512 { #expect(hold(&book, index, "model-\(index)") == nil) }
        #expect(hold(&book, 513, "another") == .tooManyModels)
        #expect(hold(&book, 513, "model-1") == nil)
        #expect(hold(&book, 0, "model-0", sequence: 2, withdrawn: true) == nil)
        #expect(hold(&book, 513, "another") == nil)
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
                book.remove(book.ids[random.below(book.ids.count)])
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
                == .offerDifference(OfferDifference(wanted: [0, .max])))
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
