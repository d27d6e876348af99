import Primitives

/// The field numbers of the envelope's messages, `Protocol/messages.proto`: each machine's messages have a `Kind`.
extension Message {
    static let unsupportedKind: UInt32 = 12

    /// The field number in the envelope, which UNSUPPORTED names.
    public var kind: UInt32 {
        switch self {
        case .discovery(let message): message.kind.rawValue
        case .gossip(let message): message.kind.rawValue
        case .market(let message): message.kind.rawValue
        case .unsupported: Self.unsupportedKind
        }
    }

    /// Whether this version has a message of that field number.
    static func isKnown(_ kind: UInt32) -> Bool {
        kind == unsupportedKind || DiscoveryMessage.Kind(rawValue: kind) != nil
            || GossipMessage.Kind(rawValue: kind) != nil || MarketMessage.Kind(rawValue: kind) != nil
    }

    func write(_ w: inout ProtoWriter) {
        switch self {
        case .discovery(let message): message.write(&w)
        case .gossip(let message): message.write(&w)
        case .market(let message): message.write(&w)
        case .unsupported(let kind): w.message(Self.unsupportedKind) { $0.uint(1, kind) }
        }
    }

    /// The message in field `kind`; nil for an unknown kind.
    init?(kind: UInt32, _ r: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        if let kind = DiscoveryMessage.Kind(rawValue: kind) {
            self = .discovery(try DiscoveryMessage(kind, r, bytes))
        } else if let kind = MarketMessage.Kind(rawValue: kind) {
            self = .market(try MarketMessage(kind, r, bytes))
        } else if let kind = GossipMessage.Kind(rawValue: kind) {
            self = .gossip(try GossipMessage(kind, r, bytes))
        } else if kind == Self.unsupportedKind {
            self = try Self.readUnsupported(r, bytes)
        } else {
            return nil
        }
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
}

extension ProtoReader {
    /// The records of a message that has nothing else, in field 1.
    func records(_ bytes: RawSpan, countMax: Int) throws(WireError) -> [SignedRecord] {
        var r = self
        var records: [SignedRecord] = []
        while try r.next(bytes) {
            if r.field == 1 { try r.append(to: &records, bytes, countMax: countMax) }
        }
        return records
    }
}
