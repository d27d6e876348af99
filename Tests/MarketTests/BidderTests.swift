import Cryptography
import Primitives
import Testing
import Wire

@testable import Market

/// A bidder with its turn, and its actions since the last look.
struct Worker: ~Copyable {
    var bidder: Bidder
    var turn = Turn(now: moment(0), random: SeededRandom(seed: 1))
    var actions: [BidderAction] = []
    let seller: Seller

    init(_ seller: Seller = ada, parameters: MarketParameters = MarketParameters()) {
        self.seller = seller
        bidder = Bidder(identity: seller.identity, parameters: parameters)
        bidder.setServed([seller.served])
    }

    var milliseconds: Int64 {
        get { (turn.monotonic - .zero).milliseconds }
        set { turn.now = moment(newValue) }
    }

    mutating func handle(_ message: MarketMessage, from buyer: PeerAddress, proven: Bool = true)
        -> MarketMessage?
    {
        bidder.handle(
            message, from: buyer, group: UInt64(buyer.endpoint.port), proven: proven, turn: &turn,
            out: &actions)
    }

    mutating func frame(
        _ task: TaskID, _ body: FrameBody, from buyer: PeerAddress, on channel: ChannelID, attempt: UInt32 = 1
    ) {
        bidder.received(
            Frame(task: task, attempt: attempt, body: body), from: buyer.key, channel: channel, turn: &turn,
            out: &actions)
    }

    mutating func event(_ id: JobID, _ event: JobEvent) {
        bidder.jobEvent(id, event, turn: &turn, out: &actions)
    }

    mutating func advance(to milliseconds: Int64) {
        self.milliseconds = milliseconds
        bidder.tick(turn: &turn, out: &actions)
    }

    mutating func take() -> [BidderAction] {
        defer { actions = [] }
        return actions
    }

    /// Bid, award and task: the job then runs on `channel`.
    mutating func run(
        _ number: UInt64, from buyer: PeerAddress, on channel: ChannelID, window: UInt32 = 65_536,
        change: (inout CallForBids) -> Void = { _ in }
    )
        throws -> JobID
    {
        let task = TaskID(high: 1, low: number)
        _ = handle(.callForBids(call(number, change: change)), from: buyer)
        _ = handle(.award(Award(task: task, attempt: 1, workerDials: false)), from: buyer)
        frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 2, windowBytes: window)), from: buyer, on: channel)
        frame(task, .bodyPart(Array("{}".utf8)), from: buyer, on: channel)
        return try #require(take().jobs.last?.id)
    }

    /// An answer of 40 tokens, finished and paid: 80 µcr, which are worth two slots.
    mutating func runAndPay(_ number: UInt64, from buyer: PeerAddress, _ signer: UInt64) throws {
        let job = try run(number, from: buyer, on: 99)
        event(job, .produced(text: [UInt8](repeating: 120, count: 160), tokens: 40, extra: []))
        event(job, .finished(Finish(reason: "stop", completionTokens: 40)))
        pay(number, from: buyer, signer) { ($0.completionTokens, $0.cost) = (40, 80) }
    }

    mutating func pay(
        _ number: UInt64, from buyer: PeerAddress, _ signer: UInt64, isForged: Bool = false,
        change: (inout Receipt) -> Void = { _ in }
    ) {
        var receipt = Receipt(
            task: TaskID(high: 1, low: number), attempt: 1, buyer: buyer.key, worker: seller.key, sequence: 1,
            completionTokens: 3, cost: 6, final: true)
        change(&receipt)
        var signed = Verified(signing: receipt, with: identity(signer)).signed
        if isForged { signed.signature.s.w3 ^= 1 }
        frame(receipt.task, .receipt(signed), from: buyer, on: 99)
    }
}

func call(_ number: UInt64, change: (inout CallForBids) -> Void = { _ in }) -> CallForBids {
    var call = CallForBids(
        task: TaskID(high: 1, low: number), attempt: 1, model: "wren-m", features: .chat, tokensIn: 8,
        tokensOut: 64,
        closeMilliseconds: 100, deadlineMilliseconds: 10_000)
    change(&call)
    return call
}

func asker(_ number: UInt64) -> PeerAddress {
    PeerAddress(key: identity(number).publicKey, endpoint: .loopback(UInt16(number)))
}

