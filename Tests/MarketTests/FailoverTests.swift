import Primitives
import Testing
import Wire

@testable import Market

/// `Protocol/market.md`, Silence and Failover: what a task does when model servers fail, and what it costs whom.
@Suite struct FailoverTests {
    func trust(_ buyer: borrowing Buyer, _ seller: Seller) -> UInt32 {
        buyer.auctioneer.trust(of: seller.key, now: buyer.now)
    }

    func fail(_ code: String, _ message: String = "no", another: Bool = true) -> FrameBody {
        .fail(Fail(code: code, message: message, anotherMaySucceed: another))
    }

    let long = request { $0.deadline = .minutes(5) }

    /// Sends `progress` every tenth of a second; returns after how long the task left its worker.
    func leaves(
        _ buyer: inout Buyer, _ task: TaskID, _ worker: Seller, attempt: UInt32 = 1,
        on channel: ChannelID = 5,
        within seconds: Int64 = 120, _ progress: (Int64) -> Progress
    ) -> Int64? {
        let start = buyer.milliseconds
        for step in 1...seconds * 10 {
            buyer.advance(to: start + step * 100)
            if buyer.actions.needs > 0 { return step * 100 }
            buyer.frame(task, attempt, .progress(progress(step)), from: worker, on: channel)
        }
        return nil
    }

    let nothing = { (_: Int64) in Progress(phase: .prefill, tokens: 0) }

    // MARK: Silence

    @Test func aWorkerWithoutEvidenceLosesTheTaskWhenItsPromiseIsOverIfAnotherBid() {
        for (sellers, expected) in [([ada, cyd], 1_600), ([ada], 10_000)] as [([Seller], Int64)] {
            var buyer = Buyer()
            buyer.know(sellers, finished: 60)
            let (task, worker) = buyer.stream(sellers, request: long)
            #expect(leaves(&buyer, task, worker, nothing) == expected)
            #expect(trust(buyer, worker) == 1_000, "slowness is no fault")
        }
    }

    @Test func afterItsFirstByteItHasThreeOfItsOwnGapsIfAnotherCanGoOn() {
        let other = Seller(3, "cyd", price: price(25, 240), quantization: "q4_k_m")
        for (second, expected) in [(cyd, 1_500), (other, 10_000)] as [(Seller, Int64)] {
            var buyer = Buyer()
            let (task, worker) = buyer.stream([ada, second], request: long)
            for part in 0..<4 as Range<UInt64> {
                buyer.delta(task, at: part * 4, "word", from: worker, on: 5)
                if part < 3 { buyer.milliseconds += 100 }
            }
            let quiet = leaves(&buyer, task, worker) { _ in Progress(phase: .generating, tokens: 4) }
            #expect(quiet == expected)
        }
    }

    @Test func thePromiseIsThreeTimesTheFirstTokenAndTheReadingOfThePrompt() {
        for (reads, first, expected) in [(1_000, 3, 5_500), (1_000, 1_000, 7_000), (0, 3, 15_000)]
            as [(UInt32, UInt32, Int64)]
        {
            var buyer = Buyer()
            let seller = Seller(1, "ada", first: first, context: 8_192)
            let other = Seller(3, "cyd", price: price(25, 240), context: 8_192)
            let task = buyer.submit(
                request {
                    $0.tokensIn = 4_000
                    $0.deadline = .minutes(5)
                })
            buyer.found(task, [seller, other])
            for (token, call, key) in buyer.actions.calls {
                let from = key == seller.key ? seller : other
                buyer.answer(
                    token, from.bid(call, buyer: buyer.key) { $0.promptTokensPerSecond = reads }, from: from)
            }
            let worker = buyer.start(task, [seller, other], channel: 5)
            #expect(worker.key == seller.key)
            #expect(leaves(&buyer, task, worker, nothing) == expected, "a stranger has 15 s at most")
        }
    }

