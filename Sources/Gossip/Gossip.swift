import Cryptography
import OrderedCollections
import Primitives
import Wire

/// The offer book and how it is kept true: every seller signs one offer for each model it serves, and every
/// member holds the offers of all.
///
/// Dissemination is the classic trio (Demers et al., "Epidemic algorithms for replicated database
/// maintenance", 1987). *Direct mail*: the publisher sends its offer to every member, paced, each
/// acknowledged and sent again once. *Rumours*: a node that learns a fresh offer another way passes it to six
/// random members. *Anti-entropy*: once a minute, and right after joining, lists of (short id, sequence) are
/// compared with a random member's, range by range. In the steady state an offer reaches each holder in one
/// hop and about one copy; the other two are for losses, partitions and publishers that don't know every
/// member.
///
/// A received offer is decoded, judged by its dates, compared with the offer book and given room before its
/// signature is checked, and checks are budgeted: a flood of copies or forgeries costs little more than its
/// bytes. A version that comes faster than its seller's rate waits; of several the newest.
///
/// Paths through the code: a mail comes in by `handle` → `learn` (Gossip+Learning) → the offer book, and goes
/// on by `spread`; an own offer goes out by `announce` → `publish` (Gossip+Publishing) → the mail queue →
/// `pump`; anti-entropy is `startExchange` → `answered` → `continueExchange` (Gossip+Exchanges).
///
/// A sub-machine: values in, actions appended, no callbacks. All records have a bounded size, all tables are
/// bounded by `GossipLimits`, and no order comes from a hash table.
public struct Gossip: Sendable {
    enum Timer: Hashable, Sendable {
        case own(UInt64)
        case expiry(UInt64)
        case rumour(UInt64)
        case delayed(UInt64)
        case mail, exchange, join, search
    }
    enum Pending: Sendable {
        case mail(to: PublicKey, leaving: Bool)
        case digest(exchange: UInt64, range: ClosedRange<UInt64>)
    }
    struct Rumour: Sendable {
        var fanout: Int
        /// The member that told us.
        var source: PublicKey
        /// Others may not get it from its publisher: it isn't cancelled by the publisher's own mail to us.
        var isUrgent: Bool
    }
    struct EarlyDate: Sendable {
        let sender: PeerAddress
        /// Milliseconds that the sender's clock is ahead of ours.
        let ahead: Int64
    }
    struct Leaving: Sendable {
        var openMails = 0
        var isReported = false
    }

    let identity: Identity
    let parameters: GossipParameters
    var book: OfferBook
    var owns: OrderedDictionary<UInt64, OwnOffer> = [:]
    var members = Members()
    var mail = MailQueue()
    var nextMailAt: MonotonicTime = .zero
    /// By short id; looked up, never iterated.
    var rumours: [UInt64: Rumour] = [:]
    /// The newest version that came too fast, by short id; looked up, never iterated.
    var delayed: [UInt64: DelayedVersion] = [:]
    /// Models that this node is about to serve again: see `resume`.
    var resumed: [String] = []
    var budget = CheckBudget()
    var clocks = PeerClocks()
    /// The latest date of each sender that had not answered us yet.
    var earlyDates = RecentTable<PublicKey, EarlyDate>(capacity: GossipLimits.earlyDatesMax)
    /// Exchanges started at once when our clock is set; an attacker that can set it repeatedly gets no more
    /// than these.
    var clockExchanges = TokenBucket(every: .seconds(20), burst: 4)
    var timers = DeadlineQueue<Timer>()
    /// Looked up by token, never iterated.
    var requests: [RequestToken: Pending] = [:]
    var lastToken: RequestToken = 0
    var exchanges: OrderedDictionary<UInt64, Exchange> = [:]
    var lastExchange: UInt64 = 0
    var joining: Joining?
    /// The time to the comparison after the next, and when members' debts were last forgiven.
    var exchangeGap: Interval = .minutes(1)
    var forgivenAt = MonotonicTime.zero
    var pull: Pull?
    var lastPull: (ended: MonotonicTime, number: UInt64) = (.zero, 0)
    var digestRate = AnswerBudget(rate: GossipLimits.digestsPerSecond)
    var correctionRate = AnswerBudget(rate: GossipLimits.correctionsPerSecond)
    var leaving: Leaving?
    /// An offer under our key with a sequence that we hadn't reached, by its age.
    var foreign: (age: Interval, endpoint: Endpoint?)?

    /// What was dropped, by reason.
    public internal(set) var dropped = OfferDrops()
    public internal(set) var statistics = GossipStatistics()

    public init(identity: Identity, parameters: GossipParameters = GossipParameters()) {
        self.identity = identity
        self.parameters = parameters
        book = OfferBook(capacity: parameters.offersMax)
    }

    // MARK: The offer book

