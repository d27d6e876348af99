import Primitives
import Wire

// What happens to a received offer: cheap checks first, the signature last, then the offer book and
// forwarding.
extension Gossip {
    enum Learning: Equatable {
        case merged
        /// Already known, or refused.
        case ignored
        /// It waits for its seller's rate.
        case delayed
        /// The budget of signature checks was used up.
        case postponed
    }

    mutating func learn(
        _ signed: SignedRecord, from: PeerAddress, byMail: Bool, _ turn: inout Turn,
        _ out: inout [GossipAction]
    ) -> Learning {
        statistics.offersReceived &+= 1
        return judge(signed, from: from, byMail: byMail, checked: nil, &turn, &out)
    }

    /// `checked` is the record if its signature was checked before: when it waited for its seller's rate.
    private mutating func judge(
        _ signed: SignedRecord, from: PeerAddress, byMail: Bool, checked: Verified<Offer>?,
        _ turn: inout Turn, _ out: inout [GossipAction]
    ) -> Learning {
        guard let offer = try? Offer(decoding: signed.body) else { return drop(.malformed) }
        let id = Offer.shortID(key: offer.publicKey, model: offer.model)
        if offer.publicKey == identity.publicKey { return learnOwn(offer, signed, id, from: from, turn.now) }
        if let fault = fault(in: offer) { return drop(fault) }

        let isDirect = offer.publicKey == from.key
        let standing = book.standing(of: offer, body: signed.body, id: id)
        switch standing {
        case .duplicate:
            members.served(from.key, id)
            if isDirect {
                book.prove(id, groups(of: offer, from: from))
                if rumours[id]?.isUrgent == false { cancelRumour(id) }
            }
            // A node that first learnt it another way may also have a wrong clock; without this it would drop
            // everything as dated before its time.
            if isDirect, byMail { compareClocks(offer, from, isNews: false, turn.now) }
            return drop(.duplicate)
        case .collision:
            return drop(.idCollision)
        case .stale, .losesTie:
            if byMail { correct(id, to: from, turn.now) }
            return drop(standing == .stale ? .stale : .equivocated)
        case .unknown, .newer, .winsTie:
            break
        }
        if isDirect, byMail { compareClocks(offer, from, isNews: true, turn.now) }
        if let fault = fault(inDatesOf: offer, turn.now) { return drop(fault) }

        guard book.allowsVersion(id, turn.monotonic),
            budget.allowsVersion(of: offer.publicKey, turn.monotonic)
        else {
            return delay(signed, offer, id, from: from, checked, turn.now)
        }
        let groups = groups(of: offer, from: from)
        let room = book.room(for: offer, replacing: book[id], groups, random: &turn.random)
        if case .none(let refusal) = room { return drop(refusal) }
        let isKnown = book.knows(offer.publicKey) || members.contains(offer.publicKey)
        let verified: Verified<Offer>
        if let checked {
            verified = checked
        } else {
            switch check(
                signed, from: from, isKnown ? (isDirect ? .direct : .passedOn) : .strangers, turn.now)
            {
            case .right(let record): verified = record
            case .wrong: return .ignored
            case .unchecked: return .postponed
            }
        }
        budget.charge(offer.publicKey, turn.monotonic)
        if case .evicting(let victim) = room { evict(victim, turn.monotonic) }

        let old = book[id]
        book.hold(
            verified, id: id, groups: groups, own: false, expiresAt: expiry(of: offer, turn.now),
            now: turn.monotonic)
        statistics.offersMerged &+= 1
        members.served(from.key, id)
        watchExpiry(id)
        tell(verified, replacing: old, &out)
        spread(
            id, offer, replacing: old, from: from, isDirect: isDirect, isConflict: standing == .winsTie,
            &turn)
        return .merged
    }

    func group(_ endpoint: Endpoint) -> UInt64 { endpoint.group(countsEndpoints: parameters.isLocal) }

    private func groups(of offer: Offer, from: PeerAddress) -> OfferBook.Groups {
        let sender = group(from.endpoint)
        return OfferBook.Groups(
            seller: offer.endpoints.first(where: parameters.accepts).map(group) ?? sender, sender: sender,
            isDirect: offer.publicKey == from.key)
    }

    // MARK: Versions over the rate