extension [BidderAction] {
    var jobs: [Job] { compactMap { if case .startJob(let job) = $0 { job } else { nil } } }
    var cancelled: [JobID] { compactMap { if case .cancelJob(let id) = $0 { id } else { nil } } }
    var paused: [JobID] { compactMap { if case .pauseJob(let id) = $0 { id } else { nil } } }
    var resumed: [JobID] { compactMap { if case .resumeJob(let id) = $0 { id } else { nil } } }
    var frames: [FrameBody] {
        compactMap { if case .sendFrame(_, let frame) = $0 { frame.body } else { nil } }
    }
    var deltas: [Delta] { frames.compactMap { if case .delta(let delta) = $0 { delta } else { nil } } }
    var fails: [Fail] { frames.compactMap { if case .fail(let fail) = $0 { fail } else { nil } } }
}

@Suite struct BidderTests {
    let one = asker(2_001)
    let two = asker(2_002)

    func reason(_ message: MarketMessage?) -> DeclineReason? {
        if case .decline(let decline) = message { decline.reason } else { nil }
    }

    func retryAfter(_ message: MarketMessage?) -> UInt32? {
        if case .decline(let decline) = message { decline.retryAfterMilliseconds } else { nil }
    }

    func signedBid(_ message: MarketMessage?) -> SignedRecord? {
        if case .bid(let signed) = message { signed } else { nil }
    }

    func isBid(_ message: MarketMessage?) -> Bool { if case .bid = message { true } else { false } }

    func status(_ message: MarketMessage?) -> AwardStatus? {
        if case .awardReply(let reply) = message { reply.status } else { nil }
    }

    @Test func aBidIsSignedStatesPriceAndSpeedAndHoldsASlotUntilTheCallCloses() throws {
        var worker = Worker()
        let signed = try #require(signedBid(worker.handle(.callForBids(call(1)), from: one)))
        let bid = try Verified<Bid>(checking: signed).record
        #expect(bid.price == ada.offer.price && bid.millitokensPerSecond == 60_000 && bid.buyer == one.key)
        #expect(worker.bidder.slotsTaken("wren-m") == 1)
        worker.advance(to: 99)
        #expect(worker.bidder.slotsTaken("wren-m") == 1)
        worker.advance(to: 100)
        #expect(worker.bidder.slotsTaken("wren-m") == 0)
        #expect(worker.bidder.nextDeadline() == .never)
    }

    @Test func anUnprovenFirstMessageChangesNothingAndGetsNoAnswer() {
        var worker = Worker()
        #expect(worker.handle(.callForBids(call(1)), from: one, proven: false) == nil)
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
    }

    @Test func aRepeatedCallGetsTheSameBidAndNoSecondSlot() {
        var worker = Worker()
        let first = worker.handle(.callForBids(call(1)), from: one)
        #expect(worker.handle(.callForBids(call(1)), from: one) == first)
        #expect(worker.bidder.slotsTaken("wren-m") == 1)
    }

    @Test func noHoldIsLongerThan250Milliseconds() {
        var worker = Worker()
        _ = worker.handle(.callForBids(call(1) { $0.closeMilliseconds = .max }), from: one)
        worker.advance(to: 250)
        #expect(worker.bidder.slotsTaken("wren-m") == 0)
    }

    @Test func anUnknownBuyerHoldsOneSlotAndOneThatPaidMayHoldMore() throws {
        var worker = Worker()
        #expect(isBid(worker.handle(.callForBids(call(1)), from: one)))
        #expect(reason(worker.handle(.callForBids(call(2)), from: one)) == .holdLimit)
        #expect(isBid(worker.handle(.callForBids(call(3)), from: two)))
        worker.advance(to: 1_000)
        try worker.runAndPay(4, from: one, 2_001)
        #expect(isBid(worker.handle(.callForBids(call(5)), from: one)))
        #expect(isBid(worker.handle(.callForBids(call(6)), from: one)))
        #expect(reason(worker.handle(.callForBids(call(7)), from: one)) == .busy)
    }

