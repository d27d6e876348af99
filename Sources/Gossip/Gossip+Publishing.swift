import Primitives
import Wire

// Our own offers: when they are signed, under which sequence, and to whom they are mailed.
extension Gossip {
    /// Announces or changes what this node serves. `draft.sequence` is the highest one stored before a
    /// restart (0: none). Key, dates and sequence are filled in here, and from then on the offer is refreshed
    /// automatically. The first announcement is sent at once, as is what is urgent; another change at most
    /// once a minute: a later one is held, and only the last of several is sent.
    @discardableResult
    public mutating func announce(
        _ draft: Offer, turn: inout Turn, out: inout [GossipAction]
    ) -> AnnounceOutcome {
        guard leaving == nil else { return .refused(.leaving) }
        guard draft.model.isModelName else { return .refused(.badModelName) }
        var terms = draft
        // As it is written, so that what we hold is what others read.
        terms.name = draft.name.madePlain
        terms.quantization = draft.quantization.madePlain
        terms.publicKey = identity.publicKey
        terms.withdrawn = false
        let id = Offer.shortID(key: identity.publicKey, model: terms.model)
        let isFirst = !(owns[id]?.isServed ?? false)
        if isFirst, owns.values.count(where: \.isServed) >= GossipLimits.offersPerKeyMax {
            return .refused(.tooManyModels)
        }
        var own = owns[id] ?? OwnOffer(terms: terms)
        own.terms = terms
        own.sequence = max(own.sequence, min(terms.sequence, GossipLimits.sequenceMax - 2))
        own.isServed = true
        defer { settle(turn.now, &out) }

        let isSigned = own.published.map { !$0.withdrawn } ?? false
        if isSigned, let published = own.published, OwnOffer.sameTerms(published, terms) {
            own.heldUntil = .never
            keep(own, id)
            return .unchanged
        }
        // A return after a withdrawal must leave room in the receivers' rate for the next withdrawal.
        let mayChange =
            isSigned
            ? turn.monotonic >= own.changedAt + parameters.changeEvery
            : own.published == nil || own.versions.has(2, turn.monotonic)
        if mayChange {
            keep(own, id)
            publish(id, isChange: true, &turn, &out)
            return .published
        }
        // The seller's endpoint, what its model server does, and its price may change at once, as far as receivers accept it.
        let mayMove = own.versions.has(2, turn.monotonic)
        let isMoved = own.published.map { !OwnOffer.sameUrgent($0, terms) } ?? false
        let isMovedOnly = own.published.map { OwnOffer.sameTerms(OwnOffer.at(terms, $0), terms) } ?? false
        if isMoved, isMovedOnly, mayMove {
            keep(own, id)
            publish(id, isChange: false, &turn, &out)
            return .published
        }
        own.heldUntil =
            isSigned && !isMovedOnly
            ? own.changedAt + parameters.changeEvery : turn.monotonic + GossipLimits.versionEvery
        keep(own, id)
        if isMoved, mayMove { refresh(id, &turn, &out) }
        return .held(until: owns[id]?.heldUntil ?? own.heldUntil)
    }

    /// Withdraws an offer at once. Does nothing when the model is not announced.
    public mutating func withdraw(
        model: String, turn: inout Turn, out: inout [GossipAction]
    ) {
        withdraw(Offer.shortID(key: identity.publicKey, model: model), &turn, &out)
        settle(turn.now, &out)
    }

    /// Leaves: withdraws all offers and tells all members and `others` (nodes with an open session).
    /// `leaveFinished` follows when they have answered or timed out. Waiting mail is dropped; nothing is
    /// announced or pulled any more.
    public mutating func leave(
        alsoTo others: [PeerAddress] = [], turn: inout Turn, out: inout [GossipAction]
    ) {
        guard leaving == nil else { return }
        leaving = Leaving()
        mail.removeAll()
        nextMailAt = turn.monotonic
        for timer in [Timer.exchange, .join] { timers.cancel(timer) }
        rumours.removeAll()
        joining = nil
        endPull(turn.now, &out)
        resumed = []
        let ended = owns.keys.filter { owns[$0].map { $0.isServed || isLeftOver($0, turn.now) } ?? false }
        for id in ended {
            withdraw(id, &turn, &out)
            for other in others where members[other.key] == nil && other.key != identity.publicKey {
                mail.add(id, to: other)
            }
        }
        settle(turn.now, &out)
    }

    /// Whether others hold an offer from an earlier run that was to be resumed, and was not.
    private func isLeftOver(_ own: OwnOffer, _ now: Now) -> Bool {
        own.published == nil && own.formerNotAfter.map { $0 > clocks.judge(now.wall) } ?? false
    }

    private mutating func withdraw(
        _ id: UInt64, _ turn: inout Turn, _ out: inout [GossipAction]
    ) {
        guard var own = owns[id] else { return }
        let isKnown = own.published.map { !$0.withdrawn } ?? isLeftOver(own, turn.now)
        guard own.isServed || isKnown else { return }
        own.isServed = false
        own.heldUntil = .never
        keep(own, id)
        // It was held back until now, so no other node knows of it.
        guard isKnown else { return }
        publish(id, isChange: false, &turn, &out)
    }

    /// Stores the state of an own offer. Up to as many withdrawn ones as live ones are remembered, for their
    /// sequences.
    private mutating func keep(_ own: OwnOffer, _ id: UInt64) {
        if owns[id] == nil, owns.count >= 2 * GossipLimits.offersPerKeyMax,
            let oldest = owns.keys.first(where: { !(owns[$0]?.isServed ?? false) })
        {
            owns[oldest] = nil
            timers.cancel(.own(oldest))
        }
        owns[id] = own
        timers.set(.own(id), at: own.deadline)
    }

