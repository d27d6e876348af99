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
    /// Days by which sales and refusals are kept; older ones are summed. Buyers of one day, and of the older ones
    /// together, that are kept apart; those with the fewest tokens are summed beyond. Some 100 bytes each.
    public var saleDaysMax: Int64 = 30
    public var saleBuyersMax = (ofDay: 256, older: 4_096)
    /// Transcripts of own tasks, the latest, and the bytes of one: some 5 kB each.
    public var transcriptsMax = 1_000
    public var transcriptBytesMax = 64 << 10

    public init() {}
}