    @Test(arguments: [Phase.loading, .prefill, .queued]) func evidenceOfProgressKeepsTheTask(_ phase: Phase) {
        var buyer = Buyer()
        buyer.know([ada, cyd], finished: 60)
        let (task, worker) = buyer.stream(
            [ada, cyd],
            request: request {
                $0.deadline = .minutes(5)
                $0.tokensIn = 100
            })
        let quiet = leaves(&buyer, task, worker, within: 20) { step in
            Progress(phase: phase, tokens: phase == .queued ? UInt32(60_000 - step) : UInt32(step))
        }
        #expect(quiet == nil)
    }

    @Test func aStrangerThatGetsTheTaskOfASlowSellerThatIsMetIsBelievedNoLongerThanBesideIt() {
        var buyer = Buyer()
        buyer.know([ada], finished: 9)
        let stranger = Seller(44, "new", price: price(50, 500))
        let (task, first) = buyer.stream([ada, stranger], request: long)
        #expect(first.key == ada.key && leaves(&buyer, task, ada, nothing) == 1_600)
        _ = buyer.take()
        buyer.found(task, [ada, stranger])
        #expect(buyer.start(task, [stranger], channel: 6).key == stranger.key)
        let quiet = leaves(&buyer, task, stranger, attempt: 2, on: 6) { _ in
            Progress(phase: .loading, tokens: 0)
        }
        #expect((4_000...8_000).contains(quiet ?? 0))
    }

    // MARK: Limits of the client

    @Test func aTaskLeavesItsWorkerWhileAnotherCanStillKeepTheLatency() {
        let slow = Seller(1, "ada", price: price(1, 1), first: 900)
        let loads = { (_: Int64) in Progress(phase: .loading, tokens: 0) }
        for (latency, expected) in [(3_000, 2_800), (nil, nil)] as [(UInt32?, Int64?)] {
            var buyer = Buyer()
            buyer.know([slow, cyd], finished: 60)
            let (task, worker) = buyer.stream(
                [slow, cyd],
                request: request {
                    $0.deadline = .minutes(5)
                    $0.preferences.maxFirstTokenMilliseconds = latency
                })
            #expect(worker.key == slow.key)
            #expect(leaves(&buyer, task, worker, within: 20, loads) == expected, "cyd needs 213 ms")
        }
    }

    @Test func aTaskLeavesItsWorkerWhileAnotherCanStillKeepTheDeadline() {
        let slow = Seller(1, "ada", price: price(1, 1), first: 900)
        var buyer = Buyer()
        buyer.know([slow, cyd], finished: 60)
        let (task, worker) = buyer.stream([slow, cyd], request: request { $0.deadline = .seconds(6) })
        let left = leaves(&buyer, task, worker) { _ in Progress(phase: .loading, tokens: 0) }
        // 64 tokens at 90 a second.
        #expect((4_900...5_100).contains(left ?? 0))
        #expect(trust(buyer, worker) == 1_000)
    }

    @Test func aDeadlineThatTheBidCouldNotMeetIsNotTheWorkersFault() {
        for (first, expected) in [(3, 700), (8_000, 1_000)] as [(UInt32, UInt32)] {
            var buyer = Buyer()
            let seller = Seller(1, "ada", first: first)
            let (task, _) = buyer.stream([seller], request: request { $0.deadline = .seconds(5) })
            for step in 1..<10 {
                buyer.advance(to: Int64(step) * 500)
                buyer.frame(task, 1, .progress(Progress(phase: .prefill, tokens: 0)), from: seller, on: 5)
            }
            buyer.advance(to: 5_000)
            #expect(buyer.actions.failures.map(\.reason) == [.deadlineExceeded])
            #expect(trust(buyer, seller) == expected)
            #expect((buyer.auctioneer.experience(of: seller.key)?.failed == 0) == (expected == 1_000))
        }
    }

    // MARK: Busy

