import Primitives
import Wire

/// When a silent worker counts as stalled.
///
/// Before the first delta: after `stallFactor` times the first-token time in the bid, or `stallMin` once
/// progress frames show that the worker is alive. After it: after `stallFactor` times the median gap between
/// deltas. Progress frames without a new token count only for a while: a worker's process may live while its
/// backend hangs.
struct StallClock: Sendable {
    /// What the bid promised until the first delta.
    private let firstToken: Interval
    private let queue: Interval
    private(set) var firstDeltaAt: MonotonicTime?
    private var lastDeltaAt: MonotonicTime?
    private var heardAt: MonotonicTime
    /// When a token last arrived, or was reported as made.
    private var advancedAt: MonotonicTime
    private var hasProgress = false
    private var progressTokens: UInt32 = 0
    private var gaps = GapMedian()

    init(_ bid: Bid, _ now: MonotonicTime) {
        firstToken = .milliseconds(Int64(bid.firstTokenMilliseconds))
        queue = .milliseconds(Int64(bid.queueMilliseconds))
        heardAt = now
        advancedAt = now
    }

    mutating func deltaCame(_ now: MonotonicTime) {
        if let lastDeltaAt { gaps.add(now - lastDeltaAt) }
        if firstDeltaAt == nil { firstDeltaAt = now }
        lastDeltaAt = now
        restart(now)
    }

    /// `delivered` is the number of tokens that have arrived; a report of fewer is no news.
    mutating func progressCame(_ progress: Progress, delivered: UInt32, _ now: MonotonicTime) {
        heardAt = now
        hasProgress = true
        if progress.tokens > max(progressTokens, delivered) {
            progressTokens = progress.tokens
            advancedAt = now
        }
    }

    /// The silence so far was not the worker's fault: the channel has just opened, our loop stood still, or
    /// our client didn't read.
    mutating func restart(_ now: MonotonicTime) {
        heardAt = now
        advancedAt = now
    }

    /// When the worker counts as stalled if nothing comes until then.
    func stallsAt(_ parameters: MarketParameters) -> MonotonicTime {
        if firstDeltaAt == nil {
            let start = max(parameters.stallMin, firstToken * parameters.stallFactor + queue)
            let quiet = hasProgress ? parameters.stallMin : start
            return min(heardAt + quiet, advancedAt + max(parameters.preparingMax, start))
        }
        let gap = gaps.median * parameters.stallFactor
        return min(
            heardAt + max(parameters.stallMin, gap), advancedAt + max(parameters.generatingQuietMax, gap))
    }
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
