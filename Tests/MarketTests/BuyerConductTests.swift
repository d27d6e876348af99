import Primitives
import Testing
import Wire

@testable import Market

/// What a seller takes from a buyer that keeps no rule: it goes by its own count, clock and shares.
@Suite struct BuyerConductTests {
    let one = asker(2_001)
    let task = TaskID(high: 1, low: 1)

    func reason(_ message: MarketMessage?) -> DeclineReason? {
        if case .decline(let decline) = message { decline.reason } else { nil }
    }

    func accepted(_ actions: [BidderAction]) -> Int {
        actions.count { if case .receiptAccepted = $0 { true } else { false } }
    }

    /// An answer of three tokens (6 µcr) that runs on channel 99.
    func answering(_ worker: inout Worker) throws -> JobID {
        let job = try worker.run(1, from: one, on: 99)
        worker.event(job, .produced(text: Array("a b c".utf8), tokens: 3, extra: []))
        _ = worker.take()
        return job
    }

    // MARK: - Receipts

    @Test func aBidALeaseAndAnAnswerWithoutContentAreOwedNothing() throws {
        var worker = Worker()
        _ = worker.handle(.callForBids(call(1)), from: one)
        worker.pay(1, from: one, 2_001)
        _ = worker.handle(.award(Award(task: task, attempt: 1, workerDials: false)), from: one)
        worker.pay(1, from: one, 2_001)
        worker.frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 0)), from: one, on: 99)
        let job = try #require(worker.take().jobs.last?.id)
        worker.pay(1, from: one, 2_001)
        worker.event(job, .finished(Finish(reason: "stop", promptTokens: 8, completionTokens: 3)))
        worker.pay(1, from: one, 2_001)
        #expect(accepted(worker.take()) == 0)
    }

    @Test(arguments: 0..<5) func aReceiptOwesNoMoreThanWeCountedAndBid(_ kind: Int) throws {
        var worker = Worker()
        let job = try answering(&worker)
        worker.event(
            job, .finished(Finish(reason: "stop", promptTokens: 20, cachedTokens: 5, completionTokens: 4)))
        worker.pay(1, from: one, 2_001) { receipt in
            (receipt.promptTokens, receipt.cachedTokens, receipt.completionTokens) = (20, 5, 4)
            // 15 × 0.2 + 5 × 0.02 + 4 × 2 = 11.1, rounded up.
            receipt.cost = 12
            switch kind {
            case 0: receipt.completionTokens = 5
            case 1: receipt.promptTokens = 21
            case 2: receipt.cost = 13
            case 3: receipt.cachedTokens = 21
            default: break
            }
        }
        #expect(accepted(worker.take()) == (kind == 4 ? 1 : 0))
    }

    @Test func fromOneReceiptToTheNextNothingFallsNotEvenInTheLast() throws {
        var worker = Worker()
        _ = try answering(&worker)
        worker.pay(1, from: one, 2_001) { $0.final = false }
        worker.milliseconds = 1_000
        worker.pay(1, from: one, 2_001) { ($0.sequence, $0.completionTokens, $0.cost) = (2, 2, 6) }
        worker.pay(1, from: one, 2_001) { ($0.sequence, $0.cost) = (2, 5) }
        #expect(accepted(worker.take()) == 1)
        worker.pay(1, from: one, 2_001) { $0.sequence = 2 }
        #expect(accepted(worker.take()) == 1)
    }

    @Test func aTotalBelowTheDeltasIsRaisedToThem() throws {
        var worker = Worker()
        let job = try answering(&worker)
        worker.event(job, .finished(Finish(reason: "stop", completionTokens: 2)))
        #expect(worker.take().frames == [.finish(Finish(reason: "stop", completionTokens: 3))])
    }

    @Test func aSecondWrongSignatureEndsTheAttempt() throws {
        var worker = Worker()
        let job = try answering(&worker)
        worker.pay(1, from: one, 2_001, isForged: true) { $0.final = false }
        #expect(worker.take().isEmpty)
        worker.pay(1, from: one, 2_001, isForged: true) { $0.final = false }
        #expect(worker.actions.cancelled == [job] && worker.actions.fails.map(\.code) == ["invalid_request"])
        worker.pay(1, from: one, 2_001)
        #expect(accepted(worker.take()) == 0, "nor does a right one count then")
        #expect(worker.bidder.record.forged == 1 && worker.bidder.outstanding == (0, 0, 0, 0))
    }

    @Test func onlyAFinalReceiptOverAllThatWasCountedMakesABuyerKnown() throws {
        for kind in 0..<3 {
            var worker = Worker(Seller(1, slots: 4))
            let job = try answering(&worker)
            worker.event(
                job, .produced(text: [UInt8](repeating: 120, count: 100), tokens: 30, extra: []))
            worker.event(job, .finished(Finish(reason: "stop", promptTokens: 5, completionTokens: 33)))
            worker.pay(1, from: one, 2_001) { receipt in
                // 5 × 0.2 + 33 × 2
                (receipt.promptTokens, receipt.completionTokens, receipt.cost) = (5, 33, 67)
                if kind == 0 { receipt.final = false }
                if kind == 1 { receipt.cost = 66 }
            }
            #expect(accepted(worker.take()) == 1)
            for number in 2...5 { _ = worker.handle(.callForBids(call(UInt64(number))), from: one) }
            // A stranger has one slot and is lent the second; one paid task is a second of its own, and leaves two to lend.
            #expect(worker.bidder.slotsTaken("wren-m") == (kind == 2 ? 4 : 2))
        }
    }

    // MARK: - Slots

    @Test func anIdleSellerLendsHalfOfItsSlotsToANewBuyerAndDeclinesTheRestWithTheReason() {
        var worker = Worker(Seller(1, slots: 256))
        let answers = (0..<200).map { reason(worker.handle(.callForBids(call($0)), from: one)) }
        #expect(answers.count { $0 == nil } == 128 && answers.count { $0 == .holdLimit } == 72)
        #expect(reason(worker.handle(.callForBids(call(900)), from: asker(2_002))) == nil, "one for each key")
        #expect(reason(worker.handle(.callForBids(call(901)), from: asker(2_002))) == .holdLimit)
    }

    @Test func aBuyerMayUseASlotMoreThanItPaidTasksWhateverStrangersUse() throws {
        var worker = Worker(Seller(1, slots: 8))
        for number in 1...3 { try worker.runAndPay(UInt64(number), from: one, 2_001) }
        for number in 100..<120 { _ = worker.handle(.callForBids(call(UInt64(number))), from: asker(2_002)) }
        #expect(worker.bidder.slotsLent("wren-m") == 4)
        let answers = (200..<210).map { reason(worker.handle(.callForBids(call($0)), from: one)) }
        #expect(answers.count { $0 == nil } == 4 && worker.bidder.slotsTaken("wren-m") == 8)
    }

    @Test func whatABuyerPaidCountsNoMoreOnceItLeavesAJobUnacknowledged() throws {
        var worker = Worker(Seller(1, slots: 8))
        for number in 1...6 { try worker.runAndPay(UInt64(number), from: one, 2_001) }
        let job = try worker.run(50, from: one, on: 98, window: 1 << 20) { $0.deadlineMilliseconds = 60_000 }
        let start = worker.milliseconds
        for second in 0..<12 {
            worker.advance(to: start + Int64(second) * 1_000)
            worker.event(job, .produced(text: [UInt8](repeating: 120, count: 100), tokens: 50, extra: []))
        }
        #expect(worker.bidder.record.unpaid == 1)
        let answers = (200..<210).map { reason(worker.handle(.callForBids(call($0)), from: one)) }
        #expect(answers.count { $0 == nil } == 4, "a stranger's share")
    }

    @Test func onceSomebodyHasPaidNewKeysOfManyNetworksLeaveHalfOfTheSlots() throws {
        var worker = Worker(Seller(1, slots: 8))
        try worker.runAndPay(1, from: one, 2_001)
        let strangers = (0..<20).map { place in
            reason(worker.handle(.callForBids(call(UInt64(100 + place))), from: asker(3_000 + UInt64(place))))
        }
        #expect(strangers.count { $0 == nil } == 4)
        #expect(reason(worker.handle(.callForBids(call(200)), from: one)) == nil)
    }

    @Test(arguments: [(0, 0), (1, 1), (25, 2), (100, 8)])
    func theOwnerSetsHowMuchStrangersGetOnceSomebodyHasPaid(percent: Int, slots: Int) throws {
        var parameters = MarketParameters()
        parameters.strangersPercent = percent
        var worker = Worker(Seller(1, slots: 8), parameters: parameters)
        try worker.runAndPay(1, from: one, 2_001)
        let strangers = (0..<20).map { place in
            reason(worker.handle(.callForBids(call(UInt64(100 + place))), from: asker(3_000 + UInt64(place))))
        }
        #expect(strangers.count { $0 == nil } == slots)
    }

    @Test func newKeysOfOneNetworkShareOneSlotAndWhatIsLent() {
        var worker = Worker(Seller(1, slots: 8))
        var answers: [DeclineReason?] = []
        for number in 0..<20 {
            let buyer = PeerAddress(key: identity(UInt64(3_000 + number)).publicKey, endpoint: .loopback(9))
            answers.append(reason(worker.handle(.callForBids(call(UInt64(number))), from: buyer)))
        }
        #expect(answers.count { $0 == nil } == 4 && answers.count { $0 == .holdLimit } == 16)
    }

    @Test func networksThatTakeTurnsWithLeasesHoldNoMoreThanTheStrangersShare() {
        var worker = Worker(Seller(1, slots: 2))
        let attackers = [asker(2_002), asker(2_003)]
        var refused = 0
        for round in 0..<10 {
            worker.advance(to: Int64(round) * 2_000)
            for (place, attacker) in attackers.enumerated() {
                let number = UInt64(100 + 2 * round + place)
                _ = worker.handle(.callForBids(call(number)), from: attacker)
                let award = Award(task: TaskID(high: 1, low: number), attempt: 1, workerDials: false)
                _ = worker.handle(.award(award), from: attacker)
            }
            if reason(worker.handle(.callForBids(call(UInt64(round))), from: one)) != nil { refused += 1 }
        }
        #expect(refused == 1, "the first leases of both")
    }

    @Test func networksThatTakeAnswersInTurnAndAcknowledgeNoneHoldNoMoreThanTheStrangersShare() throws {
        var worker = Worker(Seller(1, slots: 2))
        for (place, buyer) in [asker(2_002), asker(2_003)].enumerated() {
            let job = try worker.run(UInt64(place), from: buyer, on: ChannelID(rawValue: UInt64(place)))
            worker.event(job, .produced(text: [65], tokens: 1, extra: []))
            worker.event(job, .finished(Finish(reason: "stop", completionTokens: 1)))
        }
        let answers = [asker(2_002), asker(2_003), one].enumerated().map { place, buyer in
            reason(worker.handle(.callForBids(call(UInt64(10 + place))), from: buyer))
        }
        #expect(answers == [nil, .holdLimit, nil])
    }

    @Test func oneStrangersTaskIsAlwaysPossibleOnAnIdleSeller() {
        for slots in 1...3 {
            var worker = Worker(Seller(1, slots: UInt32(slots)))
            #expect(reason(worker.handle(.callForBids(call(1)), from: one)) == nil)
        }
    }

    @Test func aNodesOwnTasksMayTakeEverySlot() {
        var worker = Worker(Seller(1, slots: 4))
        let own = worker.seller.address
        let answers = (0..<5).map { reason(worker.handle(.callForBids(call($0)), from: own)) }
        #expect(answers == [nil, nil, nil, nil, .busy])
    }

    // MARK: - What was called for

    @Test(arguments: 0..<5) func anOpenThatAsksForMoreThanItsCallIsRefused(_ kind: Int) {
        var worker = Worker()
        _ = worker.handle(.callForBids(call(1)), from: one)
        var open = TaskOpen(kind: .chat, bodyBytes: 16_384 + 64 * 8)
        switch kind {
        case 0: open.bodyBytes += 1
        case 1: open.deliveredBytes = 1
        case 2: open.kind = .embedding
        case 3: open.kind = .unspecified
        default: break
        }
        worker.frame(task, .open(open), from: one, on: 99)
        let fails = worker.take().fails
        #expect(fails.map(\.code) == (kind == 4 ? [] : ["invalid_request"]))
        #expect(worker.bidder.slotsTaken("wren-m") == (kind == 4 ? 1 : 0))
    }

    @Test func tokensAndTimeAreTheLowerOfTheCallsAndTheOpens() throws {
        for (called, opened, most) in [(7, 0, 7), (7, 5, 5), (7, 9, 7), (0, 9, 9)]
            as [(UInt32, UInt32, UInt32)]
        {
            var worker = Worker()
            _ = worker.handle(.callForBids(call(1) { $0.tokensOutMax = called }), from: one)
            worker.milliseconds = 50
            let open = TaskOpen(kind: .chat, bodyBytes: 0, maxTokens: opened, deadlineMilliseconds: 60_000)
            worker.frame(task, .open(open), from: one, on: 99)
            let job = try #require(worker.take().jobs.first)
            #expect(job.maxTokens == most && job.deadline == .milliseconds(9_950))
        }
    }

    @Test func aCallWithoutADeadlineHasTenMinutes() throws {
        var worker = Worker()
        _ = worker.handle(.callForBids(call(1) { $0.deadlineMilliseconds = 0 }), from: one)
        worker.frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 0)), from: one, on: 99)
        let job = try #require(worker.take().jobs.first)
        #expect(job.deadline == .minutes(10))
    }

    @Test func requestsThatNeverEndFillNoMoreThanTheirBound() {
        var worker = Worker(Seller(1, context: 1_000_000, slots: 32))
        for number in 1...6 as ClosedRange<UInt64> {
            let buyer = asker(2_000 + number)
            _ = worker.handle(.callForBids(call(number) { $0.tokensIn = 140_000 }), from: buyer)
            worker.frame(
                TaskID(high: 1, low: number), .open(TaskOpen(kind: .chat, bodyBytes: 8 << 20)), from: buyer,
                on: ChannelID(rawValue: 90 + number))
        }
        #expect(worker.take().fails.map(\.code) == ["busy", "busy"])
        #expect(worker.bidder.slotsTaken("wren-m") == 4)
    }

    // MARK: - Buyers that don't keep up

    @Test func outputThatWaitsTenSecondsForItsReaderEndsTheTask() throws {
        var worker = Worker()
        let job = try worker.run(1, from: one, on: 99, window: 4_096) { $0.deadlineMilliseconds = 60_000 }
        worker.milliseconds = 1_000
        worker.event(job, .produced(text: [UInt8](repeating: 120, count: 9_000), tokens: 9, extra: []))
        worker.advance(to: 6_000)
        // (9,000 − 32) ÷ 16 tokens, or it would end for want of a receipt.
        worker.pay(1, from: one, 2_001) { ($0.completionTokens, $0.cost, $0.final) = (560, 1_120, false) }
        worker.frame(task, .window(consumed: 1), from: one, on: 99)
        _ = worker.take()
        worker.advance(to: 15_999)
        #expect(worker.bidder.runningJobs == [job])
        worker.advance(to: 16_000)
        #expect(worker.actions.cancelled == [job] && worker.actions.fails.map(\.anotherMaySucceed) == [false])
        #expect(worker.bidder.record.unread == 1 && worker.bidder.outstanding == (0, 0, 0, 0))
    }

    /// A byte every few seconds would hold the slot until the task's deadline.
    @Test func aReaderThatDripsAndAcknowledgesNothingHoldsNoSlot() throws {
        var worker = Worker()
        let job = try worker.run(1, from: one, on: 99, window: 4_096) { $0.deadlineMilliseconds = 600_000 }
        worker.event(job, .produced(text: [UInt8](repeating: 120, count: 9_000), tokens: 900, extra: []))
        for second in 1...12 {
            worker.advance(to: Int64(second) * 1_000)
            worker.frame(task, .window(consumed: UInt64(second)), from: one, on: 99)
        }
        #expect(worker.bidder.record.unpaid == 1 && worker.bidder.outstanding == (0, 0, 0, 0))
    }

    /// An embedding has no tokens of its own, and a call may state a prompt of none.
    @Test func aReceiptOfNothingMakesNoBuyerKnownWhereSomethingHasAPrice() throws {
        for (price, isKnown) in [(price(20, 0), false), (price(0, 0), true)] {
            var worker = Worker(Seller(1, price: price, slots: 4))
            let job = try worker.run(1, from: one, on: 99) { $0.tokensIn = 0 }
            worker.event(job, .finished(Finish(reason: "stop", promptTokens: 5, extra: Array("[1]".utf8))))
            worker.pay(1, from: one, 2_001) { ($0.completionTokens, $0.cost) = (0, 0) }
            #expect(accepted(worker.take()) == 1)
            for number in 2...5 { _ = worker.handle(.callForBids(call(UInt64(number))), from: one) }
            #expect(worker.bidder.slotsTaken("wren-m") == (isKnown ? 4 : 2))
        }
    }

    @Test func tokensThatNoReceiptAcknowledgesEndTheTask() throws {
        for kind in ["none", "zero", "free", "paid"] {
            let pays = kind == "paid"
            var worker = Worker()
            let job = try worker.run(1, from: one, on: 99, window: 1 << 20) {
                $0.deadlineMilliseconds = 60_000
            }
            for second in 0..<20 {
                worker.advance(to: Int64(second) * 1_000)
                worker.event(job, .produced(text: [UInt8](repeating: 120, count: 100), tokens: 50, extra: []))
                guard kind != "none" else { continue }
                worker.pay(1, from: one, 2_001) { receipt in
                    receipt.sequence = UInt64(second + 1)
                    receipt.completionTokens = kind == "zero" ? 0 : UInt64(50 * (second + 1))
                    receipt.cost = Money(microCredits: pays ? Int64(100 * (second + 1)) : 0)
                    receipt.final = false
                }
            }
            #expect(worker.bidder.record.unpaid == (pays ? 0 : 1))
            #expect(worker.bidder.runningJobs == (pays ? [job] : []))
        }
    }
}
