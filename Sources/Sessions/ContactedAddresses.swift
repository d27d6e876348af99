import DequeModule
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

/// To whom we sent a first message, or had a session with, in the last ten minutes: twice as long as a NAT should
/// remember (RFC 4787, REQ-5).
///
/// Full, it calls everything known until its entries have run out: doubt must not look like a stranger's call.
struct ContactedAddresses: Sendable {
    static let lifetime = Interval.minutes(10)
    static let capacity = 4_096

    private var order: Deque<(endpoint: Endpoint, time: MonotonicTime)> = []
    private var counts: [UInt64: Int] = [:]
    private var isDoubtfulUntil = MonotonicTime.zero

    mutating func note(_ endpoint: Endpoint, _ now: MonotonicTime) {
        expire(now)
        guard order.count < Self.capacity else { return isDoubtfulUntil = now + Self.lifetime }
        order.append((endpoint, now))
        counts[endpoint.prefix, default: 0] += 1
    }

    /// Whether something in its network was written to, or that can't be excluded.
    mutating func covers(_ endpoint: Endpoint, _ now: MonotonicTime) -> Bool {
        expire(now)
        return now < isDoubtfulUntil || counts[endpoint.prefix] != nil
    }

    /// Whether that very endpoint was; walks all.
    func contains(_ endpoint: Endpoint) -> Bool { order.contains { $0.endpoint == endpoint } }

    private mutating func expire(_ now: MonotonicTime) {
        while let first = order.first, now - first.time > Self.lifetime {
            order.removeFirst()
            let left = (counts[first.endpoint.prefix] ?? 1) - 1
            counts[first.endpoint.prefix] = left > 0 ? left : nil
        }
    }
}
