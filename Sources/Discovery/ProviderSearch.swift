import Cryptography
import Primitives
import Wire

/// A node that states, signed, that it serves a topic, and where.
public struct Provider: Sendable {
    public let registration: Verified<Registration>
    public let address: PeerAddress
}

/// One search for the providers of a topic.
struct ProviderSearch: Sendable {
    let token: RequestToken
    let wanted: Int
    var walk: TopicWalk
    var found: [(key: PublicKey, group: Endpoint)] = []
    /// Registrations with a wrong signature, so that one held by every registrar is checked only once. At
    /// most `forgedMax`; beyond that only CPU time is lost.
    var forged: [SignedRecord] = []
    static let forgedMax = 16
    var topic: TopicID { walk.topic }
    /// `counted`: those of `found` that count towards `wanted`, a few of each answer, so that liars can't end
    /// a search with their own. `countedAhead`: those of them from answers of the near end, where an attacker
    /// can own every node.
    var counted = 0
    var countedAhead = 0
    /// The near end's share of the wanted providers, the same as its share of the questions.
    func countedAheadMax(_ parameters: DiscoveryParameters) -> Int {
        max(1, wanted / max(1, parameters.searchNearEvery))
    }
    var isEnough: Bool { counted >= wanted }
}

/// The searcher's side of rendezvous: asks a few registrars in each distance bucket around the topic, far to
/// near, and stops when enough providers are found or no node is left.
///
/// Answers are believed as far as they can be checked. Each registration is signed by the provider and names
/// the topic, so that a liar can only hide providers or bring its own. Its address must be usable and be one
/// of at most two of its prefix in the result. Each address also draws on the budget of probes to strangers,
/// so that no search aims us at a victim.
///
/// A search that is being advanced is taken out of `searches` meanwhile: left in, its walk would be copied.
extension Discovery {
    /// Starts a search. Each provider comes as `providerFound` under the returned token as soon as it is
    /// known. Then `searchFinished` comes, at once when the table is empty or too many searches run.
    public mutating func findProviders(
        of topic: TopicID, wanted: Int? = nil, turn: inout Turn,
        out: inout [DiscoveryAction]
    ) -> RequestToken {
        lastToken.rawValue += 1
        let token = lastToken
        let wanted = max(1, min(wanted ?? parameters.providersWanted, parameters.providersWanted))
        let walk = TopicWalk(
            topic: topic, known: table.count, searchingFor: wanted, parameters: shared, profile: profile)
        guard searches.count < parameters.searchesMax else {
            dropped.count(.lookupsFull)
            out.append(.searchFinished(token: token, walk.statistics))
            return token
        }
        var search = ProviderSearch(token: token, wanted: wanted, walk: walk)
        for record in registrar.sample(topic, from: 0, atMost: wanted, but: selfKey, turn.monotonic) {
            accept(record, in: &search, turn.monotonic, &out)
        }
        search.counted = search.found.count
        if !search.isEnough { seed(&search.walk, &turn.random) }
        goOn(search, at: searches.count, &turn, &out)
        return token
    }

    /// Ends a search whose result is no longer needed; `searchFinished` still comes.
    public mutating func stopSearch(_ token: RequestToken, out: inout [DiscoveryAction]) {
        guard let index = searches.firstIndex(where: { $0.token == token }) else { return }
        let stopped = searches.remove(at: index)
        out.append(.searchFinished(token: token, stopped.walk.statistics))
    }

    /// Asks more nodes and puts `search` back into its place, or ends it.
    private mutating func goOn(
        _ search: consuming ProviderSearch, at index: Int, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        let topic = search.topic
        let token = search.token
        if !search.isEnough {
            advance(&search.walk, for: .search(token), &turn, &out) { random in
                .get(topic: topic, start: UInt32(random.below(1 << 16)))
            }
        }
        if search.isEnough || search.walk.inFlight == 0 {
            out.append(.searchFinished(token: token, search.walk.statistics))
        } else {
            searches.insert(search, at: index)
        }
    }

    mutating func searchAnswered(
        _ token: RequestToken, by id: NodeID, _ providers: Providers, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = searches.firstIndex(where: { $0.token == token }) else { return }
        var search = searches.remove(at: index)
        let before = search.found.count
        for record in providers.registrations.prefix(WireLimits.registrationsMax) {
            accept(record, in: &search, turn.monotonic, &out)
        }
        let node = search.walk.answered(id)
        var news = min(search.found.count - before, parameters.providersCountedPerAnswer)
        if node?.isAhead == true {
            news = min(news, search.countedAheadMax(parameters) - search.countedAhead)
            search.countedAhead += news
        }
        search.counted += news
        if let node, !search.isEnough {
            hear(providers.contacts, nearerThan: node.bucket, in: &search.walk, &turn, &out)
        }
        goOn(search, at: index, &turn, &out)
    }

    mutating func searchFailed(
        _ token: RequestToken, by id: NodeID, isSlow: Bool, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = searches.firstIndex(where: { $0.token == token }) else { return }
        var search = searches.remove(at: index)
        if isSlow { search.walk.slow(id) } else { search.walk.failed(id) }
        goOn(search, at: index, &turn, &out)
    }

    /// Judges one registration, cheapest checks first.
    private mutating func accept(
        _ record: SignedRecord, in search: inout ProviderSearch, _ now: MonotonicTime,
        _ out: inout [DiscoveryAction]
    ) {
        // Most were found before and need not be decoded again.
        if let key = record.leadingKey, search.found.contains(where: { $0.key == key }) { return }
        guard let stated = try? Registration(decoding: record.body), stated.topic == search.topic else {
            return dropped.count(.badRegistration)
        }
        let key = stated.publicKey
        guard key != selfKey, !search.found.contains(where: { $0.key == key }) else { return }
        guard let endpoint = stated.endpoints.first(where: profile.accepts) else {
            return dropped.count(.notUsable)
        }
        let group = profile.group(endpoint)
        guard search.found.count(where: { $0.group == group }) < parameters.groupBucketMax else {
            return dropped.count(.groupFull)
        }
        var known = checkedRegistrations.find(record)
        if known == nil {
            guard !search.forged.contains(record) else { return dropped.count(.badRegistration) }
            guard verifications.take(now) else { return dropped.count(.verificationBudget) }
            known = try? Verified<Registration>(checking: record)
            if let known { checkedRegistrations.insert(known) }
        }
        guard let checked = known else {
            if search.forged.count < ProviderSearch.forgedMax { search.forged.append(record) }
            return dropped.count(.badRegistration)
        }
        let address = PeerAddress(key: key, endpoint: endpoint)
        guard mayAsk(address, now) else { return }
        search.found.append((key, group))
        search.walk.found(search.found.count)
        out.append(
            .providerFound(token: search.token, Provider(registration: checked, address: address)))
    }
}