    @Test(arguments: [
        (DeclineReason.notServed, 0), (.lacksParameter, 1), (.lacksParameter, 2), (.contextTooSmall, 3),
        (.overMaxPrice, 4), (.paused, 5), (.leaving, 6), (.backendDown, 7), (.lacksParameter, 8),
    ])
    func aCallThatDoesNotFitIsDeclinedWithTheReason(_ expected: DeclineReason, _ kind: Int) {
        var worker = Worker(kind == 8 ? Seller(1, continues: false) : ada)
        let message = call(1) { call in
            switch kind {
            case 0: call.model = "wren-x"
            case 1: call.features = .tools
            case 2: call.quantizations = ["bf16"]
            case 3: call.tokensIn = 512
            case 4: call.maxPrice = Price(input: .max, output: 1_999_999)
            case 8: call.mustContinue = true
            default: break
            }
        }
        if kind == 5 { worker.bidder.pause() }
        if kind == 6 { worker.bidder.leave() }
        if kind == 7 {
            var served = ada.served
            served.available = .down("no answer")
            worker.bidder.setServed([served])
        }
        #expect(reason(worker.handle(.callForBids(message), from: one)) == expected)
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
    }

    @Test func eachModelsCallsAreBidOnOrDeclinedAndOthersAreNotCounted() {
        var worker = Worker()
        _ = worker.handle(.callForBids(call(1)), from: one)
        _ = worker.handle(.callForBids(call(1)), from: one)
        _ = worker.handle(
            .award(Award(task: TaskID(high: 1, low: 1), attempt: 1, workerDials: false)), from: one)
        _ = worker.handle(.callForBids(call(2) { $0.tokensIn = 1_000_000 }), from: two)
        _ = worker.handle(.callForBids(call(3) { $0.model = "another" }), from: two)
        var counts = CallCounts()
        (counts.calls, counts.bids, counts.declines, counts.won) = (2, 1, 1, 1)
        #expect(worker.bidder.record.models == ["wren-m": counts])
    }

    @Test func aBusyDeclineSaysWhenToAskAgain() {
        var worker = Worker()
        _ = worker.handle(.callForBids(call(1)), from: one)
        _ = worker.handle(.callForBids(call(2)), from: two)
        let answer = worker.handle(.callForBids(call(3)), from: asker(2_003))
        #expect(reason(answer) == .busy)
        #expect(retryAfter(answer) == 100)
    }

    @Test func anAwardAfterAReleaseGetsASlotOnceIfOneIsFree() {
        var worker = Worker(Seller(1, slots: 1))
        let award = { (n: UInt64) in
            MarketMessage.award(Award(task: TaskID(high: 1, low: n), attempt: 1, workerDials: false))
        }
        _ = worker.handle(.callForBids(call(1)), from: one)
        _ = worker.handle(
            .release(Release(task: TaskID(high: 1, low: 1), attempt: 1, winningScore: 9)), from: one)
        #expect(worker.bidder.slotsTaken("wren-m") == 0)
        #expect(isBid(worker.handle(.callForBids(call(2)), from: two)))
        #expect(status(worker.handle(award(1), from: one)) == .busy)
        worker.advance(to: 100)
        #expect(status(worker.handle(award(1), from: one)) == .accepted)
        #expect(status(worker.handle(award(1), from: one)) == .accepted, "idempotent")
        #expect(status(worker.handle(award(9), from: one)) == .unknown)
        #expect(status(worker.handle(award(1), from: two)) == .unknown, "another buyer's bid")
        #expect(worker.bidder.slotsTaken("wren-m") == 1)
        worker.advance(to: 2_100)
        #expect(worker.bidder.slotsTaken("wren-m") == 0)
        #expect(status(worker.handle(award(1), from: one)) == .busy, "the lease has run out")
        #expect(reason(worker.handle(.callForBids(call(1)), from: one)) == .unspecified)
    }