    /// Signs the offer in its current state (a tombstone when it isn't served) and mails it to all its
    /// holders.
    private mutating func publish(
        _ id: UInt64, isChange: Bool, _ turn: inout Turn, _ out: inout [GossipAction]
    ) {
        guard var own = owns[id] else { return }
        let wall = ourDate(turn.wall)
        var offer = own.isServed ? own.terms : Offer(publicKey: identity.publicKey, model: own.terms.model)
        offer.sequence = own.nextSequence(at: wall)
        offer.issuedAt = wall
        offer.notAfter = wall + parameters.validity
        if !own.isServed {
            // A tombstone lives longer than the version that it withdraws, within the limit for offers.
            offer.withdrawn = true
            let before = max(own.published?.notAfter ?? wall, own.formerNotAfter ?? wall)
            offer.notAfter = min(max(offer.notAfter, before), wall + GossipLimits.validityMax)
        }
        let verified = Verified(signing: offer, with: identity)
        own.published = offer
        own.heldUntil = .never
        own.reassertAt = .never
        if isChange { own.changedAt = turn.monotonic }
        let early = turn.random.interval(.zero, parameters.refreshJitter)
        own.refreshAt = turn.monotonic + (parameters.refreshEvery - early)
        _ = own.versions.take(turn.monotonic)
        keep(own, id)

        let old = book[id]
        book.hold(
            verified, id: id, groups: .init(seller: 0, sender: 0, isDirect: true), own: true,
            expiresAt: expiry(of: offer, turn.now), now: turn.monotonic)
        watchExpiry(id)
        out.append(.sequenceUsed(model: offer.model, offer.sequence))
        tell(verified, replacing: old, &out)
        for holder in members.holders(of: id) { mail.add(id, to: holder) }
    }

    /// The time that we state to others: by our corrected clock.
    func ourDate(_ wall: WallTime) -> WallTime {
        WallTime(milliseconds: min(max(0, clocks.judge(wall).milliseconds), GossipLimits.dateMax))
    }

    mutating func ownIsDue(
        _ id: UInt64, _ turn: inout Turn, _ out: inout [GossipAction]
    ) {
        guard var own = owns[id] else { return }
        let time = turn.monotonic
        if leaving == nil, own.heldUntil <= time {
            publish(id, isChange: true, &turn, &out)
        } else if own.reassertAt <= time {
            own.reassertedAt = time
            keep(own, id)
            refresh(id, &turn, &out)
        } else if leaving == nil, own.isServed, own.refreshAt <= time {
            refresh(id, &turn, &out)
        } else {
            timers.set(.own(id), at: leaving == nil ? own.deadline : .never)
        }
    }

    /// Signs the last published terms again. A held change stays held, except for what is urgent.
    private mutating func refresh(
        _ id: UInt64, _ turn: inout Turn, _ out: inout [GossipAction]
    ) {
        guard var own = owns[id] else { return }
        let (next, until) = (own.terms, own.heldUntil)
        if until < .never, own.isServed, let published = own.published, !published.withdrawn {
            own.terms = OwnOffer.at(next, published)
            keep(own, id)
        }
        publish(id, isChange: false, &turn, &out)
        if until < .never, var own = owns[id] {
            own.terms = next
            own.heldUntil = until
            keep(own, id)
        }
    }

    /// A record under our key came back. If its sequence is above ours, another instance uses this key, or we
    /// lost our state: we continue above it, though not too often, since the other instance does the same.
    mutating func learnOwn(
        _ offer: Offer, _ signed: SignedRecord, _ id: UInt64, from: PeerAddress, _ now: Now
    ) -> Learning {
        if offer.sequence >= GossipLimits.sequenceMax { return drop(.oddSequence) }
        var own = owns[id] ?? OwnOffer(terms: Offer(publicKey: identity.publicKey, model: offer.model))
        if let published = own.published {
            if offer.sequence < published.sequence { return drop(.stale) }
            if offer.sequence == published.sequence, book[id]?.offer.signed.body == signed.body {
                return drop(.duplicate)
            }
        } else if offer.notAfter <= clocks.judge(now.wall) {
            return drop(.expired)
        } else if own.formerNotAfter != nil, offer.sequence <= own.sequence {
            return drop(.duplicate)
        }
        switch check(signed, from: from, .passedOn, now) {
        case .right: break
        case .wrong: return .ignored
        case .unchecked: return .postponed
        }
        if own.published != nil {
            let age = clocks.judge(now.wall).milliseconds &- offer.issuedAt.milliseconds
            foreign = (.milliseconds(age), offer.endpoints.first)
        }
        own.sequence = max(own.sequence, offer.sequence)
        // An offer that we neither serve nor ever withdrew is left from an earlier run; a tombstone ends it,
        // unless we will serve it again.
        let isResumed = own.published == nil && resumed.contains(offer.model)
        let isSettled = !own.isServed && (offer.withdrawn || isResumed)
        if !isSettled, leaving == nil || !own.isServed {
            let earliest = own.reassertedAt.map { $0 + parameters.reassertEvery } ?? now.monotonic
            own.reassertAt = min(own.reassertAt, max(now.monotonic, earliest))
        }
        own.formerNotAfter = max(own.formerNotAfter ?? offer.notAfter, offer.notAfter)
        keep(own, id)
        return .merged
    }

    /// The clock was corrected: offers signed under the old one are refused by others.
    mutating func signAnew(_ now: Now) {
        for id in owns.keys {
            guard var own = owns[id], own.isServed, own.published != nil else { continue }
            own.refreshAt = now.monotonic
            keep(own, id)
        }
    }
}
