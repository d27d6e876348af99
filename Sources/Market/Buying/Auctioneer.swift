import Cryptography
import DequeModule
import OrderedCollections
import Primitives
import Wire

/// The buyer's side of the market: turns the requests of this node's clients into auctions, awards and streams, and
/// sees each of them to exactly one end. A sub-machine: events in, actions out; PeerCore routes both.
///
/// Here is the dispatch alone. A task's life is in `BuyerTask` and its extensions; what all tasks share is the desk.
public struct Auctioneer: Sendable {
    private var tasks: OrderedDictionary<TaskID, BuyerTask> = [:]
    private var desk: AuctionDesk
    private var ended: TranscriptStore
    /// Frames that belonged to no running leg: late ones of woken workers, mostly.
    public private(set) var discardedFrames = 0

    public init(identity: Identity, parameters: MarketParameters = MarketParameters()) {
        desk = AuctionDesk(identity: identity, parameters: parameters)
        ended = TranscriptStore(capacity: parameters.transcriptsMax, age: parameters.transcriptAge)
    }

    // MARK: - Clients

    /// Takes a task. Its first action is `needOffers`, or the failure when it can't be taken.
    public mutating func submit(
        _ request: TaskRequest, now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]
    ) -> TaskID {
        begin(now, random)
        defer { finish(&random, &out) }
        let id = TaskID(random: &desk.random)
        var task = BuyerTask(id: id, request: request, desk)
        if tasks.count >= desk.parameters.tasksMax {
            task.fail(
                .tooManyTasks, "This node runs \(tasks.count) tasks already; try again in a moment.", &desk)
            ended.insert(task.transcript, at: now.monotonic)
        } else if request.body.count > desk.parameters.bodyBytesMax {
            let size = "\(request.body.count) bytes; at most \(desk.parameters.bodyBytesMax) are carried"
            task.fail(.invalidRequest, "The request has \(size).", &desk)
            ended.insert(task.transcript, at: now.monotonic)
        } else {
            task.start(&desk)
            tasks[id] = task
        }
        return id
    }

    /// Answers `needOffers`.
    public mutating func offersFound(
        _ task: TaskID, _ found: OffersFound, now: Now, random: inout SeededRandom,
        out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        change(task) { $0.offersFound(found, &$1) }
        finish(&random, &out)
    }

    /// The client hung up: the task ends at once, in any phase.
    public mutating func cancel(
        _ task: TaskID, now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        change(task) { $0.cancel(&$1) }
        finish(&random, &out)
    }

    /// The client took `bytes` more of the text and extra that it was given: credit for the worker.
    public mutating func consumed(
        _ task: TaskID, bytes: UInt64, now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        change(task) { $0.consumed(bytes, &$1) }
        finish(&random, &out)
    }

    // MARK: - Requests

    /// `message` is nil for an answer that is no message of the market's: UNSUPPORTED, or another machine's.
    public mutating func answered(
        _ token: UInt64, _ message: MarketMessage?, from peer: PeerAddress, roundTrip: Interval, now: Now,
        random: inout SeededRandom, out: inout [AuctioneerAction]
    ) {
        guard let request = desk.requests.removeValue(forKey: token) else { return }
        begin(now, random)
        defer { finish(&random, &out) }
        let key = request.to.key
        desk.sellers.answered(key, roundTrip: roundTrip, now.monotonic)
        switch request.kind {
        case .award:
            change(request.task) { $0.awardAnswered(message, from: key, attempt: request.attempt, &$1) }
        case .call:
            if tasks[request.task]?.isCalling(request.attempt) == true {
                change(request.task) { $0.callAnswered(message, from: key, &$1) }
                return
            }
            if tasks[request.task]?.attempt == request.attempt {
                change(request.task) { $0.answeredLate(message, from: key, $1) }
            }
            guard case .bid = message else { return }
            let score = tasks[request.task].flatMap {
                $0.attempt == request.attempt ? $0.auction?.winningScore : nil
            }
            let release = Release(task: request.task, attempt: request.attempt, winningScore: score ?? 0)
            desk.emit(.send(.release(release), to: request.to))
        }
    }

    public mutating func unanswered(
        _ token: UInt64, now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]
    ) {
        guard let request = desk.requests.removeValue(forKey: token) else { return }
        begin(now, random)
        let key = request.to.key
        desk.sellers.unanswered(key, now.monotonic)
        change(request.task) { task, desk in
            switch request.kind {
            case .award: task.awardUnanswered(key, attempt: request.attempt, &desk)
            case .call where task.attempt == request.attempt: task.callUnanswered(key, &desk)
            case .call: break
            }
        }
        finish(&random, &out)
    }

    /// Something authentic came from this peer: it may be asked again.
    public mutating func heard(_ key: PublicKey) { desk.sellers.heard(key) }

    /// A seller's tombstone: its answer to a call isn't awaited any longer. What it runs, it finishes or hands over.
    public mutating func sellerLeft(
        _ key: PublicKey, now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        for id in tasks.keys { change(id) { $0.sellerLeft(key, &$1) } }
        finish(&random, &out)
    }

    // MARK: - Channels

    /// The answer to `openChannel`. A channel that isn't awaited any more is released.
    public mutating func channelOpened(
        _ task: TaskID, attempt: UInt32, channel: UInt64, peer: PublicKey, now: Now,
        random: inout SeededRandom,
        out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        var taken = false
        change(task) { taken = $0.channelOpened(channel, peer: peer, attempt: attempt, &$1) }
        if !taken { desk.emit(.releaseChannel(channel)) }
        finish(&random, &out)
    }

    /// The answer to `openChannel` when no channel came about.
    public mutating func channelFailed(
        _ task: TaskID, attempt: UInt32, peer: PublicKey, now: Now, random: inout SeededRandom,
        out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        change(task) { $0.channelFailed(peer: peer, attempt: attempt, &$1) }
        finish(&random, &out)
    }

    /// An open channel ended, not by our `closeChannel`.
    public mutating func channelClosed(
        _ channel: UInt64, now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]
    ) {
        guard let task = desk.channels.removeValue(forKey: channel) else { return }
        begin(now, random)
        change(task) { $0.channelClosed(channel, &$1) }
        finish(&random, &out)
    }

    /// A frame from a worker: hello, delta, progress, finish or fail. Others, and those of attempts that are over,
    /// are discarded; a Hello that nobody awaits closes its channel.
    public mutating func received(
        _ frame: Frame, from peer: PublicKey, channel: UInt64, now: Now, random: inout SeededRandom,
        out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        var taken = false
        change(frame.task) { taken = $0.received(frame, from: peer, channel: channel, &$1) }
        if !taken {
            discardedFrames &+= 1
            if case .hello = frame.body, desk.channels[channel] == nil { desk.emit(.closeChannel(channel)) }
        }
        finish(&random, &out)
    }

    // MARK: - Time

    /// This node's loop stood still for a while. Call it after the sockets were drained and before `tick`: to a
    /// frozen auctioneer every worker looks stalled.
    public mutating func loopWasStalled(
        for gap: Interval, now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]
    ) {
        begin(now, random)
        for id in tasks.keys { change(id) { $0.forgiveSilence(&$1) } }
        finish(&random, &out)
    }

    public mutating func nextDeadline() -> MonotonicTime { desk.timers.next() }

    public mutating func tick(now: Now, random: inout SeededRandom, out: inout [AuctioneerAction]) {
        guard desk.timers.next() <= now.monotonic || !ended.isEmpty else { return }
        begin(now, random)
        while let due = desk.timers.popDue(now.monotonic) { change(due.task) { $0.timer(due.kind, &$1) } }
        ended.expire(now.monotonic)
        finish(&random, &out)
    }

    // MARK: - Looking

    /// Tasks that have not ended, the oldest first.
    public var running: [TaskID] { Array(tasks.keys) }

    public func isRunning(_ task: TaskID) -> Bool { tasks[task] != nil }

    /// What is known of a task: while it runs, and for an hour, of the last thousand.
    public func transcript(_ task: TaskID) -> TaskTranscript? {
        tasks[task]?.currentTranscript ?? ended[task]
    }

    /// The ended tasks that are remembered, the latest first.
    public func recent(_ count: Int) -> [TaskTranscript] { ended.latest(count) }

    /// Trust × 1000 that this node puts in a seller.
    public func trust(of key: PublicKey, now: Now) -> UInt32 { desk.sellers.trust(key, now.monotonic) }

    public func experience(of key: PublicKey) -> SellerExperience? { desk.sellers[key] }

    /// Brings back what the store kept of a seller.
    public mutating func restore(_ key: PublicKey, millitrust: UInt32, finished: Int, failed: Int, now: Now) {
        desk.sellers.restore(key, millitrust: millitrust, finished: finished, failed: failed, now.monotonic)
    }

    /// What must be zero when nothing runs: requests, channels, timers. For checkers.
    public var outstanding: (requests: Int, channels: Int, timers: Int) {
        (desk.requests.count, desk.channels.count, desk.timers.count)
    }

    // MARK: - The turn

    private mutating func begin(_ now: Now, _ random: SeededRandom) {
        desk.now = now
        desk.random = random
    }

    private mutating func finish(_ random: inout SeededRandom, _ out: inout [AuctioneerAction]) {
        random = desk.random
        out += desk.actions
        desk.actions.removeAll(keepingCapacity: true)
    }

    private mutating func change(_ id: TaskID, _ body: (inout BuyerTask, inout AuctionDesk) -> Void) {
        guard let index = tasks.index(forKey: id) else { return }
        body(&tasks.values[index], &desk)
        guard tasks.values[index].stage == .ended else { return }
        ended.insert(tasks.values[index].transcript, at: desk.now.monotonic)
        tasks.remove(at: index)
    }
}

/// Transcripts of ended tasks: bounded in number and age.
struct TranscriptStore: Sendable {
    private let age: Interval
    private let capacity: Int
    private var order = Deque<(at: MonotonicTime, task: TaskID)>()
    private var transcripts: [TaskID: TaskTranscript] = [:]

    init(capacity: Int, age: Interval) {
        self.capacity = capacity
        self.age = age
    }

    var isEmpty: Bool { order.isEmpty }
    subscript(task: TaskID) -> TaskTranscript? { transcripts[task] }

    mutating func insert(_ transcript: TaskTranscript, at now: MonotonicTime) {
        expire(now)
        while order.count >= capacity, let first = order.popFirst() { transcripts[first.task] = nil }
        order.append((now, transcript.task))
        transcripts[transcript.task] = transcript
    }

    mutating func expire(_ now: MonotonicTime) {
        while let first = order.first, first.at + age <= now {
            order.removeFirst()
            transcripts[first.task] = nil
        }
    }

    func latest(_ count: Int) -> [TaskTranscript] {
        order.suffix(max(0, count)).reversed().compactMap { transcripts[$0.task] }
    }
}
