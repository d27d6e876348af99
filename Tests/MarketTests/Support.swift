import Cryptography
import Primitives
import Testing
import Wire

@testable import Market

/// Small builders, so that a test states only what it tests.
func identity(_ number: UInt64) -> Identity { Identity(seed: Bytes32(number, 7, 7, 7)) }

func moment(_ milliseconds: Int64) -> Now {
    Now(
        monotonic: .zero + .milliseconds(milliseconds),
        wall: WallTime(milliseconds: 1_800_000_000_000 + milliseconds))
}

/// Credits per million tokens × 100, as the tables write them: price(20, 200) is 0.20 in and 2.00 out.
func price(_ input: Int64, _ output: Int64) -> Price {
    Price(input: input * 10_000, cachedInput: input * 1_000, output: output * 10_000)
}

let chat: Features = [.chat, .completion]

struct Seller {
    let identity: Identity
    var offer: Offer
    var address: PeerAddress
    var key: PublicKey { identity.publicKey }

    init(
        _ number: UInt64, _ name: String = "", price: Price = price(20, 200), speed: UInt32 = 60_000,
        first: UInt32 = 3,
        context: UInt32 = 512, slots: UInt32 = 2, continues: Bool = true, features: Features = chat,
        quantization: String = "q8_0", reachability: Reachability = .direct, model: String = "wren-m"
    ) {
        identity = makeIdentity(number)
        address = PeerAddress(key: identity.publicKey, endpoint: .loopback(UInt16(7_000 + number)))
        offer = Offer(
            publicKey: identity.publicKey, model: model, digest: Bytes32(9, 9, 9, 9), digestSource: .file,
            quantization: quantization, context: context, features: features, continues: continues,
            price: price,
            slots: slots, speed: Speed(firstTokenMilliseconds: first, millitokensPerSecond: speed),
            endpoints: [.loopback(UInt16(7_000 + number))], reachability: reachability, name: name,
            sequence: 1,
            issuedAt: WallTime(milliseconds: 1_800_000_000_000),
            notAfter: WallTime(milliseconds: 1_800_000_180_000))
    }

    var candidate: Candidate {
        Candidate(offer: Verified(signing: offer, with: identity), address: address, hasSession: true)
    }

    func bid(_ call: CallForBids, buyer: PublicKey, change: (inout Bid) -> Void = { _ in }) -> MarketMessage {
        .bid(signedBid(call, buyer: buyer, change: change))
    }

    /// A bid with a wrong signature.
    func forgedBid(_ call: CallForBids, buyer: PublicKey) -> MarketMessage {
        var signed = signedBid(call, buyer: buyer)
        signed.signature.s.w3 ^= 1
        return .bid(signed)
    }

    private func signedBid(
        _ call: CallForBids, buyer: PublicKey, change: (inout Bid) -> Void = { _ in }
    ) -> SignedRecord {
        var bid = Bid(
            task: call.task, attempt: call.attempt, bidder: key, buyer: buyer, price: offer.price,
            firstTokenMilliseconds: offer.speed.firstTokenMilliseconds,
            millitokensPerSecond: offer.speed.millitokensPerSecond, digest: offer.digest,
            quantization: offer.quantization, continues: offer.continues, context: offer.context)
        change(&bid)
        return Verified(signing: bid, with: identity).signed
    }

    var served: ServedModel {
        ServedModel(
            model: offer.model, price: offer.price, slots: Int(offer.slots), context: offer.context,
            features: offer.features, continues: offer.continues, digest: offer.digest,
            quantization: offer.quantization, speed: offer.speed)
    }
}

