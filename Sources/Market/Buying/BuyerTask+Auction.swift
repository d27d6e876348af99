import Primitives
import Wire

/// From the offer book to an award.
extension BuyerTask {
    mutating func choose(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        stage = .choosing
        transcript.state = .bidding
        auction = nil
        desk.emit(.needOffers(id, model: request.model))
    }

    mutating func offersFound(_ found: OffersFound, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage == .choosing else { return }
        let requirements = self.requirements(selfReachable: found.selfReachable)
        survey = Survey(found, requirements)
        let pool = filter(found, requirements, desk, turn.monotonic)
        guard !pool.isEmpty else { return nobodyLeft(&desk, &turn) }
        guard attempt < UInt32(clamping: desk.parameters.auctionsMax) else { return refuse(&desk, &turn) }
        let chosen = Sampling.choose(pool, most: desk.parameters.candidatesMax, random: &turn.random)
        survey.notSampled = pool.count - chosen.count
        call(chosen, requirements, &desk, turn.monotonic)
    }

    private func requirements(selfReachable: Bool) -> Requirements {
        let continuing = deliveredBytes > 0 ? version : nil
        return Requirements(
            request: request, tokensIn: request.tokensIn &+ (continuing == nil ? 0 : deliveredTokens),
            tokensOutMax: tokensLeft, continuing: continuing, selfReachable: selfReachable)
    }

    private typealias Pool = [(Eligible, UInt64)]

    /// Each seller once: into the pool, or counted under the first filter that it failed.
    private mutating func filter(
        _ found: OffersFound, _ requirements: Requirements, _ desk: AuctionDesk, _ now: MonotonicTime
    ) -> [Eligible] {
        let basis = requirements.basis
        // Each is asked only where nobody of those before it is left. Whoever owes us an answer comes last: a dead node
        // costs one call. Sellers that must dial us wait until we know that they can.
        var (pool, dialling, overdue): (Pool, Pool, Pool) = ([], [], [])
        for candidate in found.sellers {
            let offer = candidate.offer.record
            let trust = desk.sellers.trust(candidate.key, now)
            if let reason = exclusion(of: candidate, requirements, trust, desk) {
                survey.count(offer, reason)
                continue
            }
            let rank = request.preferences.order.firstIndex(of: candidate.key) ?? .max
            let eligible = Eligible(
                candidate: candidate, millitrust: trust, rank: rank,
                newcomer: desk.sellers.isNewcomer(candidate.key),
                isMet: candidate.hasSession || desk.sellers[candidate.key]?.reply != nil, weight: 1)
            let entry = (eligible, basis.expect(offer, millitrust: trust).score)
            if desk.sellers.isOverdue(candidate.key, now) {
                overdue.append(entry)
            } else if found.isReachabilityUntested, !offer.reachability.acceptsChannels,
                candidate.key != desk.identity.publicKey
            {
                dialling.append(entry)
            } else {
                pool.append(entry)
            }
        }
        for second in [dialling, overdue] {
            if pool.isEmpty {
                pool = second
            } else {
                for (left, _) in second { survey.count(left.candidate.offer.record, .unreachable) }
            }
        }
        let best = pool.reduce(UInt64.max) { min($0, $1.1) }
        return pool.map { eligible, score in
            var eligible = eligible
            let candidate = eligible.candidate
            eligible.weight = Sampling.weight(
                score: score, best: best, slots: candidate.offer.record.slots,
                inFlight: desk.sellers[candidate.key]?.inFlight ?? 0, hasSession: candidate.hasSession)
            return eligible
        }
    }

