import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

/// What a node knows about itself and its mesh before it starts.
public struct PeerSettings: Sendable {
    public var mesh: MeshIdentity
    /// A label for display.
    public var name: String
    /// Where others reach us, best first; if empty, learnt from the endpoints that peers observe.
    public var endpoints: [Endpoint]
    public var reachability: Reachability
    public var profile: DiscoveryProfile
    public var bootstrap: [PeerAddress]
    /// Contacts saved by an earlier run.
    public var anchors: [Verified<Contact>]
    /// The highest sequence under which each model was offered before.
    public var offerSequences: [(model: String, sequence: UInt64)]
    /// What an earlier process knew of sellers.
    public var sellers: [SellerRecord]
    /// What an earlier process knew of buyers' payments, the oldest first.
    public var buyers: [BuyerRecord]
    /// What an earlier process sold, the oldest first.
    public var sold: [SoldTask]
    /// The models that this node will serve as soon as their model servers are up: what an earlier run
    /// offered of them is not withdrawn.
    public var models: [String]
    /// Nodes that are never served and never asked.
    public var denied: [PublicKey]

    public var sessions: SessionLimits
    public var channels: ChannelLimits
    public var discovery: DiscoveryParameters
    public var gossip: GossipParameters
    public var market: MarketParameters

    public init(
        mesh: MeshIdentity, name: String = "", endpoints: [Endpoint] = [],
        reachability: Reachability = .unknown,
        profile: DiscoveryProfile, bootstrap: [PeerAddress] = [], anchors: [Verified<Contact>] = []
    ) {
        self.mesh = mesh
        self.name = name
        self.endpoints = endpoints
        self.reachability = reachability
        self.profile = profile
        self.bootstrap = bootstrap
        self.anchors = anchors
        offerSequences = []
        sellers = []
        buyers = []
        sold = []
        models = []
        denied = []
        sessions = SessionLimits()
        channels = ChannelLimits()
        // A task's body (at most 8 MiB) is queued as a whole.
        channels.queuedBytes = 9 << 20
        discovery = DiscoveryParameters()
        gossip = GossipParameters()
        market = MarketParameters()
    }
}
