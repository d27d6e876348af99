import CSodium
import Primitives

/// BLAKE2b (RFC 7693) as the protocol uses it: 32-byte hashes with a domain tag, and short keyed MACs.
public enum Blake2b {
    /// BLAKE2b-256 of `bytes`.
    public static func hash(_ bytes: [UInt8]) -> Bytes32 { digest(bytes, key: []) }

    /// BLAKE2b-256 of `domain`, a zero byte and the parts in order. Parts of varying length must include
    /// their own length, or two lists could have the same hash.
    public static func hash(domain: StaticString, _ parts: [UInt8]...) -> Bytes32 {
        var bytes = domain.withUTF8Buffer { Array($0) }
        bytes.append(0)
        for part in parts { bytes += part }
        return digest(bytes, key: [])
    }

    /// Keyed BLAKE2b-256. `key` is at most 64 bytes.
    public static func keyed(_ key: [UInt8], _ bytes: [UInt8]) -> Bytes32 { digest(bytes, key: key) }

    private static func digest(_ bytes: [UInt8], key: [UInt8]) -> Bytes32 {
        _ = Sodium.ready
        var out = [UInt8](repeating: 0, count: 32)
        let status = crypto_generichash(
            &out, 32, bytes, UInt64(bytes.count), key.isEmpty ? nil : key, key.count)
        guard status == 0, let hash = Bytes32(out) else {
            preconditionFailure("crypto_generichash failed with a key of \(key.count) bytes")
        }
        return hash
    }
}

extension NodeID {
    /// The node id of `key`.
    public init(of key: PublicKey) {
        self.init(Blake2b.hash(domain: "starling node id", key.value))
    }
}

extension TopicID {
    /// The topic of the model with this canonical name (`Protocol/models.md`).
    public init(model canonicalName: String) {
        self.init(Blake2b.hash(domain: "starling topic", Array(canonicalName.utf8)))
    }
}
