import Primitives
import Wire

/// What Discovery asks its caller to do, and what it reports.
public enum DiscoveryAction: Sendable {
    /// Send as a request; complete it exactly once, by `answered`, `unanswered` or `notAsked` with this token.
    case request(token: RequestToken, DiscoveryMessage, to: PeerAddress)
    /// Send without expecting an answer.
    case send(DiscoveryMessage, to: PeerAddress)
    /// A contact answered our probe at this address and is now in the table.
    case admitted(Verified<Contact>, at: PeerAddress)
    /// A contact in the table has a newer record, or moved.
    case updated(Verified<Contact>, at: PeerAddress)
    /// A contact left the table: three unanswered probes, or `forget`.
    case evicted(PublicKey)
    /// A lookup started by `lookup` has ended: the nearest nodes to its target that answered, nearest first,
    /// at most k.
    case lookupFinished(token: RequestToken, [Verified<Contact>], LookupStatistics)
    /// A search started by `findProviders` has learnt of this provider. We haven't probed it: a registrar
    /// named it.
    case providerFound(token: RequestToken, Provider)
    /// A search has ended: enough providers found, or no node left to ask.
    case searchFinished(token: RequestToken, SearchStatistics)
    /// The first lookup of our own id has ended, with this many contacts in the table.
    case joined(contacts: Int)
    /// No bootstrap address has answered and no contact was in the table for `aloneAfter`. Reported once until a
    /// contact is admitted.
    case alone(tried: [PeerAddress])
    /// A contact asks us to call this node: one CALLBACK from a port unknown to it, and a channel if wanted.
    case callBack(PeerAddress, nonce: UInt64, channel: Bool)
    /// A test of whether strangers can reach us has ended.
    case reachabilityTested(ReachabilityFinding)
    /// Enough peers agree on the endpoint at which they see us, and it differs from the one agreed on before.
    case observedEndpointChanged(Endpoint)
}

/// One contact as shown to people and in JSON.
public struct ContactSummary: Hashable, Sendable {
    public enum State: String, Sendable { case live, suspect }
    public var publicKey: PublicKey
    public var nodeID: NodeID
    /// As the contact states them; `address` is where it answers us.
    public var endpoints: [Endpoint]
    public var address: Endpoint
    public var reachability: Reachability
    /// The peer's own label: untrusted text.
    public var name: String
    public var state: State
    public var roundTrip: Interval
    public var lastHeard: MonotonicTime
    /// False for a contact that was evicted and is still tried.
    public var inTable: Bool
}

/// Why something that a peer sent was not used.
public enum DiscoveryDropReason: Int, CaseIterable, Sendable {
    /// A record that doesn't decode or isn't its author's.
    case badContact
    /// A contact stated under another key than its sender's.
    case wrongAuthor
    /// Our own key, or one of our own endpoints under another key.
    case ownKey, ownEndpoint
    /// No endpoint that the profile accepts.
    case notUsable
    /// A contact that states that it can't be reached.
    case notReachable
    /// More contacts than a reply holds.
    case tooMany
    /// A reply that doesn't fit its question, or one to an unknown question.
    case wrongReply
    /// An answer to a first PING without a contact.
    case noContact
    /// A budget was spent.
    case verificationBudget, probeBudget, candidatesFull, lookupsFull
    /// Too many contacts of one address group.
    case groupFull
    /// A registration that doesn't decode, isn't its author's or names another topic.
    case badRegistration
    /// A registration that ranks too high for a full topic, prefix or node.
    case registrationsFull
    /// A contact in an answer about a topic that isn't nearer to it than the node that answered.
    case notNearer
    /// A callback with a nonce that we don't wait for, or from a network that must not call.
    case unknownCallback, wrongCaller
    /// Another node's callback request or order, refused: over its budget, or not one that it may make.
    case callbackBudget, callbackRefused
    /// More topics of our own than the limit allows.
    case topicsFull

    public var name: String { "discovery_" + "\(self)".snakeCased }
}

/// How often each reason occurred.
public struct DiscoveryDropCounters: Hashable, Sendable {
    private var counts = [UInt64](repeating: 0, count: DiscoveryDropReason.allCases.count)
    public init() {}
    public subscript(reason: DiscoveryDropReason) -> UInt64 { counts[reason.rawValue] }
    mutating func count(_ reason: DiscoveryDropReason) { counts[reason.rawValue] &+= 1 }
    /// Reasons that occurred, in declaration order.
    public var occurred: [(reason: DiscoveryDropReason, count: UInt64)] {
        DiscoveryDropReason.allCases.filter { self[$0] > 0 }.map { ($0, self[$0]) }
    }
}
