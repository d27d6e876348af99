import Primitives
import Wire

/// From the call to the award.
extension BuyerTask {
    /// `first` is called alone, and the others if it doesn't bid well enough.
    mutating func call(
        _ chosen: [Eligible], first: Eligible?, _ requirements: Requirements, _ desk: inout AuctionDesk,
        _ now: MonotonicTime
    ) {
        attempt += 1
        enter(.calling)
        calledTokensIn = requirements.tokensIn
        let called = first.map { [$0] } ?? chosen
        let wait = bidWait(called.map(\.candidate.key), desk)
        auction = Auction(
            attempt: attempt, requirements: requirements, called: called, later: first == nil ? [] : chosen,
            now: now, closesAt: now + wait)
        if first != nil { survey.notSampled += chosen.count }
        send(to: called.map(\.candidate.address), requirements, wait, &desk, now)
        if transcript.phases.choose == nil { transcript.phases.choose = now - startedAt }
    }

    /// The seller that was called alone doesn't bid, or not well enough. What it says still counts.
    private mutating func callOthers(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard let called = auction?.widen() else { return }
        let now = turn.monotonic
        let wait = bidWait(called.map(\.key), desk)
        auction?.closesAt = now + wait
        survey.notSampled -= called.count
        if let requirements = auction?.requirements { send(to: called, requirements, wait, &desk, now) }
        closeIfDecided(&desk, &turn)
    }

    private mutating func send(
        to called: [PeerAddress], _ requirements: Requirements, _ wait: Interval, _ desk: inout AuctionDesk,
        _ now: MonotonicTime
    ) {
        let message = MarketMessage.callForBids(callForBids(requirements, wait, desk.parameters, now))
        for address in called {
            let key = address.key
            if !asked.contains(key) { asked.append(key) }
            desk.sellers.called(key, now)
            desk.request(.call, message, task: id, attempt: attempt, to: address, now)
        }
        desk.set(id, .bids, at: now + wait)
        transcript.known = survey.known
        transcript.skipped = survey.skipped
    }

    /// Twice the slowest candidate's usual reply time; the longest wait while one of them is unknown.
    private func bidWait(_ called: [PublicKey], _ desk: AuctionDesk) -> Interval {
        let parameters = desk.parameters
        var wait = parameters.bidWaitMin
        for key in called {
            guard let reply = desk.sellers.replyTime(key) else {
                return parameters.bidWaitMax
            }
            wait = max(wait, reply * 2 + parameters.bidWaitMargin)
        }
        return min(wait, parameters.bidWaitMax)
    }

    private func callForBids(
        _ requirements: Requirements, _ wait: Interval, _ parameters: MarketParameters, _ now: MonotonicTime
    ) -> CallForBids {
        let preferences = request.preferences
        let version = requirements.continuing
        return CallForBids(
            task: id, attempt: attempt, model: request.model, digest: version?.digest ?? preferences.digest,
            quantizations: version.map { [$0.quantization] } ?? Array(preferences.quantizations.prefix(8)),
            features: request.features, mustContinue: version != nil && !requirements.isRepeating,
            tokensIn: requirements.tokensIn,
            tokensOut: requirements.basis.tokensOut, tokensOutMax: requirements.tokensOutMax ?? 0,
            maxPrice: preferences.maxPrice,
            closeMilliseconds: UInt32(clamping: min(wait * 2, parameters.holdMax).milliseconds),
            deadlineMilliseconds: UInt32(clamping: (deadlineAt - now).milliseconds),
            weights: preferences.weights, buyerUnreachable: !requirements.selfReachable,
            isQuote: request.isQuote)
    }

    // MARK: - Replies

    func isCalling(_ attempt: UInt32) -> Bool { stage == .calling && self.attempt == attempt }

    mutating func callAnswered(
        _ message: MarketMessage?, from key: PublicKey, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        note(message, from: key, &desk, turn.monotonic)
        closeIfDecided(&desk, &turn)
    }

    /// An answer after the close: for the transcript, and as the next bid if the winner fails before it begins.
    mutating func answeredLate(
        _ message: MarketMessage?, from key: PublicKey, _ desk: inout AuctionDesk, _ now: MonotonicTime
    ) {
        note(message, from: key, &desk, now)
        if let auction { transcript.bids = auction.transcripts() }
    }

    private mutating func note(
        _ message: MarketMessage?, from key: PublicKey, _ desk: inout AuctionDesk, _ now: MonotonicTime
    ) {
        switch message {
        case .bid(let signed):
            bids += 1
            // A quote only informs: whoever reads it decides whether to believe the queue.
            let most =
                request.isQuote
                ? desk.parameters.deadlineMax
                : StallClock.queueMax(
                    belief(in: key, desk), tokensIn: calledTokensIn, slowness: slowness, desk.parameters)
            let queue = auction?.receive(
                signed, from: key, task: id, buyer: desk.identity.publicKey, queueMax: most, desk.parameters)
            if let queue { desk.sellers.bid(key, queue: queue, now) }
        case .decline(let decline) where decline.task == id && decline.attempt == attempt:
            // That it gives no more quotes says nothing of its slots.
            if !request.isQuote { desk.sellers.declined(key) }
            let retry = Interval.milliseconds(Int64(decline.retryAfterMilliseconds))
            auction?.decline(
                key, Reason(decline.reason), retryAfter: min(retry, desk.parameters.busyRetryMax))
        default:
            auction?.refuse(key)
        }
    }

