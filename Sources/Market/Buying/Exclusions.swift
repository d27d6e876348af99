import Primitives
import Wire

/// Sellers that are excluded from one task, and why.
struct Exclusions: Sendable {
    struct Entry: Sendable {
        let key: PublicKey
        let reason: Reason
        /// How long to wait before asking it again; nil: excluded for good. Of one that is too late, what another task like
        /// this one should wait.
        let retryAfter: Interval?
        fileprivate var comesBack: Bool { retryAfter != nil && reason != .tooLate }
        /// It was only too slow: better than nobody.
        var isLastResort = false
        /// It seems dead, and the sequence of the offer that it had then: a newer one shows that it is back.
        var deadWith: UInt64?
        /// And since when: what comes from it later shows the same.
        var deadSince = MonotonicTime.zero
    }

    private var entries: [Entry] = []

    func contains(_ key: PublicKey) -> Bool { entries.contains { $0.key == key } }

    /// Why the seller is out; nil: it isn't, or it is back: the sequence of its offer shows that, or that something came from
    /// it since a time.
    func reason(of key: PublicKey, sequence: UInt64, wasHeard: (MonotonicTime) -> Bool) -> Reason? {
        guard let entry = entries.first(where: { $0.key == key }) else { return nil }
        if let dead = entry.deadWith, sequence > dead || wasHeard(entry.deadSince) { return nil }
        return entry.reason
    }

    /// Whether sellers that answer other tasks are among them.
    func hasBusy(besides others: [PublicKey]) -> Bool {
        entries.contains {
            $0.comesBack && ($0.reason == .busy || $0.reason == .holdLimit)
                && !others.contains($0.key)
        }
    }

    /// Whether sellers that seem dead are among them: one may come back.
    var hasDead: Bool { entries.contains { $0.deadWith != nil } }

    /// When the first of those that come back may be asked again; nil if none comes back.
    var soonestRetry: Interval? { entries.filter(\.comesBack).compactMap(\.retryAfter).min() }

    /// The same for another task like this one.
    var soonestAdvice: Interval? { entries.compactMap(\.retryAfter).min() }

    /// How many can't meet the task's deadline.
    var late: Int { entries.count { $0.reason == .tooLate } }

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
    mutating func readmit() { entries.removeAll(where: \.comesBack) }
}
