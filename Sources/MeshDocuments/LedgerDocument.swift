// `GET /mesh/ledger` and `starling ledger --json`: who owes what and why, and what was sold over time.

import Primitives

/// This node's accounts with its peers.
public struct LedgerDocument: Codable, Sendable, Equatable {
    public struct Peer: Codable, Sendable, Equatable {
        /// Nil: peers that are no longer kept apart.
        @Nullable public var nodeID: String?
        @Nullable public var publicKey: String?
        public var name: String
        public var isPinned: Bool
        /// What it owes this node, or this node owes it: one of the two is zero.
        public var owed: Money
        public var owing: Money
        /// Of its line, for bids and tasks that run. Nil, as the next three: this node keeps none.
        @Nullable public var reserved: Money?
        /// What it may owe at most.
        @Nullable public var line: Money?
        @Nullable public var lastSettled: String?
        @Nullable public var disputed: Money?
        /// By the receipts since the time that was asked for: answers, and what they cost.
        public var sold: Int64
        public var earned: Money
        public var bought: Int64
        public var spent: Money
        @Nullable public var lastReceipt: String?

        public init(
            nodeID: String?, publicKey: String?, name: String, isPinned: Bool, owed: Money, owing: Money,
            reserved: Money? = nil, line: Money? = nil, lastSettled: String? = nil, disputed: Money? = nil,
            sold: Int64 = 0, earned: Money = .zero, bought: Int64 = 0, spent: Money = .zero,
            lastReceipt: String? = nil
        ) {
            (self.name, self.isPinned, self.owed, self.owing) = (name, isPinned, owed, owing)
            (self.sold, self.earned, self.bought, self.spent) = (sold, earned, bought, spent)
            self.nodeID = nodeID
            self.publicKey = publicKey
            self.reserved = reserved
            self.line = line
            self.lastSettled = lastSettled
            self.disputed = disputed
            self.lastReceipt = lastReceipt
        }

        enum CodingKeys: String, CodingKey {
            case nodeID = "node_id"
            case publicKey = "public_key"
            case name
            case isPinned = "pinned"
            case owed = "owed_ucr"
            case owing = "owing_ucr"
            case reserved = "reserved_ucr"
            case line = "line_ucr"
            case lastSettled = "last_settled"
            case disputed = "disputed_ucr"
            case sold
            case earned = "earned_ucr"
            case bought
            case spent = "spent_ucr"
            case lastReceipt = "last_receipt"
        }
    }

    /// What was sold of a model to a buyer on a day.
    public struct Sale: Codable, Sendable, Equatable {
        /// UTC, as `2026-11-23`. Nil: one of the days before those that are kept apart.
        @Nullable public var day: String?
        public var model: String
        /// Nil: buyers that are no longer kept apart.
        @Nullable public var nodeID: String?
        public var name: String
        public var isPinned: Bool
        public var sums: SaleSumsDocument

        public init(
            day: String?, model: String, nodeID: String?, name: String, isPinned: Bool, sums: SaleSumsDocument
        ) {
            (self.model, self.name, self.isPinned, self.sums) = (model, name, isPinned, sums)
            self.day = day
            self.nodeID = nodeID
        }

        enum CodingKeys: String, CodingKey {
            case day, model
            case nodeID = "node_id"
            case name
            case isPinned = "pinned"
            case sums
        }
    }

    public var asOf: String
    /// The first day of receipts and sales; nil: all that are kept.
    @Nullable public var since: String?
    /// Sums over all peers.
    public var owed: Money
    public var owing: Money
    /// The largest amounts first.
    public var peers: [Peer]
    /// The latest day first.
    public var sales: [Sale]
    /// Peers and sales beyond the bounds of this document.
    public var leftOut: Int

    public init(
        asOf: String, since: String?, owed: Money, owing: Money, peers: [Peer], sales: [Sale], leftOut: Int
    ) {
        (self.asOf, self.owed, self.owing) = (asOf, owed, owing)
        (self.peers, self.sales, self.leftOut) = (peers, sales, leftOut)
        self.since = since
    }

    enum CodingKeys: String, CodingKey {
        case asOf = "as_of"
        case since
        case owed = "owed_ucr"
        case owing = "owing_ucr"
        case peers, sales
        case leftOut = "left_out"
    }
}
