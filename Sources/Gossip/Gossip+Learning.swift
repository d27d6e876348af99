import Primitives
import Wire

// What happens to a received offer: cheap checks first, the signature last, then the offer book and
// forwarding.
extension Gossip {
    enum Learning: Equatable {
        case merged
        /// Already known, or refused.
        case ignored
        /// The budget of signature checks was used up.
        case postponed
    }

    mutating func learn(
        _ signed: SignedRecord, from: PeerAddress, byMail: Bool, _ turn: inout Turn,
        _ out: inout [GossipAction]
    ) -> Learning {
        statistics.offersReceived &+= 1
        guard let offer = try? Offer(decoding: signed.body) else { return drop(.malformed) }
        let id = Offer.shortID(key: offer.publicKey, model: offer.model)
        if offer.publicKey == identity.publicKey { return learnOwn(offer, signed, id, from: from, turn.now) }
        if let fault = Self.fault(in: offer) { return drop(fault) }

        let isDirect = offer.publicKey == from.key
        let standing = book.standing(of: offer, body: signed.body, id: id)
        switch standing {
        case .duplicate:
            members.served(from.key, id)
            if isDirect { cancelRumour(id) }
            // A node that first learnt it another way may also have a wrong clock; without this it would drop
            // everything as dated before its time.
            if isDirect, byMail, clocks.hearAgain(offer.issuedAt, from: from.endpoint.prefix, wall: turn.wall)
            {
                clockWasSet(turn.now)
            }
            return drop(.duplicate)
        case .collision:
            return drop(.idCollision)
        case .stale, .losesTie:
            if byMail { correct(id, to: from, turn.now) }
            return drop(standing == .stale ? .stale : .equivocated)
        case .unknown, .newer, .winsTie:
            break
        }
        // The session proves the sender, so the date in its own offer needs no signature: it may correct our
        // clock.
        if isDirect, byMail, clocks.hear(offer.issuedAt, from: from.endpoint.prefix, wall: turn.wall) {
            clockWasSet(turn.now)
        }
        if let fault = fault(inDatesOf: offer, turn.now) { return drop(fault) }

        guard book.allowsVersion(id, turn.monotonic),
            budget.allowsVersion(of: offer.publicKey, turn.monotonic)
        else {
            return drop(.rateLimited)
        }
        let isKnown = book.knows(offer.publicKey) || members.contains(offer.publicKey)
        let verified: Verified<Offer>
        switch check(signed, from: from, isKnown ? (isDirect ? .direct : .passedOn) : .strangers, turn.now) {
        case .right(let checked): verified = checked
        case .wrong: return .ignored
        case .unchecked: return .postponed
        }
        budget.charge(offer.publicKey, turn.monotonic)

        let old = book[id]
        let end = offer.notAfter + parameters.clockTolerance
        if let refusal = book.hold(verified, id: id, own: false, expiresAt: end, now: turn.monotonic) {
            return drop(refusal)
        }
        statistics.offersMerged &+= 1
        for evicted in book.evicted { timers.cancel(.expiry(evicted)) }
        book.evicted.removeAll()
        members.served(from.key, id)
        watchExpiry(id, turn.now)
        tell(verified, replacing: old, &out)
        let endsOne = offer.withdrawn && old.map { !$0.isTombstone } ?? false
        let isRefresh = old.map { !$0.isTombstone && OwnOffer.sameTerms($0.offer.record, offer) } ?? false
        spread(
            id, offer, from: from, isDirect: isDirect, isConflict: standing == .winsTie, endsOne: endsOne,
            isRefresh: isRefresh, &turn)
        return .merged
    }

    enum Check {
        case right(Verified<Offer>), wrong, unchecked
    }

    /// Checks the signature if the sender isn't muted and the budget allows it.
    mutating func check(
        _ signed: SignedRecord, from: PeerAddress, _ purse: CheckBudget.Purse, _ now: Now
    ) -> Check {
        if budget.isMuted(from.key, now.monotonic) {
            dropped.count(.muted)
            return .wrong
        }
        guard budget.takeCheck(purse, now.monotonic) else {
            dropped.count(.overBudget)
            return .unchecked
        }
        statistics.signaturesChecked &+= 1
        if let verified = try? Verified<Offer>.checked(signed, by: parameters.memo) {
            return .right(verified)
        }
        dropped.count(.badSignature)
        budget.blame(from.key, now.monotonic)
        return .wrong
    }

    mutating func drop(_ reason: OfferDropReason) -> Learning {
        dropped.count(reason)
        return .ignored
    }

    /// Faults that no difference of clocks can explain.
    static func fault(in offer: Offer) -> OfferDropReason? {
        let dates = [offer.issuedAt.milliseconds, offer.notAfter.milliseconds]
        guard dates.allSatisfy({ $0 >= 0 && $0 <= GossipLimits.dateMax }), offer.notAfter > offer.issuedAt
        else {
            return .oddDates
        }
        if offer.notAfter > offer.issuedAt + GossipLimits.validityMax { return .holdsTooLong }
        if offer.sequence >= GossipLimits.sequenceMax { return .oddSequence }
        if !offer.endpoints.allSatisfy(\.isUnicast) { return .oddEndpoint }
        return nil
    }

