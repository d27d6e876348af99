/// Bounds of what this module remembers.
public enum CreditLimits {
    /// Assignments without a final receipt whose latest is remembered, the one with the oldest receipt leaving first. A
    /// receipt of a forgotten assignment would be counted whole, so the bound is above the tasks that a node can do and
    /// ask for at a time: eight models with 1,024 slots each, and `MarketParameters.tasksMax`. About 300 bytes each.
    public static let assignmentsMax = 16_384
    /// Assignments whose final receipt is remembered. Kept apart, so that many short answers can't push out a long one.
    public static let endedMax = 2_048
    /// Peers with a balance of their own; those that come later share one, so that all sums stay right. Each has paid for
    /// a task or was paid. About 100 bytes each.
    public static let peersMax = 65_536
}
