import Primitives

/// The field numbers of the envelope's messages, `Protocol/messages.proto`.
public enum MessageKind: UInt32, Sendable {
    case ping = 8, pong, find, found, unsupported
    case offerMail = 16, offerReceived, offerDigest, offerDifference
    case callForBids = 24, bid, decline, release, award, awardReply
    case register = 32, registered, get, providers
    case callbackRequest = 40, callbackOrder, callbackAnswer, callback
}

extension Message {
    /// The field number in the envelope; what UNSUPPORTED names.
    public var kind: UInt32 { messageKind.rawValue }

    public var messageKind: MessageKind {
        switch self {
        case .ping: .ping
        case .pong: .pong
        case .find: .find
        case .found: .found
        case .unsupported: .unsupported
        case .offerMail: .offerMail
        case .offerReceived: .offerReceived
        case .offerDigest: .offerDigest
        case .offerDifference: .offerDifference
        case .callForBids: .callForBids
        case .bid: .bid
        case .decline: .decline
        case .release: .release
        case .award: .award
        case .awardReply: .awardReply
        case .register: .register
        case .registered: .registered
        case .get: .get
        case .providers: .providers
        case .callbackRequest: .callbackRequest
        case .callbackOrder: .callbackOrder
        case .callbackAnswer: .callbackAnswer
        case .callback: .callback
        }
    }

    func write(_ w: inout ProtoWriter) {
        switch self {
        case .callForBids(let call): w.message(kind, expecting: 128) { call.write(&$0) }
        case .bid(let record): w.record(kind, record)
        case .offerMail, .offerDigest, .offerDifference, .found, .register, .registered, .providers:
            w.message(kind, expecting: 128) { writeContent(&$0) }
        case .ping, .pong, .find, .unsupported, .offerReceived, .decline, .release, .award, .awardReply, .get,
            .callbackRequest, .callbackOrder, .callbackAnswer, .callback:
            w.message(kind) { writeContent(&$0) }
        }
    }

    private func writeContent(_ w: inout ProtoWriter) {
        switch self {
        case .ping(let contact, let known):
            if let contact { w.record(1, contact) }
            w.uint(2, known)
        case .pong(let contact, let observed):
            if let contact { w.record(1, contact) }
            if let observed { w.message(2) { observed.write(&$0) } }
        case .find(let target): w.bytes32(1, target)
        case .found(let contacts): w.records(1, contacts.prefix(WireLimits.foundContactsMax))
        case .unsupported(let kind): w.uint(1, kind)
        case .offerMail(let offers): w.records(1, offers.prefix(WireLimits.mailOffersMax))
        case .offerReceived: break
        case .offerDigest(let digest): digest.write(&w)
        case .offerDifference(let difference): difference.write(&w)
        case .callForBids(let call): call.write(&w)
        case .bid(let record): record.write(&w)
        case .decline(let decline): decline.write(&w)
        case .release(let release): release.write(&w)
        case .award(let award): award.write(&w)
        case .awardReply(let reply): reply.write(&w)
        case .register(let register): register.write(&w)
        case .registered(let registered): registered.write(&w)
        case .get(let topic, let start):
            w.bytes32(1, topic.value)
            w.uint(2, start)
        case .providers(let providers): providers.write(&w)
        case .callbackRequest(let request): request.write(&w)
        case .callbackOrder(let order): order.write(&w)
        case .callbackAnswer(let nonce, let called):
            w.fixed64(1, nonce)
            if let called { w.message(2) { called.write(&$0) } }
        case .callback(let nonce): w.fixed64(1, nonce)
        }
    }

