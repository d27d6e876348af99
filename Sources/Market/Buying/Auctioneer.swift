import Cryptography
import OrderedCollections
import Primitives
import Wire

/// The buyer's side of the market: turns the requests of this node's clients into auctions, awards and streams, and
/// sees each of them to exactly one end. A sub-machine: events in, actions out; PeerCore routes both.
///
/// Only the dispatch is here. A task's life is in `BuyerTask` and its extensions; what all tasks share is the
/// desk.
public struct Auctioneer: Sendable {
    private var tasks: OrderedDictionary<TaskID, BuyerTask> = [:]
    private var desk: AuctionDesk
    private var ended: TranscriptStore
    /// Frames that belonged to no running assignment: mostly late ones, of workers that were frozen.
    private(set) var discardedFrames = 0

    public init(identity: Identity, parameters: MarketParameters = MarketParameters()) {
        desk = AuctionDesk(identity: identity, parameters: parameters)
        ended = TranscriptStore(capacity: parameters.transcriptsMax, age: parameters.transcriptAge)
    }

    /// Takes what an earlier process of this node knew of sellers.
    public mutating func restore(_ sellers: [SellerRecord], now: Now) { desk.sellers.restore(sellers, now) }

    // MARK: - Clients

    /// Accepts a task. Its first action is `needOffers`, or the failure when it can't be accepted.
    public mutating func submit(
        _ request: TaskRequest, turn: inout Turn, out: inout [AuctioneerAction]
    ) -> TaskID {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        let parameters = desk.parameters
        let id = TaskID(random: &turn.random)
        var task = BuyerTask(id: id, request: request, parameters, turn.now)
        if tasks.count >= parameters.tasksMax {
            let running = "This node runs \(tasks.count) tasks already"
            task.fail(.tooManyTasks, "\(running); try again in a moment.", &desk)
            remember(task, turn.monotonic)
        } else if request.body.count > parameters.bodyBytesMax {
            let size = "\(request.body.count) bytes; at most \(parameters.bodyBytesMax) are carried"
            task.fail(.invalidRequest, "The request has \(size).", &desk)
            remember(task, turn.monotonic)
        } else {
            task.start(&desk)
            tasks[id] = task
        }
        return id
    }

