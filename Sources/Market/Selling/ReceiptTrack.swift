import Primitives
import Wire

/// The latest receipt for an assignment. Receipts are cumulative, so that each replaces the earlier ones.
struct ReceiptTrack: Sendable {
    private var sequence: UInt64 = 0
    private var at: MonotonicTime?
    private var closed = false

    /// Whether a receipt is worth a signature check: newer than the last, and not sooner after it than a
    /// buyer needs to send one.
    func wants(_ receipt: Receipt, least: Interval, _ now: MonotonicTime) -> Bool {
        guard !closed, receipt.sequence > sequence else { return false }
        guard let at, !receipt.final else { return true }
        return now - at >= least
    }

    mutating func accepted(_ receipt: Receipt, _ now: MonotonicTime) {
        sequence = receipt.sequence
        at = now
        closed = receipt.final
    }
}
