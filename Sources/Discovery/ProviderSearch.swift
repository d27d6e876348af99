import Cryptography
import Primitives
import Wire

/// A node that says of itself, signed, that it serves a topic, and where.
public struct Provider: Sendable {
    public let registration: Verified<Registration>
    public let address: PeerAddress
}

/// One search for the providers of a topic.
struct ProviderSearch: Sendable {
    let token: UInt64
    let wanted: Int
    var walk: TopicWalk
    var found: [(key: PublicKey, group: Endpoint)] = []
    var topic: TopicID { walk.topic }
    /// Of `found`, those that count towards `wanted`: a few of each answer, so that liars can't end a search with their own.
    var counted = 0
    var isEnough: Bool { counted >= wanted }
}

/// The searcher's side of rendezvous: asks a few registrars in each distance bucket around the topic, far to near and a
/// third of them near to far, and stops when enough providers were found or nobody is left.
///
/// What comes back is believed as far as it can be checked: each registration is signed by the provider and names the
/// topic, so that a liar can only hide providers or bring its own; its address must be usable, is one of at most two
/// of its prefix in the result, and takes from the budget of probes to strangers, so that no search aims us at a
/// victim.
extension Discovery {
    /// Starts a search. Each provider comes as `providerFound` under the returned token as soon as it is known, then
    /// `searchFinished`, at once when the table is empty or too many searches run.
    public mutating func findProviders(
        of topic: TopicID, wanted: Int? = nil, now: Now, random: inout SeededRandom,
        out: inout [DiscoveryAction]
    ) -> UInt64 {
        lastToken += 1
        let token = lastToken
        let wanted = max(1, min(wanted ?? parameters.providersWanted, parameters.providersWanted))
        var walk = TopicWalk(
            topic: topic, selfKey: selfKey, known: table.count, searchingFor: wanted, parameters: shared,
            profile: profile)
        guard searches.count < parameters.searchesMax else {
            dropped.count(.lookupsFull)
            out.append(.searchFinished(token: token, walk.statistics))
            return token
        }
        seed(&walk, &random)
        searches.append(ProviderSearch(token: token, wanted: wanted, walk: walk))
        let index = searches.count - 1
        for entry in registrar.entries(topic, now.monotonic).prefix(searches[index].wanted) {
            accept(entry.record, in: index, now.monotonic, &out)
        }
        searches[index].counted = searches[index].found.count
        advanceSearch(index, now.monotonic, &random, &out)
        return token
    }

    /// Ends a search whose result is no longer needed; `searchFinished` still comes.
    public mutating func stopSearch(_ token: UInt64, out: inout [DiscoveryAction]) {
        guard let index = searches.firstIndex(where: { $0.token == token }) else { return }
        endSearch(index, &out)
    }

    private mutating func endSearch(_ index: Int, _ out: inout [DiscoveryAction]) {
        let ended = searches.remove(at: index)
        out.append(.searchFinished(token: ended.token, ended.walk.statistics))
    }

    private mutating func advanceSearch(
        _ index: Int, _ now: MonotonicTime, _ random: inout SeededRandom, _ out: inout [DiscoveryAction]
    ) {
        let token = searches[index].token
        while !searches[index].isEnough, let node = searches[index].walk.next(random: &random) {
            guard mayAsk(node.address, now) else {
                searches[index].walk.failed(node.key)
                continue
            }
            ask(
                .get(topic: searches[index].topic, start: UInt32(random.below(1 << 16))),
                Question(purpose: .search(token), peer: node.address, contact: node.contact, told: nil), &out)
            setPatience(node.key, now)
        }
        if searches[index].isEnough || searches[index].walk.inFlight == 0 { endSearch(index, &out) }
    }

    mutating func searchAnswered(
        _ token: UInt64, by key: PublicKey, _ providers: Providers, _ now: MonotonicTime,
        _ random: inout SeededRandom, _ out: inout [DiscoveryAction]
    ) {
        guard let index = searches.firstIndex(where: { $0.token == token }) else { return }
        let before = searches[index].found.count
        for record in providers.registrations.prefix(WireLimits.registrationsMax) {
            accept(record, in: index, now, &out)
        }
        let news = searches[index].found.count - before
        searches[index].counted += min(news, parameters.providersCountedPerAnswer)
        if searches[index].isEnough {
            _ = searches[index].walk.answered(key, contacts: [], random: &random)
            return endSearch(index, &out)
        }
        // Keys alone: a copy of the walk would be a copy of all its nodes as soon as it goes on.
        let known = searches[index].walk.nodes.map(\.key)
        let contacts = listed(providers.contacts, now, &random, &out) { !known.contains($0) }
        let refused = searches[index].walk.answered(key, contacts: contacts, random: &random)
        for _ in 0..<refused { dropped.count(.notNearer) }
        advanceSearch(index, now, &random, &out)
    }

    mutating func searchFailed(
        _ token: UInt64, by key: PublicKey, isSlow: Bool, _ now: MonotonicTime, _ random: inout SeededRandom,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = searches.firstIndex(where: { $0.token == token }) else { return }
        if isSlow { searches[index].walk.slow(key) } else { searches[index].walk.failed(key) }
        advanceSearch(index, now, &random, &out)
    }

    /// Judges one registration, cheapest checks first.
    private mutating func accept(
        _ record: SignedRecord, in index: Int, _ now: MonotonicTime, _ out: inout [DiscoveryAction]
    ) {
        guard let stated = try? Registration(decoding: record.body), stated.topic == searches[index].topic
        else {
            return dropped.count(.badRegistration)
        }
        let key = stated.publicKey
        guard key != selfKey, !searches[index].found.contains(where: { $0.key == key }) else { return }
        guard let endpoint = stated.endpoints.first(where: profile.accepts) else {
            return dropped.count(.notUsable)
        }
        let group = profile.group(endpoint)
        guard searches[index].found.count(where: { $0.group == group }) < parameters.groupBucketMax else {
            return dropped.count(.groupFull)
        }
        var known = checkedRegistrations.find(record)
        if known == nil {
            guard verifications.take(now) else { return dropped.count(.verificationBudget) }
            known = try? Verified<Registration>(checking: record)
            if let known { checkedRegistrations.insert(known) }
        }
        guard let checked = known else { return dropped.count(.badRegistration) }
        let address = PeerAddress(key: key, endpoint: endpoint)
        guard mayAsk(address, now) else { return }
        searches[index].found.append((key, group))
        searches[index].walk.found(searches[index].found.count)
        out.append(
            .providerFound(token: searches[index].token, Provider(registration: checked, address: address)))
    }
}
