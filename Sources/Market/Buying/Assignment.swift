import Cryptography
import Primitives
import Wire

/// One award within a task, (attempt, worker), from the award to its last frame. Counts deliveries, holds them against
/// the client's limits, watches the worker's window and silence, and writes its receipts; decides nothing.
struct Assignment: Sendable {
    /// What the client's limits leave for an assignment; nil: no limit.
    struct Limits: Sendable {
        var tokens: UInt32?
        var cost: Money?
    }

    let attempt: UInt32
    let worker: PeerAddress
    let name: String
    let bid: Bid
    /// The worker had finished a task of this node before.
    let wasMet: Bool
    /// The prompt's tokens as we called for them.
    let tokensIn: UInt32
    /// How far the delivery was when this assignment began.
    private let start: Delivery.Position
    private let limits: Limits
    let awardedAt: MonotonicTime
    /// The award's answer, or a first frame, showed that the worker stands by its bid.
    private(set) var isAccepted = false
    private(set) var channel: ChannelID?
    private var openedAt: MonotonicTime

    /// Bytes of text and extra.
    private var received: UInt64 = 0
    private var count: AnswerCount
    /// Tokens of the first delta, whose time is the first token's.
    private var firstTokens: UInt32 = 0
    private var wasHeldBack = false
    /// How many of the bytes the client has taken, as last told to the worker.
    private var acknowledged: UInt64 = 0
    private var acknowledgedAt: MonotonicTime
    private var clock: StallClock
    private var receipts = ReceiptSequence()

    init(
        attempt: UInt32, winner: Auction.Winner, kind: TaskKind, tokensIn: UInt32, start: Delivery.Position,
        limits: Limits, belief: StallClock.Belief, slowness: Int, _ parameters: MarketParameters,
        now: MonotonicTime
    ) {
        self.attempt = attempt
        worker = winner.address
        name = winner.name
        bid = winner.bid
        wasMet = if case .met = belief { true } else { false }
        self.tokensIn = tokensIn
        self.start = start
        self.limits = limits
        awardedAt = now
        openedAt = now
        acknowledgedAt = now
        count = AnswerCount(kind)
        clock = StallClock(
            winner.bid, tokensIn: tokensIn, belief, slowness: slowness, parameters, now)
    }

    func isOf(_ attempt: UInt32, _ key: PublicKey) -> Bool { self.attempt == attempt && worker.key == key }

    mutating func accept() { isAccepted = true }

    mutating func opened(_ channel: ChannelID, _ now: MonotonicTime) {
        self.channel = channel
        openedAt = now
        clock.restart(now)
    }

    // MARK: - Deliveries

    /// What a delta is for the client.
    enum Intake: Sendable {
        /// It doesn't start where the last one ended, or the worker ignores its window.
        case violation
        /// Nothing: a sign of life.
        case empty
        case part(Delta)
        /// The rest of what the client's limits allow, perhaps empty: the answer ends with it.
        case last(Delta)
    }

    /// The worker's tokens by our count, never over the client's limit.
    private var tokens: UInt32 { min(count.tokens, limits.tokens ?? .max) }
    /// The task's tokens with those of this assignment.
    var deliveredTokens: UInt32 { start.tokens &+ tokens }
    /// The delivery's bytes with all that this assignment received.
    var receivedTotal: UInt64 { start.bytes + received }
    /// Tokens that other workers had delivered before.
    var continuedTokens: UInt32 { start.tokens }
    var hasContent: Bool { count.bytes > 0 }
    /// It has sent all the tokens that its limit allows.
    var hasAllTokens: Bool { limits.tokens.map { count.tokens >= $0 } ?? false }

