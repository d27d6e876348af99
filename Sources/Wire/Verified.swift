import Cryptography
import Primitives

/// A record kind: its signature's domain, its limits and its codec.
public protocol Record: Hashable, Sendable {
    /// ASCII; the signature covers domain ‖ 0 ‖ body.
    static var domain: StaticString { get }
    static var bodySizeMax: Int { get }
    /// The key that must have signed it.
    var author: PublicKey { get }
    init(decoding body: [UInt8]) throws(WireError)
    func encoded() -> [UInt8]
}

/// A record whose signature was checked, together with the exact bytes that were signed. A reference to an
/// immutable object, so that a thousand simulated peers can share one.
public final class Verified<R: Record>: Sendable {
    public let record: R
    public let signed: SignedRecord
    /// The author's node id, hashed once.
    public let nodeID: NodeID

    private init(record: R, signed: SignedRecord) {
        self.record = record
        self.signed = signed
        nodeID = NodeID(of: record.author)
    }

    /// Decodes and verifies `signed`. Throws `.badSignature` when the signature is not its author's.
    public convenience init(checking signed: SignedRecord) throws(WireError) {
        let record = try R(decoding: signed.body)
        guard record.author.verifies(signed.signature, of: Self.message(signed.body)) else {
            throw .badSignature
        }
        self.init(record: record, signed: signed)
    }

    /// The same, but uses `memo`'s result if it has one.
    public static func checked(_ signed: SignedRecord, by memo: (any VerifiedMemo)?) throws(WireError)
        -> Verified
    {
        guard let memo else { return try Verified(checking: signed) }
        if let known: Verified = memo.find(signed) { return known }
        let verified = try Verified(checking: signed)
        memo.keep(verified)
        return verified
    }

    /// Signs `record`, which must name `identity` as its author.
    public convenience init(signing record: R, with identity: Identity) {
        precondition(record.author == identity.publicKey, "a record is signed by its author")
        let body = record.encoded()
        self.init(
            record: record, signed: SignedRecord(body: body, signature: identity.sign(Self.message(body))))
    }

    private static func message(_ body: [UInt8]) -> [UInt8] {
        R.domain.withUTF8Buffer { Array($0) } + [0] + body
    }
}

/// Shared by thousands of simulated peers, so that each signature is checked once and each record exists
/// once. It holds what was verified, keyed by the exact bytes.
public protocol VerifiedMemo: AnyObject, Sendable {
    func find<R: Record>(_ signed: SignedRecord) -> Verified<R>?
    func keep<R: Record>(_ verified: Verified<R>)
}

/// Why bytes are not a valid message: the sender's fault, counted under this name.
public enum WireError: String, Error, Sendable {
    case truncated
    case trailingBytes
    case malformed
    case tooLarge
    case missingField
    case outOfRange
    case badSignature
    case unknownKind
}
