import CSodium
import Primitives

/// X25519 (RFC 7748): key agreement for the Noise handshakes.
public enum Agreement {
    /// The public key of `secret`; clamping is X25519's own.
    public static func publicKey(of secret: Secret32) -> Bytes32 {
        _ = Sodium.ready
        let key = Secret32.filled { out in secret.withPointer { crypto_scalarmult_base(out, $0) } }
        guard let key else { preconditionFailure("crypto_scalarmult_base failed") }
        return key.value
    }

    /// The shared secret of our `secret` and their `publicKey`; nil when theirs is of small order, which would make
    /// the result all zero.
    public static func shared(_ secret: Secret32, _ publicKey: Bytes32) -> Secret32? {
        _ = Sodium.ready
        let theirs = Secret32(publicKey)
        return Secret32.filled { out in
            secret.withPointer { mine in theirs.withPointer { crypto_scalarmult(out, mine, $0) } }
        }
    }
}

extension Identity {
    /// The X25519 secret that belongs to this identity: the same scalar, so that one key file serves both.
    public var agreementSecret: Secret32 {
        let converted = Secret32.filled { out in
            secret.withUnsafeBufferPointer { buffer in
                guard let base = buffer.baseAddress else {
                    preconditionFailure("an identity has 64 secret bytes")
                }
                return crypto_sign_ed25519_sk_to_curve25519(out, base)
            }
        }
        guard let converted else { preconditionFailure("crypto_sign_ed25519_sk_to_curve25519 failed") }
        return converted
    }
}

extension PublicKey {
    /// The X25519 key that belongs to this Ed25519 key; nil when it is no point of the main subgroup, of small
    /// order or not canonically encoded. Costs about as much as checking a signature. The sign of x is lost: two
    /// Ed25519 keys share each result, which is why handshakes carry the Ed25519 key as well.
    public var agreementKey: Bytes32? {
        _ = Sodium.ready
        guard isCanonical else { return nil }
        let mine = Secret32(value)
        return Secret32.filled { out in mine.withPointer { crypto_sign_ed25519_pk_to_curve25519(out, $0) } }?
            .value
    }

    /// Whether y < 2^255 − 19 (RFC 8032 §5.1.3): the one encoding that each point has. libsodium 1.0.18 checks it
    /// when it verifies but not when it converts.
    var isCanonical: Bool {
        // Little-endian: the last byte's top bit is x's sign, the first byte is the lowest.
        let allOnes =
            value.w3 | 0x80 == .max && value.w2 == .max && value.w1 == .max
            && value.w0 | 0xff00_0000_0000_0000 == .max
        return !(allOnes && value.w0 >> 56 >= 0xed)
    }
}