    /// The live offers of one model, our own included, by short id.
    public func offers(model: String) -> [Verified<Offer>] { book.offers(model: model) }
    /// All live offers, our own included, by short id.
    public var allOffers: [Verified<Offer>] { book.live }
    /// One summary for each model, by name.
    public var models: [ModelSummary] { book.summaries { _ in true } }
    /// The same, of the offers whose sellers `isAlive` admits, and that were refreshed lately.
    public func models(_ now: MonotonicTime, where isAlive: (PublicKey) -> Bool) -> [ModelSummary] {
        book.summaries { !$0.isOverdue(now) && isAlive($0.offer.record.publicKey) }
    }
    /// Nodes with a live offer of any model, this one included.
    public var sellerCount: Int { book.sellerCount }
    /// The offer with the lowest output price of each model other than `model`, the cheapest first; at most
    /// `limit`.
    public func cheapest(except model: String, limit: Int) -> [Offer] {
        book.cheapest(except: model, limit: limit)
    }
    /// Whether the model is sold, or was within the last ten minutes: then it is away and not unknown.
    public func wasSold(_ model: String, now: Now) -> Bool { book.wasSold(model, now.monotonic) }
    /// Offers and tombstones: the number that the bounds limit.
    public var heldCount: Int { book.count }
    /// The most of them: our own offers come on top when they found the book full.
    public var heldMax: Int { parameters.offersMax + 2 * GossipLimits.offersPerKeyMax }
    /// Whether a new offer must displace another.
    public var isBookFull: Bool { book.isFull }
    public var memberCount: Int { members.count }
    /// How far our clock is taken to be behind the other nodes', in milliseconds; 0 unless it is far off.
    var clockCorrection: Int64 { clocks.ahead }
    /// Whether the first exchanges after the first member are still under way.
    var isJoining: Bool { joining != nil }

    /// The models that this node sells or asks for: their offers have room in a full offer book. Replaces
    /// those named before.
    public mutating func trade(in models: [String]) { book.trade(in: models) }

    /// The age and endpoint of an offer that was signed with our key, and not by us since our first; once. An earlier run
    /// may have signed it.
    public mutating func takeForeign() -> (age: Interval, endpoint: Endpoint?)? {
        defer { foreign = nil }
        return foreign
    }

    /// The models that this node will serve as soon as it can. What an earlier run offered of them is not
    /// withdrawn: a new version follows, and the old one states where this node is again.
    public mutating func resume(_ models: [String]) {
        resumed = Array(models.prefix(GossipLimits.offersPerKeyMax))
    }

    // MARK: Members

    /// Adds a member to exchange offers with, or a new endpoint of one, and mails it our own offers.
    /// `contact` is the source of its address, if it states that and has answered us there.
    public mutating func memberJoined(
        _ address: PeerAddress, contact: Verified<Contact>? = nil, turn: inout Turn,
        out: inout [GossipAction]
    ) {
        guard address.key != identity.publicKey else { return }
        let isNew = !members.contains(address.key)
        guard members.join(address, contact) else { return dropped.count(.membersFull) }
        compareEarlyDate(of: address.key, turn.now)
        guard isNew, leaving == nil else { return }
        for id in owns.keys where book.passable(id, at: clocks.judge(turn.wall)) { mail.add(id, to: address) }
        if members.count == 1 {
            joining = Joining()
            timers.set(.join, at: turn.monotonic + parameters.joinDelay)
            exchangeGap = parameters.exchangeFirst
            forgivenAt = turn.monotonic
            scheduleExchange(&turn)
        }
        settle(turn.now, &out)
    }

    /// Discovery has evicted this contact, or it announced its departure. Its offers hold until they expire
    /// or are withdrawn: whether it is dead is for the nodes that call it to judge.
    public mutating func memberLeft(_ key: PublicKey) {
        members.leave(key)
        mail.forget(key)
    }

    // MARK: Messages

    /// Handles a message from an established session and returns the answer, if there is one. A message with
    /// `proven` false (in a first message, which may be replayed or spoofed) is not answered and changes
    /// nothing.
    public mutating func handle(
        _ message: GossipMessage, from: PeerAddress, proven: Bool, turn: inout Turn,
        out: inout [GossipAction]
    ) -> GossipMessage? {
        guard proven else {
            dropped.count(.unproven)
            return nil
        }
        members.heard(from.key)
        defer { settle(turn.now, &out) }
        switch message {
        case .offerMail(let offers):
            var isComplete = true
            for signed in offers.prefix(WireLimits.mailOffersMax) {
                let outcome = learn(signed, from: from, byMail: true, &turn, &out)
                if outcome == .postponed { isComplete = false }
            }
            // Don't acknowledge what could not be checked in this second: it is sent once more.
            return isComplete ? .offerReceived : nil
        case .offerDigest(let digest):
            return answer(digest, from: from, &turn)
        case .offerReceived, .offerDifference:
            dropped.count(.wrongAnswer)
            return nil
        }
    }

