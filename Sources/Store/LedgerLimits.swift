/// Bounds of what a database holds.
public struct LedgerLimits: Sendable {
    /// Receipts, each at most some 700 bytes with its index: 46 MB. The oldest leave first; their amounts stay.
    public var receiptsMax = 65_536
    /// Days for which a receipt is kept at most.
    public var receiptDaysMax: Int64 = 400
    /// Peers whose amounts from receipts that left are known; the smallest balances beyond are summed under no name.
    public var accountsMax = 65_536
    /// Buyers, and networks, of which it is known what they paid, some 60 bytes each: as many as a node remembers
    /// (`PaidTasks`). They are forgotten with the receipts of their age.
    public var buyersMax = 8_192
    /// Receipts that may come before they are counted again, and the most that leave in one go: a larger file shrinks
    /// over several.
    public var pruneEvery = 1_024
    public var prunedAtOnceMax = 16_384

    public init() {}
}
