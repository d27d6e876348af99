import CSodium
import Primitives

/// SipHash-2-4: a keyed 64-bit hash, at a tenth of BLAKE2b's cost for a few words. For orders that only the
/// holder of the key can predict and whose values are never shown; not a mac, and not for secrets that live
/// longer than a day.
public enum ShortHash {
    /// Hashes words in the memory order of this machine, so the value must never leave it. The key is the
    /// first half of `key`. (Not generic over their number: across modules that looks up types at run time,
    /// at ten times the cost of the hash.)
    public static func keyed(_ key: Secret32, _ words: UnsafeRawBufferPointer) -> UInt64 {
        var out: UInt64 = 0
        let status = withUnsafeMutableBytes(of: &out) { outBytes in
            key.withPointer { keyBytes in
                crypto_shorthash(outBytes.start, words.start, UInt64(words.count), keyBytes)
            }
        }
        precondition(status == 0, "crypto_shorthash failed")
        return out
    }
}
