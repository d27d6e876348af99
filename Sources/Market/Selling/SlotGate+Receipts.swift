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
        changeKept(key) { $0.receipts.accepted(receipt, now.monotonic) }
        if claim.work.isAcknowledged(by: receipt, claim.bid.record) {
            _ = change(key) { $0.wasAcknowledged() }
            shares.acknowledged(claim.party)
        }
        guard receipt.final else { return [] }
        var hasChanged = false
        if claim.work.isMostlyPaid(by: receipt, claim.bid.record) { hasChanged = shares.settled(claim.party) }
        if claim.work.isPaid(by: receipt, claim.bid.record, tokensIn: claim.call.tokensIn) {
            shares.paid(claim.party)
            hasChanged = true
        }
        return hasChanged ? shares.records(of: claim.party, now) : []
    }

    /// The job of this key was not acknowledged. Returns what has changed of the buyer's history.
    mutating func defaulted(_ key: SlotKey, _ now: Now) -> [BuyerRecord] {
        guard let claim = claim(of: key) else { return [] }
        shares.defaulted(claim.party)
        return shares.records(of: claim.party, now)
    }

    /// The job of this key ends. If the buyer has acknowledged less than half of the answer, that counts against it until
    /// its last receipt comes. Returns what has changed of its history.
    mutating func jobEnds(_ key: SlotKey, _ now: Now) -> [BuyerRecord] {
        guard let slot = slots[key], slot.task?.isMostlyUnacknowledged ?? false,
            shares.leftUnpaid(slot.claim.party, now.monotonic)
        else { return [] }
        return shares.records(of: slot.claim.party, now)
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