    /// Counts a delta, and cuts what the client's limits don't allow. `said` are the bytes
    /// that its `extra` says. A delta that says nothing fills the window, and is neither an answer nor evidence of one.
    mutating func receive(
        _ delta: Delta, said: Int, _ parameters: MarketParameters, _ now: MonotonicTime
    ) -> Intake {
        guard delta.offset == received else { return .violation }
        let bytes = UInt64(delta.text.count + delta.extra.count)
        guard bytes > 0 else {
            clock.heard(now)
            return .empty
        }
        received += bytes
        guard received - acknowledged <= parameters.windowBytes * parameters.windowsOverrunMax else {
            return .violation
        }
        if isHeldBack(parameters) { wasHeldBack = true }
        guard !delta.text.isEmpty || said > 0 else {
            clock.heard(now)
            return .part(delta)
        }
        var delta = delta
        var isLast = false
        if let limit = limits.tokens {
            guard count.tokens < limit else {
                return .last(Delta(offset: delta.offset, text: [], tokens: 0))
            }
            isLast = count.cut(&delta, limit: limit)
        }
        count.add(delta, said: said)
        if clock.firstByteAt == nil { firstTokens = tokens }
        clock.bytesCame(now)
        if let most = limits.cost, runningCost > most { isLast = true }
        return isLast ? .last(delta) : .part(delta)
    }

    mutating func receive(_ progress: Progress, _ parameters: MarketParameters, _ now: MonotonicTime) {
        clock.progressCame(progress, delivered: count.tokens, parameters, now)
    }

    // MARK: - Window and silence

    /// While the client leaves more than half a window unread, the worker may have paused because of that, so
    /// its silence proves nothing.
    func isHeldBack(_ parameters: MarketParameters) -> Bool {
        received - acknowledged > parameters.windowBytes / 2
    }

    /// When the worker counts as stalled; nil while we hold it back, or before its channel is open. `canMove`: another
    /// can have the task.
    func stallsAt(_ parameters: MarketParameters, canMove: Bool) -> MonotonicTime? {
        channel == nil || isHeldBack(parameters) ? nil : clock.stallsAt(parameters, canMove: canMove)
    }

    /// When its first byte is due by its bid.
    var promisedAt: MonotonicTime { openedAt + clock.promised }

    /// Whether its bid alone showed that it can't begin before `deadline`.
    func couldNotBegin(before deadline: MonotonicTime) -> Bool { awardedAt + clock.promised > deadline }

    /// Whether it sends a drip: see `StallClock`. Call it whenever the stall timer fires.
    mutating func drips(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        channel != nil && !isHeldBack(parameters) && clock.drips(bytes: received, now)
    }

    /// Whether a stalled worker is to blame: not one sign of life, or tokens claimed that never came. Slowness
    /// alone is no fault.
    func isAtFault(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        clock.hasLied || clock.isSilent(parameters, now)
    }

    /// Whether the task waits for a slot there, by the worker's word.
    var isQueued: Bool { clock.isQueued && !hasContent }

    /// How long it will still wait there, by the worker's word; nil: it doesn't.
    var queueLeft: Interval? {
        isQueued ? min(.milliseconds(Int64(clock.queueLeft)), .seconds(30)) : nil
    }

    /// Whether it has shown no evidence of progress for longer than it promised.
    func isOverdue(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        isAccepted && channel != nil && !isHeldBack(parameters) && clock.isOverdue(parameters, now)
    }

    /// Whether it has sent no byte for longer than it promised, whatever it said.
    func isLate(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        isAccepted && channel != nil && !isHeldBack(parameters) && clock.isLate(parameters, now)
    }

    /// Since when nothing came from the worker.
    var quietSince: MonotonicTime { channel == nil ? awardedAt : clock.heardAt }

    mutating func forgiveSilence(_ now: MonotonicTime) { clock.restart(now) }

    /// Notes that the client took `total` of the delivery's bytes. Returns how many of this assignment's
    /// bytes to acknowledge, if that is worth a frame: half a window, or anything where a slow client has not shown
    /// for long that it reads.
    mutating func consumed(total: UInt64, _ parameters: MarketParameters, _ now: MonotonicTime) -> UInt64? {
        let own = min(received, total > start.bytes ? total - start.bytes : 0)
        let isSlow = isHeldBack(parameters) && now - acknowledgedAt >= parameters.unreadMax / 2
        guard own > acknowledged, isSlow || own - acknowledged >= parameters.windowBytes / 2 else {
            return nil
        }
        if isHeldBack(parameters) { clock.restart(now) }
        acknowledged = own
        acknowledgedAt = now
        return own
    }

