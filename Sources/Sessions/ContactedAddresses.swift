import Primitives

/// How familiar the source address of a packet is, judged by what we sent there: packets that a NAT in front
/// of us lets in because of that say nothing about how strangers would fare.
public enum AddressFamiliarity: Sendable {
    /// Nothing was sent to that network lately.
    case stranger
    /// Something was sent to that network, but not to that port.
    case network
    /// Something was sent to that very endpoint.
    case endpoint
}

/// The addresses to which we sent a first message, or with which we had a session, in the last ten to fifteen
/// minutes: at least twice as long as a NAT should remember (RFC 4787, REQ-5).
///
/// Hashes of networks and endpoints in three generations: 13 bytes an address. A false member, or a full set
/// until it expires, makes an unknown address look known, which is the safe side: doubt must not look like a
/// stranger's call.
struct ContactedAddresses: Sendable {
    static let lifetime = Interval.minutes(10)
    /// Entries of one generation.
    static let capacity = 4_096

    private struct Generation: Sendable {
        var networks = WordSet()
        var endpoints = WordSet()
        var isFull = false
    }

    /// The current one is last.
    private var generations = [Generation()]
    private var since = MonotonicTime.zero

    mutating func note(_ endpoint: Endpoint, _ now: MonotonicTime) {
        expire(now)
        let last = generations.count - 1
        guard generations[last].endpoints.count < Self.capacity else {
            return generations[last].isFull = true
        }
        generations[last].networks.insert(Self.network(endpoint))
        generations[last].endpoints.insert(endpoint.mixed)
    }

    /// Whether something in its network was written to, or that can't be excluded.
    mutating func covers(_ endpoint: Endpoint, _ now: MonotonicTime) -> Bool {
        expire(now)
        let network = Self.network(endpoint)
        return generations.contains { $0.isFull || $0.networks.contains(network) }
    }

    /// Whether that very endpoint was written to.
    func contains(_ endpoint: Endpoint) -> Bool {
        let hash = endpoint.mixed
        return generations.contains { $0.endpoints.contains(hash) }
    }

    private mutating func expire(_ now: MonotonicTime) {
        let half = Self.lifetime / 2
        if now - since >= half * 3 {
            generations = [Generation()]
            since = now
        }
        while now - since >= half {
            generations.append(Generation())
            if generations.count > 3 { generations.removeFirst() }
            since = since + half
        }
    }

    private static func network(_ endpoint: Endpoint) -> UInt32 { Endpoint.mixed(endpoint.prefix) }
}