    /// Our offers had wrong dates, and we refused others' for theirs.
    private mutating func clockWasSet(_ now: Now) {
        signAnew(now)
        if clockExchanges.take(now.monotonic) { timers.set(.exchange, at: now.monotonic) }
    }

    /// Judges the offer's dates by our corrected clock. Acceptance and expiry end at the same moment, or two
    /// nodes would pass a dead offer back and forth.
    private func fault(inDatesOf offer: Offer, _ now: Now) -> OfferDropReason? {
        let wall = clocks.judge(now.wall)
        if offer.issuedAt > wall + parameters.clockTolerance { return .fromTheFuture }
        if offer.notAfter + parameters.clockTolerance <= wall { return .expired }
        return nil
    }

    /// A node that mailed us an older version gets the one we hold: this way a restarted seller learns its
    /// own higher sequence, and a conflict ends.
    private mutating func correct(_ id: UInt64, to address: PeerAddress, _ now: Now) {
        guard book.passable(id, at: clocks.judge(now.wall)), correctionRate.take(now.monotonic) else {
            return
        }
        mail.add(id, to: address)
    }

    /// Forwards a version that its publisher did not mail to us itself, if it is news to others too, and
    /// every withdrawal of an offer that we listed (`endsOne`). While we are joining, what is news to us is
    /// not news to the mesh.
    private mutating func spread(
        _ id: UInt64, _ offer: Offer, from: PeerAddress, isDirect: Bool, isConflict: Bool, endsOne: Bool,
        isRefresh: Bool, _ turn: inout Turn
    ) {
        cancelRumour(id)
        guard joining == nil, leaving == nil else { return }
        let isFresh = clocks.judge(turn.wall) < offer.issuedAt + parameters.rumourAgeMax
        let fanout: Int
        if isConflict {
            fanout = parameters.conflictFanout
        } else if endsOne, isFresh {
            fanout = parameters.withdrawalFanout
        } else if !isDirect, isFresh {
            fanout = isRefresh ? parameters.refreshFanout : parameters.rumourFanout
        } else if isDirect, turn.random.chance(1, in: max(1, parameters.spotCheckOneIn)) {
            fanout = 1
        } else {
            return
        }
        guard rumours.count < GossipLimits.rumoursMax else { return }
        rumours[id] = Rumour(fanout: fanout, source: from.key)
        if isConflict || endsOne { return startRumour(id, &turn.random) }
        let wait = parameters.rumourDelay + turn.random.interval(.zero, parameters.rumourDelay)
        timers.set(.rumour(id), at: turn.monotonic + wait)
    }

    mutating func startRumour(_ id: UInt64, _ random: inout SeededRandom) {
        guard let rumour = rumours.removeValue(forKey: id), let offer = book[id]?.offer.record else { return }
        statistics.rumoursStarted &+= 1
        for member in members.partners(
            rumour.fanout, except: [rumour.source, offer.publicKey], random: &random)
        {
            mail.add(id, to: member)
        }
    }

    private mutating func cancelRumour(_ id: UInt64) {
        if rumours.removeValue(forKey: id) != nil { timers.cancel(.rumour(id)) }
    }

    /// Reports the change. Nothing is reported for a refresh, nor for a tombstone of an offer that we never
    /// knew.
    func tell(_ offer: Verified<Offer>, replacing old: OfferBook.Entry?, _ out: inout [GossipAction]) {
        let record = offer.record
        let before = old.flatMap { $0.isTombstone ? nil : $0.offer.record }
        if record.withdrawn {
            if before != nil { out.append(.offerWithdrawn(record.publicKey, model: record.model)) }
        } else if before.map({ !OwnOffer.sameTerms($0, record) }) ?? true {
            out.append(.offerLearnt(offer))
        }
    }

    // MARK: Expiry

    /// Expiry is judged by wall time; the timer only says when to look, so setting the clock is harmless.
    mutating func watchExpiry(_ id: UInt64, _ now: Now) {
        guard let entry = book[id] else { return }
        let left = entry.expiresAt.milliseconds &- clocks.judge(now.wall).milliseconds
        let longest = (GossipLimits.validityMax + GossipLimits.validityMax).milliseconds
        timers.set(.expiry(id), at: now.monotonic + .milliseconds(min(max(left, 1), longest)))
    }

    mutating func expire(_ id: UInt64, _ now: Now, _ out: inout [GossipAction]) {
        guard let entry = book[id], !(owns[id]?.isServed ?? false) else { return }
        guard entry.expiresAt <= clocks.judge(now.wall) else { return watchExpiry(id, now) }
        book.remove(id)
        timers.cancel(.expiry(id))
        let record = entry.offer.record
        if !entry.isTombstone { out.append(.offerExpired(record.publicKey, model: record.model)) }
    }
}
