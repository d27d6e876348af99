import Cryptography
import Primitives
import Wire

/// What the auctioneer wants done, in order. PeerCore routes each; nothing is called back.
public enum AuctioneerAction: Sendable {
    /// Answer with `offersFound`, once, after the search that the book's state asks for; it is asked again for every
    /// further auction of the task.
    case needOffers(TaskID, model: String)
    /// Ends with exactly one `answered` or `unanswered`.
    case request(token: RequestToken, MarketMessage, to: PeerAddress)
    case send(MarketMessage, to: PeerAddress)
    /// Ends with `channelOpened` or `channelFailed` under the same task, attempt and key.
    case openChannel(TaskID, attempt: UInt32, to: PeerAddress)
    case sendFrame(channel: ChannelID, Frame)
    /// Healthy and idle: back to the pool.
    case releaseChannel(ChannelID)
    case closeChannel(ChannelID)
    case client(TaskID, ClientEvent)
    /// For the store; later receipts of one (task, attempt, worker) replace earlier ones.
    case receiptIssued(Verified<Receipt>)
}

struct TaskTimer: Hashable, Sendable {
    enum Kind: UInt8, CaseIterable, Sendable { case deadline, window, award, channel, stall, receipt, retry }
    var task: TaskID
    var kind: Kind
}

/// What all tasks of an auctioneer share.
struct AuctionDesk: Sendable {
    struct PendingRequest: Sendable {
        enum Kind: Sendable { case call, award }
        var kind: Kind
        var task: TaskID
        var attempt: UInt32
        var to: PeerAddress
    }

    let identity: Identity
    let parameters: MarketParameters
    var sellers: SellerTable
    var timers = DeadlineQueue<TaskTimer>()
    /// Calls and awards under way; each ends once, so they are as many as the tasks' candidates.
    var requests: [RequestToken: PendingRequest] = [:]
    /// Channels that carry a task now.
    var channels: [ChannelID: TaskID] = [:]
    /// What the running turn wants done: the caller's buffer while a turn lasts, empty between turns.
    var actions: [AuctioneerAction] = []
    private var lastToken: UInt64 = 0

    init(identity: Identity, parameters: MarketParameters) {
        self.identity = identity
        self.parameters = parameters
        sellers = SellerTable(parameters)
    }

    mutating func emit(_ action: AuctioneerAction) { actions.append(action) }

    mutating func request(
        _ kind: PendingRequest.Kind, _ message: MarketMessage, task: TaskID, attempt: UInt32, to: PeerAddress
    ) {
        lastToken &+= 1
        let token = RequestToken(rawValue: lastToken)
        requests[token] = PendingRequest(kind: kind, task: task, attempt: attempt, to: to)
        emit(.request(token: token, message, to: to))
    }

    mutating func set(_ task: TaskID, _ kind: TaskTimer.Kind, at time: MonotonicTime) {
        timers.set(TaskTimer(task: task, kind: kind), at: time)
    }

    mutating func cancel(_ task: TaskID, _ kinds: TaskTimer.Kind...) {
        for kind in kinds { timers.cancel(TaskTimer(task: task, kind: kind)) }
    }
}