    /// Answers every call and fails every job as busy, until the task ends; returns the jobs.
    func refuseAll(_ buyer: inout Buyer, _ task: TaskID, _ sellers: [Seller]) -> Int {
        var (jobs, attempt) = (0, UInt32(0))
        while buyer.actions.failures.isEmpty, buyer.milliseconds < 60_000 {
            if buyer.actions.needs > 0 {
                _ = buyer.take()
                buyer.found(task, sellers)
            }
            if let call = buyer.actions.calls.first {
                attempt = call.1.attempt
                let worker = buyer.start(task, sellers, channel: ChannelID(rawValue: UInt64(100 + jobs)))
                jobs += 1
                buyer.frame(
                    task, attempt, fail("backend_busy"), from: worker,
                    on: ChannelID(rawValue: UInt64(99 + jobs)))
            }
            buyer.advance(to: buyer.milliseconds + 50)
        }
        return jobs
    }

    @Test func aModelServerThatIsBusyCostsItsSellerNoTrustAndItsClientIsToldToRetry() throws {
        var buyer = Buyer()
        let task = buyer.submit(long)
        let jobs = refuseAll(&buyer, task, [ada])
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.reason == .busy && failure.retryAfter != nil)
        #expect(jobs <= 16 && buyer.milliseconds <= 12_000, "\(jobs) jobs, \(buyer.milliseconds) ms")
        #expect(trust(buyer, ada) == 1_000)
        #expect(buyer.auctioneer.outstanding == (0, 0, 0))
    }

    @Test func anotherSellerGetsATaskThatABusyModelServerTurnedAway() {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd])
        buyer.frame(task, 1, fail("backend_busy"), from: first, on: 5)
        buyer.found(task, [ada, cyd])
        #expect(buyer.actions.calls.map(\.2) == [cyd.key])
        _ = buyer.start(task, [cyd], channel: 6)
        let assignments = buyer.auctioneer.transcript(task)?.assignments
        #expect(assignments?.first?.why == "backend_busy: no" && assignments?.first?.ended == .refused)
    }

    @Test func aModelServerThatTurnsATaskAwayDoesNotShortenTheWaitForOtherSellers() {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd], request: long)
        buyer.frame(task, 1, fail("backend_busy"), from: first, on: 5)
        while buyer.actions.failures.isEmpty, buyer.milliseconds < 30_000 {
            if buyer.actions.needs > 0 {
                _ = buyer.take()
                buyer.found(task, [ada, cyd])
            }
            let calls = buyer.actions.calls
            if !calls.isEmpty { _ = buyer.take() }
            for (token, call, key) in calls {
                let busy = Decline(
                    task: task, attempt: call.attempt, reason: .busy, retryAfterMilliseconds: 900)
                buyer.answer(token, .decline(busy), from: key == ada.key ? ada : cyd)
            }
            buyer.advance(to: buyer.milliseconds + 50)
        }
        #expect(buyer.milliseconds >= 30_000, "cyd answers others, and may be free soon")
    }

    @Test func theAwardAfterALossSaysWhoHadTheTaskAndWhyNotAnyMore() throws {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd])
        buyer.delta(task, at: 0, "Hello", from: first, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        buyer.found(task, [ada, cyd])
        for (token, call, _) in buyer.actions.calls {
            buyer.answer(token, cyd.bid(call, buyer: buyer.key), from: cyd)
        }
        let award = try #require(buyer.actions.awards.last)
        buyer.answer(award.0, .awardReply(AwardReply(task: task, attempt: 2, status: .accepted)), from: cyd)
        let after = try #require(buyer.actions.awarded.last?.after)
        #expect(after.worker == ada.key && after.reason == .workerLost && after.tokens == 1)
        #expect(after.why == "its channel closed")
    }

    @Test func aSellerWhoseModelServerIsBusyDeclinesUntilThen() throws {
        var worker = Worker()
        var served = ada.served
        served.available = .busy(until: .zero + .seconds(3))
        worker.bidder.setServed([served])
        guard case .decline(let decline) = worker.handle(.callForBids(call(1)), from: asker(2_001)) else {
            Issue.record("no decline")
            return
        }
        #expect(decline.reason == .busy && decline.retryAfterMilliseconds == 3_000)
        worker.milliseconds = 3_000
        guard case .bid = worker.handle(.callForBids(call(2)), from: asker(2_001)) else {
            Issue.record("no bid")
            return
        }
    }

    // MARK: Context and choices

    @Test func aRequestThatIsTooLongForOneGoesToThoseWithMoreContext() throws {
        var buyer = Buyer()
        let narrow = [Seller(31, "one", price: price(10, 100)), Seller(32, "two", price: price(10, 120))]
        let wide = Seller(33, "wide", price: price(90, 900), context: 4_096)
        buyer.know(narrow + [wide])
        let sellers = narrow + [wide]
        let (task, first) = buyer.stream(sellers)
        #expect(first.key == narrow[0].key)
        let tooLong = fail("context_length_exceeded", "The request has 600 tokens.", another: false)
        buyer.frame(task, 1, tooLong, from: first, on: 5)
        buyer.found(task, sellers)
        #expect(buyer.actions.calls.map(\.2) == [wide.key], "an equal could say no more")
        _ = buyer.start(task, sellers, channel: 6)
        buyer.frame(task, 2, tooLong, from: wide, on: 6)
        buyer.found(task, sellers)
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.reason == .contextTooSmall && failure.largestContext == 4_096)
        #expect(failure.message.contains("4096 tokens"))
    }

    @Test func severalChoicesGoToASellerWithAsManySlots() throws {
        let sellers = [Seller(31, "a"), Seller(32, "b"), Seller(33, "c", price: price(90, 900), slots: 4)]
        for (choices, expected) in [(3, [sellers[2].key]), (5, [])] as [(UInt32, [PublicKey])] {
            var buyer = Buyer()
            let task = buyer.submit(
                request {
                    $0.choices = choices
                    $0.choicesEach = choices
                    $0.resumable = false
                })
            buyer.found(task, sellers)
            #expect(buyer.actions.calls.map(\.2) == expected)
            guard expected.isEmpty else { continue }
            let failure = try #require(buyer.actions.failures.first)
            #expect(failure.reason == .lacksParameter && failure.message.contains("n: 5"))
        }
    }

    // MARK: Other models

    @Test func whereNobodyAnswersWithAModelTheClientsNextOneIsAskedForAndNamed() throws {
        var buyer = Buyer()
        let other = Seller(21, "bea", model: "wren-s")
        let task = buyer.submit(request { $0.fallbackModels = ["wren-s"] })
        buyer.found(task, [])
        #expect(buyer.actions.failures.isEmpty && buyer.actions.needs == 2)
        buyer.actions = []
        buyer.found(task, [other])
        for (token, call, _) in buyer.actions.calls {
            #expect(call.model == "wren-s")
            buyer.answer(token, other.bid(call, buyer: buyer.key), from: other)
        }
        let award = try #require(buyer.actions.awards.last)
        buyer.answer(award.0, .awardReply(AwardReply(task: task, attempt: 1, status: .accepted)), from: other)
        #expect(buyer.actions.awarded.map(\.model) == ["wren-s"])
        #expect(buyer.auctioneer.transcript(task)?.model == "wren-s")
    }

    @Test func ifAllModelsFailTheErrorIsTheLastOnesAndNamesTheOthersTheLatestFirst() throws {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.fallbackModels = ["wren-s", "wren-t"] })
        for _ in 0..<3 where buyer.actions.failures.isEmpty { buyer.found(task, []) }
        buyer.wait(task, with: [])
        let failure = try #require(buyer.actions.failures.first)
        #expect(failure.reason == .modelNotFound)
        let parts = failure.message.split(separator: " Before that, ")
        #expect(parts.count == 3 && parts[0].contains("wren-t"), "\(failure.message)")
        #expect(parts.dropFirst().map { $0.prefix(8) } == ["wren-s: ", "wren-m: "])
    }

    @Test func theNextModelFollowsALostWorkerBeforeTheFirstByteAndNotAfterIt() {
        for hasByte in [false, true] {
            var buyer = Buyer()
            let (task, _) = buyer.stream(
                [ada],
                request: request {
                    $0.fallbackModels = ["wren-s"]
                    $0.resumable = false
                })
            if hasByte { buyer.delta(task, at: 0, "Hello", from: ada, on: 5) }
            buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
            if hasByte {
                #expect(buyer.actions.failures.map(\.reason) == [.workerLost])
            } else {
                var model = ""
                while model != "wren-s", buyer.milliseconds < 20_000 {
                    for case .needOffers(_, let wanted) in buyer.take() {
                        model = wanted
                        buyer.found(task, [])
                    }
                    buyer.advance(to: buyer.milliseconds + 100)
                }
                #expect(model == "wren-s")
            }
        }
    }

    @Test func aRequestThatIsItselfAtFaultIsNotTriedWithAnotherModel() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.fallbackModels = ["wren-s"] })
        buyer.frame(task, 1, fail("content_filter", "not this", another: false), from: ada, on: 5)
        buyer.found(task, [ada])
        #expect(buyer.actions.failures.map(\.reason) == [.contentFilter])
        #expect(buyer.actions.failures.first?.reason.code == "content_filter")
    }

    // MARK: Who pays

    @Test func whatALostPartCostIsSaidInTheBillOfTheAnswerThatBeganAgain() throws {
        var buyer = Buyer()
        let plain = Seller(7, "gus", continues: false)
        let (task, first) = buyer.stream([ada], request: request { $0.streams = false })
        buyer.delta(task, at: 0, "Hello", from: first, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        for _ in 0..<600 where buyer.actions.calls.isEmpty {
            if buyer.actions.needs > 0 {
                _ = buyer.take()
                buyer.found(task, [ada, plain])
            } else {
                buyer.advance(to: buyer.milliseconds + 50)
            }
        }
        let attempt = try #require(buyer.actions.calls.first?.1.attempt)
        _ = buyer.start(task, [plain], channel: 6)
        buyer.delta(task, attempt, at: 0, "Bye", from: plain, on: 6)
        buyer.finish(
            task, attempt, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: plain, on: 6)
        let summary = try #require(buyer.actions.summaries.first)
        #expect(summary.completionTokens == 1 && summary.discarded.tokens == 1)
        #expect(summary.discarded.cost == 2 && summary.cost == 6)
    }

    // MARK: Beginning again

    /// A text that was cut after "Hello wo", and the frames of the seller that begins again; nil: none did.
    func again(_ buyer: inout Buyer, _ parts: [String], repeatable: Bool = true) -> TaskID? {
        let one = Seller(1, "ada", continues: false)
        let two = Seller(3, "cyd", price: price(25, 240), continues: false)
        let (task, first) = buyer.stream(
            [one, two],
            request: request {
                $0.deadline = .minutes(1)
                $0.repeatable = repeatable
            })
        buyer.delta(task, at: 0, "Hello ", from: first, on: 5)
        buyer.delta(task, at: 6, "wo", from: first, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        let text = buyer.actions.text
        #expect(text == "Hello wo")
        while buyer.actions.calls.isEmpty, buyer.actions.failures.isEmpty, buyer.milliseconds < 30_000 {
            let looks = buyer.actions.needs > 0
            if looks { _ = buyer.take() }
            if looks { buyer.found(task, [one, two]) } else { buyer.advance(to: buyer.milliseconds + 50) }
        }
        guard let call = buyer.actions.calls.first?.1 else { return nil }
        #expect(!call.mustContinue && call.tokensIn == 8)
        _ = buyer.start(task, [one, two], channel: 6)
        var offset = 0
        for part in parts {
            buyer.delta(task, call.attempt, at: UInt64(offset), part, from: two, on: 6)
            offset += part.utf8.count
        }
        let finish = Finish(reason: "stop", promptTokens: 8, completionTokens: UInt32(parts.count))
        buyer.finish(task, call.attempt, finish, from: two, on: 6)
        return task
    }

    @Test func whereNobodyCanGoOnASellerThatSaysTheSameAgainEndsTheAnswer() throws {
        for parts in [["Hello world"], ["Hel", "lo wo", "rld"], ["Hello w", "orld"]] {
            var buyer = Buyer()
            #expect(again(&buyer, parts) != nil)
            let text = buyer.actions.text
            #expect(text == "rld")
            let summary = try #require(buyer.actions.summaries.first)
            #expect(summary.reason == "stop" && Int(summary.completionTokens) == parts.count)
            #expect(summary.discarded.tokens == 2)
            let left = buyer.auctioneer.outstanding
            #expect(left == (0, 0, 0))
        }
    }

    @Test func whatTheClientHasGotIsNeverTakenBackAndAnotherTextEndsTheTaskWithAnError() throws {
        for parts in [["Help"], ["Hello"], ["Hello wx"]] {
            var buyer = Buyer()
            let task = try #require(again(&buyer, parts))
            let (text, summaries) = (buyer.actions.text, buyer.actions.summaries)
            #expect(text.isEmpty && summaries.isEmpty)
            buyer.wait(task, with: [])
            let failures = buyer.actions.failures
            #expect(failures.map(\.reason) == [.workerLost])
            #expect(failures.first?.message.contains("something else") == true)
            // The error has what the client keeps and pays.
            let delivered = try #require(failures.first?.delivered)
            #expect(delivered.completionTokens >= 2 && delivered.discarded.tokens == 2)
            #expect(delivered.cost > .zero && delivered.reason == "error")
        }
    }

    @Test func aPauseIsLeftForASellerThatMustBeginAgainOnlyWhereTheRequestLeavesNothingToChance() {
        let plain = [
            Seller(1, "ada", continues: false),
            Seller(3, "cyd", price: price(25, 240), continues: false),
        ]
        for (greedy, expected) in [(true, 1_500), (false, 10_000)] as [(Bool, Int64)] {
            var buyer = Buyer()
            let (task, worker) = buyer.stream(
                plain,
                request: request {
                    $0.deadline = .minutes(5)
                    $0.repeatable = true
                    $0.greedy = greedy
                })
            buyer.delta(task, at: 0, "Hello", from: worker, on: 5)
            let quiet = leaves(&buyer, task, worker) { _ in Progress(phase: .generating, tokens: 1) }
            #expect(quiet == expected)
        }
    }

    @Test func anAnswerThatIsDrawnByChanceIsNotBegunAgain() {
        var buyer = Buyer()
        #expect(again(&buyer, [], repeatable: false) == nil)
    }

    // MARK: Named sellers

    @Test func aNamedSellersTrueReasonIsToldAndWhetherToRetry() throws {
        let narrow = Seller(31, "one", context: 4)
        let cases: [(Seller, Features, DeclineReason?, Reason, String)] = [
            (ada, .chat, .paused, .busy, "it is paused"),
            (ada, .chat, .backendDown, .unreachable, "its model server is down"),
            (ada, [.chat, .tools], nil, .lacksParameter, "tools"),
            (narrow, .chat, nil, .contextTooSmall, "4 tokens"),
        ]
        for (seller, features, decline, reason, words) in cases {
            var buyer = Buyer()
            let task = buyer.submit(
                request {
                    $0.features = features
                    $0.preferences.only = [seller.key]
                })
            buyer.found(task, [seller, cyd])
            let calls = buyer.actions.calls
            if !calls.isEmpty { _ = buyer.take() }
            for (token, call, _) in calls {
                let answer = Decline(task: task, attempt: call.attempt, reason: try #require(decline))
                buyer.answer(token, .decline(answer), from: seller)
                buyer.found(task, [seller, cyd])
            }
            let failure = try #require(buyer.actions.failures.first)
            #expect(failure.reason == reason && failure.message.contains(words), "\(failure.message)")
            #expect((failure.retryAfter != nil) == [.busy, .unreachable].contains(reason))
        }
    }
}