    /// Answers `needOffers`.
    public mutating func offersFound(
        _ task: TaskID, _ found: OffersFound, turn: inout Turn, out: inout [AuctioneerAction]
    ) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        change(task, &turn) { $0.offersFound(found, &$1, &$2) }
    }

    /// The client hung up: the task ends at once, in any stage.
    public mutating func cancel(_ task: TaskID, turn: inout Turn, out: inout [AuctioneerAction]) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        change(task, &turn) { $0.cancel(&$1, &$2) }
    }

    /// The client took `bytes` more of the delivered text and extra: the worker's window opens by as much.
    public mutating func consumed(
        _ task: TaskID, bytes: UInt64, turn: inout Turn, out: inout [AuctioneerAction]
    ) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        change(task, &turn) { $0.consumed(bytes, &$1, $2.monotonic) }
    }

    // MARK: - Requests

    /// `message` is nil for an answer that is no message of the market's: UNSUPPORTED, or another machine's.
    public mutating func answered(
        _ token: RequestToken, _ message: MarketMessage?, from peer: PeerAddress, roundTrip: Interval,
        turn: inout Turn, out: inout [AuctioneerAction]
    ) {
        guard let request = desk.completed(token) else { return }
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        let key = request.to.key
        desk.sellers.answered(key, roundTrip: roundTrip, turn.monotonic)
        switch request.kind {
        case .award:
            change(request.task, &turn) {
                $0.awardAnswered(message, from: key, attempt: request.attempt, &$1, &$2)
            }
        case .call where tasks[request.task]?.isCalling(request.attempt) == true:
            change(request.task, &turn) { $0.callAnswered(message, from: key, &$1, &$2) }
        case .call:
            calledLate(request, message, turn.monotonic)
        }
    }

    /// A call's answer after the close. Its bid holds a slot for nothing.
    private mutating func calledLate(
        _ request: AuctionDesk.PendingRequest, _ message: MarketMessage?, _ now: MonotonicTime
    ) {
        var score: UInt64 = 0
        if let index = tasks.index(forKey: request.task),
            tasks.values[index].attempt == request.attempt
        {
            tasks.values[index].answeredLate(message, from: request.to.key, &desk, now)
            score = tasks.values[index].auction?.winningScore ?? 0
        }
        guard case .bid = message else { return }
        let release = Release(task: request.task, attempt: request.attempt, winningScore: score)
        desk.emit(.send(.release(release), to: request.to))
    }

    public mutating func unanswered(
        _ token: RequestToken, turn: inout Turn, out: inout [AuctioneerAction]
    ) {
        guard let request = desk.completed(token) else { return }
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        let key = request.to.key
        let isAlive = desk.sellers.wasHeard(key, since: request.at)
        if isAlive { desk.sellers.declined(key) } else { desk.sellers.unanswered(key, turn.monotonic) }
        change(request.task, &turn) { task, desk, turn in
            switch request.kind {
            case .award: task.awardUnanswered(key, attempt: request.attempt, &desk, &turn)
            case .call where task.attempt == request.attempt:
                task.callUnanswered(key, isAlive: isAlive, &desk, &turn)
            case .call: break
            }
        }
    }

    /// Our own bounds kept the request from the seller, which is neither silent nor to blame: the task asks it
    /// again soon.
    public mutating func notAsked(
        _ token: RequestToken, turn: inout Turn, out: inout [AuctioneerAction]
    ) {
        guard let request = desk.completed(token) else { return }
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        let key = request.to.key
        desk.sellers.notAsked(key)
        change(request.task, &turn) { task, desk, turn in
            switch request.kind {
            case .award: task.awardNotSent(key, attempt: request.attempt, &desk, &turn)
            case .call where task.attempt == request.attempt: task.callNotSent(key, &desk, &turn)
            case .call: break
            }
        }
    }

    /// Something authentic came from this peer: it may be asked again.
    public mutating func heard(_ key: PublicKey, _ now: MonotonicTime) { desk.sellers.heard(key, now) }

    /// A seller's tombstone: its answer to a call is no longer awaited. It finishes its running tasks, or
    /// hands them over.
    public mutating func sellerLeft(
        _ key: PublicKey, turn: inout Turn, out: inout [AuctioneerAction]
    ) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        for id in tasks.keys { change(id, &turn) { $0.sellerLeft(key, &$1, &$2) } }
    }

    // MARK: - Channels

    /// The answer to `openChannel`. A channel that is no longer awaited is released.
    public mutating func channelOpened(
        _ task: TaskID, attempt: UInt32, channel: ChannelID, peer: PublicKey, turn: inout Turn,
        out: inout [AuctioneerAction]
    ) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        var taken = false
        change(task, &turn) {
            taken = $0.channelOpened(channel, peer: peer, attempt: attempt, &$1, $2.monotonic)
        }
        if !taken { desk.emit(.releaseChannel(channel)) }
    }

    /// The answer to `openChannel` when no channel could be opened. `wasTried` is false when our own bounds
    /// are the reason.
    public mutating func channelFailed(
        _ task: TaskID, attempt: UInt32, peer: PublicKey, wasTried: Bool = true, turn: inout Turn,
        out: inout [AuctioneerAction]
    ) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        change(task, &turn) { $0.channelFailed(peer: peer, attempt: attempt, wasTried: wasTried, &$1, &$2) }
    }

    /// An open channel ended, but not by our `closeChannel`. `byUs`: a bound of this node's closed it.
    public mutating func channelClosed(
        _ channel: ChannelID, byUs: Bool = false, turn: inout Turn, out: inout [AuctioneerAction]
    ) {
        guard let task = desk.unassign(channel) else { return }
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        change(task, &turn) { $0.channelClosed(channel, byUs: byUs, &$1, &$2) }
    }

    /// Whether a task of this node is on that channel.
    public func owns(_ channel: ChannelID) -> Bool { desk.isAssigned(channel) }

    /// A frame from a worker: hello, delta, progress, finish or fail. Other kinds, and frames of ended
    /// assignments, are discarded; a Hello that no task awaits closes its channel.
    public mutating func received(
        _ frame: Frame, from peer: PublicKey, channel: ChannelID, turn: inout Turn,
        out: inout [AuctioneerAction]
    ) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        var taken = false
        change(frame.task, &turn) { taken = $0.received(frame, from: peer, channel: channel, &$1, &$2) }
        if taken { desk.sellers.heard(peer, turn.monotonic) }
        if !taken {
            discardedFrames &+= 1
            if case .hello = frame.body, !desk.isAssigned(channel) { desk.emit(.closeChannel(channel)) }
        }
    }

    // MARK: - Time

    /// This node's loop stood still for a while. Call it after the sockets were drained and before `tick`:
    /// after a stall of ours, every worker looks stalled.
    public mutating func loopWasStalled(turn: inout Turn, out: inout [AuctioneerAction]) {
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        for id in tasks.keys { change(id, &turn) { $0.forgiveSilence(&$1, $2.monotonic) } }
    }

    /// This node's loop ran late, or datagrams of its own were lost: nobody is blamed for silence until now.
    public mutating func wasDisturbed(_ now: MonotonicTime) { desk.disturbedAt = now }

    public mutating func nextDeadline() -> MonotonicTime { desk.nextDeadline() }

    public mutating func tick(turn: inout Turn, out: inout [AuctioneerAction]) {
        guard desk.nextDeadline() <= turn.monotonic || !ended.isEmpty else { return }
        desk.exchange(&out)
        defer { desk.exchange(&out) }
        while let due = desk.popDue(turn.monotonic) {
            change(due.task, &turn) { $0.timer(due.kind, &$1, &$2) }
        }
        ended.expire(turn.monotonic)
    }

    // MARK: - Queries

    /// Tasks that have not ended, oldest first.
    public var running: [TaskID] {
        tasks.elements.sorted { $0.value.startedAt < $1.value.startedAt }.map(\.key)
    }

    public var runningCount: Int { tasks.count }

    func isRunning(_ task: TaskID) -> Bool { tasks[task] != nil }

    /// The transcript of a task: while it runs, and for an hour, of the last thousand.
    public func transcript(_ task: TaskID) -> TaskTranscript? {
        tasks[task]?.currentTranscript ?? ended[task]
    }

    /// The remembered ended tasks, latest first.
    public func recent(_ count: Int) -> [TaskTranscript] { ended.latest(count) }

    /// Trust × 1000 that this node puts in a seller.
    public func trust(of key: PublicKey, now: Now) -> UInt32 { desk.sellers.trust(key, now.monotonic) }

    public func experience(of key: PublicKey) -> SellerExperience? { desk.sellers[key] }

    /// Must be zero when nothing runs: requests, channels, timers. For checkers.
    public var outstanding: (requests: Int, channels: Int, timers: Int) { desk.outstanding }

    // MARK: - Tasks

    /// Changes a task in place, and removes it when it has ended.
    private mutating func change(
        _ id: TaskID, _ turn: inout Turn, _ body: (inout BuyerTask, inout AuctionDesk, inout Turn) -> Void
    ) {
        guard let index = tasks.index(forKey: id) else { return }
        body(&tasks.values[index], &desk, &turn)
        guard tasks.values[index].isEnded else { return }
        remember(tasks.values[index], turn.monotonic)
        // The last task takes its place: a removal in the middle would move all that follow.
        tasks.swapAt(index, tasks.count - 1)
        tasks.removeLast()
    }

    /// A quote is no task: it is forgotten.
    private mutating func remember(_ task: BuyerTask, _ now: MonotonicTime) {
        if task.request.isQuote { return }
        var transcript = task.transcript
        transcript.phases.total = now - task.startedAt
        ended.insert(transcript, at: now)
    }
}
