import Primitives

/// What the settlement command was asked to pay, by peer, so that no debt is paid twice: a tranche is what is owed beyond
/// that. One that was ordered stays as it is until it is paid: nobody knows whether a command that was cut off has paid.
struct Settling {
    struct Orders: Hashable {
        var paid = Money.zero
        /// Ordered, and not known to be paid; zero: none.
        var open = Money.zero
    }

    /// Peers whose orders are known; the command isn't run for more.
    static let peersMax = 65_536
    /// After a failure the command isn't run again for this peer by itself for so long.
    private static let pause = Interval.minutes(10)

    private(set) var orders: [PublicKey: Orders]
    private var running: Set<PublicKey> = []
    private var failedAt: [PublicKey: MonotonicTime] = [:]

    init(orders: [PublicKey: Orders] = [:]) { self.orders = orders }

    /// What the command has paid to a peer.
    func paid(_ peer: PublicKey) -> Money { orders[peer]?.paid ?? .zero }

    /// Begins a tranche, or one that failed again; nil: nothing is due, or one is under way.
    /// - Parameters:
    ///   - owing: what the peer is owed, without what it has confirmed.
    ///   - threshold: nil: any amount, because it is asked for.
    mutating func begin(_ peer: PublicKey, owing: Money, threshold: Money?, _ now: MonotonicTime) -> Money? {
        let due = max(.zero, owing - paid(peer))
        let open = orders[peer]?.open ?? .zero
        let amount = open > .zero ? open : due
        guard amount > .zero, !running.contains(peer), orders[peer] != nil || orders.count < Self.peersMax
        else {
            return nil
        }
        if let threshold {
            guard due >= threshold else { return nil }
            if let failed = failedAt[peer], now < failed + Self.pause { return nil }
        }
        running.insert(peer)
        orders[peer, default: Orders()].open = amount
        return amount
    }

    /// The command has paid what was ordered.
    mutating func succeeded(_ peer: PublicKey) {
        running.remove(peer)
        failedAt[peer] = nil
        let open = orders[peer]?.open ?? .zero
        orders[peer, default: Orders()].paid += open
        orders[peer]?.open = .zero
    }

    mutating func failed(_ peer: PublicKey, _ now: MonotonicTime) {
        running.remove(peer)
        failedAt[peer] = now
    }
}
