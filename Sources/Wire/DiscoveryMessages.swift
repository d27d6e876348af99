import Primitives

/// Liveness, lookups, rendezvous and tests of reachability; the case order is the field order.
public enum DiscoveryMessage: Hashable, Sendable {
    /// `known` is the sequence of the answerer's contact that the sender holds, or 0.
    case ping(contact: SignedRecord?, known: UInt64 = 0)
    case pong(contact: SignedRecord?, observed: Endpoint?)
    case find(target: Bytes32)
    case found(contacts: [SignedRecord])

    case register(Register)
    case registered(Registered)
    case get(topic: TopicID, start: UInt32)
    case providers(Providers)

    case callbackRequest(CallbackRequest)
    case callbackOrder(CallbackOrder)
    case callbackAnswer(nonce: UInt64, called: Endpoint?)
    case callback(nonce: UInt64)
}

/// Asks a registrar to keep the sender as a provider of a topic.
public struct Register: Hashable, Sendable {
    public var registration: SignedRecord
    public var withdrawn: Bool
    public var start: UInt32
    public init(registration: SignedRecord, withdrawn: Bool = false, start: UInt32 = 0) {
        self.registration = registration
        self.withdrawn = withdrawn
        self.start = start
    }
}

/// How long the registrar keeps it; 0 means that it doesn't.
public struct Registered: Hashable, Sendable {
    public var heldMilliseconds: UInt32
    public var contacts: [SignedRecord]
    public init(heldMilliseconds: UInt32, contacts: [SignedRecord] = []) {
        self.heldMilliseconds = heldMilliseconds
        self.contacts = contacts
    }
}

/// Some providers of a topic, and some nodes closer to it.
public struct Providers: Hashable, Sendable {
    public var registrations: [SignedRecord]
    public var contacts: [SignedRecord]
    public init(registrations: [SignedRecord] = [], contacts: [SignedRecord] = []) {
        self.registrations = registrations
        self.contacts = contacts
    }
}

/// Asks that some node call the sender back, at the address from which its session comes.
public struct CallbackRequest: Hashable, Sendable {
    /// Not 0; returned in CALLBACK.
    public var nonce: UInt64
    /// The port at which the sender believes it is reached; not 0.
    public var port: UInt16
    /// Also dial a channel.
    public var channel: Bool
    public init(nonce: UInt64, port: UInt16, channel: Bool) {
        self.nonce = nonce
        self.port = port
        self.channel = channel
    }
}

/// Asks a contact to call a third node.
public struct CallbackOrder: Hashable, Sendable {
    public var publicKey: PublicKey
    public var endpoint: Endpoint
    public var nonce: UInt64
    public var channel: Bool
    public init(publicKey: PublicKey, endpoint: Endpoint, nonce: UInt64, channel: Bool) {
        self.publicKey = publicKey
        self.endpoint = endpoint
        self.nonce = nonce
        self.channel = channel
    }
}
