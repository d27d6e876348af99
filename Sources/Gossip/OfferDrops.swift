import Primitives

/// Why a received offer was dropped or a message not answered, under the names by which they are counted.
public enum OfferDropReason: String, CaseIterable, Sendable {
    /// It arrived in a packet that proves nothing (a first message).
    case unproven
    case malformed
    /// Dates outside the valid range, or an end before the beginning.
    case oddDates
    case oddSequence
    case oddEndpoint
    /// Issued in the future, by more than clocks may differ.
    case fromTheFuture
    /// Claims to be valid for more than ten minutes.
    case holdsTooLong
    case expired
    /// The version that we already hold.
    case duplicate
    /// Older than what we hold, or withdrawn since.
    case stale
    /// Another body under the sequence that we hold, and not the winner.
    case equivocated
    /// Its short id is taken by another seller's offer.
    case idCollision
    /// Too many new versions from this seller, and none of this offer is held for which it could wait.
    case rateLimited
    /// The second's budget of signature checks was used up.
    case overBudget
    /// From a sender of bad signatures.
    case muted
    case badSignature
    case tooManyFromOneKey
    /// The offer book is full, and nothing in it is of a more crowded address group.
    case bookFull
    case badDigest
    case digestOverBudget
    /// An answer of the wrong kind.
    case wrongAnswer
    case membersFull
}

/// How often each reason has occurred.
public struct OfferDrops: Sendable {
    private var tallies = [UInt64](repeating: 0, count: OfferDropReason.allCases.count)
    private static let index: [OfferDropReason: Int] = {
        var index: [OfferDropReason: Int] = [:]
        for (position, reason) in OfferDropReason.allCases.enumerated() { index[reason] = position }
        return index
    }()

    public init() {}

    public subscript(reason: OfferDropReason) -> UInt64 { tallies[Self.index[reason, default: 0]] }

    mutating func count(_ reason: OfferDropReason) { tallies[Self.index[reason, default: 0]] &+= 1 }

    /// Every reason that has occurred, in order of declaration.
    public var named: [(name: String, count: UInt64)] {
        OfferDropReason.allCases.compactMap { self[$0] > 0 ? ($0.rawValue.snakeCased, self[$0]) : nil }
    }
}

/// What gossip did, for measurements and tests.
public struct GossipStatistics: Sendable {
    public var mailsSent: UInt64 = 0
    public var digestsSent: UInt64 = 0
    /// Offers received in any message, including duplicates.
    public var offersReceived: UInt64 = 0
    /// Of those, offers that updated the offer book.
    public var offersMerged: UInt64 = 0
    /// Versions that came faster than their seller's rate and waited.
    public var versionsDelayed: UInt64 = 0
    public var signaturesChecked: UInt64 = 0
    public var rumoursStarted: UInt64 = 0
    public init() {}
}