    /// Lets the newest version that came faster than the rates allow wait until they do: what is dropped
    /// would be missed until the next refresh. One waits for each offer held. A publisher's own session
    /// proves that it is the publisher's; another's is checked at once, so that a forgery can't take the true
    /// one's place.
    private mutating func delay(
        _ signed: SignedRecord, _ offer: Offer, _ id: UInt64, from: PeerAddress, _ checked: Verified<Offer>?,
        _ now: Now
    ) -> Learning {
        guard book[id] != nil, delayed.count < parameters.offersMax || delayed[id] != nil else {
            return drop(.rateLimited)
        }
        if let waiting = delayed[id], !waiting.givesWay(to: offer, signed.body) { return drop(.stale) }
        var checked = checked
        if checked == nil, offer.publicKey != from.key {
            switch check(signed, from: from, .delayed, now) {
            case .right(let record): checked = record
            case .wrong: return .ignored
            case .unchecked: return .postponed
            }
        }
        members.served(from.key, id)
        statistics.versionsDelayed &+= 1
        delayed[id] = DelayedVersion(signed: signed, sequence: offer.sequence, from: from, checked: checked)
        timers.set(
            .delayed(id), at: max(book.nextVersion(id), budget.nextVersion(of: offer.publicKey)))
        return .delayed
    }

    mutating func delayIsOver(_ id: UInt64, _ turn: inout Turn, _ out: inout [GossipAction]) {
        guard let version = delayed.removeValue(forKey: id) else { return }
        delayed.releaseIfEmpty()
        let outcome = judge(
            version.signed, from: version.from, byMail: false, checked: version.checked, &turn, &out)
        guard outcome == .postponed else { return }
        delayed[id] = version
        timers.set(.delayed(id), at: turn.monotonic + GossipLimits.checkRetry)
    }

    // MARK: Checks

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
    private func fault(in offer: Offer) -> OfferDropReason? {
        let dates = [offer.issuedAt.milliseconds, offer.notAfter.milliseconds]
        guard dates.allSatisfy({ $0 >= 0 && $0 <= GossipLimits.dateMax }), offer.notAfter > offer.issuedAt
        else {
            return .oddDates
        }
        if offer.notAfter > offer.issuedAt + GossipLimits.validityMax { return .holdsTooLong }
        if offer.sequence >= GossipLimits.sequenceMax { return .oddSequence }
        if !offer.endpoints.allSatisfy(\.isUnicast) { return .oddEndpoint }
        if !offer.endpoints.isEmpty, !offer.endpoints.contains(where: parameters.accepts) {
            return .oddEndpoint
        }
        return nil
    }

    /// The session proves the sender, so the date in its own offer needs no signature: it may correct our
    /// clock, if the sender has answered us at this address, and else once it has.
    private mutating func compareClocks(_ offer: Offer, _ from: PeerAddress, isNews: Bool, _ now: Now) {
        guard hasAnswered(from) else {
            let (ahead, overflow) = offer.issuedAt.milliseconds.subtractingReportingOverflow(
                now.wall.milliseconds)
            if !overflow { earlyDates.insert(from.key, EarlyDate(sender: from, ahead: ahead)) }
            return
        }
        let network = from.endpoint.allocation
        let isSet =
            isNews
            ? clocks.hear(offer.issuedAt, from: network, now)
            : clocks.hearAgain(offer.issuedAt, from: network, now)
        if isSet { clockWasSet(now) }
    }

    /// The clock in the answer to a digest counts like the date of a mailed offer. A node that nobody mails,
    /// because it is in nobody's table, hears of no other date that it may believe.
    mutating func compareClock(_ stated: WallTime, _ from: PeerAddress, _ now: Now) {
        guard stated.milliseconds > 0, hasAnswered(from) else { return }
        if clocks.hear(stated, from: from.endpoint.allocation, now) { clockWasSet(now) }
    }

    private func hasAnswered(_ address: PeerAddress) -> Bool {
        members[address.key].map { $0.hasAnswered && $0.address == address } ?? false
    }

    /// A member has answered us now: the date in an earlier mail of its counts. A publisher mails a newcomer
    /// before the newcomer has probed it, and not again for a minute.
    mutating func compareEarlyDate(of key: PublicKey, _ now: Now) {
        guard let early = earlyDates[key], hasAnswered(early.sender) else { return }
        earlyDates.remove(key)
        let issuedAt = WallTime(milliseconds: now.wall.milliseconds &+ early.ahead)
        if clocks.hear(issuedAt, from: early.sender.endpoint.allocation, now) { clockWasSet(now) }
    }

