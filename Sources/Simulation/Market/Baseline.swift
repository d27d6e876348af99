// Schedulers that an auction is measured against.

/// A rule that picks a task's seller. All of them know the sellers' speeds and slots and the task's length, and prefer
/// the seller at which the task would be ready first by what they know of its load.
public enum Baseline: String, Sendable, CaseIterable {
    /// Any seller: the floor.
    case random
    /// The better of two drawn at random, by their true load (Mitzenmacher, "The Power of Two Choices", 2001).
    case twoChoices = "two-choices"
    /// The best of all by loads that are up to `Plan.staleness` old, as if offers announced them.
    case leastLoaded = "least-loaded"
    /// The best of all by the asker's own estimates: its tasks count at once, and each seller tells its load with every
    /// task that it ends, to that task's asker alone (van der Boor, Borst, van Leeuwaarden, "Hyper-Scalable JSQ with
    /// Sparse Feedback", 2019).
    case jsq
    /// The seller where the task truly ends first, by the whole schedule: the ceiling for a rule that decides at once.
    case omniscient
}
