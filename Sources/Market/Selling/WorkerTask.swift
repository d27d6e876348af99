import Primitives
import Wire

/// A task that a buyer sent, from its first frame to its last: the body as it comes, then the answer as it goes.
struct RunningJob: Sendable {
    let id: JobID
    let key: HoldKey
    let channel: ChannelID
    let model: String
    let open: TaskOpen
    let deadlineAt: MonotonicTime
    /// Delivered text and request, until they are complete.
    private var body: [UInt8] = []
    private(set) var started = false

    private let window: UInt64
    private var sent: UInt64 = 0
    private var credited: UInt64 = 0
    private(set) var tokens: UInt32 = 0
    private(set) var isPaused = false
    private(set) var phase = Phase.prefill
    var lastFrameAt: MonotonicTime

    /// Windows outside these would stop a stream, or buffer it whole.
    private static let windowRange: ClosedRange<UInt64> = 4_096...(1 << 20)

    init(
        id: JobID, key: HoldKey, channel: ChannelID, model: String, open: TaskOpen,
        parameters: MarketParameters,
        now: MonotonicTime
    ) {
        self.id = id
        self.key = key
        self.channel = channel
        self.model = model
        self.open = open
        let asked = open.windowBytes == 0 ? parameters.windowBytes : UInt64(open.windowBytes)
        window = min(max(asked, Self.windowRange.lowerBound), Self.windowRange.upperBound)
        let deadline = Interval.milliseconds(Int64(open.deadlineMilliseconds))
        deadlineAt =
            now
            + (open.deadlineMilliseconds == 0
                ? parameters.deadlineMax : min(deadline, parameters.deadlineMax))
        lastFrameAt = now
    }

    private var expected: Int { Int(open.deliveredBytes) + Int(open.bodyBytes) }
    var isComplete: Bool { body.count == expected }

    /// Adds a part of the body; false when there is more than was announced.
    mutating func add(_ part: [UInt8]) -> Bool {
        guard !started, body.count + part.count <= expected else { return false }
        body += part
        return true
    }

    /// The work for the driver; the body is given away.
    mutating func start(_ now: MonotonicTime) -> Job {
        started = true
        let delivered = Array(body.prefix(Int(open.deliveredBytes)))
        let request = Array(body.dropFirst(Int(open.deliveredBytes)))
        body = []
        return Job(
            id: id, task: key.task, attempt: key.attempt, buyer: key.buyer, kind: open.kind, model: model,
            body: request,
            delivered: delivered, maxTokens: open.maxTokens == 0 ? nil : open.maxTokens,
            deadline: deadlineAt - now)
    }

    // MARK: - The answer

    /// Counts what the backend produced and cuts it into deltas of at most `most` bytes of text, between UTF-8
    /// characters; the tokens count with the last. nil: what goes beside the text doesn't fit a frame.
    mutating func deltas(_ text: [UInt8], _ count: UInt32, _ extra: [UInt8], most: Int, _ now: MonotonicTime)
        -> [Delta]?
    {
        if !extra.isEmpty && text.count + extra.count > WireLimits.payloadMax { return nil }
        var deltas: [Delta] = []
        var start = 0
        while extra.isEmpty && text.count - start > most {
            var end = start + max(4, most)
            while end > start + 1 && text[end] & 0xc0 == 0x80 { end -= 1 }
            deltas.append(Delta(offset: sent, text: Array(text[start..<end]), tokens: 0))
            sent += UInt64(end - start)
            start = end
        }
        let rest = start == 0 ? text : Array(text[start...])
        deltas.append(Delta(offset: sent, text: rest, tokens: count, extra: extra))
        sent += UInt64(rest.count + extra.count)
        tokens = tokens &+ count
        phase = .generating
        lastFrameAt = now
        return deltas
    }

    mutating func note(_ phase: Phase) { self.phase = phase }

    mutating func credit(_ consumed: UInt64) { credited = max(credited, min(consumed, sent)) }

    enum Flow { case pause, resume, same }

    /// Whether the backend must wait for the buyer, or may go on: at half a window, so that it doesn't stutter.
    mutating func flow() -> Flow {
        let open = sent - credited
        if !isPaused && open > window {
            isPaused = true
            return .pause
        }
        if isPaused && open <= window / 2 {
            isPaused = false
            return .resume
        }
        return .same
    }
}
