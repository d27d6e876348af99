import Cryptography
import Primitives
import Wire

/// One award within a task, (attempt, worker), from the award to its last frame. Counts deliveries, watches
/// the worker's window and silence, and writes its receipts; decides nothing.
struct Assignment: Sendable {
    let attempt: UInt32
    let worker: PeerAddress
    let name: String
    let bid: Bid
    /// How far the delivery was when this assignment began.
    private let start: Delivery.Position
    /// What was left of the client's token limit; nil: no limit.
    private let tokensMax: UInt32?
    let awardedAt: MonotonicTime
    /// The award's answer, or a first frame, showed that the worker stands by its bid.
    private(set) var isAccepted = false
    private(set) var channel: ChannelID?

    /// Bytes of text and extra.
    private var received: UInt64 = 0
    private var tokens: UInt32 = 0
    /// How many of these bytes the client has taken, as last told to the worker.
    private var acknowledged: UInt64 = 0
    private var clock: StallClock
    private var receipts = ReceiptSequence()

    init(
        attempt: UInt32, worker: PeerAddress, name: String, bid: Bid, start: Delivery.Position,
        tokensMax: UInt32?, now: MonotonicTime
    ) {
        self.attempt = attempt
        self.worker = worker
        self.name = name
        self.bid = bid
        self.start = start
        self.tokensMax = tokensMax
        awardedAt = now
        clock = StallClock(bid, now)
    }

    func isOf(_ attempt: UInt32, _ key: PublicKey) -> Bool { self.attempt == attempt && worker.key == key }

    mutating func accept() { isAccepted = true }

    mutating func opened(_ channel: ChannelID, _ now: MonotonicTime) {
        self.channel = channel
        clock.restart(now)
    }

    // MARK: - Deliveries

    /// The task's tokens with those of this assignment.
    var deliveredTokens: UInt32 { start.tokens &+ tokens }
    /// The delivery's bytes with all that this assignment received.
    var receivedTotal: UInt64 { start.bytes + received }
    /// Tokens that other workers had delivered before.
    var continuedTokens: UInt32 { start.tokens }
    var hasDelta: Bool { clock.firstDeltaAt != nil }

    /// Counts a delta. Returns false when it doesn't start where the last one ended, or when the worker
    /// ignores its window. A worker can't be paid for more tokens than it sent bytes.
    mutating func receive(_ delta: Delta, _ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        guard delta.offset == received else { return false }
        let bytes = UInt64(delta.text.count + delta.extra.count)
        received += bytes
        guard received - acknowledged <= parameters.windowBytes * parameters.windowsOverrunMax else {
            return false
        }
        tokens = tokens &+ min(delta.tokens, UInt32(clamping: bytes))
        clock.deltaCame(now)
        return true
    }

    mutating func receive(_ progress: Progress, _ now: MonotonicTime) {
        clock.progressCame(progress, delivered: tokens, now)
    }

    // MARK: - Window and silence

    /// While the client leaves more than half a window unread, the worker may have paused because of that, so
    /// its silence proves nothing.
    private func isHeldBack(_ parameters: MarketParameters) -> Bool {
        received - acknowledged > parameters.windowBytes / 2
    }

    /// When the worker counts as stalled; nil while we hold it back, or before its channel is open.
    func stallsAt(_ parameters: MarketParameters) -> MonotonicTime? {
        channel == nil || isHeldBack(parameters) ? nil : clock.stallsAt(parameters)
    }

    mutating func forgiveSilence(_ now: MonotonicTime) { clock.restart(now) }

    /// Notes that the client took `total` of the delivery's bytes. Returns how many of this assignment's
    /// bytes to acknowledge, if that is worth a frame: at least half a window.
    mutating func consumed(total: UInt64, _ parameters: MarketParameters, _ now: MonotonicTime) -> UInt64? {
        let own = min(received, total > start.bytes ? total - start.bytes : 0)
        guard own > acknowledged, own - acknowledged >= parameters.windowBytes / 2 else { return nil }
        if isHeldBack(parameters) { clock.restart(now) }
        acknowledged = own
        return own
    }

    // MARK: - Bill and receipt

    /// The bill for the delivered tokens, without the prompt.
    func bill() -> Bill { Bill(bid.price, completion: UInt64(tokens)) }

    /// The bill including the prompt, for a worker that had begun to answer when it was cancelled.
    func bill(input: UInt32, promptMax: UInt64) -> Bill {
        let prompt = min(UInt64(input), promptMax)
        return Bill(
            bid.price, prompt: prompt, cached: min(UInt64(bid.cachedTokens), prompt),
            completion: UInt64(tokens))
    }

    /// The bill by the worker's own count, accepted as far as the bytes and the client's limit allow.
    func bill(_ finish: Finish, promptMax: UInt64) -> Bill {
        let most = min(received + 16, UInt64(tokensMax ?? .max))
        let claimed = UInt64(finish.completionTokens)
        let prompt = min(UInt64(finish.promptTokens), promptMax)
        return Bill(
            bid.price, prompt: prompt, cached: min(UInt64(finish.cachedTokens), prompt),
            completion: claimed > 0 ? min(claimed, most) : UInt64(tokens))
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
