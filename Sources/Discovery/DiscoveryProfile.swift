import Primitives
import Wire

/// Which addresses count as different and which are usable at all.
///
/// On the internet an address costs money per network, so diversity is counted in networks (/24, /56). On one machine
/// or one LAN everybody shares a network and only endpoints tell nodes apart.
public enum DiscoveryProfile: Sendable {
    case internet, loopback

    /// What diversity caps count, as an endpoint without the parts that don't matter.
    func group(_ endpoint: Endpoint) -> Endpoint {
        switch self {
        case .internet: Endpoint(high: endpoint.prefix, low: 0, port: 0)
        case .loopback: endpoint
        }
    }

    /// What the probe budget protects: a machine on the internet, a process on one machine.
    func destination(_ endpoint: Endpoint) -> Endpoint {
        switch self {
        case .internet: Endpoint(high: endpoint.high, low: endpoint.low, port: 0)
        case .loopback: endpoint
        }
    }

    /// Whether something may be sent to `endpoint` because a stranger names it.
    func accepts(_ endpoint: Endpoint) -> Bool {
        switch self {
        case .internet: endpoint.isUnicast && !endpoint.isPrivate
        case .loopback: endpoint.isUnicast
        }
    }

    /// The endpoint to use of those that `contact` lists, best first; nil when none is usable.
    func endpoint(of contact: Contact) -> Endpoint? { contact.endpoints.first(where: accepts) }
}
