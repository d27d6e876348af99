import Primitives

/// One message inside a datagram session, by the machine that it belongs to. `messages.proto`.
public enum Message: Hashable, Sendable {
    case discovery(DiscoveryMessage)
    case gossip(GossipMessage)
    case market(MarketMessage)
    /// The answer to a message of a later version: its field number.
    case unsupported(kind: UInt32)

    public var discovery: DiscoveryMessage? {
        if case .discovery(let message) = self { message } else { nil }
    }
    public var gossip: GossipMessage? { if case .gossip(let message) = self { message } else { nil } }
    public var market: MarketMessage? { if case .market(let message) = self { message } else { nil } }
}

/// A message with the numbers that pair requests and replies; both are 0 for a one-way message.
public struct Envelope: Hashable, Sendable {
    public var request: UInt32
    public var reply: UInt32
    public var message: Message
    public init(request: UInt32 = 0, reply: UInt32 = 0, message: Message) {
        self.request = request
        self.reply = reply
        self.message = message
    }
}

/// A record as its author signed it, not yet verified. `records.proto`.
public struct SignedRecord: Hashable, Sendable {
    public var body: [UInt8]
    public var signature: Signature
    public init(body: [UInt8], signature: Signature) {
        self.body = body
        self.signature = signature
    }
}
