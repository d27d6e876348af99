import CSodium
import Primitives

/// A node's long-term Ed25519 key pair (RFC 8032). The seed never leaves the object.
public final class Identity: Sendable {
    public let publicKey: PublicKey
    public let nodeID: NodeID
    /// In libsodium's form: seed, then public key.
    let secret: [UInt8]

    /// `seed` is 32 secret random bytes: entropy from the shell, or a testnet's seed.
    public init(seed: Bytes32) {
        _ = Sodium.ready
        var publicBytes = [UInt8](repeating: 0, count: 32)
        var secretBytes = [UInt8](repeating: 0, count: 64)
        let status = crypto_sign_seed_keypair(&publicBytes, &secretBytes, seed.bytes)
        guard status == 0, let value = Bytes32(publicBytes) else {
            preconditionFailure("crypto_sign_seed_keypair failed")
        }
        publicKey = PublicKey(value)
        nodeID = NodeID(of: publicKey)
        secret = secretBytes
    }

    /// The Ed25519 signature of `message`.
    public func sign(_ message: [UInt8]) -> Signature {
        var bytes = [UInt8](repeating: 0, count: 64)
        let status = crypto_sign_detached(&bytes, nil, message, UInt64(message.count), secret)
        guard status == 0, let signature = Signature(bytes) else {
            preconditionFailure("crypto_sign_detached failed")
        }
        return signature
    }
}

extension PublicKey {
    /// Whether `signature` is this key's signature of `message`. Like libsodium, refuses small-order and
    /// non-canonical keys, non-canonical S and small-order R.
    public func verifies(_ signature: Signature, of message: [UInt8]) -> Bool {
        _ = Sodium.ready
        return crypto_sign_verify_detached(signature.bytes, message, UInt64(message.count), value.bytes) == 0
    }
}

extension Identity {
    /// A testnet node's identity, which anyone can derive from the same text: only for meshes named
    /// `testnet-…`.
    public convenience init(testnetSeed text: String) {
        self.init(seed: Blake2b.hash(domain: "starling testnet key", Array(text.utf8)))
    }
}
