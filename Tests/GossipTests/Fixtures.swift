import Cryptography
import Primitives
import TestSupport
import Wire

@testable import Gossip

/// The wall clock at which tests begin, in milliseconds; the monotonic clock begins at 100 s.
let wallStart: Int64 = 1_800_000_000_000
let monotonicStart: Int64 = 100

/// Node `index`'s endpoint, in a network of its own: no two share a /16.
func endpoint(_ index: Int) -> Endpoint { Endpoint(ipv4: 0x1400_0001 + UInt32(index) << 16, port: 7827) }

func address(_ index: Int) -> PeerAddress {
    PeerAddress(key: Identity.ofNode(index).publicKey, endpoint: endpoint(index))
}

func terms(_ model: String, output: Int64 = 2_000_000, sequence: UInt64 = 0) -> Offer {
    Offer(
        publicKey: PublicKey(.zero), model: model, quantization: "q8_0", context: 4_096, features: [.chat],
        price: Price(input: 100, cachedInput: 10, output: output), slots: 2,
        endpoints: [endpoint(0)], sequence: sequence)
}

/// An offer of node `index` with a valid signature. Dates are seconds from the start.
func offer(
    of index: Int, model: String = "wren-m", sequence: UInt64 = 1, output: Int64 = 2_000_000,
    issued: Int64 = 0,
    ends: Int64 = 180, withdrawn: Bool = false, endpoint stated: Endpoint? = nil
) -> SignedRecord {
    var record = terms(model, output: output, sequence: sequence)
    record.publicKey = Identity.ofNode(index).publicKey
    record.issuedAt = WallTime(milliseconds: wallStart + issued * 1_000)
    record.notAfter = WallTime(milliseconds: wallStart + ends * 1_000)
    record.withdrawn = withdrawn
    record.endpoints = [stated ?? endpoint(index)]
    return Verified(signing: record, with: Identity.ofNode(index)).signed
}

/// The same record with a signature that isn't its author's.
func forged(_ signed: SignedRecord) -> SignedRecord {
    SignedRecord(body: signed.body, signature: Signature(r: signed.signature.r, s: Bytes32(0, 0, 0, 1)))
}

/// One `Gossip` with a clock set by hand, for tests of single rules.
struct Machine {
    var gossip: Gossip
    var turn: Turn
    var elapsed: Interval = .zero { didSet { turn.now = now } }
    /// Milliseconds by which its wall clock is wrong.
    var wallError: Int64 = 0 { didSet { turn.now = now } }
    var actions: [GossipAction] = []

    init(_ index: Int = 0, seed: UInt64 = 1, parameters: GossipParameters = GossipParameters()) {
        gossip = Gossip(identity: Identity.ofNode(index), parameters: parameters)
        turn = Turn(
            now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)), random: SeededRandom(seed: seed))
        turn.now = now
    }

    /// A machine that has finished joining: rumours and spot checks are on.
    static func joined(
        _ index: Int = 0, members: Range<Int>, parameters: GossipParameters = GossipParameters()
    ) -> Machine {
        var machine = Machine(index, parameters: parameters)
        for member in members { machine.join(member) }
        machine.gossip.joining = nil
        machine.gossip.timers.cancel(.join)
        _ = machine.takeActions()
        return machine
    }

    var now: Now {
        Now(
            monotonic: MonotonicTime(nanoseconds: monotonicStart * 1_000_000_000) + elapsed,
            wall: WallTime(milliseconds: wallStart + elapsed.milliseconds + wallError))
    }

    mutating func join(_ index: Int) {
        gossip.memberJoined(address(index), turn: &turn, out: &actions)
    }
    /// Adds a member that has answered us, by Discovery's word.
    mutating func meet(_ index: Int) {
        let contact = Contact.signed(by: Identity.ofNode(index), at: [endpoint(index)])
        gossip.memberJoined(address(index), contact: contact, turn: &turn, out: &actions)
    }
    @discardableResult
    mutating func announce(_ draft: Offer) -> AnnounceOutcome {
        gossip.announce(draft, turn: &turn, out: &actions)
    }
    mutating func withdraw(_ model: String) {
        gossip.withdraw(model: model, turn: &turn, out: &actions)
    }
    mutating func leave(alsoTo others: [PeerAddress] = []) {
        gossip.leave(alsoTo: others, turn: &turn, out: &actions)
    }
    @discardableResult
    mutating func mail(_ offers: [SignedRecord], from index: Int) -> GossipMessage? {
        receive(.offerMail(offers), from: index)
    }
    @discardableResult
    mutating func receive(_ message: GossipMessage, from index: Int, proven: Bool = true) -> GossipMessage? {
        gossip.handle(message, from: address(index), proven: proven, turn: &turn, out: &actions)
    }
    mutating func answer(_ token: RequestToken, _ message: GossipMessage?, from index: Int) {
        gossip.answered(
            token, message, from: address(index), roundTrip: .milliseconds(1), turn: &turn,
            out: &actions)
    }
    mutating func leaveUnanswered(_ token: RequestToken) {
        gossip.unanswered(token, turn: &turn, out: &actions)
    }
    mutating func search(_ model: String, token: RequestToken) {
        gossip.search(model: model, token: token, turn: &turn, out: &actions)
    }

    /// Lets time pass, waking the machine at each of its deadlines.
    mutating func pass(_ interval: Interval) {
        let end = elapsed + interval
        while true {
            let next = gossip.nextDeadline()
            let due = next - MonotonicTime(nanoseconds: monotonicStart * 1_000_000_000)
            if next == .never || due > end { break }
            elapsed = max(elapsed, due)
            gossip.tick(turn: &turn, out: &actions)
        }
        elapsed = end
    }

    mutating func takeActions() -> [GossipAction] {
        defer { actions = [] }
        return actions
    }

    /// Takes the requests made since the last call.
    mutating func takeRequests() -> [(token: RequestToken, message: GossipMessage, to: PeerAddress)] {
        takeActions().compactMap {
            if case .request(let token, let message, let to) = $0 { (token, message, to) } else { nil }
        }
    }
    /// Takes only the mails, decoded.
    mutating func takeMails() -> [(token: RequestToken, offers: [Offer], to: PeerAddress)] {
        takeRequests().compactMap { request in
            guard case .offerMail(let signed) = request.message else { return nil }
            return (request.token, signed.compactMap { try? Offer(decoding: $0.body) }, request.to)
        }
    }
    mutating func takeDigests() -> [(token: RequestToken, digest: OfferDigest, to: PeerAddress)] {
        takeRequests().compactMap { request in
            guard case .offerDigest(let digest) = request.message else { return nil }
            return (request.token, digest, request.to)
        }
    }
    /// Takes the events, as text.
    mutating func takeEvents() -> [String] {
        takeActions().compactMap { action in
            switch action {
            case .request, .sequenceUsed: nil
            case .offerLearnt(let offer): "learnt \(offer.record.model) \(offer.record.price.output)"
            case .offerWithdrawn(_, let model): "withdrawn \(model)"
            case .offerExpired(_, let model): "expired \(model)"
            case .searchFinished(let token, let model): "finished \(token.rawValue) \(model)"
            case .pullEnded(_, let model): "pulled \(model)"
            case .leaveFinished: "left"
            }
        }
    }
}

extension AnnounceOutcome {
    var isHeld: Bool {
        if case .held = self { true } else { false }
    }
}
