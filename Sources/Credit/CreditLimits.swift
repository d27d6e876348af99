/// Bounds of what this module remembers.
public enum CreditLimits {
    /// Assignments whose latest receipt is remembered, the one with the oldest receipt leaving first. A receipt of a
    /// forgotten assignment would be counted whole, so the bound is twice the tasks that a node asks for at a time
    /// (`MarketParameters.tasksMax`); a running assignment has a receipt every second. About 300 bytes each.
    public static let assignmentsMax = 2_048
    /// Peers with a balance of their own; those that come later share one, so that all sums stay right. Each has paid for
    /// a task or was paid. About 100 bytes each.
    public static let peersMax = 65_536
}
