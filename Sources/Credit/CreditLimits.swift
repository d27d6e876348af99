/// Bounds of what this module remembers.
public enum CreditLimits {
    /// Assignments whose latest receipt is remembered, the one with the oldest receipt leaving first. A receipt of a
    /// forgotten assignment would be counted whole, so the bound is twice the tasks that a node asks for at a time
    /// (`MarketParameters.tasksMax`); a running assignment has a receipt every second. About 300 bytes each.
    public static let assignmentsMax = 2_048
}
