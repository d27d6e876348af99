import Primitives
import Wire

/// From the offer book to a call, or to waiting for busy sellers.
extension BuyerTask {
    /// Begins another attempt.
    mutating func choose(_ desk: inout AuctionDesk) {
        enter(.choosing)
        auction = nil
        askForOffers(&desk)
    }

    func askForOffers(_ desk: inout AuctionDesk) { desk.emit(.needOffers(id, model: request.model)) }

    mutating func offersFound(_ found: OffersFound, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage == .choosing else { return }
        let requirements = self.requirements(selfReachable: found.selfReachable)
        survey = Survey(found, requirements)
        var (pool, comesLast) = filter(found, requirements, desk, turn.monotonic)
        let parameters = desk.parameters
        bestRecord = pool.map(\.finished).max() ?? 0
        let all = pool.count
        let roomier = roomier(pool)
        if roomier.isEmpty, isSettled(desk) || verdictsAgree && pool.isEmpty {
            survey.notSampled = pool.count
            return conclude(&desk, turn.now)
        }
        if !roomier.isEmpty { pool = roomier }
        // Once that many sellers are too late for the task, the others most likely are too.
        if exclusions.late >= parameters.lateMax { pool = [] }
        if verdictsAgree && roomier.isEmpty || losses - refusals >= parameters.lossesMax {
            pool.removeAll { $0.finished < Verdict.recordNeeded(bestRecord) }
        } else if couldAskMet, strangersLost >= parameters.strangersLostMax {
            pool.removeAll { !$0.isMet }
        }
        survey.notSampled = all - pool.count
        guard !pool.isEmpty else { return noneLeft(&desk, &turn) }
        guard attempt < auctionsMax(parameters) else { return refuse(&desk, turn.now) }
        if comesLast, waitForBusy(&desk, &turn) { return }
        let sole = comesLast ? nil : sole(of: pool, desk, &turn)
        if let key = sole?.candidate.key { pool.removeAll { $0.candidate.key == key } }
        let most = parameters.candidatesMax - (sole == nil ? 0 : 1)
        let chosen = Sampling.choose(pool, most: most, random: &turn.random)
        survey.notSampled += pool.count - chosen.count
        call(chosen, first: sole, requirements, &desk, turn.monotonic)
    }

    /// The fast path: the seller that is called alone; nil: none is so well known, and as good as any.
    private func sole(of pool: [Eligible], _ desk: AuctionDesk, _ turn: inout Turn) -> Eligible? {
        let parameters = desk.parameters
        guard attempt == 0, !request.isQuote, request.preferences.order.isEmpty, pool.count > 1,
            let best = pool.map(\.expected.score).min()
        else { return nil }
        let familiar = pool.filter {
            Auction.isClose($0.expected.score, to: best, parameters) && $0.candidate.hasSession
                && $0.inFlight < $0.candidate.offer.record.slots
                && desk.sellers.isFamiliar($0.candidate.key, turn.monotonic)
        }
        guard !familiar.isEmpty, turn.random.below(parameters.soleTasks + 1) > 0 else { return nil }
        return Sampling.draw(familiar, random: &turn.random)
    }

    private func requirements(selfReachable: Bool) -> Requirements {
        let continuing = delivery.continuing
        let (bytes, tokens): (Int, UInt32) =
            continuing == nil ? (0, 0) : (delivery.textToContinue.count, delivery.start.tokens)
        let least = RequestSize.tokensMin(bytes: request.body.count + bytes, features: request.features)
        return Requirements(
            request: request, tokensIn: max(request.tokensIn &+ tokens, least),
            tokensOutMax: delivery.tokensLeftEach, costMax: costLeft, continuing: continuing,
            isRepeating: delivery.isRepeating, isInterrupted: failovers > 0, selfReachable: selfReachable)
    }