    /// The message in field `kind`; nil for a kind that we don't know.
    init?(kind: UInt32, _ r: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        guard let kind = MessageKind(rawValue: kind) else { return nil }
        switch kind {
        case .ping: self = try .readPing(r, bytes)
        case .pong: self = try .readPong(r, bytes)
        case .find: self = try .readFind(r, bytes)
        case .found:
            self = .found(contacts: try Self.readRecords(r, bytes, countMax: WireLimits.foundContactsMax))
        case .unsupported: self = try .readUnsupported(r, bytes)
        case .offerMail: self = .offerMail(try Self.readRecords(r, bytes, countMax: WireLimits.mailOffersMax))
        case .offerReceived: self = try .readOfferReceived(r, bytes)
        case .offerDigest: self = .offerDigest(try OfferDigest(r, bytes))
        case .offerDifference: self = .offerDifference(try OfferDifference(r, bytes))
        case .callForBids: self = .callForBids(try CallForBids(r, bytes))
        case .bid: self = .bid(try SignedRecord(r, bytes))
        case .decline: self = .decline(try Decline(r, bytes))
        case .release: self = .release(try Release(r, bytes))
        case .award: self = .award(try Award(r, bytes))
        case .awardReply: self = .awardReply(try AwardReply(r, bytes))
        case .register: self = .register(try Register(r, bytes))
        case .registered: self = .registered(try Registered(r, bytes))
        case .get: self = try .readGet(r, bytes)
        case .providers: self = .providers(try Providers(r, bytes))
        case .callbackRequest: self = .callbackRequest(try CallbackRequest(r, bytes))
        case .callbackOrder: self = .callbackOrder(try CallbackOrder(r, bytes))
        case .callbackAnswer: self = try .readCallbackAnswer(r, bytes)
        case .callback: self = try .readCallback(r, bytes)
        }
    }

    private static func readPing(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) -> Message {
        var r = reader
        var contact: SignedRecord?
        var known: UInt64 = 0
        while try r.next(bytes) {
            switch r.field {
            case 1: if let inner = r.message { contact = try SignedRecord(inner, bytes) }
            case 2: r.read(&known, clampedTo: WireLimits.sequenceMax)
            default: break
            }
        }
        return .ping(contact: contact, known: known)
    }

    private static func readPong(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) -> Message {
        var r = reader
        var contact: SignedRecord?
        var observed: Endpoint?
        while try r.next(bytes) {
            guard let inner = r.message else { continue }
            switch r.field {
            case 1: contact = try SignedRecord(inner, bytes)
            case 2: observed = try Endpoint(inner, bytes)
            default: break
            }
        }
        return .pong(contact: contact, observed: observed)
    }

    private static func readFind(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) -> Message {
        var r = reader
        var target: Bytes32?
        while try r.next(bytes) {
            if r.field == 1 { try r.read(&target, bytes) }
        }
        guard let target else { throw .missingField }
        return .find(target: target)
    }

    private static func readUnsupported(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) -> Message
    {
        var r = reader
        var kind: UInt32 = 0
        while try r.next(bytes) {
            if r.field == 1 { r.read(&kind) }
        }
        return .unsupported(kind: kind)
    }

    /// An empty message is still walked, so that broken bytes in it are refused.
    private static func readOfferReceived(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError)
        -> Message
    {
        var r = reader
        while try r.next(bytes) {}
        return .offerReceived
    }

    private static func readRecords(
        _ reader: ProtoReader, _ bytes: RawSpan, countMax: Int
    ) throws(WireError) -> [SignedRecord] {
        var r = reader
        var records: [SignedRecord] = []
        while try r.next(bytes) {
            if r.field == 1 { try r.append(to: &records, bytes, countMax: countMax) }
        }
        return records
    }
}

extension OfferDigest {
    func write(_ w: inout ProtoWriter) {
        w.fixed64(1, first)
        w.fixed64(2, last)
        for version in offers.prefix(WireLimits.digestOffersMax) {
            w.message(3) {
                $0.fixed64(1, version.id)
                $0.uint(2, version.sequence)
            }
        }
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(first: 0, last: 0, offers: [])
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(fixed64: &first)
            case 2: r.read(fixed64: &last)
            case 3:
                guard let inner = r.message else { continue }
                guard offers.count < WireLimits.digestOffersMax else { throw .outOfRange }
                offers.append(try OfferVersion(inner, bytes))
            default: break
            }
        }
    }
}

extension OfferVersion {
    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(id: 0, sequence: 0)
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(fixed64: &id)
            case 2: try r.read(&sequence, max: WireLimits.sequenceMax)
            default: break
            }
        }
    }
}

extension OfferDifference {
    func write(_ w: inout ProtoWriter) {
        w.records(1, offers.prefix(WireLimits.mailOffersMax))
        w.packed(2, fixed64: wanted.prefix(WireLimits.wantedMax))
        w.uint(3, more)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init()
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.append(to: &offers, bytes, countMax: WireLimits.mailOffersMax)
            case 2: try r.append(fixed64To: &wanted, bytes, countMax: WireLimits.wantedMax)
            case 3: r.read(&more, clampedTo: WireLimits.moreMax)
            default: break
            }
        }
    }
}
