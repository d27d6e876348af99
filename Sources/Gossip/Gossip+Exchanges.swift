import Primitives
import Wire

// Anti-entropy: the periodic exchange, those after joining, and those that a search starts.
extension Gossip {
    /// Pulls from up to three members what the offer book lacks. `searchFinished` follows exactly once, when
    /// they have answered or after a second, whether or not anything was found. Simultaneous searches share
    /// one pull.
    public mutating func search(
        model: String, token: RequestToken, turn: inout Turn, out: inout [GossipAction]
    ) {
        let search = Pull.Search(token: token, model: model)
        defer { settle(turn.now, &out) }
        if pull != nil, (pull?.searches.count ?? 0) < GossipLimits.searchesMax {
            pull?.searches.append(search)
            return
        }
        let isTooSoon = lastPull.number > 0 && turn.monotonic < lastPull.ended + parameters.searchPause
        guard pull == nil, !isTooSoon, leaving == nil, members.count > 0 else {
            out.append(.searchFinished(token: token, model: model))
            return
        }
        lastPull.number &+= 1
        let number = lastPull.number
        pull = Pull(number: number, searches: [search])
        timers.set(.search, at: turn.monotonic + parameters.searchTimeout)
        // With neighbourhoods: members around two random points of the model's topic.
        for partner in members.partners(parameters.searchPartners, random: &turn.random) {
            if startExchange(with: partner, .search(number), turn.now, &out) { pull?.open += 1 }
        }
        if pull?.open == 0 { endPull(turn.now, &out) }
    }

    /// Fetches a seller's own offer of a model from that seller, which need not be a member: one digest over
    /// the one short id. `pullEnded` follows exactly once. Returns false, and nothing follows, when there is
    /// no room for another exchange.
    public mutating func pull(
        model: String, of seller: PeerAddress, turn: inout Turn, out: inout [GossipAction]
    ) -> Bool {
        guard seller.key != identity.publicKey, leaving == nil else { return false }
        let id = Offer.shortID(key: seller.key, model: model)
        return startExchange(with: seller, .pull(model: model), ranges: [id...id], turn.now, &out)
    }

    mutating func endPull(_ now: Now, _ out: inout [GossipAction]) {
        guard let finished = pull else { return }
        pull = nil
        lastPull.ended = now.monotonic
        timers.cancel(.search)
        for search in finished.searches {
            out.append(.searchFinished(token: search.token, model: search.model))
        }
    }

    // MARK: Schedule

    mutating func scheduleExchange(_ turn: inout Turn) {
        let gap = min(exchangeGap, parameters.exchangeEvery)
        let jitter = min(gap / 6, parameters.exchangeJitter)
        let wait = gap - jitter + turn.random.interval(.zero, jitter + jitter)
        exchangeGap = gap + gap
        timers.set(.exchange, at: turn.monotonic + wait)
    }

    mutating func exchangeIsDue(_ turn: inout Turn, _ out: inout [GossipAction]) {
        if turn.monotonic - forgivenAt >= parameters.exchangeEvery - parameters.exchangeJitter {
            forgivenAt = turn.monotonic
            members.forgive()
        }
        if let partner = members.anyone(random: &turn.random) {
            startExchange(with: partner, .periodic, turn.now, &out)
        }
        scheduleExchange(&turn)
    }

    mutating func joinIsDue(_ turn: inout Turn, _ out: inout [GossipAction]) {
        guard var set = joining, set.open == 0 else { return }
        set.attempts += 1
        set.learnt = 0
        set.isAnswered = false
        joining = set
        for partner in members.partners(parameters.joinPartners, random: &turn.random) {
            if startExchange(with: partner, .joining, turn.now, &out) { joining?.open += 1 }
        }
        if joining?.open == 0 { joinSetEnded(turn.now) }
    }

    private mutating func joinSetEnded(_ now: Now) {
        guard let set = joining else { return }
        // What this node sells itself shows no agreement with anybody.
        let ownCount = owns.keys.count { book[$0] != nil }
        let isInSync = set.isAnswered && set.learnt == 0 && book.count > ownCount
        if isInSync || set.attempts >= parameters.joinAttemptsMax {
            joining = nil
        } else {
            timers.set(.join, at: now.monotonic + parameters.joinRetry * (1 << Int64(set.attempts - 1)))
        }
    }

    // MARK: One exchange

