// `POST /mesh/settle` and `starling settle --json`.

import Primitives

/// What the settlement command was asked to pay.
public struct SettleDocument: Codable, Sendable, Equatable {
    public var nodeID: String
    public var name: String
    /// Zero: nothing was due, and the command wasn't run.
    public var paid: Money
    /// All that it was ever asked to pay to this node, and what that node hasn't confirmed.
    public var unconfirmed: Money

    public init(nodeID: String, name: String, paid: Money, unconfirmed: Money) {
        (self.nodeID, self.name, self.paid, self.unconfirmed) = (nodeID, name, paid, unconfirmed)
    }

    enum CodingKeys: String, CodingKey {
        case nodeID = "node_id"
        case name
        case paid = "paid_ucr"
        case unconfirmed = "unconfirmed_ucr"
    }
}
