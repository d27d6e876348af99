import Primitives
import Testing
import Wire

@testable import Market

@Suite struct CandidateTests {
    func refusal(_ sellers: [Seller], known: Int = 5, change: (inout Preferences) -> Void) -> TaskFailure? {
        var buyer = Buyer()
        let task = buyer.submit(request { change(&$0.preferences) })
        buyer.found(task, sellers, known: known)
        return buyer.actions.failures.first
    }

    func nodes(_ failure: TaskFailure?, _ reason: Reason) -> Int? {
        failure?.reasons.first { $0.reason == reason }?.nodes
    }

    @Test func aPriceRefusalNamesTheCheapestTheFixAndTheAlternative() {
        let failure = refusal([ada, bob, cyd]) { $0.maxOutputPrice = 1_000_000 }
        #expect(failure?.reason == .overMaxPrice)
        #expect(
            failure?.message
                == "No node sells wren-m at 1.00 cr per million output tokens. 3 sell it, from 1.60 (\"bob\" p0cww5vqdat8). Raise provider.max_price.completion to 1.60, or use wren-s (0.50)."
        )
        #expect(nodes(failure, .overMaxPrice) == 3 && nodes(failure, .notServed) == 2)
        #expect(failure?.known == 5 && failure?.asked == 0 && failure?.bids == 0)
        #expect(failure?.nearest?.value == 1_600_000 && failure?.nearest?.worker == bob.key)
    }

    /// The refusal of a task after each of `sellers` declined for `reason`.
    func refusal(
        _ sellers: [Seller], declined reason: DeclineReason, change: (inout Preferences) -> Void = { _ in }
    ) throws -> TaskFailure {
        var buyer = Buyer()
        let task = buyer.submit(request { change(&$0.preferences) })
        buyer.found(task, sellers)
        for (token, call, key) in buyer.take().calls {
            let seller = try #require(sellers.first { $0.key == key })
            let decline = Decline(
                task: task, attempt: call.attempt, reason: reason,
                retryAfterMilliseconds: reason == .busy ? 600_000 : 0)
            buyer.answer(token, .decline(decline), from: seller)
        }
        buyer.found(task, sellers)
        return try #require(buyer.actions.failures.first)
    }

    @Test func sellersThatThePreferencesExcludeAreTheReasonOnlyIfTheyAreAll() throws {
        let busy = try refusal([ada, bob, cyd], declined: .busy) { $0.only = [ada.key] }
        #expect(busy.reason == .busy && busy.retryAfter != nil && nodes(busy, .excluded) == 2)
        #expect(
            busy.message
                == "3 nodes sell wren-m, the request's provider preferences allow 1, and it has no free slot now."
        )
        let dear = refusal([ada, bob, cyd]) {
            $0.only = [cyd.key]
            $0.maxOutputPrice = 2_000_000
        }
        #expect(dear?.reason == .overMaxPrice && nodes(dear, .excluded) == 2)
        // wren-s is sold by a node that isn't allowed either.
        #expect(
            dear?.message
                == "No allowed node sells wren-m at 2.00 cr per million output tokens. 3 sell it, the request's provider preferences allow 1, from 2.40 (\"cyd\" wvrmsyv4rt27). Raise provider.max_price.completion to 2.40."
        )
        let all = refusal([ada]) { $0.ignore = [ada.key] }
        #expect(all?.message == "1 node sells wren-m, and the request's provider preferences exclude it.")
    }

    @Test func aPausedSellerIsNotCalledFull() throws {
        let one = try refusal([ada], declined: .paused)
        #expect(one.reason == .busy && one.message == "1 node sells wren-m, and it is paused.")
        let two = try refusal([ada, bob], declined: .paused)
        #expect(two.message == "2 nodes sell wren-m, and none takes new work now: 2 paused.")
        #expect(
            try refusal([ada], declined: .backendDown).message
                == "1 node sells wren-m, and its model server is down.")
    }

    @Test func anAlternativeIsNamedOnlyIfTheRequestAcceptsIt() {
        let free = refusal([ada, bob]) { $0.maxOutputPrice = 0 }
        #expect(free?.alternatives.isEmpty == true && free?.message.hasSuffix("completion to 1.60.") == true)
        let cost = refusal([ada]) { $0.maxCost = 1 }
        #expect(
            cost?.message.hasPrefix(
                "No node does this task of wren-m within 0.000001 cr. 1 sells it; \"ada\" \(NodeID(of: ada.key).short) asks about 0.000"
            )
                == true,
            "\(cost?.message ?? "")")
        #expect(cost?.message.contains("wren-s") == false)
        var buyer = Buyer()
        let task = buyer.submit(request { $0.tokensIn = 600 })
        buyer.found(task, [ada])
        #expect(buyer.actions.failures.first?.alternatives.isEmpty == true, "wren-s has the same context")
    }

    @Test func aLimitOfTheLatencyIsNotExplainedAsOneOfTheThroughput() {
        let failure = refusal([ada, bob]) { $0.maxFirstTokenMilliseconds = 1 }
        #expect(
            failure?.reason == .tooSlow && failure?.nearest?.parameter == "provider.preferred_max_latency")
        #expect(failure?.message.contains("the quickest after 3 ms") == true, "\(failure?.message ?? "")")
    }

    @Test func sellersThatTheOwnerDeniesAreNotCalledGone() {
        var buyer = Buyer()
        let task = buyer.submit()
        let found = OffersFound(sellers: [], known: 1, denied: 1, catalogueKnows: true)
        buyer.auctioneer.offersFound(task, found, turn: &buyer.turn, out: &buyer.actions)
        let failure = buyer.actions.failures.first
        #expect(failure?.reason == .excluded)
        #expect(
            failure?.message == "1 node sells wren-m, and `deny` in this node's configuration excludes it.")
    }

    @Test func whatSellersLackIsNamed() {
        var buyer = Buyer()
        let task = buyer.submit(
            request {
                $0.features = [.chat, .tools, .images]
                $0.preferences.quantizations = ["bf16"]
            })
        buyer.found(task, [ada, bob])
        #expect(
            buyer.actions.failures.first?.message
                == "2 nodes sell wren-m, but none with tools, images or quantization bf16.")
    }

    @Test func aRefusalWithoutACallStillSaysWhoWasNotAsked() throws {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.preferences.maxOutputPrice = 1 })
        buyer.found(task, [ada, bob, cyd], known: 5)
        let transcript = try #require(buyer.auctioneer.transcript(task))
        #expect(transcript.known == 5)
        #expect(transcript.skipped.map(\.nodes) == [2, 3])
    }

    @Test func eachSellerIsCountedOnceUnderTheFirstFilterThatItFails() {
        let small = Seller(11, context: 4)
        let failure = refusal([ada, bob, cyd, small, Seller(12, features: [.embedding])], known: 9) {
            $0.ignore = [ada.key]
            $0.maxOutputPrice = 2_000_000
            $0.minMillitokensPerSecond = 50_000
        }
        #expect(nodes(failure, .notServed) == 4)
        #expect(nodes(failure, .excluded) == 1)
        #expect(nodes(failure, .lacksParameter) == 1)
        #expect(nodes(failure, .contextTooSmall) == 1)
        #expect(nodes(failure, .overMaxPrice) == 1)
        #expect(nodes(failure, .tooSlow) == 1)
        #expect(failure?.reasons.map(\.nodes).reduce(0, +) == 9)
    }

    @Test(arguments: [
        (Reason.excluded, Reason.excluded), (.lacksParameter, .lacksParameter),
        (.overMaxPrice, .overMaxPrice), (.tooSlow, .tooSlow),
    ])
    func everyLimitOfAClientHasItsOwnReason(_ reason: Reason, _ code: Reason) {
        let failure = refusal([ada, bob, cyd]) {
            switch reason {
            case .excluded: $0.only = [Seller(99).key]
            case .lacksParameter: $0.quantizations = ["bf16"]
            case .overMaxPrice: $0.maxCost = 50
            default: $0.maxFirstTokenMilliseconds = 2
            }
        }
        #expect(failure?.reason == code && nodes(failure, reason) == 3)
    }

    @Test func aModelThatNobodySellsIsNotFoundButOneInTheCatalogueIsOnlyAway() {
        var buyer = Buyer()
        let task = buyer.submit(request("wren-x"))
        buyer.found(task, [])
        #expect(buyer.actions.failures.map(\.reason) == [.modelNotFound])
        let other = buyer.submit()
        buyer.auctioneer.offersFound(
            other, OffersFound(sellers: [], known: 2, catalogueKnows: true), turn: &buyer.turn,
            out: &buyer.actions)
        #expect(buyer.actions.failures.map(\.reason) == [.modelNotFound, .unreachable])
        #expect(buyer.actions.failures.last?.retryAfter == .seconds(1))
    }

    @Test func aRequestThatIsTooLongNamesTheLargestContextOnOffer() {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.tokensIn = 600 })
        buyer.found(task, [ada, Seller(11, context: 256)])
        #expect(buyer.actions.failures.first?.reason == .contextTooSmall)
        #expect(buyer.actions.failures.first?.largestContext == 512)
    }

    @Test func ofManySellersAtMostEightAreAskedWithANewcomerAndNotAlwaysTheSame() throws {
        var random = SeededRandom(seed: 3)
        let pool = (0..<100).map { number -> Eligible in
            Eligible(
                candidate: Seller(UInt64(100 + number)).candidate, millitrust: 1_000, belief: SpeedBelief(),
                rank: .max, isKnown: true, finished: number < 90 ? 1 : 0, weight: number < 10 ? 1_000 : 10)
        }
        var counts = [Int](repeating: 0, count: 100)
        for _ in 0..<200 {
            let chosen = Sampling.choose(pool, most: 8, random: &random)
            #expect(chosen.count == 8 && chosen.contains { !$0.isMet })
            #expect(Set(chosen.map(\.candidate.key)).count == 8)
            for one in chosen {
                let index = try #require(pool.firstIndex { $0.candidate.key == one.candidate.key })
                counts[index] += 1
            }
        }
        #expect(counts[0..<10].reduce(0, +) > 1_000, "the better are asked more often")
        #expect(counts[0..<10].allSatisfy { $0 < 200 }, "but nobody always")
        #expect(counts[10..<90].reduce(0, +) > 50)
    }

    @Test func inventedSellersGetHalfOfAnAuctionsPlacesOrWhatIsLeftOver() {
        var random = SeededRandom(seed: 5)
        func sellers(_ numbers: Range<Int>, isKnown: Bool) -> [Eligible] {
            let weight: UInt64 = isKnown ? 1 : 1 << 20
            return numbers.map { number -> Eligible in
                Eligible(
                    candidate: Seller(UInt64(100 + number)).candidate, millitrust: 1_000,
                    belief: SpeedBelief(), rank: .max, isKnown: isKnown, finished: 0, weight: weight)
            }
        }
        let invented = sellers(0..<1_000, isKnown: false)
        for (real, known) in [(12, 4), (2, 2), (0, 0)] {
            let chosen = Sampling.choose(
                invented + sellers(2_000..<2_000 + real, isKnown: true), most: 8, random: &random)
            #expect(chosen.count == 8)
            #expect(chosen.count(where: \.isKnown) >= known)
        }
    }

    @Test func onePlaceOfAnAuctionIsForASellerThatFinishedATaskHereHoweverGoodTheOthersLook() {
        var random = SeededRandom(seed: 6)
        let pool = (0..<200).map { number -> Eligible in
            let isMet = number == 77
            let weight: UInt64 = isMet ? 1 : 1 << 20
            return Eligible(
                candidate: Seller(UInt64(100 + number)).candidate, millitrust: 1_000, belief: SpeedBelief(),
                rank: .max, isKnown: true, finished: isMet ? 1 : 0, weight: weight)
        }
        for _ in 0..<50 {
            let chosen = Sampling.choose(pool, most: 8, random: &random)
            #expect(chosen.count(where: \.isMet) == 1)
        }
    }

    @Test func sellersThatThisNodeHasMetGetHalfOfAnAuctionsPlacesHoweverManyAnswerMoreCheaply() {
        var random = SeededRandom(seed: 7)
        let pool = (0..<200).map { number -> Eligible in
            let isMet = number < 10
            return Eligible(
                candidate: Seller(UInt64(100 + number)).candidate, millitrust: 1_000, belief: SpeedBelief(),
                rank: .max, isKnown: true, finished: isMet ? 1 : 0, weight: isMet ? 1 : 1 << 20)
        }
        for _ in 0..<50 {
            #expect(Sampling.choose(pool, most: 8, random: &random).count(where: \.isMet) == 4)
        }
    }

    @Test func declinesInARowAndSlotsThatAreOnlyClaimedWeighLittle() {
        let weight = { (slots: UInt32, isMet: Bool, declines: Int) -> UInt64 in
            Sampling.weight(
                score: 100, best: 100, slots: slots, inFlight: 0, hasSession: false, isMet: isMet,
                declines: declines)
        }
        let one: UInt64 = 1 << 20
        #expect(weight(4_096, false, 0) == 8 * one)
        #expect(weight(4_096, true, 0) == 64 * one)
        #expect(weight(4, true, 1) == 2 * one)
        #expect(weight(4, true, 3) == one / 2)
        #expect(weight(4, true, .max) == weight(4, true, 6))
        #expect(weight(1, true, 6) > 0)
    }

    @Test func weightsFallWithTheFourthPowerOfTheScoreAndWithTasksInFlight() {
        let weight = { (score: UInt64, flight: Int) in
            Sampling.weight(
                score: score, best: 100, slots: 4, inFlight: flight, hasSession: false, isMet: true,
                declines: 0)
        }
        #expect(weight(100, 0) == 4 << 20)
        let ratio = Double(weight(200, 0)) / Double(weight(100, 0))
        #expect(ratio > 0.06 && ratio < 0.065)
        #expect(weight(100, 3) == 1 << 20 && weight(100, 40) == 1 << 20)
        #expect(weight(.max, 0) >= 1)
        let most = Sampling.weight(
            score: .max, best: .max, slots: .max, inFlight: 0, hasSession: true, isMet: true, declines: 0)
        #expect(most > 0)
    }

    @Test func theClientsOrderDecidesBeforeTheScoreAndWithoutFallbacksAlone() throws {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.preferences.order = [bob.key] })
        buyer.found(task, [ada, bob, cyd])
        for (token, call, key) in buyer.take().calls {
            let seller = try #require([ada, bob, cyd].first { $0.key == key })
            buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
        }
        #expect(buyer.actions.awards.map(\.2) == [bob.key])
        let other = buyer.submit(
            request {
                $0.preferences.order = [cyd.key]; $0.preferences.allowFallbacks = false
            })
        _ = buyer.take()
        buyer.found(other, [ada, bob, cyd])
        #expect(buyer.actions.calls.map(\.2) == [cyd.key])
    }

    @Test func whatSellersThatLiveSayIsTheReasonHoweverManyDeadOnesAreListed() throws {
        var buyer = Buyer()
        let dear = Seller(60, "dear", price: price(900, 9_000))
        let dead = (0..<8).map { Seller(UInt64(70 + $0)) }
        let limited = request { $0.preferences.maxOutputPrice = Int64(1_000_000) * 3 }
        let task = buyer.submit(limited)
        buyer.found(task, dead + [dear])
        for (token, _, _) in buyer.take().calls { buyer.unanswered(token) }
        buyer.wait(task, with: dead + [dear])
        #expect(buyer.actions.failures.map(\.reason) == [.overMaxPrice])
    }
}