    mutating func callUnanswered(
        _ key: PublicKey, isAlive: Bool, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        auction?.silence(key, isAlive: isAlive)
        closeIfDecided(&desk, &turn)
        if stage != .calling, let auction { transcript.bids = auction.transcripts() }
    }

    mutating func callNotSent(_ key: PublicKey, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        auction?.callNotSent(key)
        closeIfDecided(&desk, &turn)
    }

    /// A seller left while its answer was awaited.
    mutating func sellerLeft(_ key: PublicKey, _ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage == .calling else { return }
        auction?.decline(key, .leaving, retryAfter: .zero)
        closeIfDecided(&desk, &turn)
    }

    // MARK: - Closing

    private mutating func closeIfDecided(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage == .calling, let auction else { return }
        let isDecided =
            request.isQuote
            ? auction.isComplete
            : auction.canClose { desk.standing($0, turn.monotonic) } || auction.isGoodEnough(desk.parameters)
        if !isDecided, auction.isSole, auction.isComplete { return callOthers(&desk, &turn) }
        if isDecided { closeAuction(&desk, &turn) }
    }

    mutating func biddingTimedOut(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        guard stage == .calling else { return }
        if auction?.isSole == true { return callOthers(&desk, &turn) }
        if auction?.hasBid == false, let at = auction?.waitsUntil(turn.monotonic, desk.parameters) {
            desk.set(id, .bids, at: at)
        } else {
            closeAuction(&desk, &turn)
        }
    }

    private mutating func closeAuction(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        desk.cancel(id, .bids)
        if transcript.phases.collect == nil, let openedAt = auction?.openedAt {
            transcript.phases.collect = turn.monotonic - openedAt
        }
        awardBest(&desk, &turn)
    }

    /// Awards the best bid that is left and genuine; without one, all that were asked are out and others are chosen.
    mutating func awardBest(_ desk: inout AuctionDesk, _ turn: inout Turn) {
        if quote(&desk, turn.monotonic) { return }
        let winner = request.isQuote ? nil : auction?.awardBest { desk.standing($0, turn.monotonic) }
        if let auction { transcript.bids = auction.transcripts() }
        if let winner { return award(winner, &desk, turn.monotonic) }
        if let at = auction?.waitsUntil(turn.monotonic, desk.parameters) {
            // It closed early, or in overtime, for a bid that came to nothing.
            enter(.calling)
            return desk.set(id, .bids, at: at)
        }
        excludeAsked(desk, turn.monotonic)
        choose(&desk)
    }

    /// No award was taken: each seller that was asked is out of this task for what it answered.
    private mutating func excludeAsked(_ desk: AuctionDesk, _ now: MonotonicTime) {
        guard let auction else { return }
        let out = auction.exclusions(
            desk.parameters, isDoubtful: desk.isDoubtful(since: auction.openedAt)
        ) {
            desk.sellers.wasHeard($0, since: auction.openedAt)
        }
        var (wasKeptWaiting, wasKeptBack) = (false, false)
        for entry in out {
            // One that had seemed dead and came back is out for what it did now.
            let isOut = exclusions.reason(
                of: entry.key, sequence: auction.offer(of: entry.key)?.sequence ?? 0
            ) { desk.sellers.wasHeard(entry.key, since: $0) }
            guard isOut == nil else { continue }
            exclusions.add(entry)
            if entry.reason == .unreachable { wasKeptWaiting = true }
            if entry.reason == .notAsked { wasKeptBack = true }
        }
        // Each dead seller takes that time once: from then on it is excluded.
        if wasKeptWaiting { patience.forgive(desk.parameters, now) }
        if wasKeptBack { patience.forgiveOwnBounds(desk.parameters, now) }
    }

    /// Frees the slots that bids hold in vain.
    func release(_ bidders: [PeerAddress], attempt: UInt32, score: UInt64, _ desk: inout AuctionDesk) {
        let message = MarketMessage.release(Release(task: id, attempt: attempt, winningScore: score))
        for bidder in bidders { desk.emit(.send(message, to: bidder)) }
    }
}

extension Preferences {
    /// The limits on rates as a call states them; nil: none.
    fileprivate var maxPrice: Price? {
        if maxInputPrice == nil && maxOutputPrice == nil { return nil }
        let most = WireLimits.priceMax
        return Price(
            input: max(0, min(maxInputPrice ?? most, most)), cachedInput: most,
            output: max(0, min(maxOutputPrice ?? most, most)))
    }
}