    /// After a correction our own offers are signed anew, because they had wrong dates, and books are
    /// compared, because we refused others' for theirs. What we hold may last longer by the new clock, and
    /// never shorter.
    private mutating func clockWasSet(_ now: Now) {
        signAnew(now)
        for id in book.ids {
            guard let entry = book[id] else { continue }
            book.prolong(id, until: expiry(of: entry.offer.record, now))
            watchExpiry(id)
        }
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
        guard book.passable(id, at: clocks.judge(now.wall)),
            correctionRate.take(
                group(address.endpoint), isMember: members.contains(address.key), now.monotonic)
        else { return }
        mail.add(id, to: address)
    }

    /// Forwards a version that its publisher did not mail to us itself, if it is news to others too. A
    /// withdrawal of an offer that we listed, and the return of one that was withdrawn, are forwarded by
    /// everybody: a publisher mails only its own members, which in a larger mesh are not all holders of its
    /// offer. While we are joining, what is news to us is not news to the mesh.
    private mutating func spread(
        _ id: UInt64, _ offer: Offer, replacing old: OfferBook.Entry?, from: PeerAddress, isDirect: Bool,
        isConflict: Bool, _ turn: inout Turn
    ) {
        cancelRumour(id)
        guard joining == nil, leaving == nil else { return }
        let isFresh = clocks.judge(turn.wall) < offer.issuedAt + parameters.rumourAgeMax
        let isChange = old.map { $0.isTombstone != offer.withdrawn } ?? false
        let fanout: Int
        if isConflict {
            fanout = parameters.conflictFanout
        } else if isChange, isFresh {
            fanout = offer.withdrawn ? parameters.withdrawalFanout : parameters.rumourFanout
        } else if !isDirect, isFresh {
            let isRefresh = old.map { OwnOffer.sameTerms($0.offer.record, offer) } ?? false
            fanout = isRefresh ? parameters.refreshFanout : parameters.rumourFanout
        } else if isDirect, turn.random.chance(1, in: max(1, parameters.spotCheckOneIn)) {
            fanout = 1
        } else {
            return
        }
        let isUrgent = isConflict || isChange && isFresh
        // Urgent ones leave at once, and find room however many strangers' offers wait.
        guard rumours.count < GossipLimits.rumoursMax * (isUrgent ? 4 : 3) / 4 else { return }
        rumours[id] = Rumour(fanout: fanout, source: from.key, isUrgent: isUrgent)
        if isUrgent { return startRumour(id, &turn) }
        let wait = parameters.rumourDelay + turn.random.interval(.zero, parameters.rumourDelay)
        timers.set(.rumour(id), at: turn.monotonic + wait)
    }

    /// Mails what is held under `id` now to some members. A seller that changes its offers faster than others
    /// may be made to copy them has its newest versions forwarded when its budget allows.
    mutating func startRumour(_ id: UInt64, _ turn: inout Turn) {
        guard let rumour = rumours.removeValue(forKey: id), let offer = book[id]?.offer.record else { return }
        if rumour.fanout > 1, !budget.takeSpread(of: offer.publicKey, turn.monotonic) {
            // Half of the table is for rumours of sellers within their budgets.
            guard rumours.count < GossipLimits.rumoursMax / 2 else { return }
            rumours[id] = rumour
            return timers.set(.rumour(id), at: budget.nextSpread(of: offer.publicKey))
        }
        statistics.rumoursStarted &+= 1
        for member in members.partners(
            rumour.fanout, except: [rumour.source, offer.publicKey], random: &turn.random)
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

    /// When `offer` will be forgotten: its end by our clock as it is now, on the monotonic one.
    func expiry(of offer: Offer, _ now: Now) -> MonotonicTime {
        let end = offer.notAfter + parameters.clockTolerance
        let left = end.milliseconds &- clocks.judge(now.wall).milliseconds
        let longest = GossipLimits.validityMax + parameters.clockTolerance + parameters.clockTolerance
        return now.monotonic + .milliseconds(min(max(left, 1), longest.milliseconds))
    }

    mutating func watchExpiry(_ id: UInt64) {
        if let entry = book[id] { timers.set(.expiry(id), at: entry.expiresAt) }
    }

    mutating func expire(_ id: UInt64, _ now: MonotonicTime, _ out: inout [GossipAction]) {
        guard let entry = book[id], !(owns[id]?.isServed ?? false) else { return }
        guard entry.expiresAt <= now else { return watchExpiry(id) }
        book.remove(id, now)
        let record = entry.offer.record
        if !entry.isTombstone { out.append(.offerExpired(record.publicKey, model: record.model)) }
    }

    /// Makes room for another.
    mutating func evict(_ id: UInt64, _ now: MonotonicTime) {
        book.remove(id, now)
        timers.cancel(.expiry(id))
        timers.cancel(.delayed(id))
        delayed[id] = nil
    }
}
