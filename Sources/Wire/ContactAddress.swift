import Primitives

/// One endpoint of a contact, stored as an index into it: nine bytes instead of fifty.
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
