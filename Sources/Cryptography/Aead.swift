import CSodium
import Primitives

/// ChaCha20-Poly1305 (RFC 8439) in place on raw buffers. The nonce is four zero bytes and a 64-bit
/// little-endian counter, as in Noise (revision 34, §12.3). No call allocates.
public enum Aead {
    public static let tagSize = 16

    /// Encrypts the first `count` bytes of `buffer` in place and appends the tag: `buffer` must hold `count +
    /// 16` bytes.
    public static func seal(
        _ buffer: UnsafeMutableRawBufferPointer, count: Int, key: Secret32, counter: UInt64,
        associated: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) {
        precondition(
            count >= 0 && buffer.count >= count + tagSize,
            "seal needs \(count) + 16 bytes, has \(buffer.count)")
        guard let base = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        var nonce = nonce(counter)
        let status = withUnsafeBytes(of: &nonce) { nonceBytes in
            key.withPointer { keyBytes in
                crypto_aead_chacha20poly1305_ietf_encrypt(
                    base, nil, base, UInt64(count),
                    associated.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    UInt64(associated.count), nil, nonceBytes.start, keyBytes)
            }
        }
        precondition(status == 0, "sealing \(count) bytes failed")
    }

    /// Decrypts `buffer` (ciphertext and tag) in place. Returns the length of the plaintext at its start, or
    /// nil when the tag is wrong or missing; libsodium then overwrites the plaintext's place with zeros.
    public static func open(
        _ buffer: UnsafeMutableRawBufferPointer, key: Secret32, counter: UInt64,
        associated: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) -> Int? {
        guard buffer.count >= tagSize, let base = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return nil }
        var nonce = nonce(counter)
        let status = withUnsafeBytes(of: &nonce) { nonceBytes in
            key.withPointer { keyBytes in
                crypto_aead_chacha20poly1305_ietf_decrypt(
                    base, nil, nil, base, UInt64(buffer.count),
                    associated.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(associated.count),
                    nonceBytes.start, keyBytes)
            }
        }
        return status == 0 ? buffer.count - tagSize : nil
    }

    private static func nonce(_ counter: UInt64) -> InlineArray<12, UInt8> {
        var bytes = InlineArray<12, UInt8>(repeating: 0)
        for index in 0..<8 { bytes[4 + index] = UInt8(truncatingIfNeeded: counter >> UInt64(8 * index)) }
        return bytes
    }
}

/// XChaCha20-Poly1305 with a 24-byte nonce, for cookies: their nonces are drawn at random under one long-lived key.
public enum LongNonceAead {
    public static let nonceSize = 24

    /// Encrypts the first `count` bytes of `buffer` in place and appends the tag.
    public static func seal(
        _ buffer: UnsafeMutableRawBufferPointer, count: Int, key: Secret32, nonce: UnsafeRawBufferPointer,
        associated: UnsafeRawBufferPointer
    ) {
        precondition(
            buffer.count >= count + 16 && nonce.count >= nonceSize,
            "seal needs \(count) + 16 bytes and a nonce")
        guard let base = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        let status = key.withPointer { keyBytes in
            crypto_aead_xchacha20poly1305_ietf_encrypt(
                base, nil, base, UInt64(count), associated.baseAddress?.assumingMemoryBound(to: UInt8.self),
                UInt64(associated.count), nil, nonce.start, keyBytes)
        }
        precondition(status == 0, "sealing \(count) bytes failed")
    }

    /// Decrypts `buffer` in place. Returns the plaintext's length, or nil.
    public static func open(
        _ buffer: UnsafeMutableRawBufferPointer, key: Secret32, nonce: UnsafeRawBufferPointer,
        associated: UnsafeRawBufferPointer
    ) -> Int? {
        guard buffer.count >= 16, nonce.count >= nonceSize,
            let base = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return nil }
        let status = key.withPointer { keyBytes in
            crypto_aead_xchacha20poly1305_ietf_decrypt(
                base, nil, nil, base, UInt64(buffer.count),
                associated.baseAddress?.assumingMemoryBound(to: UInt8.self),
                UInt64(associated.count), nonce.start, keyBytes)
        }
        return status == 0 ? buffer.count - 16 : nil
    }
}
