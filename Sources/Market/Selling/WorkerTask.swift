import Primitives
import Wire

/// One assignment on its worker, from OPEN to the last frame: collects the request, passes it to the driver,
/// and sends what the driver produces within the buyer's window. `Bidder` provides the slot, channel and
/// timers.
struct WorkerTask: Sendable {
    let id: JobID
    let key: SlotKey
    let channel: ChannelID
    let deadlineAt: MonotonicTime
    private let model: String
    private let open: TaskOpen
    /// Delivered text followed by the request, until both are complete.
    private var request: [UInt8] = []
    private(set) var hasStarted = false
    private let tokensMax: UInt32?

    private var window: SendWindow
    /// Tokens produced so far.
    private(set) var tokens: UInt32 = 0
    /// When the last of them came; before, when the task did.
    private(set) var producedAt: MonotonicTime
    /// What receipts for it may owe.
    private(set) var work: Work
    /// Tokens sent since the last receipt, and when the first of them was.
    private var unacknowledged: (tokens: UInt32, since: MonotonicTime)?
    /// When the buyer last took something, or the window became full.
    private var takenAt: MonotonicTime
    private var phase = Phase.prefill
    /// Prompt tokens read, or milliseconds until its turn.
    private var amount: UInt32 = 0
    /// In the queue, with itself.
    private var place: UInt32 = 0
    private var lastFrameAt: MonotonicTime

    init(
        id: JobID, key: SlotKey, channel: ChannelID, model: String, open: TaskOpen, call: CalledFor,
        parameters: MarketParameters, now: MonotonicTime
    ) {
        self.id = id
        self.key = key
        self.channel = channel
        self.model = model
        self.open = open
        window = SendWindow(asked: open.windowBytes == 0 ? parameters.windowBytes : UInt64(open.windowBytes))
        tokensMax = call.tokensMax(open)
        work = Work(open.kind, tokensMax: tokensMax, undisputedPrompt: call.undisputedPrompt(open))
        deadlineAt = call.deadline(open, now)
        lastFrameAt = now
        takenAt = now
        producedAt = now
    }

    private func send(_ body: FrameBody, _ out: inout [BidderAction]) {
        out.append(.sendFrame(channel: channel, Frame(task: key.task, attempt: key.attempt, body: body)))
    }

    // MARK: - The request

    private var announced: Int { Int(open.deliveredBytes) + Int(open.bodyBytes) }

    /// The whole request is here, and hasn't been passed to the driver.
    var isComplete: Bool { !hasStarted && request.count == announced }

    /// The whole request is here.
    var isHere: Bool { hasStarted || isComplete }

    /// What the request holds in memory, or will, until it starts.
    var awaitedBytes: Int { hasStarted ? 0 : announced }

    /// Adds a part of the request; false if that is more than was announced.
    mutating func add(_ part: [UInt8]) -> Bool {
        guard !hasStarted, request.count + part.count <= announced else { return false }
        request += part
        return true
    }

    /// Returns the job for the driver, once, when the request is complete; the request is moved into it.
    mutating func start(_ now: MonotonicTime) -> Job? {
        guard isComplete else { return nil }
        hasStarted = true
        if phase == .queued { note(.prefill, 0) }
        let delivered = Array(request.prefix(Int(open.deliveredBytes)))
        let body = delivered.isEmpty ? request : Array(request.dropFirst(delivered.count))
        request = []
        return Job(
            id: id, task: key.task, attempt: key.attempt, buyer: key.buyer, kind: open.kind, model: model,
            body: body, delivered: delivered, maxTokens: tokensMax, deadline: max(.zero, deadlineAt - now))
    }

    // MARK: - The answer

    mutating func note(_ phase: Phase, _ amount: UInt32, place: UInt32 = 0) {
        (self.phase, self.amount, self.place) = (phase, amount, place)
    }

    /// Sends what the backend produced as deltas of at most `most` bytes of text, cut between UTF-8
    /// characters; the last delta carries the token count. False: `extra` doesn't fit a frame.
    mutating func deliver(
        _ text: [UInt8], _ count: UInt32, _ extra: [UInt8], most: Int, _ now: MonotonicTime,
        _ out: inout [BidderAction]
    ) -> Bool {
        if !extra.isEmpty && text.count + extra.count > WireLimits.payloadMax { return false }
        var start = 0
        while extra.isEmpty && text.count - start > most {
            var end = start + max(4, most)
            while end > start + 1 && text[end] & 0xc0 == 0x80 { end -= 1 }
            send(Array(text[start..<end]), 0, [], &out)
            start = end
        }
        let before = work.tokens
        send(start == 0 ? text : Array(text[start...]), count, extra, &out)
        tokens = tokens &+ count
        producedAt = now
        let unpaid = unacknowledged ?? (0, now)
        unacknowledged = (unpaid.tokens &+ (work.tokens &- before), unpaid.since)
        phase = .generating
        lastFrameAt = now
        steer(now, &out)
        return true
    }

