import Primitives
import Testing
import Wire

@testable import Market

/// Who is blamed for what: our own bounds and loop are nobody's fault, and slowness alone is none.
@Suite struct BlameTests {
    func trust(_ buyer: borrowing Buyer, _ seller: Seller) -> UInt32 {
        buyer.auctioneer.trust(of: seller.key, now: buyer.now)
    }

    // MARK: Our own bounds

    @Test func aCallThatOurOwnBoundsKeptBackIsMadeAgainAndItsSellerIsNeitherSilentNorOut() {
        var buyer = Buyer()
        let task = buyer.submit()
        buyer.found(task, [ada])
        for (token, _, _) in buyer.take().calls { buyer.notAsked(token) }
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada])
        #expect(buyer.actions.isEmpty, "it waits a moment")
        #expect(buyer.auctioneer.transcript(task)?.bids.map(\.outcome) == [.notAsked])
        buyer.advance(to: 60)
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada])
        #expect(buyer.actions.calls.map(\.2) == [ada.key])
        _ = buyer.start(task, [ada], channel: 5)
        #expect(trust(buyer, ada) == 1_000)
    }

    @Test func aTaskThatWasNeverLetThroughSaysThatThisNodeIsTheReason() throws {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.deadline = .minutes(1) })
        while buyer.actions.failures.isEmpty, buyer.milliseconds < 30_000 {
            if buyer.actions.needs > 0 {
                _ = buyer.take()
                buyer.found(task, [ada, cyd])
                let calls = buyer.actions.calls
                if !calls.isEmpty { _ = buyer.take() }
                for (token, _, _) in calls { buyer.notAsked(token) }
            } else {
                buyer.advance(to: buyer.milliseconds + 10)
            }
        }
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.reason == .notAsked && failure.reason.code == "busy" && failure.retryAfter != nil)
        #expect(failure.message.contains("this node has too many requests"))
        #expect(!failure.message.contains("answers"))
        #expect(failure.reasons.first { $0.reason == .notAsked }?.nodes == 2)
        #expect((10_000...12_000).contains(buyer.milliseconds))
    }

    @Test func anAwardOrAChannelThatOurOwnBoundsKeptBackGoesToTheNextBid() throws {
        for isAward in [true, false] {
            var buyer = Buyer()
            let task = buyer.submit()
            buyer.found(task, [ada, cyd])
            for (token, call, key) in buyer.take().calls {
                let seller = key == ada.key ? ada : cyd
                buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
            }
            let award = try #require(buyer.take().awards.first)
            #expect(award.2 == ada.key)
            if isAward {
                buyer.notAsked(award.0)
            } else {
                buyer.auctioneer.channelFailed(
                    task, attempt: 1, peer: ada.key, wasTried: false, turn: &buyer.turn, out: &buyer.actions)
            }
            #expect(buyer.actions.awards.map(\.2) == [cyd.key])
            #expect(buyer.actions.releases.contains { $0.1 == ada.key && $0.0.winningScore == 0 })
            #expect(trust(buyer, ada) == 1_000)
        }
    }

    @Test func aChannelThatOurOwnBoundsClosedInMidAnswerCostsItsWorkerNoTrust() {
        for isOurs in [true, false] {
            var buyer = Buyer()
            let (task, worker) = buyer.stream([ada, cyd])
            buyer.delta(task, at: 0, "Hel", from: worker, on: 5)
            buyer.auctioneer.channelClosed(5, byUs: isOurs, turn: &buyer.turn, out: &buyer.actions)
            #expect(buyer.actions.needs == 1, "another goes on")
            #expect((trust(buyer, worker) == 1_000) == isOurs)
        }
    }

    @Test func whileOurOwnLoopRunsLateASilentSellerIsAskedAgain() {
        for isLate in [false, true] {
            var buyer = Buyer()
            let task = buyer.submit(request { $0.deadline = .minutes(1) })
            buyer.found(task, [ada])
            _ = buyer.take()
            buyer.milliseconds = 900
            if isLate { buyer.auctioneer.wasDisturbed(buyer.now.monotonic) }
            buyer.advance(to: 900)
            buyer.advance(to: 1_000)
            #expect(buyer.take().needs == 1)
            buyer.found(task, [ada])
            #expect(buyer.actions.failures.map(\.reason) == (isLate ? [] : [.unreachable]))
        }
    }

    @Test func aSellerThatAnswersOthersWhileItOwesUsAnAnswerIsBusyAndNotDead() {
        for isHeard in [true, false] {
            var buyer = Buyer()
            let task = buyer.submit(request { $0.deadline = .minutes(1) })
            buyer.found(task, [ada])
            let calls = buyer.take().calls
            buyer.milliseconds = 500
            if isHeard { buyer.auctioneer.heard(ada.key, buyer.now.monotonic) }
            buyer.milliseconds = 600
            for (token, _, _) in calls { buyer.unanswered(token) }
            #expect(buyer.take().needs == 1)
            #expect(buyer.auctioneer.experience(of: ada.key)?.isSilent == !isHeard)
            buyer.found(task, [ada])
            #expect(buyer.actions.failures.map(\.reason) == (isHeard ? [] : [.unreachable]))
        }
    }

    @Test func afterOurOwnLoopStoodStillTheTimeForBidsBeginsAgain() {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.deadline = .minutes(1) })
        buyer.found(task, [ada])
        let calls = buyer.take().calls
        buyer.milliseconds = 5_000
        buyer.auctioneer.loopWasStalled(turn: &buyer.turn, out: &buyer.actions)
        buyer.advance(to: 5_000)
        #expect(buyer.actions.isEmpty)
        for (token, call, _) in calls { buyer.answer(token, ada.bid(call, buyer: buyer.key), from: ada) }
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
        _ = task
    }

    @Test func aWorkerThatFellSilentWhileOurLoopRanLateIsReplacedAndNotBlamed() {
        for isLate in [false, true] {
            var buyer = Buyer()
            _ = buyer.stream([ada, cyd])
            buyer.milliseconds = 1_500
            if isLate { buyer.auctioneer.wasDisturbed(buyer.now.monotonic) }
            buyer.advance(to: 1_500)
            #expect(buyer.actions.needs == 1)
            #expect(trust(buyer, ada) == (isLate ? 1_000 : 700))
        }
    }

    // MARK: Slowness

    /// Sends `progress` every half second until the task moves or `seconds` are over.
    func wait(
        _ buyer: inout Buyer, _ task: TaskID, _ seconds: Int, _ progress: (Int) -> Progress
    ) {
        for step in 1...seconds * 2 where buyer.actions.needs == 0 {
            buyer.advance(to: buyer.milliseconds + 500)
            if buyer.actions.needs == 0 { buyer.frame(task, 1, .progress(progress(step)), from: ada, on: 5) }
        }
    }

    @Test func aWorkerThatLivesAndShowsNothingLosesTheTaskAndNoTrustButItsSpeedIsRemembered() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd], request: request { $0.deadline = .minutes(5) })
        wait(&buyer, task, 60) { _ in Progress(phase: .prefill, tokens: 0) }
        #expect(buyer.milliseconds == 2_000, "cyd bid too")
        #expect(buyer.actions.frames.contains(.cancel) && buyer.actions.freed == [5])
        #expect(buyer.actions.receipts.isEmpty)
        #expect(trust(buyer, ada) == 1_000)
        buyer.found(task, [ada, cyd])
        #expect(buyer.take().calls.map(\.2) == [cyd.key])
        let (next, _) = buyer.stream([ada, cyd])
        #expect(buyer.auctioneer.transcript(next)?.bids.first?.worker == cyd.key, "ada took its time")
    }

    @Test func tokensThatNeverShowUpMoveTheTaskAndAreHeldAgainstTheirWorker() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd], request: request { $0.deadline = .minutes(5) })
        buyer.frame(task, 1, .delta(Delta(offset: 0, text: [], tokens: 0)), from: ada, on: 5)
        wait(&buyer, task, 60) { Progress(phase: .generating, tokens: UInt32($0)) }
        #expect(buyer.milliseconds == 4_000)
        #expect(trust(buyer, ada) == 700)
    }

    @Test func whereNobodyElseIsLeftTheSlowWorkerGetsTheTaskAgainAndTwiceTheTime() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.deadline = .minutes(5) })
        wait(&buyer, task, 60) { _ in Progress(phase: .prefill, tokens: 0) }
        _ = buyer.take()
        buyer.found(task, [ada])
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada])
        _ = buyer.start(task, [ada], channel: 5)
        for _ in 0..<39 {
            buyer.advance(to: buyer.milliseconds + 500)
            buyer.frame(task, 2, .progress(Progress(phase: .prefill, tokens: 0)), from: ada, on: 5)
        }
        #expect(buyer.actions.needs == 0 && buyer.actions.failures.isEmpty)
    }

    @Test func aHangUpOrADeadlineCountsAgainstAWorkerThatHadShownNothing() {
        for (isHangUp, isSlow, expected) in [
            (true, true, 970), (false, true, 700), (true, false, 1_000), (false, false, 1_000),
        ] as [(Bool, Bool, UInt32)] {
            var buyer = Buyer()
            let (task, _) = buyer.stream([ada], request: request { $0.deadline = .seconds(6) })
            for step in 1..<12 {
                buyer.advance(to: Int64(step) * 500)
                if isSlow {
                    buyer.frame(task, 1, .progress(Progress(phase: .prefill, tokens: 0)), from: ada, on: 5)
                } else {
                    buyer.delta(task, at: UInt64(step - 1) * 2, "ab", from: ada, on: 5)
                }
            }
            if isHangUp {
                buyer.auctioneer.cancel(task, turn: &buyer.turn, out: &buyer.actions)
            } else {
                buyer.advance(to: 6_000)
            }
            #expect(buyer.actions.failures.count == 1)
            #expect(trust(buyer, ada) == expected, "hang-up \(isHangUp), slow \(isSlow)")
        }
    }

    // MARK: Speed

    @Test func whatWasMeasuredReplacesClaimsAndAnUnmeasuredClaimIsAtMostTwiceTheMarket() {
        let market = MeasuredSpeed(firstTokenMilliseconds: 200, millitokensPerSecond: 50_000)
        let unmeasured = SpeedBelief(measured: nil, market: market)
        #expect(unmeasured.rate(1_000_000_000) < 100_000 && unmeasured.rate(50_000) == 50_000)
        #expect(unmeasured.rate(0) > 0 && unmeasured.rate(.max) > 0)
        #expect(unmeasured.firstToken(0) == 100 && unmeasured.firstToken(.max) > 0)
        let measured = SpeedBelief(
            measured: MeasuredSpeed(firstTokenMilliseconds: 900, millitokensPerSecond: 0), market: market)
        #expect(measured.firstToken(1) == 900 && measured.rate(50_000) == 50_000)
        #expect(SpeedBelief().rate(7) == 7 && SpeedBelief().firstToken(7) == 7)
    }

    @Test func aStreamIsMeasuredFromItsChannelToItsFirstByteAndFromThereToItsLast() {
        var book = SpeedBook(MarketParameters())
        book.note(
            SpeedSample(first: 100, isComplete: true, rate: 40_000), of: ada.key, "wren-m", hasVote: true)
        book.note(
            SpeedSample(first: 500, isComplete: true, rate: 80_000), of: ada.key, "wren-m", hasVote: true)
        let speed = book.measured(ada.key, "wren-m")
        #expect(speed == MeasuredSpeed(firstTokenMilliseconds: 200, millitokensPerSecond: 50_000))
        book.note(SpeedSample(first: 100, isComplete: false, rate: nil), of: ada.key, "wren-m", hasVote: true)
        #expect(book.measured(ada.key, "wren-m") == speed, "a worker that was stopped early was not fast")
        #expect(book.market(of: "wren-m") == speed && book.market(of: "wren-s") == nil)
        #expect(book.measured(bob.key, "wren-m") == nil)
        book.note(SpeedSample(first: 9, isComplete: true, rate: 1), of: bob.key, "wren-m", hasVote: false)
        #expect(
            book.market(of: "wren-m") == speed,
            "keys that did next to nothing don't say how fast the market is")
        for seller in 100..<400 {
            let key = Seller(UInt64(seller)).key
            book.note(SpeedSample(first: 7, isComplete: true, rate: 1), of: key, "wren-m", hasVote: true)
        }
        #expect(book.market(of: "wren-m")?.firstTokenMilliseconds == 7)
    }

    @Test func aSellerThatDripsIsRememberedAsSlow() {
        var buyer = Buyer()
        let free = Seller(41, "free", price: price(0, 0))
        let (task, worker) = buyer.stream([free, cyd])
        #expect(worker.key == free.key)
        for part in 0..<4 as Range<UInt64> {
            buyer.milliseconds += 5_000
            buyer.delta(task, at: part, "x", from: free, on: 5)
        }
        buyer.auctioneer.cancel(task, turn: &buyer.turn, out: &buyer.actions)
        _ = buyer.take()
        #expect(buyer.stream([free, cyd], channel: 6).1.key == cyd.key)
    }

    @Test func aDripMovesToAnEqualSellerAndStaysWhereThereIsNone() {
        for sellers in [[ada, cyd], [ada, Seller(3, "cyd", quantization: "q4_k_m")]] {
            var buyer = Buyer()
            let (task, _) = buyer.stream(sellers, request: request { $0.deadline = .minutes(2) })
            for part in 0..<60 as Range<UInt64> where buyer.actions.needs == 0 {
                buyer.milliseconds += 500
                buyer.delta(task, at: part * 4, "word", from: ada, on: 5)
                buyer.advance(to: buyer.milliseconds)
            }
            #expect((buyer.actions.needs == 1) == (sellers[1].offer.quantization == "q8_0"))
            #expect(trust(buyer, ada) == 1_000)
        }
    }

    @Test func aSellerThatClaimsALotAndDeliversLittleLosesToOneThatDelivers() {
        var buyer = Buyer()
        let boaster = Seller(41, "boaster", price: price(20, 190), speed: 1_000_000_000, first: 0)
        func serve(_ buyer: inout Buyer, _ seller: Seller, _ gap: Int64) {
            let (task, _) = buyer.stream([seller])
            for part in 0..<20 {
                buyer.advance(to: buyer.milliseconds + gap)
                buyer.delta(task, at: UInt64(part) * 4, "word", from: seller, on: 5)
            }
            buyer.finish(
                task, 1, Finish(reason: "stop", promptTokens: 8, completionTokens: 20), from: seller, on: 5)
        }
        let (first, winner) = buyer.stream([ada, boaster])
        #expect(winner.key == boaster.key)
        buyer.auctioneer.cancel(first, turn: &buyer.turn, out: &buyer.actions)
        serve(&buyer, boaster, 200)
        serve(&buyer, ada, 10)
        let (_, next) = buyer.stream([ada, boaster])
        #expect(next.key == ada.key)
    }
}

