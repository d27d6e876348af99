import Primitives

/// What the settlement command was asked to pay, by peer, so that no debt is paid twice: a tranche is what is owed beyond
/// that.
struct Settling {
    /// Peers whose tranches are known; the command isn't run for more.
    static let peersMax = 65_536
    /// After a failure the command isn't run again for this peer by itself for so long.
    private static let pause = Interval.minutes(10)

    private(set) var asked: [PublicKey: Money]
    private var running: Set<PublicKey> = []
    private var failedAt: [PublicKey: MonotonicTime] = [:]

    init(asked: [PublicKey: Money] = [:]) { self.asked = asked }

    /// What is owed to a peer beyond what the command was asked to pay and the peer hasn't confirmed yet.
    func due(_ peer: PublicKey, owing: Money) -> Money { max(.zero, owing - (asked[peer] ?? .zero)) }

    /// Begins a tranche; nil: nothing is due, or one is under way.
    /// - Parameter threshold: nil: any amount, because it is asked for.
    mutating func begin(_ peer: PublicKey, owing: Money, threshold: Money?, _ now: MonotonicTime) -> Money? {
        let due = due(peer, owing: owing)
        guard due > .zero, !running.contains(peer), asked[peer] != nil || asked.count < Self.peersMax else {
            return nil
        }
        if let threshold {
            guard due >= threshold else { return nil }
            if let failed = failedAt[peer], now < failed + Self.pause { return nil }
        }
        running.insert(peer)
        return due
    }

    /// The command has paid.
    mutating func paid(_ peer: PublicKey, _ amount: Money) {
        running.remove(peer)
        failedAt[peer] = nil
        asked[peer, default: .zero] += amount
    }

    mutating func failed(_ peer: PublicKey, _ now: MonotonicTime) {
        running.remove(peer)
        failedAt[peer] = now
    }
}
