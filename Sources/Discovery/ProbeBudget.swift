import DequeModule
import Primitives

/// Limits what we send to addresses that never answered us, per destination and in all, over the last second.
///
/// Contacts are signed by their authors, who may name any address; without this limit, eight lying contacts
/// could aim us at a victim. A window of the last second's probes rather than a table of buckets: exact, and
/// empty when idle.
struct ProbeBudget: Sendable {
    private let perDestination: Int
    private let perSecond: Int
    private var recent: Deque<(destination: Endpoint, time: MonotonicTime)> = []

    init(_ parameters: DiscoveryParameters) {
        perDestination = parameters.probesPerDestinationMax
        perSecond = parameters.probesPerSecondMax
    }

    /// Forgets what is older than a second; after a burst, frees the memory too.
    mutating func sweep(_ now: MonotonicTime) {
        guard let last = recent.last else { return }
        guard now - last.time < .seconds(1) else { return recent = [] }
        while let first = recent.first, now - first.time >= .seconds(1) { recent.removeFirst() }
    }

    /// Takes one probe to `destination` if the last second leaves room for it.
    mutating func take(_ destination: Endpoint, now: MonotonicTime) -> Bool {
        sweep(now)
        guard recent.count < perSecond,
            recent.count(where: { $0.destination == destination }) < perDestination
        else {
            return false
        }
        recent.append((destination, now))
        return true
    }
}
