import CSodium
import Primitives

/// SipHash-2-4: a keyed hash of 64 bits, a tenth of BLAKE2b's price for a few words. For orders that only the holder of the
/// key can foresee, whose values are shown to nobody; not a mac, and not for secrets that outlive a day.
public enum ShortHash {
    /// Of words, in the memory order of this machine: a value that never leaves it. The key is the first half of `key`.
    /// (Not generic over their number: across modules that looks types up at run time, ten times the hash's price.)
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
