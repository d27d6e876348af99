// Schedulers to compare the auction with.

/// A rule that picks a task's seller. Every rule knows the sellers' speeds and slots and the task's length,
/// and prefers the seller at which the task would be done first, according to what the rule knows of the
/// loads.
public enum Baseline: String, Sendable, CaseIterable {
    /// A random seller: the lower bound.
    case random
    /// The better of two random sellers, by their true load (Mitzenmacher, "The Power of Two Choices", 2001).
    case twoChoices = "two-choices"
    /// The best of all by loads that are up to `Plan.staleness` old, as if offers announced them.
    case leastLoaded = "least-loaded"
    /// The best of all sellers by the asker's own estimates: its own tasks count at once, and each seller
    /// reports its load with every task that it gets or finishes, to that task's asker only (van der Boor, Borst, van
    /// Leeuwaarden, "Hyper-Scalable JSQ with Sparse Feedback", 2019).
    case jsq
    /// The seller at which the task truly ends first, given the whole schedule: the upper bound for a rule
    /// that decides at once.
    case omniscient
}
