import Primitives
import Wire

/// The latest receipt for an assignment. Receipts are cumulative, so that each replaces the earlier ones, and states
/// no less.
struct ReceiptTrack: Sendable {
    private(set) var last: Receipt?
    private var at: MonotonicTime?
    private var forged = 0
    /// No further receipt counts.
    private(set) var isClosed = false

    /// What the receipts owe.
    var cost: Money { last?.cost ?? .zero }

    /// Whether a receipt is worth a signature check: newer than the last, with counts and cost that don't fall, and not
    /// sooner after it than a buyer needs to send one.
    func wants(_ receipt: Receipt, least: Interval, _ now: MonotonicTime) -> Bool {
        guard !isClosed, receipt.sequence > 0 else { return false }
        guard let last, let at else { return true }
        guard receipt.sequence > last.sequence, receipt.promptTokens >= last.promptTokens,
            receipt.completionTokens >= last.completionTokens, receipt.cost >= last.cost
        else { return false }
        return receipt.final || now - at >= least
    }

    mutating func accepted(_ receipt: Receipt, _ now: MonotonicTime) {
        last = receipt
        at = now
        isClosed = receipt.final
    }

    /// Counts a wrong signature; returns whether it is one too many, which ends the attempt.
    mutating func wasForged(most: Int) -> Bool {
        forged += 1
        if forged >= most { isClosed = true }
        return isClosed
    }
}
