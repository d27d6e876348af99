import Primitives
import Testing
import Wire

@testable import Market

@Suite struct AuctionTests {
    @Test func aTaskAsksForOffersAndCallsEverySellerWithoutThePrompt() {
        var buyer = Buyer()
        let task = buyer.submit()
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada, bob, cyd], known: 5)
        let calls = buyer.actions.calls
        #expect(calls.count == 3)
        #expect(calls.allSatisfy { $0.1.tokensIn == 8 && $0.1.tokensOut == 64 && $0.1.attempt == 1 })
        #expect(calls.allSatisfy { $0.1.closeMilliseconds <= 250 })
    }

    @Test func theLowestScoreWinsAndTheLosersAreReleasedWithIt() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, bob, cyd])
        let calls = buyer.take().calls
        for (token, call, key) in calls {
            let seller = try #require([ada, bob, cyd].first { $0.key == key })
            buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
        }
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
        #expect(Set(buyer.actions.releases.map(\.1)) == [bob.key, cyd.key])
        #expect(buyer.actions.releases.allSatisfy { $0.0.winningScore == 173 })
        let transcript = buyer.auctioneer.transcript(task)
        #expect(transcript?.bids.map(\.score) == [173, 185, 189])
        #expect(transcript?.bids.map(\.outcome) == [.won, .lost, .lost])
    }

    @Test func anAuctionClosesEarlyWhenNoOutstandingSellerCouldWin() {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, bob, cyd])
        for (token, call, key) in buyer.take().calls where key == ada.key {
            buyer.answer(token, ada.bid(call, buyer: buyer.key), from: ada)
        }
        #expect(buyer.actions.awards.count == 1)

        let other = buyer.submit()
        buyer.found(other, [ada, bob, cyd])
        for (token, call, key) in buyer.take().calls where key == bob.key {
            buyer.answer(token, bob.bid(call, buyer: buyer.key), from: bob)
        }
        #expect(buyer.actions.awards.isEmpty, "ada could still win")
        buyer.advance(to: 121)
        #expect(buyer.actions.awards.map(\.2) == [bob.key])
    }

    @Test func aBidAfterTheCloseGetsAReleaseWithTheWinningScore() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, bob])
        let calls = buyer.take().calls
        let first = try #require(calls.first { $0.2 == ada.key })
        let late = try #require(calls.first { $0.2 == bob.key })
        buyer.answer(first.0, ada.bid(first.1, buyer: buyer.key), from: ada)
        _ = buyer.take()
        buyer.answer(late.0, bob.bid(late.1, buyer: buyer.key), from: bob)
        #expect(buyer.actions.releases.map(\.0.winningScore) == [173])
    }

    @Test func theWindowAdaptsToHowFastTheSellersAnswer() {
        var buyer = Buyer()
        let dear = Seller(9, "dear", price: price(20, 150))
        _ = buyer.stream([ada, dear])
        _ = buyer.submit()
        let task = buyer.submit()
        buyer.found(task, [ada, dear])
        #expect(
            buyer.actions.calls.allSatisfy { $0.1.closeMilliseconds == 40 }, "2 × the least window of 20 ms")
        for (token, call, key) in buyer.take().calls where key == ada.key {
            buyer.answer(token, ada.bid(call, buyer: buyer.key), from: ada)
        }
        buyer.advance(to: 19)
        #expect(buyer.actions.awards.isEmpty)
        buyer.advance(to: 20)
        #expect(buyer.actions.awards.count == 1)
    }

    @Test(arguments: 0..<6)
    func aBidThatBreaksItsOfferOrNamesAnotherBuyerTaskOrSenderLoses(_ kind: Int) {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, cyd])
        for (token, call, key) in buyer.take().calls {
            let seller = key == ada.key ? ada : cyd
            guard key == ada.key else {
                buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
                continue
            }
            switch kind {
            case 0: buyer.answer(token, ada.bid(call, buyer: buyer.key) { $0.price.output += 1 }, from: ada)
            case 1: buyer.answer(token, ada.bid(call, buyer: bob.key), from: ada)
            case 2: buyer.answer(token, ada.bid(call, buyer: buyer.key) { $0.attempt = 7 }, from: ada)
            case 3: buyer.answer(token, bob.bid(call, buyer: buyer.key), from: ada)
            case 4: buyer.answer(token, nil, from: ada)
            default:
                buyer.answer(token, ada.forgedBid(call, buyer: buyer.key), from: ada)
            }
        }
        #expect(buyer.actions.awards.map(\.2) == [cyd.key])
        #expect(
            buyer.auctioneer.transcript(task)?.bids.contains {
                $0.worker == ada.key && $0.outcome == .refused
            } == true)
    }

    @Test func aSellerThatLeavesACallUnansweredIsNotAskedUntilItIsHeardFrom() {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, cyd])
        for (token, call, key) in buyer.take().calls {
            if key == ada.key {
                buyer.unanswered(token)
            } else {
                buyer.answer(token, cyd.bid(call, buyer: buyer.key), from: cyd)
            }
        }
        #expect(buyer.take().awards.map(\.2) == [cyd.key])
        let next = buyer.submit()
        buyer.found(next, [ada, cyd])
        #expect(buyer.take().calls.map(\.2) == [cyd.key])
        buyer.auctioneer.heard(ada.key, buyer.now.monotonic)
        let third = buyer.submit()
        buyer.found(third, [ada, cyd])
        #expect(buyer.take().calls.count == 2)
    }

    @Test func aSellerWhoseAnswerIsOverdueIsAskedOnlyWhereNoOtherIsLeft() {
        var buyer = Buyer()
        for seller in [ada, cyd] { _ = buyer.stream([seller]) }
        let task = buyer.submit()
        buyer.found(task, [ada, cyd])
        for (token, call, key) in buyer.take().calls where key == cyd.key {
            buyer.answer(token, cyd.bid(call, buyer: buyer.key), from: cyd)
        }
        buyer.advance(to: 10)
        let early = buyer.submit()
        buyer.found(early, [ada, cyd])
        #expect(buyer.take().calls.count == 2)
        buyer.advance(to: 30)
        let late = buyer.submit()
        buyer.found(late, [ada, cyd])
        #expect(buyer.take().calls.map(\.2) == [cyd.key])
        let alone = buyer.submit()
        buyer.found(alone, [ada])
        #expect(buyer.take().calls.map(\.2) == [ada.key])
        buyer.auctioneer.heard(ada.key, buyer.now.monotonic)
        let again = buyer.submit()
        buyer.found(again, [ada, cyd])
        #expect(buyer.take().calls.count == 2)
    }

    @Test func aNodeThatAcceptsNoChannelMayBuyOfItself() {
        var buyer = Buyer()
        let own = Seller(1_000, "self", reachability: .outbound)
        let task = buyer.submit()
        buyer.found(task, [own], reachable: false)
        #expect(buyer.take().calls.map(\.2) == [own.key])
    }

    @Test(arguments: [true, false])
    func aBusyOrSilentWinnerLosesItsAwardToTheNextBid(_ answers: Bool) throws {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, cyd])
        for (token, call, key) in buyer.take().calls {
            let seller = key == ada.key ? ada : cyd
            buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
        }
        let award = try #require(buyer.take().awards.first)
        #expect(award.2 == ada.key)
        if answers {
            buyer.answer(award.0, .awardReply(AwardReply(task: task, attempt: 1, status: .busy)), from: ada)
        } else {
            buyer.advance(to: 1_000)
            #expect(buyer.actions.releases.contains { $0.1 == ada.key && $0.0.winningScore == 0 })
        }
        #expect(buyer.actions.awards.map(\.2) == [cyd.key])
        #expect(buyer.actions.awarded.isEmpty)
    }

    @Test func whenADialFailsBeforeTheAwardIsAnsweredTheNextBidIsAwarded() {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, cyd])
        for (token, call, key) in buyer.take().calls {
            let seller = key == ada.key ? ada : cyd
            buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
        }
        _ = buyer.take()
        buyer.auctioneer.channelFailed(
            task, attempt: 1, peer: ada.key, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.awards.map(\.2) == [cyd.key])
    }

    @Test func whenAllDeclineTheOthersAreAskedAndThenTheTaskIsRefusedWithCounts() throws {
        var parameters = MarketParameters()
        parameters.candidatesMax = 2
        var buyer = Buyer(parameters: parameters)
        let task = buyer.submit()
        var asked: Set<PublicKey> = []
        while buyer.actions.needs > 0 {
            _ = buyer.take()
            buyer.found(task, [ada, bob, cyd], known: 5)
            for (token, call, key) in buyer.actions.calls {
                asked.insert(key)
                let seller = try #require([ada, bob, cyd].first { $0.key == key })
                let decline = Decline(task: task, attempt: call.attempt, reason: .backendDown)
                buyer.answer(token, .decline(decline), from: seller)
            }
        }
        #expect(asked.count == 3)
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.reason == .unreachable)
        #expect(failure.reasons.map(\.nodes).reduce(0, +) == 5)
        #expect(failure.asked == 3 && failure.bids == 0 && failure.known == 5)
        #expect(buyer.auctioneer.running.isEmpty)
    }

    @Test func aTaskThatEndsInTheMiddleCountsTheSellersThatItAsked() throws {
        var parameters = MarketParameters()
        parameters.candidatesMax = 2
        for isStreaming in [false, true] {
            var buyer = Buyer(parameters: parameters)
            let task = buyer.submit(request { $0.deadline = .milliseconds(isStreaming ? 800 : 5) })
            buyer.found(task, [ada, bob, cyd], known: 5)
            if isStreaming { _ = buyer.start(task, [ada, bob, cyd], channel: 5) }
            buyer.advance(to: 900)
            let failure = try #require(buyer.actions.failures.first)
            let counts = Dictionary(uniqueKeysWithValues: failure.reasons.map { ($0.reason, $0.nodes) })
            #expect(failure.reason == .deadlineExceeded && failure.known == 5)
            #expect(counts[.notServed] == 2 && counts[.notSampled] == 1 && counts[.asked] == 2)
            #expect(counts.values.reduce(0, +) == 5)
            let transcript = try #require(buyer.auctioneer.transcript(task))
            #expect(transcript.skipped.map(\.nodes).reduce(0, +) + transcript.bids.count == 5)
        }
    }

    @Test func waitingForDeadSellersDoesNotUseUpThePatienceWithABusyOne() {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada, bob])
        for (token, call, key) in buyer.take().calls where key == ada.key {
            let decline = Decline(
                task: task, attempt: call.attempt, reason: .busy, retryAfterMilliseconds: 30)
            buyer.answer(token, .decline(decline), from: ada)
        }
        buyer.advance(to: 120)
        buyer.advance(to: 1_000)
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada, bob])
        #expect(buyer.actions.failures.isEmpty)
        buyer.advance(to: 1_400)
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada, bob])
        for (token, call, key) in buyer.take().calls where key == ada.key {
            buyer.answer(token, ada.bid(call, buyer: buyer.key), from: ada)
        }
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
    }

    @Test func oneBusySellerBesideDeadOnesIsTheReasonThatTheClientGets() throws {
        var buyer = Buyer()
        let task = buyer.submit()
        while buyer.actions.failures.isEmpty, buyer.milliseconds < 10_000 {
            if buyer.actions.needs > 0 {
                _ = buyer.take()
                buyer.found(task, [ada, bob, cyd])
            }
            for (token, call, key) in buyer.actions.calls {
                _ = buyer.take()
                if key == ada.key {
                    let decline = Decline(
                        task: task, attempt: call.attempt, reason: .busy, retryAfterMilliseconds: 5_000)
                    buyer.answer(token, .decline(decline), from: ada)
                }
            }
            buyer.advance(to: buyer.milliseconds + 20)
        }
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.reason == .busy && failure.retryAfter != nil)
        #expect(failure.message == "3 nodes sell wren-m: 1 has no free slot now, and 2 do not answer.")
    }

    @Test func aTaskWaitsForSlotsUntilItsDeadlineAndNotWhereNoneIsFreeBeforeThat() {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada])
        let declines = { (buyer: inout Buyer, retry: UInt32) in
            for (token, call, _) in buyer.take().calls {
                let decline = Decline(
                    task: task, attempt: call.attempt, reason: .busy, retryAfterMilliseconds: retry)
                buyer.answer(token, .decline(decline), from: ada)
                buyer.found(task, [ada])
            }
        }
        declines(&buyer, 30)
        #expect(buyer.actions.failures.isEmpty)
        buyer.advance(to: 90)
        #expect(buyer.actions.needs == 2)
        buyer.found(task, [ada])
        declines(&buyer, 5_000)
        #expect(buyer.actions.failures.isEmpty)
        buyer.advance(to: 5_700)
        #expect(buyer.take().needs > 0)
        buyer.found(task, [ada])
        declines(&buyer, 5_000)
        #expect(buyer.actions.failures.map(\.reason) == [.busy])
        #expect(buyer.actions.failures.first?.retryAfter == .seconds(5))
    }

    @Test func aWorkerThatAcceptsNoChannelDialsAndItsHelloStartsTheTask() throws {
        var buyer = Buyer()
        let eve = Seller(4, "eve", reachability: .outbound)
        let task = buyer.submit()
        buyer.found(task, [eve])
        let (token, call, _) = try #require(buyer.take().calls.first)
        buyer.answer(token, eve.bid(call, buyer: buyer.key) { $0.workerDials = true }, from: eve)
        #expect(buyer.actions.awards.first?.1.workerDials == true)
        #expect(!buyer.actions.contains { if case .openChannel = $0 { true } else { false } })
        _ = buyer.take()
        buyer.frame(task, 1, .hello, from: ada, on: 8)
        #expect(buyer.take().closed == [8])
        buyer.frame(task, 1, .hello, from: eve, on: 9)
        #expect(buyer.actions.frames.first.map { if case .open = $0 { true } else { false } } == true)
    }

    @Test func beforeItsReachabilityIsTestedANodeAsksSellersThatMustDialItLast() {
        var buyer = Buyer()
        let eve = Seller(4, "eve", reachability: .outbound)
        buyer.found(buyer.submit(), [ada, eve], tested: false)
        #expect(buyer.take().calls.map(\.2) == [ada.key])
        buyer.found(buyer.submit(), [ada, eve])
        #expect(buyer.take().calls.count == 2)
        buyer.found(buyer.submit(), [eve], tested: false)
        #expect(buyer.take().calls.map(\.2) == [eve.key])
    }

    @Test func twoUnreachableEndsAreNoCandidatesAndCountAsUnreachable() {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [Seller(4, "eve", reachability: .outbound)], known: 3, reachable: false)
        #expect(buyer.actions.failures.map(\.reason) == [.unreachable])
    }

    @Test func theRequestFollowsInPartsWithoutWaitingForTheAwardsAnswer() throws {
        var buyer = Buyer()
        let body = [UInt8](repeating: 65, count: 40_000)
        let task = buyer.submit(
            request {
                $0.body = body; $0.tokensOutMax = 100
            })
        buyer.found(task, [ada])
        let (token, call, _) = try #require(buyer.take().calls.first)
        buyer.answer(token, ada.bid(call, buyer: buyer.key), from: ada)
        buyer.opened(task, 1, 5, ada)
        var sent: [UInt8] = []
        for frame in buyer.actions.frames {
            switch frame {
            case .open(let open):
                #expect(open.bodyBytes == 40_000 && open.maxTokens == 100 && open.deliveredBytes == 0)
                #expect(open.windowBytes == 65_536)
            case .bodyPart(let part):
                #expect(part.count <= 15_000)
                sent += part
            default: Issue.record("unexpected frame")
            }
        }
        #expect(sent == body)
        #expect(buyer.actions.awarded.isEmpty)
        buyer.frame(task, 1, .progress(Progress(phase: .prefill, tokens: 0)), from: ada, on: 5)
        #expect(buyer.actions.awarded.count == 1, "a first frame says as much as the award's answer")
    }
}
