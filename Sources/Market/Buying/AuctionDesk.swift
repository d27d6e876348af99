import Cryptography
import Primitives
import Wire

struct TaskTimer: Hashable, Sendable {
    enum Kind: UInt8, CaseIterable, Sendable { case deadline, bids, award, channel, stall, receipt, retry }
    var task: TaskID
    var kind: Kind
}

/// What all tasks of an auctioneer share: identity, parameters, sellers, timers, and the tables that lead from a
/// request or a channel to its task.
struct AuctionDesk: Sendable {
    struct PendingRequest: Sendable {
        enum Kind: Sendable { case call, award }
        var kind: Kind
        var task: TaskID
        var attempt: UInt32
        var to: PeerAddress
        var at: MonotonicTime
    }

    let identity: Identity
    let parameters: MarketParameters
    var sellers: SellerTable
    var speeds: SpeedBook
    var prompts = PromptCounts()
    /// When this node's own loop last ran late or lost datagrams.
    var disturbedAt: MonotonicTime?
    private var timers = DeadlineQueue<TaskTimer>()
    /// Calls and awards under way. Each ends once, so their number is bounded by the tasks' candidates.
    private var requests: [RequestToken: PendingRequest] = [:]
    private var lastToken: UInt64 = 0
    /// Channels that carry a task now.
    private var channels: [ChannelID: TaskID] = [:]
    /// What the running turn wants done: the caller's buffer while a turn lasts, empty between turns.
    private var actions: [AuctioneerAction] = []

    init(identity: Identity, parameters: MarketParameters) {
        self.identity = identity
        self.parameters = parameters
        sellers = SellerTable(parameters)
        speeds = SpeedBook(parameters)
    }

    /// Takes the caller's buffer when a turn begins and gives it back when it ends.
    mutating func exchange(_ out: inout [AuctioneerAction]) { swap(&actions, &out) }

    mutating func emit(_ action: AuctioneerAction) { actions.append(action) }

    /// Whether silence that began at `time` may be our own doing and proves nothing.
    func isDoubtful(since time: MonotonicTime) -> Bool { disturbedAt.map { $0 >= time } ?? false }

    // MARK: - Requests

    mutating func request(
        _ kind: PendingRequest.Kind, _ message: MarketMessage, task: TaskID, attempt: UInt32, to: PeerAddress,
        _ now: MonotonicTime
    ) {
        lastToken &+= 1
        let token = RequestToken(rawValue: lastToken)
        requests[token] = PendingRequest(kind: kind, task: task, attempt: attempt, to: to, at: now)
        emit(.request(token: token, message, to: to))
    }

    /// The request that a completion belongs to; it ends with that.
    mutating func completed(_ token: RequestToken) -> PendingRequest? { requests.removeValue(forKey: token) }

    // MARK: - Sellers

    /// Whether it has finished a task of this node, or is this node.
    func isMet(_ key: PublicKey) -> Bool { key == identity.publicKey || sellers.hasFinished(key) }

    /// How many tasks of this node it has finished: what its word about a task weighs.
    func record(of key: PublicKey) -> Int {
        key == identity.publicKey ? .max : sellers.finishedCount(key)
    }

    /// This node has room for itself as long as it bids.
    func standing(_ key: PublicKey, _ now: MonotonicTime) -> Standing {
        key == identity.publicKey ? .room : sellers.standing(key, now)
    }

    mutating func awarded(_ key: PublicKey, _ now: MonotonicTime) {
        sellers.awarded(key, wasMet: isMet(key), now)
    }

    /// Blames a seller: `factor` ÷ 1000 of its trust is left.
    mutating func blame(_ key: PublicKey, factor: UInt32, _ now: Now) {
        guard factor < 1_000 else { return }
        sellers.blame(key, factor: factor, now.monotonic)
        if let record = sellers.record(of: key, now) { emit(.sellerJudged(record)) }
    }

    /// A seller finished its task.
    mutating func praise(_ key: PublicKey, wasMet: Bool, _ now: Now) {
        sellers.finished(key, wasMet: wasMet, now.monotonic)
        if let record = sellers.record(of: key, now) { emit(.sellerJudged(record)) }
    }

    // MARK: - Channels

    mutating func assign(_ channel: ChannelID, to task: TaskID) { channels[channel] = task }

    /// The task that the channel carried; it carries none from now on.
    @discardableResult
    mutating func unassign(_ channel: ChannelID) -> TaskID? { channels.removeValue(forKey: channel) }

    func isAssigned(_ channel: ChannelID) -> Bool { channels[channel] != nil }

    // MARK: - Timers

    mutating func set(_ task: TaskID, _ kind: TaskTimer.Kind, at time: MonotonicTime) {
        timers.set(TaskTimer(task: task, kind: kind), at: time)
    }

    mutating func cancel(_ task: TaskID, _ kind: TaskTimer.Kind) {
        timers.cancel(TaskTimer(task: task, kind: kind))
    }

    mutating func nextDeadline() -> MonotonicTime { timers.next() }

    mutating func popDue(_ now: MonotonicTime) -> TaskTimer? { timers.popDue(now) }

    /// What must be zero when nothing runs.
    var outstanding: (requests: Int, channels: Int, timers: Int) {
        (requests.count, channels.count, timers.count)
    }
}
