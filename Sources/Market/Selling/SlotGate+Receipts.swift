import Primitives
import Wire

// Receipts, for attempts that run or have ended.
extension SlotGate {
    /// What was bid and delivered for this key, by our own count; nil: no job of it delivered anything.
    private func claimWithWork(_ key: SlotKey) -> Claim? {
        guard let slot = slots[key] else { return ended.ran(key) }
        guard let task = slot.task else { return nil }
        var claim = slot.claim
        claim.work = task.work
        return claim
    }

    /// Whether a receipt is worth a signature check: it goes on from the last one, and owes no more than what was
    /// delivered.
    func wants(_ receipt: Receipt, for key: SlotKey, _ now: MonotonicTime) -> Bool {
        guard let claim = claimWithWork(key) else { return false }
        return claim.receipts.wants(receipt, least: parameters.receiptSpacing, now)
            && claim.work.covers(receipt, claim.bid.record, tokensIn: claim.call.tokensIn)
    }

    /// Counts a receipt whose signature was checked. Returns what has changed of the buyer's history, if anything.
    mutating func accepted(_ receipt: Receipt, for key: SlotKey, _ now: Now) -> [BuyerRecord] {
        guard let claim = claimWithWork(key) else { return [] }
        if claim.receipts.last == nil { sold.insert(key) }
        changeKept(key) { $0.receipts.accepted(receipt, now.monotonic) }
        if claim.work.isAcknowledged(by: receipt, claim.bid.record) {
            _ = change(key) { $0.wasAcknowledged() }
            shares.acknowledged(claim.party)
        }
        guard receipt.final, slots[key] == nil else { return [] }
        return judge(key, now)
    }

    /// Judges the final receipt of an answer that has ended.
    private mutating func judge(_ key: SlotKey, _ now: Now) -> [BuyerRecord] {
        guard let claim = claimWithWork(key), let receipt = claim.receipts.last, !claim.party.isOwn else {
            return []
        }
        let (party, bid, work) = (claim.party, claim.bid.record, claim.work)
        let missing = missing(of: claim)
        guard work.isMostlyPaid(by: receipt, bid) else {
            return leaveUnpaid(key, claim, now)
        }
        var hasChanged = shares.settled(party)
        if let charge = claim.payment.charge { shares.giveBack(charge, to: party) }
        if case .unpaid = claim.payment { hasChanged = true }
        if work.isPaid(by: receipt, bid) {
            shares.paid(party, receipt.cost)
            hasChanged = true
        } else if claim.payment.charge != nil, missing > .zero {
            _ = shares.charge(party, Paid(amount: missing))
            hasChanged = true
        }
        changeKept(key) { $0.payment = .settled }
        return hasChanged ? shares.records(of: party, now) : []
    }

    /// The job of this key was not acknowledged. Returns what has changed of the buyer's history.
    mutating func defaulted(_ key: SlotKey, _ now: Now) -> [BuyerRecord] {
        guard let claim = claim(of: key) else { return [] }
        shares.defaulted(claim.party)
        return shares.records(of: claim.party, now)
    }

    /// The answer of this key has ended by FINISH, or by what its buyer did: what it owes is due. Returns what has changed
    /// of buyers' histories.
    mutating func isDue(_ key: SlotKey, lineBroke: Bool, _ now: Now) -> [BuyerRecord] {
        guard let claim = ended.ran(key), case .open = claim.payment, !claim.party.isOwn,
            claim.work.isOwed(claim.bid.record)
        else { return [] }
        let charge = shares.charge(claim.party, Paid(amount: missing(of: claim)))
        changeKept(key) { $0.payment = .awaited(charge, lineBroke: lineBroke) }
        if claim.receipts.last?.final ?? false { return judge(key, now) }
        let surplus = awaited.add(key, until: now.monotonic + parameters.finalReceiptMax)
        return surplus.map { isOverdue($0, now) } ?? []
    }

    /// What receipts don't cover of the price of an answer that has ended.
    private func missing(of claim: Claim) -> Money {
        max(.zero, claim.work.owed(claim.bid.record) - claim.receipts.cost)
    }

    /// The time for the final receipt of this key is over. Returns what has changed of the buyer's history.
    mutating func isOverdue(_ key: SlotKey, _ now: Now) -> [BuyerRecord] {
        guard let claim = ended.ran(key), case .awaited = claim.payment else { return [] }
        return leaveUnpaid(key, claim, now)
    }

    private mutating func leaveUnpaid(_ key: SlotKey, _ claim: Claim, _ now: Now) -> [BuyerRecord] {
        guard case .awaited(let charge, let lineBroke) = claim.payment else { return [] }
        shares.giveBack(charge, to: claim.party)
        let all = shares.charge(claim.party, Paid(tasks: 1, amount: missing(of: claim)))
        changeKept(key) { $0.payment = .unpaid(all) }
        if !lineBroke { _ = shares.leftUnpaid(claim.party, now.monotonic) }
        return shares.records(of: claim.party, now)
    }

    /// Notes a wrong signature; returns whether it ends the attempt.
    mutating func wasForged(_ key: SlotKey) -> Bool {
        var isOneTooMany = false
        let most = parameters.forgedReceiptsMax
        changeKept(key) { isOneTooMany = $0.receipts.wasForged(most: most) }
        return isOneTooMany
    }

    private mutating func changeKept(_ key: SlotKey, _ body: (inout Claim) -> Void) {
        if !changeClaim(key, body) { ended.changeRan(key, body) }
    }
}