    @Test func anAwardAfterTheWholeAnswerIsAcceptedAndTakesNoSlot() throws {
        var worker = Worker()
        let buyer = asker(1)
        let task = TaskID(high: 1, low: 1)
        _ = worker.handle(.callForBids(call(1)), from: buyer)
        worker.frame(
            task, .open(TaskOpen(kind: .chat, bodyBytes: 2, windowBytes: 65_536)), from: buyer, on: 5)
        worker.frame(task, .bodyPart(Array("{}".utf8)), from: buyer, on: 5)
        let job = try #require(worker.take().jobs.last?.id)
        worker.event(job, .finished(Finish(reason: "stop")))
        #expect(worker.bidder.slotsTaken("wren-m") == 0)
        let award = MarketMessage.award(Award(task: task, attempt: 1, workerDials: false))
        #expect(status(worker.handle(award, from: buyer)) == .accepted)
        #expect(worker.bidder.slotsTaken("wren-m") == 0, "and it takes no slot")
    }

    @Test func aLosersNoticeThatTheAwardOvertookDoesNotEndTheLease() {
        var worker = Worker()
        let task = TaskID(high: 1, low: 1)
        _ = worker.handle(.callForBids(call(1)), from: one)
        _ = worker.handle(.award(Award(task: task, attempt: 1, workerDials: false)), from: one)
        _ = worker.handle(.release(Release(task: task, attempt: 1, winningScore: 9)), from: one)
        #expect(worker.bidder.slotsTaken("wren-m") == 1)
        _ = worker.handle(.release(Release(task: task, attempt: 1, winningScore: 0)), from: one)
        #expect(worker.bidder.slotsTaken("wren-m") == 0)
    }

    @Test func aLeaseWithoutATaskEndsAfterTwoSeconds() {
        var worker = Worker()
        _ = worker.handle(.callForBids(call(1)), from: one)
        _ = worker.handle(
            .award(Award(task: TaskID(high: 1, low: 1), attempt: 1, workerDials: false)), from: one)
        worker.advance(to: 1_999)
        #expect(worker.bidder.slotsTaken("wren-m") == 1)
        worker.advance(to: 2_000)
        #expect(worker.bidder.slotsTaken("wren-m") == 0)
    }

