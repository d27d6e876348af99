import Cryptography
import Primitives
import Wire

@testable import Discovery

/// Contacts of a few nodes, signed once for the whole run: model-based tests use them thousands of times.
enum SignedContacts {
    static let nodes = 48
    static let places = 3
    static let sequences = 3
    private static let identities = (0..<nodes).map { TestNetwork.identity(5_000 + $0) }

    /// A few networks, two of them crowded.
    static func endpoint(_ node: Int, _ place: Int) -> Endpoint {
        let network = place == 0 ? node % 2 : (node * 7 + place) % 20
        return Endpoint(ipv4: 0x0909_0000 | UInt32(network) << 8 | UInt32(node), port: 7_000 + UInt16(place))
    }

    static func key(_ node: Int) -> PublicKey { identities[node].publicKey }

    /// States the endpoint of `place` and, from the second sequence on, the one before it.
    static func contact(_ node: Int, place: Int, sequence: Int) -> Verified<Contact> {
        all[(node * places + place) * sequences + sequence]
    }

    private static let all: [Verified<Contact>] = (0..<nodes).flatMap { node in
        (0..<places).flatMap { place in
            (0..<sequences).map { sequence in
                var endpoints = [endpoint(node, place)]
                if sequence > 0 { endpoints.append(endpoint(node, (place + 2) % places)) }
                return TestNetwork.contact(identities[node], at: endpoints, sequence: UInt64(sequence))
            }
        }
    }
}
