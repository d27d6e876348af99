import Primitives

/// What of a buyer's payments outlives a restart of this node, or each restart would make all its buyers strangers
/// and forgive all that they left unpaid.
public struct BuyerRecord: Hashable, Sendable {
    public enum Party: Hashable, Sendable {
        case key(PublicKey)
        /// All keys of a network (`Endpoint.group`).
        case network(UInt64)
    }

    public var party: Party
    /// What was paid as counted since the last answer that wasn't acknowledged, less what was left unpaid.
    public var paid: Paid
    /// Times in a row that it left an answer unpaid.
    public var unpaid: Int
    public var at: WallTime

    public init(_ party: Party, paid: Paid, unpaid: Int = 0, at: WallTime) {
        self.party = party
        self.paid = paid
        self.unpaid = unpaid
        self.at = at
    }
}
