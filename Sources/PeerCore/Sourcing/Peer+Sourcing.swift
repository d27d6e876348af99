import Cryptography
import Discovery
import Gossip
import Market
import Primitives
import Wire

// Finds a model's sellers for the auctioneer: Discovery searches the model's topic for providers, Gossip fetches their
// offers, and the offer book answers.
extension Peer {
    // MARK: Finding

    /// A task needs the sellers of a model. A book without any is searched for first; a thin one is answered from at
    /// once and filled beside.
    mutating func need(_ task: TaskID, _ model: String) {
        if searches.use(model, turn.monotonic) { noteTraded() }
        let held = gossip.offers(model: model).count
        guard held == 0 else {
            if held < OfferSearches.thin,
                searches.mayStart(model, pause: OfferSearches.pauseThin, turn.monotonic)
            {
                startSearch(model)
            }
            return answerNeed(task, model)
        }
        let isAway = gossip.wasSold(model, now: turn.now)
        let pause = isAway ? Interval.zero : OfferSearches.pauseEmpty
        if searches.mayStart(model, pause: pause, turn.monotonic) { startSearch(model) }
        guard let search = searches.running[model], isAway || !search.isDry else {
            return answerNeed(task, model)
        }
        searches.wait(task, for: model, turn.monotonic)
    }

    /// Tells Gossip which models always have room in the offer book: those that this node sells and those that it was
    /// asked for lately.
    mutating func noteTraded() {
        gossip.trade(in: presence.sold + searches.remembered.keys)
    }

    private mutating func startSearch(_ model: String) {
        searches.lastToken.rawValue += 1
        let token = searches.lastToken
        var search = OfferSearches.Search(tasks: [], gossipToken: token)
        search.discoveryToken = discovery.findProviders(
            of: TopicID(model: model), turn: &turn, out: &discoveryActions)
        searches.running[model] = search
        gossip.search(model: model, token: token, turn: &turn, out: &gossipActions)
    }

    mutating func gossipSearchFinished(_ token: RequestToken) {
        guard let model = searches.model(gossip: token) else { return }
        searches.running[model]?.isGossiping = false
        searchMoved(model)
    }

    mutating func providerSearchFinished(_ token: RequestToken) {
        guard let model = searches.model(discovery: token) else { return }
        searches.running[model]?.discoveryToken = nil
        searchMoved(model)
    }

    /// A provider was found: a member from now on, and its offer is fetched at once. The search goes on meanwhile.
    mutating func providerFound(_ token: RequestToken, _ provider: Provider) {
        let address = provider.address
        guard !denied.contains(address.key), let model = searches.model(discovery: token) else { return }
        gossip.memberJoined(address, turn: &turn, out: &gossipActions)
        guard !gossip.offers(model: model).contains(where: { $0.record.publicKey == address.key }) else {
            return
        }
        if gossip.pull(model: model, of: address, turn: &turn, out: &gossipActions) {
            searches.running[model]?.pulls += 1
        }
    }

    mutating func pullEnded(_ model: String) {
        guard let pulls = searches.running[model]?.pulls, pulls > 0 else { return }
        searches.running[model]?.pulls = pulls - 1
        searchMoved(model)
    }

    mutating func offerLearnt(_ model: String) {
        guard searches.running[model] != nil else { return }
        searches.offerCame(model, turn.monotonic)
        if gossip.offers(model: model).count >= OfferSearches.enough { answerWaiting(model) }
    }

    private mutating func searchMoved(_ model: String) {
        let isAway = gossip.offers(model: model).isEmpty && gossip.wasSold(model, now: turn.now)
        if searches.running[model]?.isDry == true, !isAway { answerWaiting(model) }
        searches.endIfDone(model, turn.monotonic)
    }

    private mutating func answerWaiting(_ model: String) {
        for task in searches.takeTasks(model) { answerNeed(task, model) }
        searches.endIfDone(model, turn.monotonic)
    }

    /// Hands the auctioneer the sellers of a model, as the book has them now.
    mutating func answerNeed(_ task: TaskID, _ model: String) {
        let offers = gossip.offers(model: model)
        let sellers = offers.compactMap { offer -> Candidate? in
            let key = offer.record.publicKey
            guard !denied.contains(key) else { return nil }
            if key == identity.publicKey {
                return Candidate(
                    offer: offer,
                    address: PeerAddress(key: key, endpoint: presence.endpoints.first ?? .loopback(1)),
                    hasSession: true)
            }
            guard let address = address(of: offer) else { return nil }
            let hasSession = discovery.contact(of: key) != nil || sessions.hasSession(to: address)
            return Candidate(offer: offer, address: address, hasSession: hasSession)
        }
        let found = OffersFound(
            sellers: sellers, known: gossip.sellerCount,
            denied: offers.count { denied.contains($0.record.publicKey) },
            alternatives: gossip.cheapest(except: model, limit: 8),
            catalogueKnows: gossip.wasSold(model, now: turn.now),
            selfReachable: presence.reachability.acceptsChannels,
            isReachabilityUntested: presence.reachability == .unknown && profile == .internet)
        auctioneer.offersFound(task, found, turn: &turn, out: &auctioneerActions)
    }

    // MARK: Time

    mutating func tickSearches() {
        while let timer = searches.timers.popDue(turn.monotonic) {
            switch timer {
            case .answer(let model): answerWaiting(model)
            case .refresh: refreshUsed()
            }
        }
    }

    /// Fetches again the offers of models that are in use from sellers who don't mail to us: those that Discovery's
    /// table has no place for. (Neighbourhoods will do this by pulling around two random points.)
    private mutating func refreshUsed() {
        let models = searches.remembered.filter { turn.monotonic < $0.value.used + OfferSearches.usedFor }
            .map(
                \.key)
        searches.isRefreshing = !models.isEmpty
        guard searches.isRefreshing else { return }
        searches.timers.set(.refresh, at: turn.monotonic + OfferSearches.refreshEvery)
        var sellers: [(model: String, address: PeerAddress)] = []
        for model in models {
            for offer in gossip.offers(model: model) {
                let key = offer.record.publicKey
                guard key != identity.publicKey, discovery.contact(of: key) == nil, !denied.contains(key),
                    let address = address(of: offer)
                else { continue }
                sellers.append((model, address))
            }
        }
        // Drawn at random: by the order of ids, which sellers can grind, a flood would always come first.
        for seller in turn.random.sample(OfferSearches.refreshedMax, of: sellers) {
            _ = gossip.pull(
                model: seller.model, of: seller.address, turn: &turn, out: &gossipActions)
        }
    }

    // MARK: Addresses

    /// Whether `peer` may be sent a request: anybody with whom we have a session or are opening one, since what waits
    /// for that sends nothing; others within the budget for an address that never answered. Offers and registrations
    /// are signed by their authors, who may name a victim's.
    mutating func mayContact(_ peer: PeerAddress) -> Bool {
        sessions.hasSession(to: peer) || sessions.isOpening(to: peer) || discovery.mayAsk(peer, now: turn.now)
    }

    /// Where a seller is called: where its offer says, or, of one that strangers don't reach, where we talk to it.
    func address(of offer: Verified<Offer>) -> PeerAddress? {
        let key = offer.record.publicKey
        let stated =
            offer.record.endpoints.first(where: profile.accepts)
            ?? discovery.contact(of: key)?.address.endpoint
        let known = offer.record.reachability.answersStrangers ? nil : sessions.endpoint(of: key)
        return (known ?? stated).map { PeerAddress(key: key, endpoint: $0) }
    }
}
