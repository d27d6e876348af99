import Primitives
import Wire

/// The latest receipt for an assignment: cumulative, so that it replaces the ones before.
struct ReceiptTrack: Sendable {
    private var sequence: UInt64 = 0
    private var at: MonotonicTime?
    private var closed = false

    /// Whether a receipt is worth a signature check: newer, and not faster than a buyer has reason to send them.
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
