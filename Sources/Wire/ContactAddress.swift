import Primitives

/// Where a node answers, as one of the endpoints that its contact states: nine bytes where an address takes fifty.
public struct ContactAddress: Sendable {
    public let contact: Verified<Contact>
    private let index: UInt8

    /// nil when the contact does not state `endpoint`.
    public init?(_ contact: Verified<Contact>, at endpoint: Endpoint) {
        guard let index = contact.record.endpoints.firstIndex(of: endpoint).flatMap({ UInt8(exactly: $0) })
        else { return nil }
        self.contact = contact
        self.index = index
    }

    public var key: PublicKey { contact.record.publicKey }
    public var endpoint: Endpoint { contact.record.endpoints[Int(index)] }
    public var address: PeerAddress { PeerAddress(key: key, endpoint: endpoint) }
}
