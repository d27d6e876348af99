import Primitives
import Wire

/// The latest receipt for an assignment. Receipts are cumulative, so that each replaces the earlier ones, and states
/// no less.
struct ReceiptTrack: Sendable {
    private var sequence: UInt64 = 0
    private var prompt: UInt64 = 0
    private var completion: UInt64 = 0
    private var cost = Money.zero
    private var at: MonotonicTime?
    private var forged = 0
    /// No further receipt counts.
    private(set) var isClosed = false

    /// Whether a receipt is worth a signature check: newer than the last, with counts and cost that don't fall, and not
    /// sooner after it than a buyer needs to send one.
    func wants(_ receipt: Receipt, least: Interval, _ now: MonotonicTime) -> Bool {
        guard !isClosed, receipt.sequence > sequence, receipt.promptTokens >= prompt,
            receipt.completionTokens >= completion, receipt.cost >= cost
        else { return false }
        guard let at, !receipt.final else { return true }
        return now - at >= least
    }

    mutating func accepted(_ receipt: Receipt, _ now: MonotonicTime) {
        sequence = receipt.sequence
        prompt = receipt.promptTokens
        completion = receipt.completionTokens
        cost = receipt.cost
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
