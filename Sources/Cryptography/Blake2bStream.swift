import CSodium
import Primitives

/// BLAKE2b-256 of bytes that come in pieces: files.
public final class Blake2bStream {
    private let state: OpaquePointer
    private let memory: UnsafeMutableRawPointer

    public init() {
        _ = Sodium.ready
        // libsodium's state is packed and over-aligned, so that its type doesn't import.
        memory = .allocate(byteCount: crypto_generichash_statebytes(), alignment: 64)
        state = OpaquePointer(memory)
        crypto_generichash_init(state, nil, 0, 32)
    }

    deinit { memory.deallocate() }

    public func update(_ bytes: UnsafeRawBufferPointer) {
        crypto_generichash_update(state, bytes.bindMemory(to: UInt8.self).baseAddress, UInt64(bytes.count))
    }

    /// The hash of everything so far. Call it once.
    public func finish() -> Bytes32 {
        var out = [UInt8](repeating: 0, count: 32)
        crypto_generichash_final(state, &out, 32)
        guard let hash = Bytes32(out) else { preconditionFailure("a hash of \(out.count) bytes") }
        return hash
    }
}
