import Credit
import Cryptography
import Market
import Primitives
import Wire

/// A node's auctioneer and bidder without the rest of the node. Every call to them goes through here.
final class MarketNode {
    let index: Int32
    let identity: Identity
    let address: PeerAddress
    /// The sellers that it knows, used for each of its auctions.
    var candidates: [Candidate] = []
    var balance: Balances
    /// Running tasks, by their index in the load.
    var tasks: [TaskID: Int32] = [:]
    var jobs: [JobID: MarketJob] = [:]
    /// Idle channels that it dialled, by the other end.
    var idle: [Int32: [Int32]] = [:]
    /// When its timer fires; `.max`: it is not set.
    var armedAt = Int64.max

    private var auctioneer: Auctioneer
    private var bidder: Bidder
    private var turn: Turn
    private var buyerActions: [AuctioneerAction] = []
    private var sellerActions: [BidderAction] = []

    private static let networkBase: UInt32 = 0x0a00_0001

    init(index: Int32, identity: Identity, parameters: MarketParameters, random: SeededRandom) {
        self.index = index
        self.identity = identity
        address = PeerAddress(
            key: identity.publicKey, endpoint: Endpoint(ipv4: Self.networkBase + UInt32(index), port: 7_827))
        balance = Balances(of: identity.publicKey)
        auctioneer = Auctioneer(identity: identity, parameters: parameters)
        bidder = Bidder(identity: identity, parameters: parameters)
        turn = Turn(now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)), random: random)
    }

    /// The index of the node with an address that `init` assigned.
    static func index(of peer: PeerAddress) -> Int32 {
        Int32((peer.endpoint.ipv4 ?? networkBase) - networkBase)
    }

    // MARK: Inputs

    /// Must be called before any of the following.
    func begin(at clock: Int64) {
        turn.now = Now(
            monotonic: MonotonicTime(nanoseconds: clock),
            wall: WallTime(milliseconds: World.epochMilliseconds + clock / 1_000_000))
    }

    func serve(_ plan: ServePlan) -> Verified<Offer> {
        let model = ServedModel(plan, .up)
        bidder.setServed([model])
        let offer = Offer(
            publicKey: identity.publicKey, model: model.model, quantization: model.quantization,
            context: model.context, features: model.features, continues: model.continues, price: model.price,
            slots: UInt32(clamping: model.slots), speed: model.speed, endpoints: [address.endpoint],
            reachability: .direct, sequence: 1)
        return Verified(signing: offer, with: identity)
    }

    /// Each of these sellers did tasks for this node before.
    func haveBought(from sellers: ArraySlice<MarketNode>) {
        let records = sellers.map { seller in
            SellerRecord(
                key: seller.identity.publicKey, trust: 1_000, finished: MarketStudy.Plan.tasksBefore,
                failed: 0,
                at: turn.now.wall)
        }
        auctioneer.restore(records, now: turn.now)
    }

    /// This node did tasks for each of these buyers, who paid a credit.
    func haveSold(to buyers: ArraySlice<MarketNode>) {
        let paid = Paid(tasks: MarketStudy.Plan.tasksBefore, amount: Money(microCredits: 1_000_000))
        let records = buyers.flatMap { buyer in
            [.key(buyer.identity.publicKey), .network(UInt64(buyer.index))].map {
                BuyerRecord($0, paid: paid, at: turn.now.wall)
            }
        }
        bidder.restore(records, now: turn.now)
    }

    func submit(_ request: TaskRequest, _ task: Int32) {
        let id = auctioneer.submit(request, turn: &turn, out: &buyerActions)
        tasks[id] = task
    }

    func answerNeed(_ task: TaskID) {
        let found = OffersFound(sellers: candidates, known: candidates.count, catalogueKnows: true)
        auctioneer.offersFound(task, found, turn: &turn, out: &buyerActions)
    }

    func consumed(_ task: TaskID, bytes: Int) {
        auctioneer.consumed(task, bytes: UInt64(bytes), turn: &turn, out: &buyerActions)
    }

    func answered(_ token: RequestToken, _ message: MarketMessage, from peer: MarketNode, after time: Int64) {
        auctioneer.answered(
            token, message, from: peer.address, roundTrip: Interval(nanoseconds: time), turn: &turn,
            out: &buyerActions)
    }

    func unanswered(_ token: RequestToken) {
        auctioneer.unanswered(token, turn: &turn, out: &buyerActions)
    }

    func handle(_ message: MarketMessage, from peer: MarketNode) -> MarketMessage? {
        auctioneer.heard(peer.identity.publicKey, turn.monotonic)
        let group = UInt64(Self.index(of: peer.address))
        return bidder.handle(
            message, from: peer.address, group: group, proven: true, turn: &turn, out: &sellerActions)
    }

    func received(_ frame: Frame, from peer: MarketNode, on channel: ChannelID) {
        let key = peer.identity.publicKey
        switch frame.body {
        case .open, .bodyPart, .cancel, .window, .receipt:
            bidder.received(frame, from: key, channel: channel, turn: &turn, out: &sellerActions)
        case .delta, .progress, .finish, .fail, .hello:
            auctioneer.received(frame, from: key, channel: channel, turn: &turn, out: &buyerActions)
        }
    }

    func channelOpened(_ dial: MarketDial, _ channel: ChannelID, to peer: MarketNode) {
        let key = peer.identity.publicKey
        if dial.isBuyers {
            auctioneer.channelOpened(
                dial.task, attempt: dial.attempt, channel: channel, peer: key, turn: &turn, out: &buyerActions
            )
        } else {
            bidder.channelOpened(
                dial.task, attempt: dial.attempt, channel: channel, peer: key, turn: &turn,
                out: &sellerActions)
        }
    }

    func channelClosed(_ channel: ChannelID) {
        auctioneer.channelClosed(channel, turn: &turn, out: &buyerActions)
        bidder.channelClosed(channel, turn: &turn, out: &sellerActions)
    }

    func job(_ id: JobID, _ event: JobEvent) {
        bidder.jobEvent(id, event, turn: &turn, out: &sellerActions)
    }

    func tick() {
        auctioneer.tick(turn: &turn, out: &buyerActions)
        bidder.tick(turn: &turn, out: &sellerActions)
    }

    // MARK: Outputs

    var nextDeadline: Int64 { min(auctioneer.nextDeadline(), bidder.nextDeadline()).nanoseconds }

    /// Moves the machines' actions out; false: there are none.
    func takeActions(_ buyer: inout [AuctioneerAction], _ seller: inout [BidderAction]) -> Bool {
        swap(&buyer, &buyerActions)
        swap(&seller, &sellerActions)
        return !buyer.isEmpty || !seller.isEmpty
    }

    /// What the node still holds when nothing should run any more; nil: nothing.
    var leak: String? {
        let (mine, others) = (auctioneer.outstanding, bidder.outstanding)
        let count =
            mine.requests + mine.channels + mine.timers + others.holds + others.jobs + others.channels
            + others.timers + tasks.count + jobs.count
        return count > 0 ? "node \(index): \(mine), \(others), \(tasks.count) tasks, \(jobs.count) jobs" : nil
    }
}

/// A channel that is being dialled, and its purpose.
struct MarketDial {
    var task: TaskID
    var attempt: UInt32
    var isBuyers: Bool
}

/// A scripted answer in progress.
struct MarketJob {
    var task: Int32
    /// Steps planned with another ticket are void.
    var ticket: UInt32
    var position: Int
    var end: Int
    /// When the first token came, or comes.
    var firstAt: Int64
    var isPaused = false
}
