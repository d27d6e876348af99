import Primitives

extension GossipMessage {
    public enum Kind: UInt32, Sendable {
        case offerMail = 16, offerReceived, offerDigest, offerDifference
    }

    public var kind: Kind {
        switch self {
        case .offerMail: .offerMail
        case .offerReceived: .offerReceived
        case .offerDigest: .offerDigest
        case .offerDifference: .offerDifference
        }
    }

    func write(_ w: inout ProtoWriter) {
        switch self {
        case .offerMail(let offers):
            w.message(kind.rawValue, expecting: 128) {
                $0.records(1, offers.prefix(WireLimits.mailOffersMax))
            }
        case .offerReceived: w.message(kind.rawValue) { _ in }
        case .offerDigest(let digest): w.message(kind.rawValue, expecting: 128) { digest.write(&$0) }
        case .offerDifference(let difference):
            w.message(kind.rawValue, expecting: 128) { difference.write(&$0) }
        }
    }

    init(_ kind: Kind, _ r: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        switch kind {
        case .offerMail: self = .offerMail(try r.records(bytes, countMax: WireLimits.mailOffersMax))
        case .offerReceived: self = try .readOfferReceived(r, bytes)
        case .offerDigest: self = .offerDigest(try OfferDigest(r, bytes))
        case .offerDifference: self = .offerDifference(try OfferDifference(r, bytes))
        }
    }

    /// Even an empty message is parsed, so that malformed bytes in it are refused.
    private static func readOfferReceived(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError)
        -> GossipMessage
    {
        var r = reader
        while try r.next(bytes) {}
        return .offerReceived
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
        w.date(4, now)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init()
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.append(to: &offers, bytes, countMax: WireLimits.mailOffersMax)
            case 2: try r.append(fixed64To: &wanted, bytes, countMax: WireLimits.wantedMax)
            case 3: r.read(&more, clampedTo: WireLimits.moreMax)
            case 4: r.read(&now)
            default: break
            }
        }
    }
}
