import Primitives
import Testing
import Wire

@testable import Market

@Suite struct StreamTests {
    @Test func anAnswerStreamsToTheClientAndEndsWithOneBill() {
        var buyer = Buyer()
        let (task, worker) = buyer.stream([ada])
        buyer.delta(task, at: 0, "Hello", from: worker, on: 5)
        buyer.delta(task, at: 5, " you", from: worker, on: 5)
        let finish = Finish(reason: "stop", promptTokens: 8, completionTokens: 2)
        buyer.frame(task, 1, .finish(finish), from: worker, on: 5)
        #expect(buyer.actions.text == "Hello you")
        let summary = buyer.actions.summaries.first
        #expect(summary?.promptTokens == 8 && summary?.completionTokens == 2)
        #expect(summary?.cost == 6, "8 × 0.20 + 2 × 2.00 = 5.6 µcr, rounded up")
        #expect(buyer.actions.receipts.last?.final == true && buyer.actions.receipts.last?.cost == 6)
        #expect(buyer.actions.freed == [5])
        #expect(buyer.auctioneer.transcript(task)?.state == .delivered)
        #expect(buyer.auctioneer.outstanding == (0, 0, 0))
    }

    @Test func aWorkerIsNotPaidForMoreTokensThanBytesNorForALongerPromptThanWasSent() {
        var buyer = Buyer()
        let (task, worker) = buyer.stream([ada])
        buyer.frame(
            task, 1, .delta(Delta(offset: 0, text: [65, 66], tokens: 1_000_000)), from: worker, on: 5)
        let finish = Finish(reason: "stop", promptTokens: .max, cachedTokens: .max, completionTokens: .max)
        buyer.frame(task, 1, .finish(finish), from: worker, on: 5)
        let summary = buyer.actions.summaries.first
        #expect((summary?.completionTokens ?? .max) <= 18)
        #expect((summary?.promptTokens ?? .max) <= 2_000)
    }

