import Primitives
import Wire

/// When a worker counts as stalled.
///
/// A frame from a timer is a sign of the node's life. *Evidence of progress* is bytes of the answer, or a PROGRESS
/// that says more than the one before: prompt tokens read, a lower estimate in a queue, a model still loading, tokens
/// produced that can't be sent yet because their character is incomplete. A silent worker is lost soon. One that
/// lives but shows no evidence loses the task when its promise is over three times, where another can have it; else it
/// keeps the task for as long as its bid, the length of the prompt and `preparingMax` allow.
struct StallClock: Sendable {
    /// What the bid promised, with room; and with the reading of the prompt.
    private let promise: Interval
    private let due: Interval
    /// The same as the bid says it, without room.
    let promised: Interval
    /// How long the bid, the prompt and earlier disappointments let a living worker go without evidence where no other
    /// can have the task.
    private let patience: Interval
    private let beganAt: MonotonicTime
    private(set) var firstByteAt: MonotonicTime?
    private(set) var lastByteAt: MonotonicTime?
    private(set) var heardAt: MonotonicTime
    private var evidenceAt: MonotonicTime
    /// When bytes last came, or silence was last no fault of the worker's.
    private var contentAt: MonotonicTime
    /// How long words alone are believed.
    private let wordsMax: Interval
    /// The longest gap without evidence after the first byte, where no other can have the task and where one can.
    private let generatingQuiet: Interval
    private let generatingDue: Interval
    /// No prompt has more tokens, whatever it says that it has read.
    private let promptMax: UInt32
    private var hasProgress = false
    /// The best that its frames claimed: tokens of the prompt read, tokens made, milliseconds left in a queue.
    private var promptRead: UInt32 = 0
    private var made: UInt32 = 0
    private(set) var queueLeft = UInt32.max
    /// It said last that the task waits for a slot.
    private(set) var isQueued = false
    /// It claimed tokens that never showed up.
    private(set) var hasLied = false
    private var gaps = GapMedian()
    /// How fast the bid said that it answers, and when and at how many bytes the measuring of its pace began.
    private let millitokensPerSecond: UInt32
    private let paceWindow: Interval
    private var paceFrom: (at: MonotonicTime, bytes: UInt64)?

    /// A character has at most four bytes, so this many tokens may wait for the rest of one.
    private static let unshownTokensMax: UInt32 = 4

    /// For how long a worker is believed.
    enum Belief: Sendable {
        /// It has finished tasks here; the number since it last lost one.
        case met(Int)
        /// It hasn't, and nor has any other that could do the task: its words are believed for less long.
        case stranger
        /// It hasn't, and another that has could do the task: its promises are worth no long wait.
        case replaceable
    }

    /// - Parameters:
    ///   - slowness: how many workers of the task were too slow before.
    init(
        _ bid: Bid, tokensIn: UInt32, _ belief: Belief, slowness: Int, _ parameters: MarketParameters,
        _ now: MonotonicTime
    ) {
        let first = Interval.milliseconds(Int64(bid.firstTokenMilliseconds))
        let queue = Interval.milliseconds(Int64(bid.queueMilliseconds))
        let doubled: Int64 = 1 << Int64(min(slowness, 3))
        let queueMax = Self.queueMax(belief, tokensIn: tokensIn, slowness: slowness, parameters)
        let believed = queueMax + min(queue, queueMax)
        let reading = Self.reading(tokensIn, at: bid.promptTokensPerSecond, parameters)
        promise = max(parameters.stallMin, min(first * parameters.stallFactor + queue, believed))
        due = max(
            parameters.stallMin,
            min(
                (max(parameters.stallMin, first * parameters.stallFactor + queue) + reading) * doubled,
                believed))
        promised = min(first + queue + reading, believed)
        let slowest = Interval.milliseconds(
            Int64(tokensIn) * 1_000 / Int64(max(1, parameters.promptTokensPerSecondMin)))
        let usual = max(parameters.preparingQuietMax, min(slowest, parameters.preparingMax))
        let isReplaceable: Bool = if case .replaceable = belief { true } else { false }
        let quiet = min(usual * doubled, isReplaceable ? believed : parameters.preparingMax)
        patience = max(promise, quiet)
        wordsMax = isReplaceable ? .zero : max(patience, believed)
        millitokensPerSecond =
            bid.millitokensPerSecond == 0 ? Scoring.unmeasuredSpeed : bid.millitokensPerSecond
        paceWindow = parameters.generatingQuietMax * doubled
        generatingQuiet =
            isReplaceable
            ? min(parameters.newcomersQuietMax, parameters.generatingQuietMax) : parameters.generatingQuietMax
        let token = Interval.milliseconds(1_000_000 / Int64(max(1, millitokensPerSecond)))
        generatingDue = min(
            max(parameters.stallMin, token * parameters.stallFactor) * doubled, generatingQuiet)
        promptMax = UInt32(clamping: UInt64(tokensIn) * 4 + 1_024)
        beganAt = now
        heardAt = now
        evidenceAt = now
        contentAt = now
    }