    /// Returns false when there are too many exchanges or requests already.
    @discardableResult
    private mutating func startExchange(
        with partner: PeerAddress, _ purpose: Exchange.Purpose,
        ranges: [ClosedRange<UInt64>] = [0...UInt64.max],
        _ now: Now, _ out: inout [GossipAction]
    ) -> Bool {
        // Pulls go to sellers that strangers may have invented: they leave a quarter to members.
        var room = GossipLimits.exchangesMax
        if case .pull = purpose { room = room * 3 / 4 }
        guard exchanges.count < room, requests.count < GossipLimits.requestsMax else { return false }
        lastExchange &+= 1
        exchanges[lastExchange] = Exchange(partner: partner, purpose: purpose, ranges: ranges)
        return sendDigest(lastExchange, now, &out)
    }

    /// Sends the digest of the next range, cut to what one answer can request. Returns false at the end.
    private mutating func sendDigest(_ number: UInt64, _ now: Now, _ out: inout [GossipAction]) -> Bool {
        guard var exchange = exchanges[number], exchange.requests < GossipLimits.exchangeRequestsMax,
            requests.count < GossipLimits.requestsMax, let range = exchange.ranges.popLast()
        else { return false }
        let digest = book.digest(
            range.lowerBound, range.upperBound, limit: GossipLimits.digestEntries, at: clocks.judge(now.wall))
        if digest.last < range.upperBound { exchange.ranges.append(digest.last + 1...range.upperBound) }
        exchange.requests += 1
        exchanges[number] = exchange
        let pending = Pending.digest(exchange: number, range: digest.first...digest.last)
        request(.offerDigest(digest), to: exchange.partner, pending, &out)
        statistics.digestsSent &+= 1
        return true
    }

    mutating func continueExchange(
        _ number: UInt64, _ range: ClosedRange<UInt64>, _ difference: OfferDifference, from: PeerAddress,
        _ turn: inout Turn, _ out: inout [GossipAction]
    ) {
        guard exchanges[number] != nil else { return }
        compareClock(difference.now, from, turn.now)
        var learnt = 0
        for signed in difference.offers.prefix(WireLimits.mailOffersMax) {
            if learn(signed, from: from, byMail: false, &turn, &out) == .merged { learnt += 1 }
        }
        if leaving == nil {
            for id in difference.wanted.prefix(WireLimits.wantedMax)
            where range.contains(id) && book[id] != nil {
                if exchanges[number]?.mailed.insert(id).inserted ?? false { mail.add(id, to: from) }
            }
        }
        exchanges[number]?.isAnswered = true
        exchanges[number]?.learnt += learnt
        // Repeats the range while it brings news, but not for offers that we refuse, or that only displace
        // others.
        if difference.more > 0, learnt > 0, !book.isFull { exchanges[number]?.ranges.append(range) }
        if leaving != nil || !sendDigest(number, turn.now, &out) { endExchange(number, &turn, &out) }
    }

    mutating func endExchange(
        _ number: UInt64, _ turn: inout Turn, _ out: inout [GossipAction]
    ) {
        guard let exchange = exchanges.removeValue(forKey: number) else { return }
        if exchanges.isEmpty { exchanges = [:] }
        switch exchange.purpose {
        case .periodic:
            break
        case .joining:
            guard joining != nil else { return }
            joining?.open -= 1
            joining?.learnt += exchange.learnt
            if exchange.isAnswered { joining?.isAnswered = true }
            if joining?.open == 0 { joinSetEnded(turn.now) }
        case .search(let number):
            guard pull?.number == number else { return }
            pull?.open -= 1
            if pull?.open == 0 { endPull(turn.now, &out) }
        case .pull(let model):
            out.append(.pullEnded(exchange.partner.key, model: model))
        }
    }

    /// The answer to another node's digest.
    mutating func answer(
        _ digest: OfferDigest, from: PeerAddress, _ turn: inout Turn
    ) -> GossipMessage? {
        guard OfferBook.isSound(digest) else {
            dropped.count(.badDigest)
            return nil
        }
        guard digestRate.take(group(from.endpoint), isMember: members.contains(from.key), turn.monotonic)
        else {
            dropped.count(.digestOverBudget)
            return nil
        }
        let awaited = members[from.key]?.awaited ?? []
        let limit = leaving == nil ? min(WireLimits.wantedMax, GossipLimits.awaitedMax - awaited.count) : 0
        var difference = book.difference(
            to: digest, wanting: limit, except: awaited, at: clocks.judge(turn.wall), random: &turn.random)
        difference.now = ourDate(turn.wall)
        members.asked(from.key, for: difference.wanted)
        return .offerDifference(difference)
    }
}