    /// What this assignment shows of its worker's speed; nil: nothing.
    func speed(_ now: MonotonicTime) -> SpeedSample? {
        guard channel != nil, isAccepted else { return nil }
        guard let first = clock.firstByteAt, let last = clock.lastByteAt else {
            return SpeedSample(first: Self.milliseconds(beginning(by: now)), isComplete: false, rate: nil)
        }
        var sample = SpeedSample(first: Self.milliseconds(beginning(by: first)), isComplete: true, rate: nil)
        // Of one that fell silent the silence counts, or it would be as fast as before.
        let hasStopped = now - last >= Self.measuredStop
        let later = tokens - min(firstTokens, tokens)
        let span = (hasStopped ? now : last) - first
        let isLong = later > 0 && span >= Self.measuredSpanLong || hasStopped
        if isLong || later >= Self.measuredTokensMin && span >= Self.measuredSpanMin, !wasHeldBack {
            let rate = UInt64(max(later, 1)) * 1_000_000 / UInt64(max(1, span.milliseconds))
            sample.rate = UInt32(clamping: max(1, rate))
        }
        return sample
    }

    /// How long it took to begin, without the queue that its bid stated: a longer one is its own slowness.
    private func beginning(by time: MonotonicTime) -> Interval {
        max(.milliseconds(1), time - openedAt - .milliseconds(Int64(bid.queueMilliseconds)))
    }

    /// Fewer tokens, or a shorter time, measure the network; over a long time any number shows how slow it was.
    private static let measuredTokensMin: UInt32 = 8
    private static let measuredSpanMin = Interval.milliseconds(20)
    private static let measuredSpanLong = Interval.seconds(2)
    /// It has fallen silent: as long as `stallMin`.
    private static let measuredStop = Interval.milliseconds(1_500)

    private static func milliseconds(_ interval: Interval) -> UInt32 {
        UInt32(clamping: max(0, interval.milliseconds))
    }

    // MARK: - Bill and receipt

    /// The prompt without the text that other workers had delivered.
    private var ownPrompt: UInt64 { UInt64(tokensIn > start.tokens ? tokensIn - start.tokens : tokensIn) }

    /// What the worker would get if we stopped it now and there were no limit.
    private var runningCost: Money {
        Scoring.cost(
            bid.price, prompt: ownPrompt, cached: UInt64(bid.cachedTokens), completion: UInt64(tokens))
    }

    /// The bill for the delivered tokens, without the prompt.
    func bill() -> Bill { Bill(bid.price, completion: UInt64(tokens), most: limits.cost) }

    /// The bill including the prompt, for a worker that had begun to answer when we stopped it.
    func bill(promptMax: UInt64) -> Bill {
        bill(prompt: min(ownPrompt, promptMax), cached: 0, completion: tokens)
    }

    /// The bill by the worker's own count, accepted as far as the bytes, our estimate and the client's limits
    /// allow. Our own count was acknowledged already, so the bill has at least that.
    func bill(_ finish: Finish, promptMax: UInt64) -> Bill {
        guard hasContent || !finish.extra.isEmpty else { return bill() }
        let claimed = count.tokens(claiming: UInt64(finish.completionTokens))
        return bill(
            prompt: min(UInt64(finish.promptTokens), promptMax), cached: UInt64(finish.cachedTokens),
            completion: max(tokens, min(claimed, limits.tokens ?? .max)))
    }

    /// At least as much of the prompt is cached as the bid said when it won.
    private func bill(prompt: UInt64, cached: UInt64, completion: UInt32) -> Bill {
        Bill(
            bid.price, prompt: prompt, cached: min(max(UInt64(bid.cachedTokens), cached), prompt),
            completion: UInt64(completion), most: limits.cost)
    }

    /// The next cumulative receipt; nil when nothing new was delivered and it isn't the last.
    mutating func receipt(
        _ bill: Bill, task: TaskID, isFinal: Bool, signer: Identity, _ now: Now
    ) -> Verified<Receipt>? {
        guard let sequence = receipts.next(tokens: tokens, cost: bill.cost, isFinal: isFinal) else {
            return nil
        }
        let receipt = Receipt(
            task: task, attempt: attempt, buyer: signer.publicKey, worker: worker.key, sequence: sequence,
            promptTokens: bill.prompt, cachedTokens: bill.cached, completionTokens: bill.completion,
            cost: bill.cost, final: isFinal, issuedAt: now.wall)
        return Verified(signing: receipt, with: signer)
    }
}