extension BlameTests {
    @Test func aSellerWhoseBoundsRefuseOurChannelIsBusyAndAskedAgain() {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.deadline = .minutes(1) })
        buyer.found(task, [ada])
        let call = buyer.take().calls[0]
        buyer.answer(call.0, ada.bid(call.1, buyer: buyer.key), from: ada)
        buyer.milliseconds = 10
        let award = buyer.take().awards[0]
        buyer.answer(award.0, .awardReply(AwardReply(task: task, attempt: 1, status: .accepted)), from: ada)
        buyer.auctioneer.channelFailed(
            task, attempt: 1, peer: ada.key, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada])
        #expect(buyer.actions.isEmpty, "it waits a moment")
        #expect(trust(buyer, ada) == 970)
        buyer.advance(to: 100)
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada])
        _ = buyer.start(task, [ada], channel: 5)
        #expect(buyer.actions.failures.isEmpty)
    }
}

extension BlameTests {
    @Test func anAcceptedAwardWhoseChannelOurOwnBoundsKeepBackIsMadeAgainInAMoment() {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.deadline = .minutes(1) })
        buyer.found(task, [ada, cyd])
        for (token, call, key) in buyer.take().calls {
            let seller = key == ada.key ? ada : cyd
            buyer.answer(token, seller.bid(call, buyer: buyer.key), from: seller)
        }
        let award = buyer.take().awards[0]
        buyer.answer(award.0, .awardReply(AwardReply(task: task, attempt: 1, status: .accepted)), from: ada)
        buyer.auctioneer.channelFailed(
            task, attempt: 1, peer: ada.key, wasTried: false, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.take().needs == 1)
        buyer.found(task, [ada])
        #expect(buyer.actions.isEmpty, "it waits a moment")
        #expect(trust(buyer, ada) == 1_000)
        buyer.advance(to: 100)
        buyer.found(task, [ada])
        _ = buyer.start(task, [ada], channel: 5)
        #expect(buyer.actions.failures.isEmpty)
    }

    @Test func newKeysLoseTwoAssignmentsOfATaskAndThenAProvenSellerIsAsked() {
        var parameters = MarketParameters.withoutProbation
        parameters.suspensionMin = .zero
        var buyer = Buyer(parameters: parameters)
        let (before, _) = buyer.stream([cyd], channel: 4)
        buyer.delta(before, 1, at: 0, "Hello", from: cyd, on: 4)
        buyer.finish(
            before, 1, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: cyd, on: 4)
        _ = buyer.take()
        let sellers = (41...48).map { Seller($0, "new", price: price(1, 1)) } + [cyd]
        var (task, worker) = buyer.stream(sellers)
        let fail = FrameBody.fail(Fail(code: "busy", message: "no", anotherMaySucceed: true))
        for attempt in 1...2 {
            #expect(worker.key != cyd.key)
            buyer.frame(
                task, UInt32(attempt), fail, from: worker, on: ChannelID(rawValue: 4 + UInt64(attempt)))
            buyer.actions = []
            buyer.found(task, sellers)
            worker = buyer.start(task, sellers, channel: ChannelID(rawValue: 5 + UInt64(attempt)))
        }
        #expect(worker.key == cyd.key)
    }

    @Test func afterFourAssignmentsThatCameToNothingOnlyTheBestRecordsAreAsked() {
        var buyer = Buyer()
        let others = (41...48).map { Seller($0, "met once", price: price(1, 1)) }
        buyer.know([cyd])
        buyer.know(others, finished: 1)
        let sellers = others + [cyd]
        var (task, worker) = buyer.stream(sellers)
        let leaving = FrameBody.fail(Fail(.leaving, "bye", anotherMaySucceed: true))
        for attempt in 1...4 {
            #expect(worker.key != cyd.key)
            let channel = ChannelID(rawValue: 4 + UInt64(attempt))
            buyer.frame(task, UInt32(attempt), leaving, from: worker, on: channel)
            buyer.actions = []
            buyer.found(task, sellers)
            worker = buyer.start(task, sellers, channel: ChannelID(rawValue: 5 + UInt64(attempt)))
        }
        #expect(worker.key == cyd.key)
    }

    @Test func aSellerThatDoesEveryOtherTaskComesLastAllTheSame() {
        var table = SellerTable(MarketParameters())
        let at = { (seconds: Int64) in MonotonicTime.zero + .seconds(seconds) }
        for round in 0..<3 as Range<Int64> {
            #expect(!table.isSuspended(ada.key, at(4 * round)))
            table.finished(ada.key, wasMet: true, at(4 * round))
            table.lost(ada.key, wasMet: true, at(4 * round + 2))
        }
        #expect(table.isSuspended(ada.key, at(11)))
        for round in 0..<8 as Range<Int64> { table.found(bob.key, at(2 * round)) }
        #expect(table.isSuspended(bob.key, at(15)), "nor can one find fault with every task")
        for _ in 0..<40 { table.finished(bob.key, wasMet: true, at(16)) }
        #expect(!table.isSuspended(bob.key, at(16)))
    }

    @Test func aSellerThatLeavesAgainAndAgainLosesNoTrustAndComesLastForAWhile() {
        var buyer = Buyer()
        var free = Seller(41, "free", price: price(0, 0))
        let leaving = FrameBody.fail(Fail(.leaving, "bye", anotherMaySucceed: true))
        for round in 0..<2 as Range<UInt64> {
            buyer.milliseconds += 2_000
            free.offer.sequence += 1
            let channel = ChannelID(rawValue: 5 + round)
            let (task, worker) = buyer.stream([free, cyd], channel: channel)
            #expect(worker.key == free.key)
            buyer.frame(task, 1, leaving, from: free, on: channel)
            buyer.auctioneer.cancel(task, turn: &buyer.turn, out: &buyer.actions)
            _ = buyer.take()
        }
        free.offer.sequence += 1
        #expect(trust(buyer, free) == 1_000)
        #expect(buyer.stream([free, cyd], channel: 8).1.key == cyd.key)
    }

    @Test func aSellerThatFallsSilentAfterOneTokenIsRememberedAsSlow() {
        var buyer = Buyer()
        let cheap = Seller(41, "cheap", price: price(10, 100))
        let (task, worker) = buyer.stream([cheap, cyd], request: request { $0.deadline = .minutes(1) })
        #expect(worker.key == cheap.key)
        buyer.delta(task, at: 0, "word", from: cheap, on: 5)
        for _ in 0..<30 where buyer.actions.needs == 0 {
            buyer.milliseconds += 500
            let progress = Progress(phase: .generating, tokens: 1)
            buyer.frame(task, 1, .progress(progress), from: cheap, on: 5)
            buyer.advance(to: buyer.milliseconds)
        }
        #expect(buyer.actions.needs == 1)
        _ = buyer.take()
        #expect(buyer.stream([cheap, cyd], channel: 6).1.key == cyd.key)
    }

    @Test func aSellerThatFailsAgainAndAgainComesLastForAWhile() {
        var buyer = Buyer()
        let free = Seller(41, "free", price: price(0, 0))
        for round in 0..<2 {
            buyer.milliseconds += 2_000
            let channel = ChannelID(rawValue: 5 + UInt64(round))
            let (task, worker) = buyer.stream([free, cyd], channel: channel)
            #expect(worker.key == free.key)
            buyer.auctioneer.channelClosed(channel, turn: &buyer.turn, out: &buyer.actions)
            buyer.auctioneer.cancel(task, turn: &buyer.turn, out: &buyer.actions)
            _ = buyer.take()
        }
        #expect(buyer.stream([free, cyd], channel: 8).1.key == cyd.key)
        #expect(buyer.stream([free], channel: 9).1.key == free.key, "better than nobody")
        let named = request { $0.preferences.order = [free.key] }
        #expect(
            buyer.stream([free, cyd], request: named, channel: 11).1.key == free.key, "its client asks for it"
        )
        _ = buyer.take()
        buyer.milliseconds += 11_000
        #expect(buyer.stream([free, cyd], channel: 10).1.key == free.key)
    }

    @Test func aSellerThatComesLastIsNotAskedBeforeTheWaitForBusyOnesIsOver() {
        var buyer = Buyer()
        let free = Seller(41, "free", price: price(0, 0))
        for round in 0..<2 as Range<UInt64> {
            buyer.milliseconds += 2_000
            let (task, _) = buyer.stream([free, cyd], channel: ChannelID(rawValue: 5 + round))
            buyer.auctioneer.channelClosed(
                ChannelID(rawValue: 5 + round), turn: &buyer.turn, out: &buyer.actions)
            buyer.auctioneer.cancel(task, turn: &buyer.turn, out: &buyer.actions)
            _ = buyer.take()
        }
        let began = buyer.milliseconds
        let task = buyer.submit()
        buyer.found(task, [free, cyd])
        var asked: [PublicKey] = []
        while !asked.contains(free.key), buyer.milliseconds < began + 20_000 {
            for (token, call, key) in buyer.actions.calls {
                asked.append(key)
                guard key == cyd.key else { continue }
                let busy = Decline(
                    task: task, attempt: call.attempt, reason: .busy, retryAfterMilliseconds: 100)
                buyer.answer(token, .decline(busy), from: cyd)
            }
            let looks = buyer.actions.needs > 0
            _ = buyer.take()
            if looks { buyer.found(task, [free, cyd]) } else { buyer.advance(to: buyer.milliseconds + 50) }
        }
        #expect(asked.first == cyd.key && asked.last == free.key && asked.count > 2)
        #expect(buyer.milliseconds - began >= MarketParameters().patience.milliseconds)
    }

    @Test func aSellerThatTakesAwardsAndHandsThemBackGetsATaskOnce() {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd])
        #expect(first.key == ada.key)
        let fail = Fail(code: "busy", message: "no", anotherMaySucceed: true)
        buyer.frame(task, 1, .fail(fail), from: ada, on: 5)
        buyer.found(task, [ada, cyd])
        #expect(buyer.take().calls.map(\.2) == [cyd.key])
    }
}
