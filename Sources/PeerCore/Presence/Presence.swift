import Cryptography
import Discovery
import Market
import Primitives
import Wire

/// What this node states about itself, and the facts behind it: its endpoints, its reachability and the
/// models that it serves. Makes its contact, offers and registrations; `Peer+Presence` publishes them.
struct Presence {
    let identity: Identity
    /// A label for display.
    let name: String
    /// Best first.
    private(set) var endpoints: [Endpoint]
    /// Whether `endpoints` was observed by peers rather than stated by the operator.
    private var isEndpointObserved = false
    /// As stated in the contact and the offers.
    private(set) var reachability: Reachability
    /// Whether the operator stated it, in which case no test changes it.
    private let isReachabilityStated: Bool
    /// The result of the last test.
    private(set) var finding: ReachabilityFinding?
    private var contactSequence: UInt64 = 0
    private(set) var served: [ServedModel] = []
    /// To be served as soon as possible.
    private let models: [String]
    /// Highest sequence under which each model was offered in an earlier run.
    private let offerSequences: [(model: String, sequence: UInt64)]

    init(identity: Identity, settings: PeerSettings) {
        self.identity = identity
        name = settings.name
        endpoints = settings.endpoints
        reachability = settings.reachability
        isReachabilityStated = settings.reachability != .unknown
        models = settings.models
        offerSequences = settings.offerSequences
    }

    /// Whether registrars may send strangers here.
    var canBeRegistered: Bool { reachability.answersStrangers && !endpoints.isEmpty }

    /// What this node sells or is about to sell.
    var sold: [String] { models + served.map(\.model).filter { !models.contains($0) } }

    // MARK: Changes

    /// Replaces what is served; returns the models that were served and are no longer.
    mutating func serve(_ models: [ServedModel]) -> [String] {
        let gone = served.filter { old in !models.contains { $0.model == old.model } }
        served = models
        return gone.map(\.model)
    }

    /// Peers agree on where they see us. False: the operator's statement has precedence.
    mutating func observe(_ endpoint: Endpoint) -> Bool {
        guard endpoints.isEmpty || isEndpointObserved else { return false }
        isEndpointObserved = true
        endpoints = [endpoint]
        return true
    }

    /// Takes the result of a reachability test. `stated` is the reachability to state from now on (the
    /// operator's, if given); `isNews` is true when the result or the statement has changed.
    mutating func note(_ finding: ReachabilityFinding) -> (stated: Reachability, isNews: Bool) {
        let stated = isReachabilityStated ? reachability : Self.reachability(by: finding)
        let isNews =
            stated != reachability || finding.datagrams != self.finding?.datagrams
            || finding.channels != self.finding?.channels
        self.finding = finding
        return (stated, isNews)
    }

    mutating func state(_ reachability: Reachability) { self.reachability = reachability }

    private static func reachability(by finding: ReachabilityFinding) -> Reachability {
        switch (finding.datagrams, finding.channels) {
        case (.no, _): .outbound
        case (_, .no): .datagrams
        case (.yes, .yes): .direct
        case (.unknown, _), (_, .unknown): .unknown
        }
    }

    // MARK: Statements

    /// Our contact, signed with the next sequence.
    mutating func contact(at wall: WallTime) -> Verified<Contact> {
        contact(reachability, Array(endpoints.prefix(4)), at: wall)
    }

    /// The contact of a node that is leaving: it states no endpoint.
    mutating func farewell(at wall: WallTime) -> Verified<Contact> { contact(.outbound, [], at: wall) }

    private mutating func contact(
        _ reachability: Reachability, _ endpoints: [Endpoint], at wall: WallTime
    ) -> Verified<Contact> {
        contactSequence = max(contactSequence + 1, UInt64(clamping: wall.milliseconds))
        let contact = Contact(
            publicKey: identity.publicKey, endpoints: endpoints, reachability: reachability,
            sequence: contactSequence, issuedAt: wall, name: name)
        return Verified(signing: contact, with: identity)
    }

    /// The offer of a model for Gossip to sign, which continues above its sequence.
    func offer(of model: ServedModel) -> Offer {
        Offer(
            publicKey: identity.publicKey, model: model.model, digest: model.digest,
            digestSource: model.digestSource, quantization: model.quantization, context: model.context,
            features: model.features, continues: model.continues, price: model.offeredPrice,
            slots: UInt32(clamping: model.slots), speed: model.speed, endpoints: Array(endpoints.prefix(2)),
            reachability: reachability, name: name,
            sequence: offerSequences.first { $0.model == model.model }?.sequence ?? 0)
    }

    /// Our registration as a provider of `topic`.
    func registration(of topic: TopicID, at wall: WallTime) -> Verified<Registration> {
        let registration = Registration(
            publicKey: identity.publicKey, topic: topic,
            endpoints: Array(endpoints.prefix(WireLimits.registrationEndpointsMax)), issuedAt: wall)
        return Verified(signing: registration, with: identity)
    }
}