    @Test func aLostWorkerIsReplacedAndNoByteComesTwice() throws {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd], request: request { $0.tokensOutMax = 10 })
        #expect(first.key == ada.key)
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.needs == 1)
        buyer.found(task, [ada, cyd])
        let (_, call, to) = try #require(buyer.actions.calls.first)
        #expect(to == cyd.key && call.attempt == 2 && call.mustContinue && call.digest == ada.offer.digest)
        #expect(call.tokensIn == 9 && call.tokensOutMax == 9)
        for (token, call, _) in buyer.actions.calls {
            buyer.answer(token, cyd.bid(call, buyer: buyer.key), from: cyd)
        }
        let award = try #require(buyer.actions.awards.last)
        buyer.answer(award.0, .awardReply(AwardReply(task: task, attempt: 2, status: .accepted)), from: cyd)
        let before = buyer.actions.text
        buyer.opened(task, 2, 6, cyd)
        let open: TaskOpen? = buyer.actions.frames.compactMap {
            if case .open(let open) = $0 { open } else { nil }
        }.last
        #expect(open?.deliveredBytes == 3 && open?.maxTokens == 9)
        buyer.delta(task, 1, at: 3, "XXX", from: ada, on: 5)
        buyer.delta(task, 2, at: 0, "lo", from: cyd, on: 6)
        buyer.frame(
            task, 2, .finish(Finish(reason: "stop", promptTokens: 9, completionTokens: 1)), from: cyd, on: 6)
        #expect(before + "lo" == buyer.actions.text && buyer.actions.text == "Hello")
        #expect(buyer.auctioneer.discardedFrames == 1, "the late frame of the woken worker")
        let summary = buyer.actions.summaries.first
        #expect(summary?.failovers == 1 && summary?.workers == [ada.key, cyd.key])
        #expect(summary?.promptTokens == 8, "the continued text was no prompt of the client's")
        #expect(buyer.auctioneer.trust(of: ada.key, now: buyer.now) == 700)
    }

    @Test func whereNoOtherCanGoOnATaskWaitsForItsLostWorkerToStartAgain() {
        for returns in [true, false] {
            var buyer = Buyer()
            let (task, _) = buyer.stream([ada], request: request { $0.deadline = .minutes(1) })
            buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
            buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
            var restarted = ada
            while buyer.actions.calls.isEmpty, buyer.actions.failures.isEmpty, buyer.milliseconds < 30_000 {
                if buyer.actions.needs > 0 {
                    _ = buyer.take()
                    if returns, buyer.milliseconds > 4_000 { restarted.offer.sequence = 2 }
                    buyer.found(task, [restarted])
                } else {
                    buyer.advance(to: buyer.milliseconds + 50)
                }
            }
            if returns {
                _ = buyer.start(task, [restarted], channel: 6)
                buyer.delta(task, 2, at: 0, "lo", from: ada, on: 6)
                #expect(buyer.actions.text == "lo" && buyer.milliseconds < 5_000)
            } else {
                #expect(buyer.actions.failures.map(\.reason) == [.workerLost])
                #expect((9_000...11_000).contains(buyer.milliseconds))
            }
        }
    }

    @Test func beforeTheFirstByteAnyTaskFailsOverToAnyWorker() {
        var buyer = Buyer()
        let plain = Seller(7, "gus", continues: false)
        let (task, _) = buyer.stream([ada], request: request { $0.resumable = false })
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        buyer.found(task, [ada, plain])
        #expect(buyer.actions.calls.map(\.2) == [plain.key])
        #expect(buyer.actions.calls.first?.1.mustContinue == false)
    }

    @Test func anAnswerThatCannotBeContinuedEndsWithANamedErrorOnceBytesHaveFlowed() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.resumable = false })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.failures.map(\.reason) == [.workerLost])
        #expect(buyer.actions.failures.first?.delivered?.completionTokens == 1)
    }

    @Test func aToolCallMakesItsAnswerOneThatCannotBeContinued() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.frame(
            task, 1, .delta(Delta(offset: 0, text: [], tokens: 3, extra: toolCall)), from: ada,
            on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.failures.map(\.reason) == [.workerLost])
    }

    @Test func deliveredTextGoesOnlyToAWorkerWithTheSameModelThatContinues() {
        var buyer = Buyer()
        let other = Seller(5, "dot", quantization: "q4_k_m")
        let stubborn = Seller(6, "fay", continues: false)
        let (task, _) = buyer.stream([ada], request: request { $0.deadline = .minutes(1) })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        buyer.wait(task, with: [ada, other, stubborn])
        #expect(buyer.auctioneer.transcript(task)?.assignments.count == 1)
        #expect(buyer.actions.failures.map(\.reason) == [.workerLost])
    }

    @Test func whenTheLostWorkerHadDeliveredAllTokensTheAnswerIsComplete() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.tokensOutMax = 1 })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.summaries.map(\.reason) == ["length"])
    }

    @Test(arguments: [0, 4, 1 << 39])
    func aDeltaThatDoesNotBeginWhereTheLastOneEndedEndsTheAttempt(_ offset: UInt64) {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.delta(task, at: offset, "lo", from: ada, on: 5)
        #expect(buyer.actions.text == "Hel")
        #expect(buyer.actions.closed == [5] && buyer.actions.needs == 1)
    }

    @Test func textThatIsNotWholeCharactersIsAViolationAndReachesNobody() {
        for bytes in [[0xff], [0xe2, 0x82], [0x61, 0xc3]] as [[UInt8]] {
            var buyer = Buyer()
            let (task, _) = buyer.stream([ada, cyd])
            buyer.frame(task, 1, .delta(Delta(offset: 0, text: bytes, tokens: 1)), from: ada, on: 5)
            #expect(buyer.actions.text.isEmpty && buyer.actions.closed == [5])
            buyer.found(task, [ada, cyd])
            #expect(buyer.actions.calls.map(\.2) == [cyd.key])
        }
    }

    @Test func framesOfAnotherChannelSenderAttemptOrTaskAreDiscarded() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.delta(task, at: 0, "a", from: ada, on: 6)
        buyer.delta(task, at: 0, "b", from: cyd, on: 5)
        buyer.delta(task, 2, at: 0, "c", from: ada, on: 5)
        buyer.delta(TaskID(high: 1, low: 1), at: 0, "d", from: ada, on: 5)
        buyer.frame(task, 1, .cancel, from: ada, on: 5)
        #expect(buyer.actions.isEmpty && buyer.auctioneer.discardedFrames == 5)
    }

    // MARK: Silence

    @Test func aSilentWorkerIsStalledAfterOneAndAHalfSeconds() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.advance(to: 1_499)
        #expect(buyer.actions.needs == 0)
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.advance(to: 2_998)
        #expect(buyer.actions.needs == 0)
        buyer.advance(to: 2_999)
        #expect(buyer.actions.needs == 1 && buyer.actions.closed == [5])
        #expect(buyer.auctioneer.transcript(task)?.assignments.first?.ended == .stalled)
    }

    @Test func aSlowModelIsWaitedForThreeTimesItsBidAndAsLongAsItLoads() {
        var buyer = Buyer()
        let slow = Seller(8, "slow", first: 2_000)
        buyer.know([slow], finished: 40)
        let (task, _) = buyer.stream([slow], request: request { $0.deadline = .minutes(5) })
        buyer.advance(to: 5_999)
        #expect(buyer.actions.needs == 0)
        for second in 6..<60 {
            buyer.frame(task, 1, .progress(Progress(phase: .loading, tokens: 0)), from: slow, on: 5)
            buyer.advance(to: Int64(second) * 1_000)
        }
        #expect(buyer.actions.needs == 0)
        buyer.advance(to: 61_000)
        #expect(buyer.actions.needs == 1)
    }

    @Test func progressWithoutNewTokensIsNotBelievedForEver() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.deadline = .minutes(5) })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        for step in 1..<22 where buyer.actions.needs == 0 {
            buyer.advance(to: Int64(step) * 500)
            if buyer.actions.needs == 0 {
                buyer.frame(task, 1, .progress(Progress(phase: .generating, tokens: 1)), from: ada, on: 5)
            }
        }
        #expect(buyer.milliseconds == 10_000)
        #expect(buyer.actions.needs == 1)
    }

    @Test func afterOurOwnLoopStoodStillWorkersGetTheirTimeAgain() {
        var buyer = Buyer()
        _ = buyer.stream([ada])
        buyer.milliseconds = 8_000
        buyer.auctioneer.loopWasStalled(
            turn: &buyer.turn, out: &buyer.actions)
        buyer.advance(to: 8_000)
        #expect(buyer.actions.needs == 0)
        buyer.advance(to: 9_500)
        #expect(buyer.actions.needs == 1)
    }

    @Test func whileTheClientDoesNotReadSilenceIsNoStallAndTheWindowOpensWhenItReads() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([wide])
        let text = String(repeating: "x", count: 8_192)
        for part in 0..<8 { buyer.delta(task, at: UInt64(part) * 8_192, text, from: wide, on: 5) }
        buyer.advance(to: 9_000)
        #expect(buyer.actions.needs == 0)
        _ = buyer.take()
        buyer.auctioneer.consumed(
            task, bytes: 40_000, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.frames.contains(.window(consumed: 40_000)))
        buyer.advance(to: 9_900)
        #expect(buyer.actions.needs == 0)
    }

    @Test func aSlowClientsReadingIsShownBeforeHalfAWindowIsRead() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([wide])
        let text = String(repeating: "x", count: 8_192)
        for part in 0..<8 { buyer.delta(task, at: UInt64(part) * 8_192, text, from: wide, on: 5) }
        for (second, shown) in [(4, []), (5, [.window(consumed: 200)]), (6, [])] as [(Int64, [FrameBody])] {
            buyer.advance(to: second * 1_000)
            _ = buyer.take()
            buyer.auctioneer.consumed(task, bytes: 100, turn: &buyer.turn, out: &buyer.actions)
            #expect(buyer.actions.frames == shown, "after \(second) s")
        }
    }

    @Test func aWorkerThatOurClientDoesNotReadEndsTheTaskAndNobodyIsBlamed() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([wide])
        let seller = wide
        let trust = buyer.auctioneer.trust(of: seller.key, now: buyer.now)
        let text = String(repeating: "x", count: 8_192)
        for part in 0..<8 { buyer.delta(task, at: UInt64(part) * 8_192, text, from: seller, on: 5) }
        let fail = Fail(.deadlineExceeded, "The answer was not read in time.", anotherMaySucceed: false)
        buyer.frame(task, 1, .fail(fail), from: seller, on: 5)
        #expect(buyer.actions.failures.map(\.reason) == [.deadlineExceeded] && buyer.actions.needs == 0)
        #expect(buyer.auctioneer.trust(of: seller.key, now: buyer.now) == trust)
    }

    @Test func aWorkerThatIgnoresItsWindowIsDropped() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([wide])
        let text = String(repeating: "x", count: 12_000)
        var offset: UInt64 = 0
        while buyer.actions.closed.isEmpty && offset < 4 << 20 {
            buyer.delta(task, at: offset, text, from: wide, on: 5)
            offset += 12_000
        }
        #expect(offset < 2 << 20)
    }

    // MARK: Ends

    @Test(arguments: 0..<5)
    func aClientThatHangsUpStopsEverythingInEveryPhase(_ phase: Int) throws {
        var buyer = Buyer()
        let task = buyer.submit()
        var call: (RequestToken, CallForBids)?
        if phase > 0 {
            buyer.found(task, [ada, cyd])
            for (token, sent, key) in buyer.actions.calls {
                if phase > 1 {
                    buyer.answer(
                        token, (key == ada.key ? ada : cyd).bid(sent, buyer: buyer.key),
                        from: key == ada.key ? ada : cyd)
                }
                if key == ada.key { call = (token, sent) }
            }
        }
        if phase > 2 {
            let award = try #require(buyer.actions.awards.last)
            buyer.answer(
                award.0, .awardReply(AwardReply(task: task, attempt: 1, status: .accepted)), from: ada)
        }
        if phase > 3 {
            buyer.opened(task, 1, 5, ada)
            buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        }
        _ = buyer.take()
        buyer.auctioneer.cancel(task, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.failures.map(\.reason) == [.cancelled])
        #expect(buyer.auctioneer.running.isEmpty)
        switch phase {
        case 0: break
        case 1:
            let (token, call) = try #require(call)
            buyer.answer(token, ada.bid(call, buyer: buyer.key), from: ada)
            #expect(buyer.actions.releases.count == 1, "a bid after the cancel is released")
        case 2, 3:
            #expect(buyer.actions.releases.map(\.1) == [ada.key])
            buyer.opened(task, 1, 5, ada)
            #expect(buyer.actions.freed == [5], "a channel that comes too late goes to the pool")
        default:
            #expect(buyer.actions.frames.contains(.cancel) && buyer.actions.freed == [5])
            #expect(buyer.actions.receipts.last?.promptTokens == 8, "its reading of the prompt is paid")
        }
    }

    @Test func aWorkersClockMayEndTheTaskALittleBeforeOurs() {
        let late = FrameBody.fail(
            Fail(.deadlineExceeded, "Late.", anotherMaySucceed: false))
        for (milliseconds, code) in [(899, Reason.deadlineExceeded), (300, .backendError)] {
            var buyer = Buyer()
            let (task, worker) = buyer.stream([ada], request: request { $0.deadline = .milliseconds(900) })
            buyer.milliseconds = Int64(milliseconds)
            buyer.frame(task, 1, late, from: worker, on: 5)
            buyer.found(task, [ada])
            #expect(buyer.actions.failures.map(\.reason) == [code])
        }
    }

    @Test func theDeadlineEndsATaskInEveryPhaseOnce() {
        for phase in 0..<3 {
            var buyer = Buyer()
            let task = buyer.submit(request { $0.deadline = .milliseconds(900) })
            if phase > 0 { buyer.found(task, [ada]) }
            if phase > 1 { _ = buyer.start(task, [ada], channel: 5) }
            buyer.advance(to: 900)
            #expect(buyer.actions.failures.map(\.reason) == [.deadlineExceeded])
            buyer.advance(to: 9_000)
            #expect(buyer.actions.failures.count == 1)
            #expect(buyer.auctioneer.nextDeadline() == .never)
        }
    }

    @Test func aWorkerThatLeavesHandsItsTaskOverAndKeepsItsTrust() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        let fail = Fail(code: "leaving", message: "bye", anotherMaySucceed: true)
        buyer.frame(task, 1, .fail(fail), from: ada, on: 5)
        #expect(buyer.actions.needs == 1)
        #expect(buyer.auctioneer.trust(of: ada.key, now: buyer.now) == 1_000)
        #expect(buyer.auctioneer.transcript(task)?.assignments.first?.ended == .left)
        let next = buyer.submit()
        _ = buyer.take()
        buyer.found(next, [ada, cyd])
        #expect(buyer.take().calls.map(\.2) == [cyd.key], "it left, so it gets no task")
        var back = ada
        back.offer.sequence += 1
        let later = buyer.submit()
        buyer.found(later, [back, cyd])
        #expect(buyer.take().calls.count == 2, "it is back with a new offer")
    }

    @Test func whenEveryWorkerIsLostTheTaskEndsAfterABoundedNumberOfThem() {
        var buyer = Buyer()
        let sellers = (20..<40).map { Seller($0, "w\($0)") }
        let task = buyer.submit(request { $0.deadline = .minutes(10) })
        var workers = 0
        while buyer.actions.failures.isEmpty && workers < 100 {
            buyer.found(task, sellers)
            _ = buyer.start(task, sellers, channel: 5)
            workers += 1
            buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        }
        #expect(workers == MarketParameters().assignmentsMax)
        #expect(buyer.actions.failures.map(\.reason) == [.workerLost])
    }

    @Test func receiptsAreCumulativeAboutOneASecondAndSayWhatWasDelivered() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada])
        for step in 0..<30 {
            buyer.advance(to: Int64(step) * 100)
            buyer.delta(task, at: UInt64(step) * 2, "ab", from: ada, on: 5)
        }
        let receipts = buyer.actions.receipts
        #expect(receipts.count == 2)
        #expect(receipts.map(\.sequence) == [1, 2])
        #expect(receipts.map(\.completionTokens) == [10, 20])
        #expect(receipts.map(\.cost) == [20, 40])
    }

    @Test func anEmbeddingComesWholeHoweverManyPartsItTakes() {
        var buyer = Buyer()
        let (task, _) = buyer.stream(
            [ada],
            request: request {
                $0.kind = .embedding; $0.features = []
            })
        let answer =
            #"{"data":[{"index":0,"embedding":[1"# + String(repeating: ",1", count: 119_980) + "]}]}"
        for part in 0..<20 {
            let piece = answer.dropFirst(part * 12_000).prefix(12_000)
            buyer.delta(task, at: UInt64(part) * 12_000, String(piece), from: ada, on: 5)
        }
        buyer.frame(task, 1, .finish(Finish(reason: "stop", promptTokens: 8)), from: ada, on: 5)
        #expect(buyer.actions.summaries.first?.extra == Array(answer.utf8))
        #expect(buyer.actions.text.isEmpty)
    }

    @Test func endedTasksAreRememberedForAnHourAndNoMoreThanAThousand() throws {
        var buyer = Buyer()
        var first: TaskID?
        for _ in 0..<1_001 {
            let task = buyer.submit()
            first = first ?? task
            buyer.found(task, [])
        }
        #expect(buyer.auctioneer.transcript(try #require(first)) == nil)
        #expect(buyer.auctioneer.recent(5_000).count == 1_000)
        buyer.advance(to: 3_600_000)
        #expect(buyer.auctioneer.recent(5_000).isEmpty)
    }

    @Test func aNodeTakesNoMoreTasksThanItsBoundAndSaysSo() {
        var parameters = MarketParameters()
        parameters.tasksMax = 3
        var buyer = Buyer(parameters: parameters)
        for _ in 0..<4 { _ = buyer.submit() }
        #expect(buyer.actions.failures.map(\.reason) == [.tooManyTasks])
        #expect(buyer.auctioneer.running.count == 3)
    }
}
