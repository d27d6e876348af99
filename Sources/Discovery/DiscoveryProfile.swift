import Primitives
import Wire

/// Which addresses count as distinct, and which are usable at all.
///
/// On the internet each network costs money, so diversity is counted in networks (/24, /56). On one machine
/// or one LAN all nodes share a network, and only endpoints tell them apart.
public enum DiscoveryProfile: Sendable {
    case internet, loopback

    /// The unit of diversity caps, as an endpoint without the parts that don't matter.
    func group(_ endpoint: Endpoint) -> Endpoint {
        switch self {
        case .internet: Endpoint(high: endpoint.prefix, low: 0, port: 0)
        case .loopback: endpoint
        }
    }

    /// What the probe budget protects: a machine on the internet, or a process on one machine.
    func destination(_ endpoint: Endpoint) -> Endpoint {
        switch self {
        case .internet: Endpoint(high: endpoint.high, low: endpoint.low, port: 0)
        case .loopback: endpoint
        }
    }

    /// Whether something may be sent to `endpoint` because a stranger names it.
    public func accepts(_ endpoint: Endpoint) -> Bool {
        switch self {
        case .internet: endpoint.isUnicast && !endpoint.isPrivate
        case .loopback: endpoint.isUnicast
        }
    }

    /// The endpoint of `contact` to use, the first usable one; nil when none is.
    func endpoint(of contact: Contact) -> Endpoint? { contact.endpoints.first(where: accepts) }
}