    private func exclusion(
        of candidate: Candidate, _ requirements: Requirements, _ trust: UInt32, _ desk: AuctionDesk
    ) -> ExclusionReason? {
        let offer = candidate.offer.record
        var reason = requirements.exclusion(of: offer, millitrust: trust)
        func consider(_ other: ExclusionReason) {
            if let first = reason, first.position <= other.position { return }
            reason = other
        }
        if let out = excluded.first(where: { $0.key == candidate.key }) { consider(out.reason) }
        if desk.sellers.isSilent(candidate.key) { consider(.unreachable) }
        // To itself a node needs no connection.
        if !offer.reachability.acceptsChannels && !requirements.selfReachable
            && candidate.key != desk.identity.publicKey
        {
            consider(.unreachable)
        }
        return reason
    }

    private mutating func call(
        _ chosen: [Eligible], _ requirements: Requirements, _ desk: inout AuctionDesk, _ now: MonotonicTime
    ) {
        attempt += 1
        stage = .calling
        let window = self.window(chosen, desk)
        let message = MarketMessage.callForBids(self.message(requirements, window, desk, now))
        auction = Auction(
            attempt: attempt, requirements: requirements, chosen: chosen, now: now, closesAt: now + window)
        for eligible in chosen {
            if !asked.contains(eligible.candidate.key) { asked.append(eligible.candidate.key) }
            desk.sellers.called(eligible.candidate.key, now)
            desk.request(.call, message, task: id, attempt: attempt, to: eligible.candidate.address)
        }
        desk.set(id, .window, at: now + window)
        transcript.known = survey.known
        transcript.skipped = survey.skipped
        if transcript.phases.choose == nil { transcript.phases.choose = now - startedAt }
    }

    /// Twice the slowest candidate's usual reply time; the whole window while one of them is unknown.
    private func window(_ chosen: [Eligible], _ desk: AuctionDesk) -> Interval {
        let parameters = desk.parameters
        var window = parameters.windowMin
        for eligible in chosen {
            guard let reply = desk.sellers[eligible.candidate.key]?.reply else { return parameters.windowMax }
            window = max(window, reply * 2 + parameters.windowMargin)
        }
        return min(window, parameters.windowMax)
    }

    private func message(
        _ requirements: Requirements, _ window: Interval, _ desk: AuctionDesk, _ now: MonotonicTime
    ) -> CallForBids {
        let preferences = request.preferences
        var maxPrice: Price?
        if preferences.maxInputPrice != nil || preferences.maxOutputPrice != nil {
            let most = WireLimits.priceMax
            maxPrice = Price(
                input: max(0, min(preferences.maxInputPrice ?? most, most)), cachedInput: most,
                output: max(0, min(preferences.maxOutputPrice ?? most, most)))
        }
        let version = requirements.continuing
        return CallForBids(
            task: id, attempt: attempt, model: request.model, digest: version?.digest ?? preferences.digest,
            quantizations: version.map { [$0.quantization] } ?? Array(preferences.quantizations.prefix(8)),
            features: request.features, mustContinue: version != nil, tokensIn: requirements.tokensIn,
            tokensOut: requirements.basis.tokensOut, tokensOutMax: requirements.tokensOutMax ?? 0,
            maxPrice: maxPrice,
            closeMilliseconds: UInt32(clamping: min(window * 2, desk.parameters.holdMax).milliseconds),
            deadlineMilliseconds: UInt32(clamping: (deadlineAt - now).milliseconds),
            weights: preferences.weights, buyerUnreachable: !requirements.selfReachable)
    }

    // MARK: - Collecting

    mutating func callAnswered(
        _ message: MarketMessage?, from key: PublicKey, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        note(message, from: key, desk)
        closeIfDecided(&desk, &turn)
    }

    private mutating func note(_ message: MarketMessage?, from key: PublicKey, _ desk: AuctionDesk) {
        switch message {
        case .bid(let signed):
            bids += 1
            auction?.receive(signed, from: key, task: id, buyer: desk.identity.publicKey)
        case .decline(let decline) where decline.task == id && decline.attempt == attempt:
            let parameters = desk.parameters
            let retry = Interval.milliseconds(Int64(decline.retryAfterMilliseconds))
            auction?.decline(key, decline.reason, retryAfter: min(retry, parameters.busyRetryMax))
        default:
            auction?.refuse(key)
        }
    }

