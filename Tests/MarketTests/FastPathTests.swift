import Primitives
import Testing
import Wire

@testable import Market

/// A seller that is well known is called alone.
@Suite struct FastPathTests {
    /// A buyer for which each of them has just finished a task, after nine others. No auction is held all the same.
    private func familiarBuyer(
        with sellers: [Seller], change: (inout MarketParameters) -> Void = { _ in }
    ) -> Buyer {
        var parameters = MarketParameters.withoutProbation
        (parameters.soleTasks, parameters.soleMargin) = (1 << 20, 2)
        change(&parameters)
        var buyer = Buyer(parameters: parameters)
        buyer.know(sellers)
        for (index, seller) in sellers.enumerated() {
            let channel = ChannelID(rawValue: UInt64(100 + index))
            let (task, _) = buyer.stream([seller], channel: channel)
            buyer.delta(task, at: 0, "x", from: seller, on: channel)
            buyer.finish(task, 1, Finish(reason: "stop", completionTokens: 1), from: seller, on: channel)
        }
        _ = buyer.take()
        return buyer
    }

    /// Submits a task that these sellers could do; returns the calls.
    private func call(_ buyer: inout Buyer, _ sellers: [Seller], request: TaskRequest = request()) -> (
        task: TaskID, calls: [(RequestToken, CallForBids, PublicKey)]
    ) {
        let task = buyer.submit(request)
        buyer.found(task, sellers)
        return (task, buyer.take().calls)
    }

    @Test func theBestSellerIsCalledAloneAndAwardedByItsBid() throws {
        var buyer = familiarBuyer(with: [ada, bob, cyd])
        let (task, calls) = call(&buyer, [ada, bob, cyd])
        #expect(calls.map(\.2) == [ada.key])
        buyer.answer(calls[0].0, ada.bid(calls[0].1, buyer: buyer.key), from: ada)
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
        #expect(buyer.actions.releases.isEmpty)
        #expect(buyer.auctioneer.transcript(task)?.bids.map(\.worker) == [ada.key])
    }

    @Test func whatItSaysCountsInTheAuctionThatFollowsWhereItHasAQueue() throws {
        var buyer = familiarBuyer(with: [ada, bob, cyd])
        let (task, calls) = call(&buyer, [ada, bob, cyd])
        buyer.answer(
            calls[0].0, ada.bid(calls[0].1, buyer: buyer.key) { $0.queueMilliseconds = 500 }, from: ada)
        let others = buyer.take().calls
        #expect(Set(others.map(\.2)) == [bob.key, cyd.key])
        #expect(others.allSatisfy { $0.1.attempt == 1 })
        for (token, _, key) in others {
            let seller = key == bob.key ? bob : cyd
            let decline = Decline(task: task, attempt: 1, reason: .busy, retryAfterMilliseconds: 1_000)
            buyer.answer(token, .decline(decline), from: seller)
        }
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
    }

    @Test func nobodyElseIsCalledWhereNoOtherOfferCouldBeatItsBidWithItsQueue() {
        var buyer = familiarBuyer(with: [ada, bob])
        let (_, calls) = call(&buyer, [ada, bob])
        buyer.answer(
            calls[0].0, ada.bid(calls[0].1, buyer: buyer.key) { $0.queueMilliseconds = 50 }, from: ada)
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
        #expect(buyer.actions.calls.isEmpty)
    }

    @Test(arguments: 0..<3)
    func othersAreCalledWhereItDeclinesIsSilentOrSlow(_ kind: Int) throws {
        var buyer = familiarBuyer(with: [ada, bob])
        let (task, calls) = call(&buyer, [ada, bob])
        let (token, _, _) = calls[0]
        switch kind {
        case 0:
            let decline = Decline(task: task, attempt: 1, reason: .busy, retryAfterMilliseconds: 1_000)
            buyer.answer(token, .decline(decline), from: ada)
        case 1: buyer.unanswered(token)
        default: buyer.advance(to: buyer.milliseconds + 20)
        }
        let others = buyer.take().calls
        #expect(others.map(\.2) == [bob.key])
        buyer.answer(others[0].0, bob.bid(others[0].1, buyer: buyer.key), from: bob)
        if buyer.actions.awards.isEmpty { buyer.advance(to: buyer.milliseconds + 200) }
        #expect(buyer.actions.awards.map(\.2) == [bob.key])
    }

    @Test func aBetterOfferOfAnyOtherSellerIsWorthAnAuction() {
        var buyer = familiarBuyer(with: [bob])
        #expect(call(&buyer, [ada, bob]).calls.count == 2)
    }

    @Test func aSellerThatIsNewHereOrLostATaskOrWasLastAskedLongAgoIsNotCalledAlone() {
        var fresh = Buyer(parameters: .withoutProbation)
        #expect(call(&fresh, [ada, bob]).calls.count == 2)

        var late = familiarBuyer(with: [ada, bob])
        late.advance(to: late.milliseconds + 10_001)
        #expect(call(&late, [ada, bob]).calls.count == 2)

        var lost = familiarBuyer(with: [ada, bob])
        let (task, worker) = lost.stream([ada], channel: 7)
        let fail = Fail(.backendError, "broken", anotherMaySucceed: true)
        lost.frame(task, 1, .fail(fail), from: worker, on: 7)
        _ = lost.take()
        #expect(call(&lost, [ada, bob]).calls.count == 2)
    }

    @Test func quotesAndTheClientsOrderAreAuctions() {
        var buyer = familiarBuyer(with: [ada, bob])
        #expect(call(&buyer, [ada, bob], request: request { $0.isQuote = true }).calls.count == 2)
        #expect(
            call(&buyer, [ada, bob], request: request { $0.preferences.order = [bob.key] }).calls.count == 2)
    }

    @Test func oneTaskInEightIsAnAuctionSoThatOthersAreHeardOf() {
        var buyer = familiarBuyer(with: [ada, bob]) { $0.soleTasks = 7 }
        var auctions = 0
        for _ in 0..<400 where call(&buyer, [ada, bob]).calls.count == 2 { auctions += 1 }
        #expect((20...100).contains(auctions))
    }
}
