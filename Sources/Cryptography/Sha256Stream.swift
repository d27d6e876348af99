import CSodium
import Primitives

/// SHA-256 of bytes that arrive in pieces: for model files, which publishers identify by it. Everything else
/// uses BLAKE2b.
public final class Sha256Stream {
    private var state = crypto_hash_sha256_state()

    public init() {
        _ = Sodium.ready
        crypto_hash_sha256_init(&state)
    }

    public func update(_ bytes: UnsafeRawBufferPointer) {
        crypto_hash_sha256_update(
            &state, bytes.bindMemory(to: UInt8.self).baseAddress, UInt64(bytes.count))
    }

    /// The hash of all bytes so far. Call it once.
    public func finish() -> Bytes32 {
        var out = [UInt8](repeating: 0, count: 32)
        crypto_hash_sha256_final(&state, &out)
        guard let hash = Bytes32(out) else { preconditionFailure("a hash of \(out.count) bytes") }
        return hash
    }
}
