import Primitives
import Wire

/// When a worker counts as stalled.
///
/// A frame from a timer is a sign of the node's life. *Evidence of progress* is bytes of the answer, or a PROGRESS
/// that says more than the one before: prompt tokens read, a lower estimate in a queue, a model still loading, tokens
/// produced that can't be sent yet because their character is incomplete. A silent worker is lost soon. One that
/// lives but shows no evidence keeps the task for as long as its bid, the length of the prompt and `preparingMax`
/// allow.
struct StallClock: Sendable {
    /// How long the bid, the prompt and earlier disappointments let a living worker go without evidence.
    private let promise: Interval
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
    private var hasProgress = false
    /// The best that its frames claimed: tokens of the prompt read, tokens made, milliseconds left in a queue.
    private var promptRead: UInt32 = 0
    private var made: UInt32 = 0
    private var queueLeft = UInt32.max
    /// It claimed tokens that never showed up.
    private(set) var hasLied = false
    private var gaps = GapMedian()

    /// A character has at most four bytes, so this many tokens may wait for the rest of one.
    private static let unshownTokensMax: UInt32 = 4

    /// - Parameters:
    ///   - isMet: the worker has finished a task here. Others' words are believed for less long.
    ///   - slowness: how many workers of the task were too slow before.
    init(
        _ bid: Bid, tokensIn: UInt32, isMet: Bool, slowness: Int, _ parameters: MarketParameters,
        _ now: MonotonicTime
    ) {
        let first = Interval.milliseconds(Int64(bid.firstTokenMilliseconds))
        let queue = Interval.milliseconds(Int64(bid.queueMilliseconds))
        let strangers = parameters.strangersWordsMax * (1 << Int64(min(slowness, 3)))
        let believed = isMet ? parameters.preparingMax : min(strangers, parameters.preparingMax)
        promise = max(parameters.stallMin, min(first * parameters.stallFactor + queue, believed))
        let reading = Interval.milliseconds(
            Int64(tokensIn) * 1_000 / Int64(max(1, parameters.promptTokensPerSecondMin)))
        let usual = max(parameters.preparingQuietMax, min(reading, parameters.preparingMax))
        patience = max(promise, min(usual * (1 << Int64(min(slowness, 3))), parameters.preparingMax))
        wordsMax = max(patience, believed)
        beganAt = now
        heardAt = now
        evidenceAt = now
        contentAt = now
    }

    mutating func heard(_ now: MonotonicTime) { heardAt = now }

    mutating func bytesCame(_ now: MonotonicTime) {
        if let lastByteAt { gaps.add(now - lastByteAt) }
        if firstByteAt == nil { firstByteAt = now }
        lastByteAt = now
        restart(now)
    }

    /// `delivered` is the number of tokens that have arrived.
    mutating func progressCame(
        _ progress: Progress, delivered: UInt32, _ parameters: MarketParameters, _ now: MonotonicTime
    ) {
        heardAt = now
        hasProgress = true
        var isEvidence = false
        switch progress.phase {
        case .loading: isEvidence = true
        case .queued:
            isEvidence = progress.tokens < queueLeft
            queueLeft = min(queueLeft, progress.tokens)
        case .prefill:
            isEvidence = progress.tokens > promptRead
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
        heardAt = now
        evidenceAt = now
        contentAt = now
    }

    /// When the worker counts as stalled if nothing comes until then.
    func stallsAt(_ parameters: MarketParameters) -> MonotonicTime {
        min(silentAt(parameters), evidenceAt + quietMax(parameters))
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
        now - contentAt > usual(parameters)
    }

    private func usual(_ parameters: MarketParameters) -> Interval {
        firstByteAt == nil ? promise : max(parameters.stallMin, gap(parameters))
    }

    private func silentAt(_ parameters: MarketParameters) -> MonotonicTime {
        if firstByteAt == nil { return heardAt + (hasProgress ? parameters.stallMin : promise) }
        return heardAt + max(parameters.stallMin, gap(parameters))
    }

    private func quietMax(_ parameters: MarketParameters) -> Interval {
        firstByteAt == nil ? patience : max(parameters.generatingQuietMax, gap(parameters))
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