    private mutating func send(
        _ text: [UInt8], _ count: UInt32, _ extra: [UInt8], _ out: inout [BidderAction]
    ) {
        let delta = Delta(offset: window.sent, text: text, tokens: count, extra: extra)
        work.add(delta)
        window.send(text.count + extra.count)
        send(.delta(delta), &out)
    }

    /// The buyer's client has consumed `consumed` bytes in total.
    mutating func acknowledge(_ consumed: UInt64, _ now: MonotonicTime, _ out: inout [BidderAction]) {
        if window.acknowledge(consumed) { takenAt = now }
        steer(now, &out)
    }

    private mutating func steer(_ now: MonotonicTime, _ out: inout [BidderAction]) {
        switch window.steer() {
        case .pause:
            takenAt = now
            out.append(.pauseJob(id))
        case .resume: out.append(.resumeJob(id))
        case .same: break
        }
    }

    /// Tells the buyer that the worker is alive and what it is doing, if nothing was sent for `interval`;
    /// returns when to call again.
    mutating func reportProgress(
        every interval: Interval, _ now: MonotonicTime, _ out: inout [BidderAction]
    ) -> MonotonicTime {
        if lastFrameAt + interval <= now {
            let isGenerating = phase == .generating || phase == .unspecified
            send(
                .progress(Progress(phase: phase, tokens: isGenerating ? tokens : amount, place: place)), &out)
            lastFrameAt = now
        }
        return lastFrameAt + interval
    }

    // MARK: - A buyer that doesn't keep up

    /// Since when output waits for a buyer that takes nothing; nil: none waits.
    var unreadSince: MonotonicTime? { window.isPaused ? takenAt : nil }

    /// A receipt was accepted.
    mutating func wasAcknowledged() { unacknowledged = nil }

    /// Whether tokens flow that no receipt acknowledges: many, and for long.
    func isUnpaid(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        guard let unacknowledged else { return false }
        return unacknowledged.tokens >= parameters.unpaidTokens
            && unacknowledged.since + parameters.unpaidMax <= now
    }

    /// Whether receipts acknowledge less than half of what was sent.
    var isMostlyUnacknowledged: Bool { unacknowledged?.tokens ?? 0 > work.tokens / 2 }

    // MARK: - Ends

    /// Counts never fall: a total below that of the deltas is raised to it. Nor does the model server's count of the prompt
    /// exceed what any prompt of this size can have.
    mutating func finish(_ finish: Finish, _ out: inout [BidderAction]) {
        var finish = finish
        finish.promptTokens = UInt32(
            clamping: min(UInt64(finish.promptTokens), RequestSize.promptMax(bytes: announced)))
        finish.cachedTokens = min(finish.cachedTokens, finish.promptTokens)
        if finish.completionTokens > 0 { finish.completionTokens = max(finish.completionTokens, work.tokens) }
        work.add(finish)
        send(.finish(finish), &out)
    }

    func fail(_ fail: Fail, _ out: inout [BidderAction]) { send(.fail(fail), &out) }

    /// Stops the backend.
    func stop(_ out: inout [BidderAction]) {
        if hasStarted { out.append(.cancelJob(id)) }
    }
}

/// How much of an answer the buyer has not consumed yet: the worker's end of the window
/// (`Protocol/market.md`, The window).
struct SendWindow: Sendable {
    enum Change { case pause, resume, same }

    private let size: UInt64
    /// Bytes of text and `extra`.
    private(set) var sent: UInt64 = 0
    private var acknowledged: UInt64 = 0
    private(set) var isPaused = false

    /// A smaller window would stall a stream; a larger one would buffer the whole answer.
    private static let sizes: ClosedRange<UInt64> = 4_096...(1 << 20)

    init(asked: UInt64) { size = min(max(asked, Self.sizes.lowerBound), Self.sizes.upperBound) }

    mutating func send(_ bytes: Int) { sent += UInt64(bytes) }

    /// Cumulative. Acknowledging more than was sent counts as acknowledging everything. Returns whether it is news.
    mutating func acknowledge(_ consumed: UInt64) -> Bool {
        let before = acknowledged
        acknowledged = max(acknowledged, min(consumed, sent))
        return acknowledged > before
    }

    /// Whether the backend must pause for the buyer or may resume. It resumes at half a window, so that it
    /// doesn't stutter.
    mutating func steer() -> Change {
        let open = sent - acknowledged
        if !isPaused && open > size {
            isPaused = true
            return .pause
        }
        if isPaused && open <= size / 2 {
            isPaused = false
            return .resume
        }
        return .same
    }
}