    func isCalling(_ attempt: UInt32) -> Bool { stage == .calling && self.attempt == attempt }

    /// An answer after the close: for the transcript, and as the next bid if the winner fails before it begins.
    mutating func answeredLate(_ message: MarketMessage?, from key: PublicKey, _ desk: AuctionDesk) {
        note(message, from: key, desk)
        if let auction { transcript.bids = auction.transcripts() }
    }

    mutating func callUnanswered(_ key: PublicKey, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        auction?.silence(key)
        closeIfDecided(&desk, &turn)
        if stage != .calling, let auction { transcript.bids = auction.transcripts() }
    }

    /// A seller took its leave while its answer was awaited.
    mutating func sellerLeft(_ key: PublicKey, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage == .calling else { return }
        auction?.decline(key, .leaving, retryAfter: .zero)
        closeIfDecided(&desk, &turn)
    }

    private mutating func closeIfDecided(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        if stage == .calling, let auction, auction.canClose { closeAuction(&desk, &turn) }
    }

    mutating func windowClosed(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage == .calling else { return }
        if auction?.best == nil, auction?.isAnybodyOutstanding == true,
            let at = auction?.waitsUntil(turn.monotonic, desk.parameters)
        {
            desk.set(id, .window, at: at)
        } else {
            closeAuction(&desk, &turn)
        }
    }

    private mutating func closeAuction(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        desk.cancel(id, .window)
        if transcript.phases.collect == nil, let auction {
            transcript.phases.collect = turn.monotonic - auction.openedAt
        }
        awardBest(&desk, &turn)
    }

    // MARK: - Awarding

    /// Awards the best bid that is left and genuine; without one, everybody asked is out and others are chosen.
    mutating func awardBest(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        while let index = auction?.best, let entry = auction?.entries[index] {
            guard case .bid(let signed, _, _) = entry.reply else { break }
            guard let verified = try? Verified<Bid>(checking: signed) else {
                auction?.refuse(entry.candidate.key)
                continue
            }
            return startLeg(entry, verified.record, &desk, &turn)
        }
        if let auction { transcript.bids = auction.transcripts() }
        if auction?.isAnybodyOutstanding == true,
            let at = auction?.waitsUntil(turn.monotonic, desk.parameters)
        {
            // It closed early, or in overtime, for a bid that came to nothing.
            stage = .calling
            return desk.set(id, .window, at: at)
        }
        excludeAsked(desk, turn.monotonic)
        choose(&desk, &turn)
    }

    private mutating func startLeg(
        _ entry: Auction.Entry, _ bid: Bid, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        let now = turn.monotonic
        let worker = entry.candidate.address
        stage = .awarding
        auction?.award(worker.key)
        let new = Leg(
            attempt: attempt, worker: worker, name: entry.candidate.offer.record.name, bid: bid,
            workerDials: bid.workerDials, bytesBefore: deliveredBytes, tokensBefore: deliveredTokens,
            tokensMax: tokensLeft, now: now)
        leg = new
        legs += 1
        transcript.legs.append(
            LegTranscript(attempt: attempt, worker: worker.key, name: new.name, fromToken: deliveredTokens))
        if let auction { transcript.bids = auction.transcripts() }
        desk.sellers.awarded(worker.key, now)
        let award = Award(task: id, attempt: attempt, workerDials: bid.workerDials)
        desk.request(.award, .award(award), task: id, attempt: attempt, to: worker)
        // A worker that dials is only waited for: its Hello comes through `received`.
        if !bid.workerDials { desk.emit(.openChannel(id, attempt: attempt, to: worker)) }
        desk.set(id, .award, at: now + awardWait(worker.key, desk))
        desk.set(id, .channel, at: now + desk.parameters.channelWait)
        if let auction, !auction.released {
            self.auction?.released = true
            releaseBids(of: auction, score: auction.winningScore, &desk)
        }
    }

