import Cryptography
import Primitives
import Wire

/// One awarded attempt: from the award to its last frame. Counts what came, judges silence, keeps the worker's credit
/// and writes its receipts; decides nothing.
struct Leg: Sendable {
    let attempt: UInt32
    let worker: PeerAddress
    let name: String
    let bid: Bid
    /// Whether the worker dials the channel.
    let workerDials: Bool
    /// Bytes and tokens that the client had when this attempt began.
    let bytesBefore: UInt64
    let tokensBefore: UInt32
    /// What is left of the client's limit; nil: none.
    let tokensMax: UInt32?
    let awardedAt: MonotonicTime
    /// The award's answer, or a first frame, said that the worker stands by its bid.
    var accepted = false
    var channel: ChannelID?

    /// Bytes of text and extra.
    private(set) var received: UInt64 = 0
    private(set) var tokens: UInt32 = 0
    private(set) var credited: UInt64 = 0
    private(set) var firstDeltaAt: MonotonicTime?
    private(set) var lastDeltaAt: MonotonicTime?
    private var openedAt: MonotonicTime
    private var heardAt: MonotonicTime
    /// When a token last came, or was said to have.
    private var advancedAt: MonotonicTime
    private var progressHeard = false
    private var progressTokens: UInt32 = 0
    private var gaps = GapMedian()
    private var receipts: UInt64 = 0
    private var tokensAcknowledged: UInt32 = 0

    init(
        attempt: UInt32, worker: PeerAddress, name: String, bid: Bid, workerDials: Bool, bytesBefore: UInt64,
        tokensBefore: UInt32, tokensMax: UInt32?, now: MonotonicTime
    ) {
        self.attempt = attempt
        self.worker = worker
        self.name = name
        self.bid = bid
        self.workerDials = workerDials
        self.bytesBefore = bytesBefore
        self.tokensBefore = tokensBefore
        self.tokensMax = tokensMax
        awardedAt = now
        openedAt = now
        heardAt = now
        advancedAt = now
    }

    mutating func opened(channel: ChannelID, _ now: MonotonicTime) {
        self.channel = channel
        openedAt = now
        restartSilence(now)
    }

    /// The silence so far was not the worker's: our loop stood still, or our client didn't read.
    mutating func restartSilence(_ now: MonotonicTime) {
        heardAt = now
        advancedAt = now
    }

    // MARK: - What comes

    enum Verdict { case good, violation(String) }

    /// Counts a delta. A worker can't be paid for more tokens than it sent bytes.
    mutating func receive(_ delta: Delta, _ parameters: MarketParameters, _ now: MonotonicTime) -> Verdict {
        guard delta.offset == received else {
            return .violation("a delta at \(delta.offset) instead of \(received)")
        }
        let bytes = UInt64(delta.text.count + delta.extra.count)
        received += bytes
        guard received - credited <= parameters.windowBytes * parameters.windowsOverrunMax else {
            return .violation("a worker that ignores its window")
        }
        tokens = tokens &+ min(delta.tokens, UInt32(clamping: bytes))
        if let lastDeltaAt { gaps.add(now - lastDeltaAt) }
        if firstDeltaAt == nil { firstDeltaAt = now }
        lastDeltaAt = now
        restartSilence(now)
        return .good
    }

    mutating func receive(_ progress: Progress, _ now: MonotonicTime) {
        heardAt = now
        progressHeard = true
        if progress.tokens > max(progressTokens, tokens) {
            progressTokens = progress.tokens
            advancedAt = now
        }
    }

    // MARK: - Silence

    /// While our client owes the worker so much credit that it may have stopped, silence says nothing.
    func isHeldBack(_ parameters: MarketParameters) -> Bool {
        received - credited > parameters.windowBytes / 2
    }

    /// When the worker counts as stalled if nothing comes until then; nil while we hold it back.
    func stallsAt(_ parameters: MarketParameters) -> MonotonicTime? {
        guard !isHeldBack(parameters) else { return nil }
        if firstDeltaAt == nil {
            let promised = Interval.milliseconds(Int64(bid.firstTokenMilliseconds)) * parameters.stallFactor
            let start = max(parameters.stallMin, promised + .milliseconds(Int64(bid.queueMilliseconds)))
            let quiet = progressHeard ? parameters.stallMin : start
            return min(heardAt + quiet, advancedAt + max(parameters.preparingMax, start))
        }
        let gap = gaps.median * parameters.stallFactor
        return min(
            heardAt + max(parameters.stallMin, gap), advancedAt + max(parameters.generatingQuietMax, gap))
    }

    // MARK: - Credit

    /// Notes that the client took `total` of the task's bytes; returns the credit to send, if it is worth a frame.
    mutating func consumed(total: UInt64, _ parameters: MarketParameters, _ now: MonotonicTime) -> UInt64? {
        let own = min(received, total > bytesBefore ? total - bytesBefore : 0)
        guard own > credited, own - credited >= parameters.windowBytes / 2 else { return nil }
        if isHeldBack(parameters) { restartSilence(now) }
        credited = own
        return own
    }

    // MARK: - Bill

    struct Bill: Sendable {
        var prompt: UInt64 = 0
        var cached: UInt64 = 0
        var completion: UInt64 = 0
        var cost: Int64 = 0
    }

    /// What is owed. `finish`: the worker's own count, believed as far as the bytes allow; `input`: the prompt is
    /// charged, to the worker that finishes or that the client cancels.
    func bill(finish: Finish?, input: UInt32?, promptMax: UInt64) -> Bill {
        var bill = Bill(completion: UInt64(tokens))
        if let finish {
            let most = min(received + 16, UInt64(tokensMax ?? .max))
            if finish.completionTokens > 0 { bill.completion = min(UInt64(finish.completionTokens), most) }
            bill.prompt = min(UInt64(finish.promptTokens), promptMax)
            bill.cached = min(UInt64(finish.cachedTokens), bill.prompt)
        } else if let input {
            bill.prompt = min(UInt64(input), promptMax)
            bill.cached = min(UInt64(bid.cachedTokens), bill.prompt)
        }
        let cost = Scoring.cost(
            bid.price, prompt: bill.prompt, cached: bill.cached, completion: bill.completion)
        bill.cost = min(cost, WireLimits.costMax)
        return bill
    }

    /// The next cumulative receipt; nil when nothing new was delivered and it isn't the last.
    mutating func receipt(
        _ bill: Bill, task: TaskID, final: Bool, signer: Identity, _ now: Now
    ) -> Verified<Receipt>? {
        guard tokens > tokensAcknowledged || (final && (bill.cost > 0 || receipts > 0 || tokens > 0)) else {
            return nil
        }
        tokensAcknowledged = tokens
        receipts += 1
        let receipt = Receipt(
            task: task, attempt: attempt, buyer: signer.publicKey, worker: worker.key, sequence: receipts,
            promptTokens: bill.prompt, cachedTokens: bill.cached, completionTokens: bill.completion,
            cost: bill.cost,
            final: final, issuedAt: now.wall)
        return Verified(signing: receipt, with: signer)
    }
}

/// The median of the last 15 gaps between deltas: one long pause doesn't move it.
struct GapMedian: Sendable {
    private static var size: Int { 15 }
    private var ring: [Interval] = []
    private var next = 0

    mutating func add(_ gap: Interval) {
        if ring.count < Self.size {
            ring.append(gap)
        } else {
            ring[next] = gap
            next = (next + 1) % Self.size
        }
    }

    var median: Interval { ring.isEmpty ? .zero : ring.sorted()[ring.count / 2] }
}
