import CSodium
import Primitives

/// Entropy from the operating system, for the shell alone: `scripts/check` refuses it in the pure targets
/// above this one, which take their randomness as an argument.
public enum SecureRandom {
    public static func bytes32() -> Bytes32 {
        _ = Sodium.ready
        var bytes = [UInt8](repeating: 0, count: 32)
        randombytes_buf(&bytes, bytes.count)
        return Bytes32(bytes) ?? .zero
    }
}