    func awardWait(_ key: PublicKey, _ desk: AuctionDesk) -> Interval {
        let parameters = desk.parameters
        guard let reply = desk.sellers[key]?.reply else { return parameters.awardWaitMax }
        return max(parameters.awardWaitMin, min(parameters.awardWaitMax, reply * 4 + .milliseconds(100)))
    }

    /// Frees the slots of everybody who bid and didn't win.
    func releaseBids(of auction: Auction, score: UInt64, _ desk: inout AuctionDesk) {
        let message = MarketMessage.release(Release(task: id, attempt: auction.attempt, winningScore: score))
        for entry in auction.entries {
            guard case .bid = entry.reply else { continue }
            desk.emit(.send(message, to: entry.candidate.address))
        }
    }

    // MARK: - Nobody

    /// Nobody took the award: each of those asked is out of this task for what it answered.
    private mutating func excludeAsked(_ desk: AuctionDesk, _ now: MonotonicTime) {
        guard let auction else { return }
        var wasKeptWaiting = false
        for entry in auction.entries where !excluded.contains(where: { $0.key == entry.candidate.key }) {
            let key = entry.candidate.key
            switch entry.reply {
            case .waiting, .silent:
                excluded.append(Excluded(key: key, reason: .unreachable))
                wasKeptWaiting = true
            case .refused: excluded.append(Excluded(key: key, reason: .untrusted))
            case .busy:
                excluded.append(Excluded(key: key, reason: .busy, retryAfter: desk.parameters.retryMin))
            case .declined(let reason, let retry):
                let out = reason.exclusion
                let comesBack = reason == .busy || reason == .holdLimit
                excluded.append(Excluded(key: key, reason: out, retryAfter: comesBack ? retry : nil))
            case .bid, .awarded: break
            }
        }
        // The time that dead sellers took is not what the busy ones were given; each of them takes it once.
        if wasKeptWaiting {
            patienceEnds = max(patienceEnds, now + desk.parameters.patience)
        }
    }

    /// Nobody passes the filters: waits for the busy, as long as it makes sense, or gives up and says why.
    private mutating func nobodyLeft(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        let parameters = desk.parameters
        let now = turn.monotonic
        guard let soonest = excluded.compactMap(\.retryAfter).min(), now + soonest < patienceEnds,
            attempt < UInt32(clamping: parameters.auctionsMax)
        else { return refuse(&desk, &turn) }
        // Doubling, so that a full market is not asked without end; by chance, so that two that met don't meet again.
        let backoff = min(parameters.retryMin * (1 << Int64(min(waits, 8))), parameters.retryMax)
        // Mere holds end long before they must, with their auction.
        let wait = soonest > parameters.holdMax ? soonest : backoff
        let at = min(now + wait + turn.random.interval(.zero, backoff), patienceEnds)
        waits += 1
        stage = .waiting
        desk.set(id, .retry, at: at)
    }

    /// Ends the task with the explanation why nobody does it.
    private mutating func refuse(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        if legs > 0 && (failovers > 0 || deliveredBytes > 0) { return failWorkersLost(&desk, &turn) }
        var failure = survey.explanation()
        survey.fill(&failure, excluded: excluded, asked: asked.count, bids: bids)
        end(.refused, failure: failure, &desk, &turn)
    }
}

extension DeclineReason {
    /// The filter under which an asked seller that declines is counted.
    var exclusion: ExclusionReason {
        switch self {
        case .busy, .holdLimit, .paused: .busy
        case .unspecified, .backendDown, .leaving: .unreachable
        case .overMaxPrice: .overMaxPrice
        case .tooSlow: .tooSlow
        case .lacksParameter: .lacksParameter
        case .notServed: .otherModel
        case .contextTooSmall: .contextTooSmall
        case .untrusted: .untrusted
        }
    }
}

extension ExclusionReason {
    /// In the order in which filters apply.
    var position: Int { ExclusionReason.allCases.firstIndex(of: self) ?? 0 }
}
