import Primitives
import Wire

/// Sellers that are excluded from one task, and why.
struct Exclusions: Sendable {
    struct Entry: Sendable {
        let key: PublicKey
        let reason: Reason
        /// How long to wait before asking it again; nil: excluded for good.
        let retryAfter: Interval?
        /// It was only too slow: better than nobody.
        var isLastResort = false
    }

    private var entries: [Entry] = []

    func contains(_ key: PublicKey) -> Bool { entries.contains { $0.key == key } }
    func reason(of key: PublicKey) -> Reason? { entries.first { $0.key == key }?.reason }

    /// When the first of those that come back may be asked again; nil if none comes back.
    var soonestRetry: Interval? { entries.compactMap(\.retryAfter).min() }

    /// Replaces the entry of the seller.
    mutating func add(_ entry: Entry) {
        entries.removeAll { $0.key == entry.key }
        entries.append(entry)
    }

    /// Readmits sellers that were only slow, once no other is left; false: there is none.
    mutating func readmitSlow() -> Bool {
        guard entries.contains(where: \.isLastResort) else { return false }
        entries.removeAll(where: \.isLastResort)
        return true
    }

    /// Readmits sellers that were only busy.
    mutating func readmit() { entries.removeAll { $0.retryAfter != nil } }
}
