import Primitives

/// How well we know an address from which a packet came, by what we sent there ourselves: what a NAT in front of us
/// lets in because of that says nothing of how strangers would fare.
public enum AddressFamiliarity: Sendable {
    /// Nothing was sent to that network lately.
    case stranger
    /// Something was sent to that network, but not to that port.
    case network
    /// Something was sent to that very endpoint.
    case endpoint
}

/// To whom we sent a first message, or had a session with, in the last ten minutes, twice as long as a NAT should
/// remember (RFC 4787, REQ-5), or in up to five before them.
///
/// Hashes of networks and endpoints in three generations: 13 bytes an address. A false member, or a full set until its
/// time has run out, makes something known that is not: doubt must not look like a stranger's call.
struct ContactedAddresses: Sendable {
    static let lifetime = Interval.minutes(10)
    /// Of one generation.
    static let capacity = 4_096

    private struct Generation: Sendable {
        var networks = WordSet()
        var endpoints = WordSet()
        var isFull = false
    }

    /// The current one last.
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

    /// Whether that very endpoint was.
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