    @Test func theRequestComesInPartsAfterTheDeliveredText() {
        var worker = Worker()
        let task = TaskID(high: 1, low: 1)
        _ = worker.handle(.callForBids(call(1) { $0.mustContinue = true }), from: one)
        worker.frame(
            task, .open(TaskOpen(kind: .chat, bodyBytes: 4, maxTokens: 7, deliveredBytes: 3)), from: one,
            on: 1)
        worker.frame(task, .bodyPart(Array("Hel{\"".utf8)), from: one, on: 1)
        #expect(worker.actions.jobs.isEmpty)
        worker.frame(task, .bodyPart(Array("\"}".utf8)), from: one, on: 1)
        let job = worker.actions.jobs.first
        #expect(
            job?.delivered == Array("Hel".utf8) && job?.body == Array("{\"\"}".utf8) && job?.maxTokens == 7)
    }

    @Test func aTaskWithoutABidASlotOrTheAnnouncedLengthIsRefusedByName() {
        var worker = Worker(Seller(1, slots: 1))
        let open = FrameBody.open(TaskOpen(kind: .chat, bodyBytes: 2))
        worker.frame(TaskID(high: 1, low: 1), open, from: one, on: 1)
        #expect(worker.take().fails.map(\.code) == ["busy"])
        _ = worker.handle(.callForBids(call(1)), from: one)
        worker.frame(TaskID(high: 1, low: 1), open, from: one, on: 1)
        worker.frame(TaskID(high: 1, low: 1), .bodyPart([1, 2, 3]), from: one, on: 1)
        #expect(worker.take().fails.map(\.code) == ["invalid_request"])
        _ = worker.handle(.callForBids(call(2)), from: one)
        worker.frame(TaskID(high: 1, low: 2), .open(TaskOpen(kind: .chat, bodyBytes: .max)), from: one, on: 1)
        #expect(worker.take().fails.map(\.anotherMaySucceed) == [false])
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
    }

    @Test func aWorkerThatAcceptsNoChannelDialsAfterTheAwardAndSaysHello() throws {
        var worker = Worker()
        worker.bidder.acceptsChannels = false
        let signed = try #require(signedBid(worker.handle(.callForBids(call(1)), from: one)))
        #expect(try Bid(decoding: signed.body).workerDials)
        let task = TaskID(high: 1, low: 1)
        _ = worker.handle(.award(Award(task: task, attempt: 1, workerDials: true)), from: one)
        #expect(worker.take().contains { if case .openChannel(task, 1, one) = $0 { true } else { false } })
        worker.bidder.channelOpened(
            task, attempt: 1, channel: 7, peer: one.key, turn: &worker.turn, out: &worker.actions)
        #expect(worker.take().frames == [.hello])
        worker.frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 0)), from: one, on: 7)
        let job = try #require(worker.take().jobs.first)
        worker.event(job.id, .finished(Finish(reason: "stop")))
        #expect(worker.actions.contains { if case .releaseChannel(7) = $0 { true } else { false } })
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
    }

    /// Section "Dialling" of `market.md` has OPEN come on the channel of HELLO; a buyer may break that.
    @Test func anOpenOnAnotherChannelThanTheDialledOneLeavesNoChannelBehind() throws {
        var worker = Worker()
        worker.bidder.acceptsChannels = false
        let task = TaskID(high: 1, low: 1)
        _ = worker.handle(.callForBids(call(1)), from: one)
        _ = worker.handle(.award(Award(task: task, attempt: 1, workerDials: true)), from: one)
        worker.bidder.channelOpened(
            task, attempt: 1, channel: 7, peer: one.key, turn: &worker.turn, out: &worker.actions)
        worker.frame(task, .open(TaskOpen(kind: .chat, bodyBytes: 0)), from: one, on: 8)
        let job = try #require(worker.take().jobs.first)
        worker.bidder.channelClosed(8, turn: &worker.turn, out: &worker.actions)
        #expect(worker.actions.cancelled == [job.id])
        #expect(worker.actions.contains { if case .releaseChannel(7) = $0 { true } else { false } })
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
    }

    @Test func deltasCarryOffsetsAreCutBetweenCharactersAndEndWithTheFinish() throws {
        var worker = Worker()
        let job = try worker.run(1, from: one, on: 1)
        let text = Array(String(repeating: "né€😀", count: 4_000).utf8)
        worker.event(job, .produced(text: Array("ab".utf8), tokens: 1, extra: []))
        worker.event(job, .produced(text: text, tokens: 9, extra: []))
        worker.event(job, .finished(Finish(reason: "stop", completionTokens: 10)))
        let deltas = worker.actions.deltas
        var offset: UInt64 = 0
        for delta in deltas {
            #expect(delta.offset == offset && String(validating: delta.text, as: UTF8.self) != nil)
            #expect(delta.text.count <= 12_000)
            offset += UInt64(delta.text.count)
        }
        #expect(deltas.flatMap(\.text) == Array("ab".utf8) + text && deltas.map(\.tokens).reduce(0, +) == 10)
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
        worker.event(job, .produced(text: [65], tokens: 1, extra: []))
        #expect(worker.actions.deltas.count == deltas.count, "nothing after the end")
    }

    @Test func theBackendIsPausedWhenAWindowIsUnreadAndResumedAtHalfOfIt() throws {
        var worker = Worker()
        let task = TaskID(high: 1, low: 1)
        let job = try worker.run(1, from: one, on: 1, window: 8_192)
        let part = [UInt8](repeating: 120, count: 3_000)
        for _ in 0..<2 { worker.event(job, .produced(text: part, tokens: 1, extra: [])) }
        #expect(worker.actions.paused.isEmpty)
        worker.event(job, .produced(text: part, tokens: 1, extra: []))
        #expect(worker.take().paused == [job])
        worker.frame(task, .window(consumed: 4_000), from: one, on: 1)
        #expect(worker.actions.resumed.isEmpty)
        worker.frame(task, .window(consumed: 5_000), from: one, on: 1)
        #expect(worker.take().resumed == [job])
        worker.frame(task, .window(consumed: .max), from: one, on: 1)
        worker.event(job, .produced(text: part, tokens: 1, extra: []))
        #expect(worker.actions.paused.isEmpty, "acknowledging more than was sent counts as all of it")
    }

    @Test func halfASecondWithoutADeltaIsFilledWithAProgressFrame() throws {
        var worker = Worker()
        let job = try worker.run(1, from: one, on: 1)
        worker.event(job, .phase(.loading))
        worker.advance(to: 500)
        #expect(worker.take().frames == [.progress(Progress(phase: .loading, tokens: 0))])
        worker.milliseconds = 900
        worker.event(job, .produced(text: [65], tokens: 1, extra: []))
        worker.advance(to: 1_000)
        #expect(worker.take().frames.count == 1)
        worker.advance(to: 1_400)
        #expect(worker.take().frames == [.progress(Progress(phase: .generating, tokens: 1))])
    }

    @Test(arguments: 0..<4)
    func cancelClosedChannelReleaseAndDeadlineStopTheBackendAndFreeTheSlot(_ kind: Int) throws {
        var worker = Worker()
        let task = TaskID(high: 1, low: 1)
        let job = try worker.run(1, from: one, on: 1)
        switch kind {
        case 0: worker.frame(task, .cancel, from: one, on: 1)
        case 1: worker.bidder.channelClosed(1, turn: &worker.turn, out: &worker.actions)
        case 2: _ = worker.handle(.release(Release(task: task, attempt: 1, winningScore: 0)), from: one)
        default: worker.advance(to: 3_600_000)
        }
        #expect(worker.actions.cancelled == [job])
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
    }

    @Test func neitherAnotherBuyerNorAnotherChannelCanSteerATask() throws {
        var worker = Worker()
        let task = TaskID(high: 1, low: 1)
        let job = try worker.run(1, from: one, on: 1)
        worker.frame(task, .cancel, from: two, on: 1)
        worker.frame(task, .cancel, from: one, on: 2)
        worker.frame(task, .cancel, from: one, on: 1, attempt: 2)
        #expect(worker.actions.isEmpty && worker.bidder.runningJobs == [job])
    }

    @Test func aLeavingNodeHandsOverWhatRunsAndBidsNoMore() throws {
        var worker = Worker()
        let job = try worker.run(1, from: one, on: 1)
        worker.bidder.leave()
        #expect(worker.bidder.runningJobs == [job])
        worker.bidder.handOver(turn: &worker.turn, out: &worker.actions)
        #expect(worker.actions.cancelled == [job])
        #expect(
            worker.actions.fails == [
                Fail(code: "leaving", message: "The node stops serving.", anotherMaySucceed: true)
            ])
        #expect(worker.bidder.outstanding == (0, 0, 0, 0))
    }

    @Test func receiptsCountWhenTheyAreTheBuyersForThisWorkAndNewer() throws {
        var worker = Worker()
        let task = TaskID(high: 1, low: 1)
        let job = try worker.run(1, from: one, on: 1)
        worker.event(job, .produced(text: Array("a b c".utf8), tokens: 3, extra: []))
        _ = worker.take()
        let give = { (worker: inout Worker, signer: UInt64, sequence: UInt64, final: Bool, to: PublicKey) in
            let receipt = Receipt(
                task: task, attempt: 1, buyer: identity(signer).publicKey, worker: to, sequence: sequence,
                completionTokens: 3, cost: 6, final: final)
            worker.frame(
                task, .receipt(Verified(signing: receipt, with: identity(signer)).signed), from: one, on: 1)
        }
        give(&worker, 2_002, 1, false, ada.key)
        give(&worker, 2_001, 1, false, bob.key)
        #expect(worker.actions.isEmpty)
        give(&worker, 2_001, 1, false, ada.key)
        worker.milliseconds = 1_000
        give(&worker, 2_001, 1, false, ada.key)
        give(&worker, 2_001, 2, false, ada.key)
        give(&worker, 2_001, 3, false, ada.key)
        #expect(worker.take().count == 2, "not the repeated one, nor one that comes too soon")
        worker.event(job, .finished(Finish(reason: "stop")))
        give(&worker, 2_001, 4, true, ada.key)
        give(&worker, 2_001, 5, true, ada.key)
        #expect(worker.actions.count { if case .receiptAccepted = $0 { true } else { false } } == 1)
    }

    @Test func theTablesKeepTheirBoundsUnderAnyNumberOfCalls() {
        var worker = Worker(Seller(1, slots: 4))
        for number in 0..<3_000 {
            worker.milliseconds = Int64(number) * 60
            _ = worker.handle(.callForBids(call(UInt64(number))), from: asker(UInt64(3_000 + number % 50)))
        }
        #expect(worker.bidder.outstanding.holds <= 4)
    }
}