    /// The answer to the request with this token; nil for an answer that is not a Gossip message.
    public mutating func answered(
        _ token: RequestToken, _ message: GossipMessage?, from: PeerAddress, roundTrip: Interval,
        turn: inout Turn,
        out: inout [GossipAction]
    ) {
        guard let pending = requests.removeValue(forKey: token) else { return }
        requests.releaseIfEmpty()
        members.answered(from.key)
        compareEarlyDate(of: from.key, turn.now)
        switch (pending, message) {
        case (.mail(_, let isLeave), .offerReceived):
            if isLeave { leaving?.openMails -= 1 }
        case (.digest(let exchange, let range), .offerDifference(let difference)):
            continueExchange(exchange, range, difference, from: from, &turn, &out)
        default:
            dropped.count(.wrongAnswer)
            abandon(pending, wasAsked: true, &turn, &out)
        }
        settle(turn.now, &out)
    }

    /// Neither the request nor its one retry was answered. Mail is left to anti-entropy.
    public mutating func unanswered(
        _ token: RequestToken, turn: inout Turn, out: inout [GossipAction]
    ) {
        guard let pending = requests.removeValue(forKey: token) else { return }
        requests.releaseIfEmpty()
        abandon(pending, wasAsked: true, &turn, &out)
        settle(turn.now, &out)
    }

    /// Our own bounds kept the request from the member, which is not silent therefore.
    public mutating func notAsked(_ token: RequestToken, turn: inout Turn, out: inout [GossipAction]) {
        guard let pending = requests.removeValue(forKey: token) else { return }
        requests.releaseIfEmpty()
        abandon(pending, wasAsked: false, &turn, &out)
        settle(turn.now, &out)
    }

    private mutating func abandon(
        _ pending: Pending, wasAsked: Bool, _ turn: inout Turn, _ out: inout [GossipAction]
    ) {
        switch pending {
        case .mail(let key, let isLeave):
            if wasAsked { members.silent(key) }
            if isLeave { leaving?.openMails -= 1 }
        case .digest(let exchange, _):
            if wasAsked, let partner = exchanges[exchange]?.partner { members.silent(partner.key) }
            endExchange(exchange, &turn, &out)
        }
    }

    // MARK: Time

    /// When `tick` must be called next; early or late is harmless.
    public mutating func nextDeadline() -> MonotonicTime { timers.next() }

    /// Does everything that is due.
    public mutating func tick(turn: inout Turn, out: inout [GossipAction]) {
        while let timer = timers.popDue(turn.monotonic) {
            switch timer {
            case .own(let id): ownIsDue(id, &turn, &out)
            case .expiry(let id): expire(id, turn.monotonic, &out)
            case .rumour(let id): startRumour(id, &turn)
            case .delayed(let id): delayIsOver(id, &turn, &out)
            case .mail: break  // `settle` below
            case .exchange: exchangeIsDue(&turn, &out)
            case .join: joinIsDue(&turn, &out)
            case .search: endPull(turn.now, &out)
            }
        }
        settle(turn.now, &out)
    }

    /// Ends every call: sends the mail that may leave now and sets the time for the rest.
    mutating func settle(_ now: Now, _ out: inout [GossipAction]) {
        if nextMailAt <= now.monotonic, !mail.isEmpty { pump(now, &out) }
        if !mail.isEmpty { timers.set(.mail, at: nextMailAt) }
        if let leave = leaving, !leave.isReported, leave.openMails <= 0, mail.isEmpty {
            leaving?.isReported = true
            out.append(.leaveFinished)
        }
    }

    /// Sends one tick's mails: for each receiver in turn, the versions that the offer book holds now.
    private mutating func pump(_ now: Now, _ out: inout [GossipAction]) {
        let wall = clocks.judge(now.wall)
        let held = book
        func size(_ id: UInt64) -> Int { held[id]?.offer.signed.fieldSize ?? 0 }
        var sent = 0
        while sent < parameters.mailsPerTick, requests.count < GossipLimits.requestsMax {
            let next = mail.next { ids in
                ids.count > 1 && size(ids[0]) + size(ids[1]) <= WireLimits.listSizeMax
                    ? WireLimits.mailOffersMax : 1
            }
            guard let next else { break }
            let records = next.ids.compactMap { held.passable($0, at: wall) ? held[$0]?.offer.signed : nil }
            if records.isEmpty { continue }
            if leaving != nil { leaving?.openMails += 1 }
            request(.offerMail(records), to: next.to, .mail(to: next.to.key, leaving: leaving != nil), &out)
            statistics.mailsSent &+= 1
            sent += 1
        }
        nextMailAt = now.monotonic + parameters.mailTick
    }

    mutating func request(
        _ message: GossipMessage, to: PeerAddress, _ pending: Pending, _ out: inout [GossipAction]
    ) {
        lastToken.rawValue &+= 1
        requests[lastToken] = pending
        out.append(.request(token: lastToken, message, to: to))
    }
}
