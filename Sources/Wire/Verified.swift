import Cryptography
import Primitives

/// A record kind: its signature's domain, its limits and its codec.
public protocol Record: Hashable, Sendable {
    /// ASCII; what the signature covers is domain ‖ 0 ‖ body.
    static var domain: StaticString { get }
    static var bodySizeMax: Int { get }
    /// The key that must have signed it.
    var author: PublicKey { get }
    init(decoding body: [UInt8]) throws(WireError)
    func encoded() -> [UInt8]
}

/// A record whose signature was checked, beside the exact bytes that were signed. One reference to an immutable
/// object, so that a thousand simulated peers can share one.
public final class Verified<R: Record>: Sendable {
    public let record: R
    public let signed: SignedRecord
    /// Its author's, hashed once.
    public let nodeID: NodeID

    private init(record: R, signed: SignedRecord) {
        self.record = record
        self.signed = signed
        nodeID = NodeID(of: record.author)
    }

    /// Decodes and checks `signed`: throws `.badSignature` when it is not its author's.
    public convenience init(checking signed: SignedRecord) throws(WireError) {
        let record = try R(decoding: signed.body)
        guard record.author.verifies(signed.signature, of: Self.message(signed.body)) else {
            throw .badSignature
        }
        self.init(record: record, signed: signed)
    }

    /// The same, from `memo` where it has it.
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

/// What thousands of simulated peers share, so that each signature is checked once for all and each record is there once.
/// It holds what was verified, by the exact bytes.
public protocol VerifiedMemo: AnyObject, Sendable {
    func find<R: Record>(_ signed: SignedRecord) -> Verified<R>?
    func keep<R: Record>(_ verified: Verified<R>)
}

/// Why bytes are not a message: the sender's fault, counted under this name.
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