/// Bytes of `choices` that say something, and such that say nothing.
let toolCall = Array(#"[{"index":0,"delta":{"tool_calls":[{"function":{"name":"lookup"}}]}}]"#.utf8)
let noWords = Array(#"[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}]"#.utf8)

func makeIdentity(_ number: UInt64) -> Identity { identity(number) }

func request(_ model: String = "wren-m", change: (inout TaskRequest) -> Void = { _ in }) -> TaskRequest {
    var request = TaskRequest(
        kind: .chat, model: model, body: Array(#"{"messages":[]}"#.utf8), tokensIn: 8, tokensOutEstimate: 64,
        tokensOutMax: nil, features: .chat, deadline: .seconds(10))
    change(&request)
    return request
}

extension MarketParameters {
    /// New keys count as proven, so that scores and trust are round.
    static var withoutProbation: MarketParameters {
        var parameters = MarketParameters()
        parameters.trustNew = 1_000
        return parameters
    }
}

/// An auctioneer with its clock, its generator, and its actions since the last look.
struct Buyer: ~Copyable {
    var auctioneer: Auctioneer
    var turn = Turn(now: moment(0), random: SeededRandom(seed: 1))
    var actions: [AuctioneerAction] = []
    let key: PublicKey

    init(parameters: MarketParameters = .withoutProbation) {
        let me = identity(1_000)
        key = me.publicKey
        auctioneer = Auctioneer(identity: me, parameters: parameters)
    }

    /// Lets the sellers have finished so many tasks of this node before.
    mutating func know(_ sellers: [Seller], finished: Int = 9) {
        let records = sellers.map {
            SellerRecord(key: $0.key, trust: 1_000, finished: finished, failed: 0, at: now.wall)
        }
        auctioneer.restore(records, now: now)
    }

    var now: Now { turn.now }
    var milliseconds: Int64 {
        get { (turn.monotonic - .zero).milliseconds }
        set { turn.now = moment(newValue) }
    }

    mutating func submit(_ request: TaskRequest = request()) -> TaskID {
        auctioneer.submit(request, turn: &turn, out: &actions)
    }

    mutating func found(
        _ task: TaskID, _ sellers: [Seller], known: Int? = nil, reachable: Bool = true, tested: Bool = true
    ) {
        auctioneer.offersFound(
            task,
            OffersFound(
                sellers: sellers.map(\.candidate), known: known ?? sellers.count,
                alternatives: [Seller(50, price: price(5, 50), model: "wren-s").offer],
                selfReachable: reachable,
                isReachabilityUntested: !tested),
            turn: &turn, out: &actions)
    }

    /// Finds the same sellers again and again until the task fails, for 20 s at most.
    mutating func wait(_ task: TaskID, with sellers: [Seller]) {
        let end = milliseconds + 20_000
        while actions.failures.isEmpty, milliseconds < end {
            if actions.needs > 0 {
                actions = []
                found(task, sellers)
            } else {
                advance(to: milliseconds + 100)
            }
        }
    }

    /// Removes and returns the actions so far.
    mutating func take() -> [AuctioneerAction] {
        defer { actions = [] }
        return actions
    }

    mutating func advance(to milliseconds: Int64) {
        self.milliseconds = milliseconds
        auctioneer.tick(turn: &turn, out: &actions)
    }

    mutating func answer(
        _ token: RequestToken, _ message: MarketMessage?, from seller: Seller, roundTrip: Int64 = 2
    ) {
        auctioneer.answered(
            token, message, from: seller.address, roundTrip: .milliseconds(roundTrip), turn: &turn,
            out: &actions)
    }

    mutating func unanswered(_ token: RequestToken) {
        auctioneer.unanswered(token, turn: &turn, out: &actions)
    }

    mutating func notAsked(_ token: RequestToken) {
        auctioneer.notAsked(token, turn: &turn, out: &actions)
    }

    mutating func finish(
        _ task: TaskID, _ attempt: UInt32, _ finish: Finish, from seller: Seller, on channel: ChannelID
    ) {
        frame(task, attempt, .finish(finish), from: seller, on: channel)
    }

    mutating func opened(_ task: TaskID, _ attempt: UInt32 = 1, _ channel: ChannelID, _ seller: Seller) {
        auctioneer.channelOpened(
            task, attempt: attempt, channel: channel, peer: seller.key, turn: &turn, out: &actions)
    }

    mutating func frame(
        _ task: TaskID, _ attempt: UInt32 = 1, _ body: FrameBody, from seller: Seller, on channel: ChannelID
    ) {
        auctioneer.received(
            Frame(task: task, attempt: attempt, body: body), from: seller.key, channel: channel, turn: &turn,
            out: &actions)
    }

    mutating func delta(
        _ task: TaskID, _ attempt: UInt32 = 1, at offset: UInt64, _ text: String, from seller: Seller,
        on channel: ChannelID
    ) {
        frame(
            task, attempt, .delta(Delta(offset: offset, text: Array(text.utf8), tokens: 1)), from: seller,
            on: channel)
    }

    /// Submits, lets `sellers` bid, and accepts the award of the winner: the task streams on `channel`.
    mutating func stream(_ sellers: [Seller], request: TaskRequest = request(), channel: ChannelID = 5) -> (
        TaskID, Seller
    ) {
        let task = submit(request)
        found(task, sellers)
        return (task, start(task, sellers, channel: channel))
    }

    /// Lets `sellers` bid for the current call and accepts the award.
    mutating func start(_ task: TaskID, _ sellers: [Seller], channel: ChannelID) -> Seller {
        for (token, call, key) in actions.calls {
            guard let seller = sellers.first(where: { $0.key == key }) else { continue }
            answer(token, seller.bid(call, buyer: self.key), from: seller)
        }
        guard let (token, award, key) = actions.awards.last,
            let winner = sellers.first(where: { $0.key == key })
        else {
            Issue.record("no award")
            return sellers[0]
        }
        answer(
            token, .awardReply(AwardReply(task: task, attempt: award.attempt, status: .accepted)),
            from: winner)
        opened(task, award.attempt, channel, winner)
        actions = []
        return winner
    }
}

extension [AuctioneerAction] {
    var calls: [(RequestToken, CallForBids, PublicKey)] {
        compactMap {
            if case .request(let token, .callForBids(let call), let to) = $0 {
                (token, call, to.key)
            } else {
                nil
            }
        }
    }
    var awards: [(RequestToken, Award, PublicKey)] {
        compactMap {
            if case .request(let token, .award(let award), let to) = $0 {
                (token, award, to.key)
            } else {
                nil
            }
        }
    }
    var releases: [(Release, PublicKey)] {
        compactMap { if case .send(.release(let release), let to) = $0 { (release, to.key) } else { nil } }
    }
    var frames: [FrameBody] {
        compactMap { if case .sendFrame(_, let frame) = $0 { frame.body } else { nil } }
    }
    var failures: [TaskFailure] {
        compactMap { if case .client(_, .failed(let failure)) = $0 { failure } else { nil } }
    }
    var summaries: [TaskSummary] {
        compactMap { if case .client(_, .finished(let summary)) = $0 { summary } else { nil } }
    }
    var text: String {
        let parts: [[UInt8]] = compactMap {
            if case .client(_, .delta(let text, _, _)) = $0 { text } else { nil }
        }
        return String(decoding: parts.flatMap { $0 }, as: UTF8.self)
    }
    var needs: Int { count { if case .needOffers = $0 { true } else { false } } }
    var extras: [[UInt8]] {
        compactMap { if case .client(_, .delta(_, _, let extra)) = $0, !extra.isEmpty { extra } else { nil } }
    }
    var closed: [ChannelID] { compactMap { if case .closeChannel(let id) = $0 { id } else { nil } } }
    var freed: [ChannelID] { compactMap { if case .releaseChannel(let id) = $0 { id } else { nil } } }
    var receipts: [Receipt] {
        compactMap { if case .receiptIssued(let receipt) = $0 { receipt.record } else { nil } }
    }
    var restarts: Int { count { if case .client(_, .restarted) = $0 { true } else { false } } }
    var awarded: [AwardSummary] {
        compactMap { if case .client(_, .awarded(let summary)) = $0 { summary } else { nil } }
    }
}

let ada = Seller(1, "ada", price: price(20, 200), speed: 60_000)
let bob = Seller(2, "bob", price: price(15, 160), speed: 30_000)
/// Its context holds answers that fill windows.
let wide = Seller(4, "wide", context: 1 << 20)
let cyd = Seller(3, "cyd", price: price(25, 240), speed: 90_000)

extension Money: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: Int64) { self.init(microCredits: value) }
}

extension ChannelID: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt64) { self.init(rawValue: value) }
}
