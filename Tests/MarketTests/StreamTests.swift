import Primitives
import Testing
import Wire

@testable import Market

@Suite("Streams and failover") struct StreamTests {
    @Test("An answer streams to the client and ends with one bill")
    func answer() {
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

    @Test(
        "A worker that claims more tokens than bytes, or a longer prompt than was sent, isn't paid for them")
    func claims() {
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

    @Test(
        "A lost worker is replaced in a new auction that carries what was delivered, and no byte comes twice")
    func failover() {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd], request: request { $0.tokensOutMax = 10 })
        #expect(first.key == ada.key)
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        #expect(buyer.actions.needs == 1)
        buyer.found(task, [ada, cyd])
        guard let (_, call, to) = buyer.actions.calls.first else {
            Issue.record("no new call")
            return
        }
        #expect(to == cyd.key && call.attempt == 2 && call.mustContinue && call.digest == ada.offer.digest)
        #expect(call.tokensIn == 9 && call.tokensOutMax == 9)
        for (token, call, _) in buyer.actions.calls {
            buyer.answer(token, cyd.bid(call, buyer: buyer.key), from: cyd)
        }
        guard let award = buyer.actions.awards.last else { return }
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

    @Test("Before the first byte any task fails over, to a worker that need not continue text")
    func failoverAtStart() {
        var buyer = Buyer()
        let plain = Seller(7, "gus", continues: false)
        let (task, _) = buyer.stream([ada], request: request { $0.resumable = false })
        buyer.auctioneer.channelClosed(5, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        buyer.found(task, [ada, plain])
        #expect(buyer.actions.calls.map(\.2) == [plain.key])
        #expect(buyer.actions.calls.first?.1.mustContinue == false)
    }

    @Test("An answer that can't be continued ends with a named error once bytes have flowed")
    func notResumable() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.resumable = false })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        #expect(buyer.actions.failures.map(\.code) == [.workerLost])
        #expect(buyer.actions.failures.first?.delivered?.completionTokens == 1)
    }

    @Test("A tool call, which is more than text, makes its answer one that can't be continued")
    func extraIsNotText() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.frame(
            task, 1, .delta(Delta(offset: 0, text: [], tokens: 3, extra: Array("[{}]".utf8))), from: ada,
            on: 5)
        buyer.auctioneer.channelClosed(5, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        #expect(buyer.actions.failures.map(\.code) == [.workerLost])
    }

    @Test(
        "A worker with another digest or quantization, or one that can't continue, doesn't get delivered text"
    )
    func continuationNeedsTheSameModel() {
        var buyer = Buyer()
        let other = Seller(5, "dot", quantization: "q4_k_m")
        let stubborn = Seller(6, "fay", continues: false)
        let (task, _) = buyer.stream([ada])
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        buyer.found(task, [ada, other, stubborn])
        #expect(buyer.actions.calls.isEmpty)
        #expect(buyer.actions.failures.map(\.code) == [.workerLost])
    }

    @Test("When the lost worker had delivered all tokens that were asked for, the answer is complete")
    func exhausted() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.tokensOutMax = 1 })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        #expect(buyer.actions.summaries.map(\.reason) == ["length"])
    }

    @Test("A delta that doesn't begin where the last one ended ends the attempt", arguments: [0, 4, 1 << 39])
    func wrongOffset(_ offset: UInt64) {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.delta(task, at: offset, "lo", from: ada, on: 5)
        #expect(buyer.actions.text == "Hel")
        #expect(buyer.actions.closed == [5] && buyer.actions.needs == 1)
    }

    @Test("Frames of another channel, sender, attempt or task are discarded")
    func strangers() {
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

    @Test("Silence of a worker stalls it: 1.5 s before its first token, and after it")
    func stall() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.advance(to: 1_499)
        #expect(buyer.actions.needs == 0)
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.advance(to: 2_998)
        #expect(buyer.actions.needs == 0)
        buyer.advance(to: 2_999)
        #expect(buyer.actions.needs == 1 && buyer.actions.closed == [5])
        #expect(buyer.auctioneer.transcript(task)?.legs.first?.ended == .stalled)
    }

    @Test("A slow model is waited for three times what it bid, and as long as it says that it loads")
    func slowStart() {
        var buyer = Buyer()
        let slow = Seller(8, "slow", first: 2_000)
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

    @Test("Progress without new tokens is not believed for ever")
    func hungBackend() {
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

    @Test("After our own loop stood still, workers get their time again")
    func frozenAuctioneer() {
        var buyer = Buyer()
        _ = buyer.stream([ada])
        buyer.milliseconds = 8_000
        buyer.auctioneer.loopWasStalled(
            for: .seconds(8), now: buyer.now, random: &buyer.random, out: &buyer.actions)
        buyer.advance(to: 8_000)
        #expect(buyer.actions.needs == 0)
        buyer.advance(to: 9_500)
        #expect(buyer.actions.needs == 1)
    }

    @Test("While the client doesn't read, silence is not a stall; credit flows when it reads")
    func backPressure() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada])
        let text = String(repeating: "x", count: 8_192)
        for part in 0..<8 { buyer.delta(task, at: UInt64(part) * 8_192, text, from: ada, on: 5) }
        buyer.advance(to: 9_000)
        #expect(buyer.actions.needs == 0)
        _ = buyer.take()
        buyer.auctioneer.consumed(
            task, bytes: 40_000, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        #expect(buyer.actions.frames.contains(.window(consumed: 40_000)))
        buyer.advance(to: 9_900)
        #expect(buyer.actions.needs == 0)
    }

    @Test("A worker that ignores its window is dropped")
    func windowIgnored() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada])
        let text = String(repeating: "x", count: 12_000)
        var offset: UInt64 = 0
        while buyer.actions.closed.isEmpty && offset < 4 << 20 {
            buyer.delta(task, at: offset, text, from: ada, on: 5)
            offset += 12_000
        }
        #expect(offset < 2 << 20)
    }

    // MARK: Ends

    @Test("A client that hangs up stops everything in every phase", arguments: 0..<5)
    func cancels(_ phase: Int) {
        var buyer = Buyer()
        let task = buyer.submit()
        var offers: (UInt64, CallForBids)?
        if phase > 0 {
            buyer.found(task, [ada, cyd])
            for (token, call, key) in buyer.actions.calls {
                if phase > 1 {
                    buyer.answer(
                        token, (key == ada.key ? ada : cyd).bid(call, buyer: buyer.key),
                        from: key == ada.key ? ada : cyd)
                }
                if key == ada.key { offers = (token, call) }
            }
        }
        if phase > 2 {
            guard let award = buyer.actions.awards.last else { return }
            buyer.answer(
                award.0, .awardReply(AwardReply(task: task, attempt: 1, status: .accepted)), from: ada)
        }
        if phase > 3 {
            buyer.opened(task, 1, 5, ada)
            buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        }
        _ = buyer.take()
        buyer.auctioneer.cancel(task, now: buyer.now, random: &buyer.random, out: &buyer.actions)
        #expect(buyer.actions.failures.map(\.code) == [.cancelled])
        #expect(buyer.auctioneer.running.isEmpty)
        switch phase {
        case 0: break
        case 1:
            guard let offers else { return }
            buyer.answer(offers.0, ada.bid(offers.1, buyer: buyer.key), from: ada)
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

    @Test("A worker's clock may end the task a little before ours: it is the deadline all the same")
    func workersDeadline() {
        let late = FrameBody.fail(
            Fail(code: FailCode.deadlineExceeded, message: "Late.", anotherMaySucceed: false))
        for (milliseconds, code) in [(899, TaskFailure.Code.deadlineExceeded), (300, .backendError)] {
            var buyer = Buyer()
            let (task, worker) = buyer.stream([ada], request: request { $0.deadline = .milliseconds(900) })
            buyer.milliseconds = Int64(milliseconds)
            buyer.frame(task, 1, late, from: worker, on: 5)
            #expect(buyer.actions.failures.map(\.code) == [code])
        }
    }

    @Test("The deadline ends a task in every phase, once")
    func deadline() {
        for phase in 0..<3 {
            var buyer = Buyer()
            let task = buyer.submit(request { $0.deadline = .milliseconds(900) })
            if phase > 0 { buyer.found(task, [ada]) }
            if phase > 1 { _ = buyer.start(task, [ada], channel: 5) }
            buyer.advance(to: 900)
            #expect(buyer.actions.failures.map(\.code) == [.deadlineExceeded])
            buyer.advance(to: 9_000)
            #expect(buyer.actions.failures.count == 1)
            #expect(buyer.auctioneer.nextDeadline() == .never)
        }
    }

    @Test(
        "A worker's refusal of the request itself ends the task; its own trouble doesn't",
        arguments: [
            ("invalid_request", false, TaskFailure.Code.invalidRequest),
            ("context_length_exceeded", false, .contextLengthExceeded),
            ("backend_error", false, .backendError),
        ])
    func workerFails(_ code: String, _ another: Bool, _ expected: TaskFailure.Code) {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.frame(
            task, 1, .fail(Fail(code: code, message: "no", anotherMaySucceed: another)), from: ada, on: 5)
        #expect(buyer.actions.failures.map(\.code) == [expected])
        #expect(buyer.actions.freed == [5])
    }

    @Test("A worker that leaves hands its task over and keeps its trust")
    func leaving() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada, cyd])
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        let fail = Fail(code: "leaving", message: "bye", anotherMaySucceed: true)
        buyer.frame(task, 1, .fail(fail), from: ada, on: 5)
        #expect(buyer.actions.needs == 1)
        #expect(buyer.auctioneer.trust(of: ada.key, now: buyer.now) == 1_000)
        #expect(buyer.auctioneer.transcript(task)?.legs.first?.ended == .left)
    }

    @Test("When every worker fails, the task ends after a bounded number of them")
    func attemptsAreBounded() {
        var buyer = Buyer()
        let sellers = (20..<40).map { Seller($0, "w\($0)") }
        let task = buyer.submit(request { $0.deadline = .minutes(10) })
        var legs = 0
        while buyer.actions.failures.isEmpty && legs < 100 {
            buyer.found(task, sellers)
            let worker = buyer.start(task, sellers, channel: 5)
            legs += 1
            let fail = Fail(code: "backend_error", message: "out of memory", anotherMaySucceed: true)
            buyer.frame(task, UInt32(legs), .fail(fail), from: worker, on: 5)
        }
        #expect(legs == MarketParameters().legsMax)
        #expect(buyer.actions.failures.map(\.code) == [.backendError])
    }

    @Test("Receipts are cumulative, about one a second, and say what was delivered")
    func receipts() {
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

    @Test("An embedding comes whole, however many parts it takes")
    func embedding() {
        var buyer = Buyer()
        let (task, _) = buyer.stream(
            [ada],
            request: request {
                $0.kind = .embedding; $0.features = []
            })
        for part in 0..<20 {
            buyer.delta(
                task, at: UInt64(part) * 12_000, String(repeating: "1", count: 12_000), from: ada, on: 5)
        }
        buyer.frame(task, 1, .finish(Finish(reason: "stop", promptTokens: 8)), from: ada, on: 5)
        #expect(buyer.actions.summaries.first?.extra.count == 240_000)
        #expect(buyer.actions.text.isEmpty)
    }

    @Test("Ended tasks are remembered for an hour, and no more than a thousand")
    func transcripts() {
        var buyer = Buyer()
        var first: TaskID?
        for _ in 0..<1_001 {
            let task = buyer.submit()
            first = first ?? task
            buyer.found(task, [])
        }
        guard let first else { return }
        #expect(buyer.auctioneer.transcript(first) == nil)
        #expect(buyer.auctioneer.recent(5_000).count == 1_000)
        buyer.advance(to: 3_600_000)
        #expect(buyer.auctioneer.recent(5_000).isEmpty)
    }

    @Test("A node takes no more tasks than its bound, and says so")
    func tooMany() {
        var parameters = MarketParameters()
        parameters.tasksMax = 3
        var buyer = Buyer(parameters: parameters)
        for _ in 0..<4 { _ = buyer.submit() }
        #expect(buyer.actions.failures.map(\.code) == [.tooManyTasks])
        #expect(buyer.auctioneer.running.count == 3)
    }
}