    /// How long words alone are believed, beside a queue; and how long a queue is.
    static func queueMax(
        _ belief: Belief, tokensIn: UInt32, slowness: Int, _ parameters: MarketParameters
    ) -> Interval {
        let once =
            switch belief {
            case .met(let finished):
                parameters.strangersWordsMax + parameters.wordsForEach * Int64(min(max(0, finished), 64))
            case .stranger: parameters.strangersWordsMax
            case .replaceable: max(parameters.newcomersQuietMax, .milliseconds(Int64(tokensIn)))
            }
        return min(once * (1 << Int64(min(slowness, 3))), parameters.preparingMax)
    }

    /// How long the prompt takes to read by the bid; where that doesn't say how fast, at the speed of a slow CPU.
    static func reading(
        _ tokensIn: UInt32, at promptTokensPerSecond: UInt32, _ parameters: MarketParameters
    ) -> Interval {
        let stated =
            promptTokensPerSecond == 0 ? parameters.promptTokensPerSecondMin : promptTokensPerSecond
        return min(.milliseconds(Int64(tokensIn) * 1_000 / Int64(max(1, stated))), parameters.preparingMax)
    }

    mutating func heard(_ now: MonotonicTime) { heardAt = now }

    mutating func bytesCame(_ now: MonotonicTime) {
        if let lastByteAt { gaps.add(now - lastByteAt) }
        if firstByteAt == nil { firstByteAt = now }
        lastByteAt = now
        calm(now)
    }

    /// `delivered` is the number of tokens that have arrived.
    mutating func progressCame(
        _ progress: Progress, delivered: UInt32, _ parameters: MarketParameters, _ now: MonotonicTime
    ) {
        heardAt = now
        hasProgress = true
        isQueued = progress.phase == .queued
        var isEvidence = false
        switch progress.phase {
        case .loading: isEvidence = true
        case .queued:
            isEvidence = progress.tokens < queueLeft
            queueLeft = min(queueLeft, progress.tokens)
        case .prefill:
            isEvidence = progress.tokens > promptRead && progress.tokens <= promptMax
            promptRead = max(promptRead, progress.tokens)
        case .generating, .unspecified:
            let unshown = progress.tokens > delivered ? progress.tokens - delivered : 0
            if unshown > Self.unshownTokensMax { hasLied = true }
            isEvidence = unshown > 0 && unshown <= Self.unshownTokensMax && progress.tokens > made
            made = max(made, progress.tokens)
        }
        // Words alone are believed for so long, whatever they say.
        if isEvidence, now < (lastByteAt ?? beganAt) + wordsMax { evidenceAt = now }
    }

    /// The silence so far was not the worker's fault: the channel has just opened, our loop stood still, or
    /// our client didn't read.
    mutating func restart(_ now: MonotonicTime) {
        paceFrom = nil
        calm(now)
    }

    private mutating func calm(_ now: MonotonicTime) {
        heardAt = now
        evidenceAt = now
        contentAt = now
    }

    /// When the worker counts as stalled if nothing comes until then. `canMove`: another can have the task.
    func stallsAt(_ parameters: MarketParameters, canMove: Bool) -> MonotonicTime {
        let quiet = min(silentAt(parameters), evidenceAt + quietMax(parameters, canMove: canMove))
        guard firstByteAt != nil, let paceFrom else { return quiet }
        return min(quiet, paceFrom.at + paceWindow)
    }

    /// Whether it sends a drip: in all of the time in which its pace is measured, an eighth of what its bid said, with a
    /// token of at least four bytes. Bytes each second are evidence of progress for ever, and would hold the task until its
    /// deadline. Call it with all bytes that came, at the time when the clock says so at the latest.
    mutating func drips(bytes: UInt64, _ now: MonotonicTime) -> Bool {
        guard firstByteAt != nil else { return false }
        guard let from = paceFrom else {
            paceFrom = (now, bytes)
            return false
        }
        let elapsed = now - from.at
        guard elapsed >= paceWindow else { return false }
        let due = UInt128(millitokensPerSecond) * UInt128(max(0, elapsed.milliseconds)) / 1_000_000
        let came = UInt128(bytes - min(from.bytes, bytes)) / 4
        paceFrom = (now, bytes)
        return came * 8 < due
    }

    /// Whether not even a sign of life came.
    func isSilent(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        silentAt(parameters) <= now
    }

    /// Whether it has shown no evidence for longer than its bid, or its own pace, promised.
    func isOverdue(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        now - evidenceAt > usual(parameters)
    }

    /// Whether it has sent no byte for longer than its bid, or its own pace, promised, whatever it said.
    func isLate(_ parameters: MarketParameters, _ now: MonotonicTime) -> Bool {
        now - contentAt >= usual(parameters)
    }

    private func usual(_ parameters: MarketParameters) -> Interval {
        firstByteAt == nil ? due : max(parameters.stallMin, gap(parameters))
    }

    private func silentAt(_ parameters: MarketParameters) -> MonotonicTime {
        if firstByteAt == nil { return heardAt + (hasProgress ? parameters.stallMin : promise) }
        return heardAt + max(parameters.stallMin, gap(parameters))
    }

    private func quietMax(_ parameters: MarketParameters, canMove: Bool) -> Interval {
        if firstByteAt == nil { return canMove ? min(due, patience) : patience }
        return max(canMove ? generatingDue : generatingQuiet, gap(parameters))
    }

    private func gap(_ parameters: MarketParameters) -> Interval { gaps.median * parameters.stallFactor }
}

/// The median of the last 15 gaps between deltas: one long pause doesn't move it.
private struct GapMedian: Sendable {
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