    /// Sorts each seller into the pool, or counts it under the first filter that it failed. Also says whether the pool
    /// holds only sellers that come last.
    private mutating func filter(
        _ found: OffersFound, _ requirements: Requirements, _ desk: AuctionDesk, _ now: MonotonicTime
    ) -> (pool: [Eligible], comesLast: Bool) {
        let basis = requirements.basis
        let market = desk.speeds.market(of: request.model)
        // Each pool is used only if the one before it is empty. Sellers that owe us an answer come last, so
        // that a dead node costs one call; before them those that failed again and again. Sellers that must dial us
        // wait until we know that they can.
        var (pool, dialling, suspended, overdue): ([Eligible], [Eligible], [Eligible], [Eligible])
        (pool, dialling, suspended, overdue) = ([], [], [], [])
        pool.reserveCapacity(found.sellers.count)
        for candidate in found.sellers {
            let offer = candidate.offer.record
            let seller = desk.sellers[candidate.key]
            let trust = desk.sellers.trust(seller, now)
            let belief = SpeedBelief(
                measured: desk.speeds.measured(candidate.key, request.model), market: market)
            if let reason = exclusion(of: candidate, seller, requirements, trust, belief, desk) {
                survey.count(offer, reason)
                continue
            }
            let rank = request.preferences.order.firstIndex(of: candidate.key) ?? .max
            let expected = basis.expect(
                offer, millitrust: trust, belief, queue: seller?.queue(now) ?? .zero)
            let eligible = Eligible(
                candidate: candidate, millitrust: trust, belief: belief, rank: rank,
                isKnown: candidate.hasSession || seller?.reply != nil,
                finished: candidate.key == desk.identity.publicKey ? .max : seller?.finished ?? 0,
                inFlight: seller?.inFlight ?? 0, declines: seller?.declines ?? 0, expected: expected,
                weight: 1)
            if desk.sellers.isOverdue(seller, now) {
                overdue.append(eligible)
            } else if rank == .max, desk.sellers.isSuspended(seller, now) {
                suspended.append(eligible)
            } else if found.isReachabilityUntested, !offer.reachability.acceptsChannels,
                candidate.key != desk.identity.publicKey
            {
                dialling.append(eligible)
            } else {
                pool.append(eligible)
            }
        }
        var comesLast = false
        for (second, reason, isLast) in [
            (dialling, Reason.unreachable, false), (suspended, .untrusted, true),
            (overdue, .unreachable, true),
        ] {
            if pool.isEmpty {
                (pool, comesLast) = (second, isLast)
            } else {
                for left in second { survey.count(left.candidate.offer.record, reason) }
            }
        }
        let best = pool.reduce(UInt64.max) { min($0, $1.expected.score) }
        for index in pool.indices {
            let eligible = pool[index]
            let candidate = eligible.candidate
            pool[index].weight = Sampling.weight(
                score: eligible.expected.score, best: best, slots: candidate.offer.record.slots,
                inFlight: eligible.inFlight, hasSession: candidate.hasSession, isMet: eligible.isMet,
                declines: eligible.declines)
        }
        return (pool, comesLast)
    }

    /// The first filter that it fails, because of its offer, of this task, or of this node's experience.
    private func exclusion(
        of candidate: Candidate, _ seller: SellerExperience?, _ requirements: Requirements, _ trust: UInt32,
        _ belief: SpeedBelief, _ desk: AuctionDesk
    ) -> Reason? {
        let offer = candidate.offer.record
        var reason = requirements.exclusion(of: offer, millitrust: trust, belief)
        func consider(_ other: Reason) {
            if let first = reason, first.position <= other.position { return }
            reason = other
        }
        let out = exclusions.reason(of: candidate.key, sequence: offer.sequence) {
            desk.sellers.wasHeard(candidate.key, since: $0)
        }
        if let out { consider(out) }
        if seller?.isSilent == true { consider(.unreachable) }
        if let left = seller?.leftWith, offer.sequence <= left { consider(.leaving) }
        // A node needs no connection to itself.
        if !offer.reachability.acceptsChannels && !requirements.selfReachable
            && candidate.key != desk.identity.publicKey
        {
            consider(.unreachable)
        }
        return reason
    }

    // MARK: - No candidates

    /// No seller passes the filters: waits for busy ones as long as that makes sense, and where an answer broke off also
    /// for dead ones, which may be starting again; then takes those that were only slow, then begins again where the
    /// client has nothing yet, or gives up with the reason.
    private mutating func noneLeft(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        let parameters = desk.parameters
        guard attempt < auctionsMax(parameters) else { return refuse(&desk, turn.now) }
        if waitForBusy(until: queuesUntil, &desk, &turn) { return }
        if !hasNextModel, exclusions.readmitSlow() || restart(&desk) || beginAgain() {
            return askForOffers(&desk)
        }
        if failovers > 0, exclusions.hasDead, !hasNextModel, wait(soonest: .zero, &desk, &turn) { return }
        delivery.stopRepeating()
        refuse(&desk, turn.now)
    }

    /// Until when the task waits for a slot of sellers that answer other tasks: to the client's deadline, which is its own
    /// word for how long it waits. nil: only as long as for dead ones, where another of its models could answer, or where
    /// it is a model server that says so, which doesn't know when that ends.
    private var queuesUntil: MonotonicTime? {
        exclusions.hasBusy(besides: turnedAway) && !hasNextModel ? deadlineAt : nil
    }

    /// Waits for sellers that are only busy, `until` then at least; false: there are none, or the wait is over.
    private mutating func waitForBusy(
        until: MonotonicTime? = nil, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) -> Bool {
        // Another model is better than a model server that has just turned the task away.
        guard let soonest = exclusions.soonestRetry, turnedAway.isEmpty || !hasNextModel else { return false }
        return wait(soonest: soonest, until: until, &desk, &turn)
    }

    private mutating func wait(
        soonest: Interval, until: MonotonicTime? = nil, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) -> Bool {
        // A quote is wanted now.
        guard !request.isQuote,
            let at = patience.nextTry(soonest: soonest, until: until, desk.parameters, &turn)
        else {
            return false
        }
        enter(.waiting)
        desk.set(id, .retry, at: at)
        return true
    }

    mutating func retryDue(_ desk: inout AuctionDesk) {
        guard stage == .waiting else { return }
        exclusions.readmit()
        choose(&desk)
    }
}
